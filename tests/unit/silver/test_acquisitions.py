from collections.abc import Callable
from datetime import date

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, CUSTOMERS_SILVER, RETAILS_SILVER
from cdp_lib.identity.rules import OFF
from cdp_lib.silver.acquisitions import build_customer_acquisitions_silver

from ..purchases import purchases_of


@pytest.fixture
def acquisitions(frame_of: Callable[..., DataFrame], rows_of) -> Callable[..., list[tuple[object, ...]]]:
    """Return a function that builds rows of customer_acquisitions_silver. All days are in April.

    The arguments are a dict with the day of registration of each customer, and (customer, day) pairs of sales.
    """

    def build(registered: dict[int, int | None], *sold: tuple[int, int]) -> list[tuple[object, ...]]:
        customers = ({"customer_id": n, "registration_date": day and april(day)} for n, day in registered.items())
        sales = ({"customer_id": n, "transaction_date": april(day), "quantity": 1} for n, day in sold)
        frame = build_customer_acquisitions_silver(
            frame_of(CUSTOMERS_SILVER.columns, *customers),
            purchases_of(frame_of(RETAILS_SILVER.columns, *sales)),
            frame_of(PERSON_LINKS_SILVER.columns),
            OFF,
        )
        assert frame.dtypes == [(column.name, column.type.lower()) for column in CUSTOMER_ACQUISITIONS_SILVER.columns]
        return rows_of(frame)

    return build


def april(day: int) -> date:
    return date(2025, 4, day)


def test_first_purchase_acquires_a_customer_who_registers_later(acquisitions) -> None:
    assert acquisitions({1: 9}, (1, 5), (1, 3), (1, 20)) == [(1, april(9), april(3), april(3))]


def test_registration_acquires_a_customer_who_buys_later(acquisitions) -> None:
    assert acquisitions({1: 2}, (1, 5), (1, 3)) == [(1, april(2), april(3), april(2))]


def test_acquisition_is_the_common_day_of_registration_and_first_purchase(acquisitions) -> None:
    assert acquisitions({1: 2}, (1, 2)) == [(1, april(2), april(2), april(2))]


def test_registration_acquires_a_customer_without_purchases(acquisitions) -> None:
    assert acquisitions({1: 2, 2: 4}, (1, 3)) == [
        (1, april(2), april(3), april(2)),
        (2, april(4), None, april(4)),
    ]


def test_first_purchase_acquires_a_customer_without_registration(acquisitions) -> None:
    assert acquisitions({1: None, 2: None}, (1, 5), (1, 3)) == [
        (1, None, april(3), april(3)),
        (2, None, None, None),
    ]


def test_buyers_missing_in_customers_have_no_acquisition(acquisitions) -> None:
    assert acquisitions({1: 2}, (2, 3)) == [(1, april(2), None, april(2))]
    assert acquisitions({}, (2, 3)) == []
