from collections.abc import Callable
from datetime import date

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, CUSTOMERS_SILVER, RETAILS_SILVER
from cdp_lib.silver.acquisitions import build_customer_acquisitions_silver

from ..purchases import purchases_of


@pytest.fixture
def acquisitions(frame_of: Callable[..., DataFrame], rows_of) -> Callable[..., list[tuple[object, ...]]]:
    """Rows of customers registered, and of sales, on days of April."""

    def build(registered: dict[int, int], *sold: tuple[int, int]) -> list[tuple[object, ...]]:
        customers = ({"customer_id": n, "registration_date": april(day)} for n, day in registered.items())
        sales = ({"customer_id": n, "transaction_date": april(day)} for n, day in sold)
        frame = build_customer_acquisitions_silver(
            frame_of(CUSTOMERS_SILVER.columns, *customers), purchases_of(frame_of(RETAILS_SILVER.columns, *sales))
        )
        assert frame.dtypes == [(column.name, column.type.lower()) for column in CUSTOMER_ACQUISITIONS_SILVER.columns]
        return rows_of(frame)

    return build


def april(day: int) -> date:
    return date(2025, 4, day)


def test_who_buys_before_registering_is_won_by_the_first_purchase(acquisitions) -> None:
    assert acquisitions({1: 9}, (1, 5), (1, 3), (1, 20)) == [(1, april(9), april(3), april(3))]


def test_who_registers_first_is_won_by_registering(acquisitions) -> None:
    assert acquisitions({1: 2}, (1, 5), (1, 3)) == [(1, april(2), april(3), april(2))]


def test_who_registers_on_the_day_of_the_purchase_is_won_then(acquisitions) -> None:
    assert acquisitions({1: 2}, (1, 2)) == [(1, april(2), april(2), april(2))]


def test_who_never_bought_is_won_by_registering(acquisitions) -> None:
    assert acquisitions({1: 2, 2: 4}, (1, 3)) == [
        (1, april(2), april(3), april(2)),
        (2, april(4), None, april(4)),
    ]


def test_nobody_is_won_who_is_no_customer(acquisitions) -> None:
    assert acquisitions({1: 2}, (2, 3)) == [(1, april(2), None, april(2))]
    assert acquisitions({}, (2, 3)) == []
