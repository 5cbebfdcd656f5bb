"""Returns and anonymous sales in the sales marts."""

from datetime import date
from decimal import Decimal

import pytest

from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    CATEGORY_MONTHLY_SALES_GOLD,
    COUNTRY_CATEGORY_MONTHLY_SALES_GOLD,
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    COUNTRY_MONTHLY_ORDERS_GOLD,
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    MONTHLY_SALES_GOLD,
    PRICE_SEGMENT_ANALYSIS_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
    SEASONAL_ANALYSIS_GOLD,
    STORE_CUSTOMER_ANALYSIS_GOLD,
    STORE_PRODUCT_PERFORMANCE_GOLD,
)
from cdp_lib.contracts.table import TableContract

from .marts import whole_mart_of

# A customer buys three pieces and returns one. Someone without a card buys half a piece.
LINES = (
    {"quantity": 3, "order_id": "1", "discount": Decimal(6), "cost": Decimal(15)},
    {"quantity": -1, "order_id": "2"},
    {"quantity": Decimal("0.5"), "order_id": "1", "customer_id": None, "full_name": None},
)
APRIL = date(2025, 4, 1)
REVENUE, PIECES = Decimal(25), Decimal("2.5")


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        (CATEGORY_COUNTRY_PERFORMANCE_GOLD, ("Egypt", "Fitness", REVENUE, PIECES, 1, 3)),
        (CATEGORY_MONTHLY_SALES_GOLD, (APRIL, "Fitness", REVENUE, PIECES, 2, 1, 3)),
        (COUNTRY_DETAILED_ANALYSIS_GOLD, ("Egypt", 1, 1, 2, PIECES, REVENUE, 12.5, 1, 3)),
        (CUSTOMER_PRODUCT_AFFINITY_GOLD, (101, "Alba Ackerfeld", 1, "Yoga Mat", "Fitness", 2, 1, 2)),
        (MONTHLY_SALES_GOLD, (2025, 2, 4, REVENUE, PIECES, 2, 1, 3)),
        (PRICE_SEGMENT_ANALYSIS_GOLD, ("Budget", "Fitness", 2, PIECES, REVENUE, 3)),
        (PRODUCT_PERFORMANCE_GOLD, (1, "Yoga Mat", "Fitness", PIECES, REVENUE, 2, 1, 3)),
        (SEASONAL_ANALYSIS_GOLD, ("Spring", "Fitness", REVENUE, PIECES, 3)),
        (STORE_CUSTOMER_ANALYSIS_GOLD, (1, "City Mall Store", "UAE", 1, 2, 1.0, 3)),
        (STORE_PRODUCT_PERFORMANCE_GOLD, (1, "City Mall Store", 1, "Yoga Mat", PIECES, REVENUE, 2, 3)),
        (COUNTRY_CATEGORY_MONTHLY_SALES_GOLD, (APRIL, "Egypt", "Fitness", 35, 10, 5, 1, 6, 36, 15, 30, 3)),
        (COUNTRY_MONTHLY_ORDERS_GOLD, (APRIL, "Egypt", 1, REVENUE, Decimal("3.5"), 3)),
    ],
    ids=lambda value: value.name if isinstance(value, TableContract) else "",
)
def test_sums_are_less_returns_and_counts_leave_returns_out(sales, rows_of, contract, expected) -> None:
    assert rows_of(whole_mart_of(contract, sales(*LINES))) == [expected]


def test_a_group_with_returns_only_keeps_its_row(sales) -> None:
    [row] = whole_mart_of(COUNTRY_DETAILED_ANALYSIS_GOLD, sales({"quantity": -2})).collect()
    assert (row.total_transactions, row.unique_customers, row.total_revenue) == (0, 0, -20)
    assert (row.avg_transaction_value, row["_line_count"]) == (None, 1)


def test_a_store_without_a_known_customer_has_no_average(sales) -> None:
    [row] = whole_mart_of(STORE_CUSTOMER_ANALYSIS_GOLD, sales({"customer_id": None})).collect()
    assert (row.unique_customers, row.total_transactions, row.avg_transactions_per_customer) == (0, 1, None)
