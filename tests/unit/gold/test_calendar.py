from datetime import date
from decimal import Decimal

from cdp_lib.contracts.gold import MONTHLY_SALES_GOLD, SEASONAL_ANALYSIS_GOLD

from .marts import mart_of


def test_seasonal_analysis_gold_sums_a_season_over_all_years(sales, rows_of) -> None:
    rows = sales(
        {"transaction_date": date(2024, 12, 31), "quantity": 2, "price": Decimal("0.10")},
        {"transaction_date": date(2025, 1, 1), "quantity": 1, "price": Decimal("0.10")},
        {"transaction_date": date(2024, 2, 29), "quantity": 1, "price": Decimal("5.00")},
        {"transaction_date": date(2025, 3, 1)},
        {"transaction_date": date(2025, 8, 31), "category": "Electronics"},
        {"transaction_date": date(2025, 9, 1)},
    )
    assert rows_of(mart_of(SEASONAL_ANALYSIS_GOLD, rows)) == [
        ("Fall", "Fitness", Decimal("10.00"), 1),
        ("Spring", "Fitness", Decimal("10.00"), 1),
        ("Summer", "Electronics", Decimal("10.00"), 1),
        ("Winter", "Fitness", Decimal("5.30"), 4),
    ]


def test_monthly_sales_gold_has_one_row_per_month_and_year(sales, rows_of) -> None:
    rows = sales(
        {"transaction_date": date(2025, 4, 1), "quantity": 3},
        {"transaction_date": date(2025, 4, 30), "customer_id": 102},
        {"transaction_date": date(2025, 4, 15)},
        {"transaction_date": date(2024, 4, 15)},
        {"transaction_date": date(2025, 12, 31)},
        {"transaction_date": date(2025, 1, 1)},
    )
    assert rows_of(mart_of(MONTHLY_SALES_GOLD, rows)) == [
        (2024, 2, 4, Decimal("10.00"), 1, 1, 1),
        (2025, 1, 1, Decimal("10.00"), 1, 1, 1),
        (2025, 2, 4, Decimal("50.00"), 5, 3, 2),
        (2025, 4, 12, Decimal("10.00"), 1, 1, 1),
    ]


def test_months_without_sales_have_no_row(sales) -> None:
    assert mart_of(MONTHLY_SALES_GOLD, sales()).count() == 0


def test_monthly_revenue_does_not_overflow(sales) -> None:
    largest = {"quantity": 2_147_483_647, "price": Decimal("40000.00")}
    [row] = mart_of(MONTHLY_SALES_GOLD, sales(largest, largest)).collect()
    assert row.monthly_revenue == 2 * 2_147_483_647 * 40_000
    assert row.monthly_quantity == 2 * 2_147_483_647
