from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, RETAILS_SILVER

from ..purchases import purchases_of

AS_OF = date(2026, 6, 30)


@pytest.fixture
def summaries(frame_of):
    """Return a function that builds customer summaries.

    The first argument has (day of registration, day of first purchase) for each customer. Sales are (customer, day,
    quantity, price).
    """

    def build(acquisitions, sales, as_of=AS_OF):
        acquired = frame_of(
            CUSTOMER_ACQUISITIONS_SILVER.columns,
            *(
                {
                    "person_id": number,
                    "registration_date": registered,
                    "first_purchase_date": first,
                    "acquisition_date": min(filter(None, [registered, first]), default=None),
                }
                for number, (registered, first) in acquisitions.items()
            ),
        )
        sold = frame_of(
            RETAILS_SILVER.columns,
            *(
                {
                    "transaction_id": number,
                    "customer_id": customer,
                    "product_id": 1,
                    "store_id": 1,
                    "quantity": quantity,
                    "transaction_date": day,
                    "price": Decimal(price),
                    "_batch_id": "b",
                }
                for number, (customer, day, quantity, price) in enumerate(sales)
            ),
        )
        return {row.person_id: row for row in build_customer_summaries(acquired, purchases_of(sold), as_of).collect()}

    return build


def test_summary_counts_purchase_days(summaries) -> None:
    row = summaries(
        {1: (date(2026, 3, 1), date(2026, 1, 1))},
        [
            (1, date(2026, 1, 1), 2, "10.00"),
            (1, date(2026, 1, 1), 1, "5.50"),
            (1, date(2026, 2, 1), 1, "30.00"),
            (1, date(2026, 6, 20), 1, "50.00"),
        ],
    )[1]
    assert (row.acquisition_date, row.tenure_days) == (date(2026, 1, 1), 180)
    assert (row.first_purchase_date, row.last_purchase_date) == (date(2026, 1, 1), date(2026, 6, 20))
    assert (row.transaction_count, row.purchase_day_count, row.frequency, row.recency_days) == (4, 3, 2, 10)
    assert row.total_revenue == Decimal("105.50")
    assert row.repeat_revenue == Decimal("80.00")
    assert row.monetary_value == pytest.approx(105.5 / 3)
    assert row.repeat_monetary_value == pytest.approx(40)


def test_customer_without_purchases_has_zero_counts_and_null_figures(summaries) -> None:
    row = summaries({1: (date(2026, 3, 1), None)}, [])[1]
    assert (row.transaction_count, row.purchase_day_count, row.total_revenue) == (0, 0, Decimal(0))
    assert (row.first_purchase_date, row.frequency, row.recency_days, row.monetary_value) == (None,) * 4
    assert row.tenure_days == 121


def test_customer_without_a_day_of_acquisition_has_a_summary(summaries) -> None:
    rows = summaries({1: (None, None), 2: (None, date(2026, 7, 1)), 3: (None, date(2026, 1, 1))}, [])
    assert {n: (row.acquisition_date, row.tenure_days) for n, row in rows.items()} == {
        1: (None, None),
        3: (date(2026, 1, 1), 180),
    }


def test_single_purchase_day_has_no_repeat_value(summaries) -> None:
    row = summaries({1: (date(2026, 3, 1), date(2026, 3, 1))}, [(1, date(2026, 3, 1), 1, "5.00")] * 2)[1]
    assert (row.frequency, row.monetary_value, row.repeat_monetary_value) == (0, 10, None)


def test_days_after_as_of_are_ignored(summaries) -> None:
    rows = summaries(
        {
            1: (date(2026, 5, 1), date(2026, 2, 1)),
            2: (date(2026, 3, 1), date(2026, 4, 1)),
            3: (date(2026, 4, 2), date(2026, 4, 1)),
        },
        [(1, date(2026, 2, 1), 1, "5.00"), (2, date(2026, 4, 1), 1, "5.00"), (3, date(2026, 4, 1), 1, "5.00")],
        as_of=date(2026, 3, 31),
    )
    assert {n: (row.acquisition_date, row.transaction_count) for n, row in rows.items()} == {
        1: (date(2026, 2, 1), 1),
        2: (date(2026, 3, 1), 0),
    }
