from decimal import Decimal

from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    SALES_BY_COUNTRY_GOLD,
)

from .marts import mart_of


def test_sales_by_country_gold_counts_by_the_country_of_the_customer(sales, rows_of) -> None:
    rows = sales(
        {"country": "Egypt", "location": "Kuwait", "quantity": 5},
        {"country": "Egypt", "location": "UAE"},
        {"country": "Kuwait", "location": "Egypt"},
    )
    assert rows_of(mart_of(SALES_BY_COUNTRY_GOLD, rows)) == [("Egypt", 2), ("Kuwait", 1)]


def test_category_country_performance_gold_counts_each_product_once(sales, rows_of) -> None:
    rows = sales(
        {"product_id": 1, "quantity": 2},
        {"product_id": 1},
        {"product_id": 2, "price": Decimal("0.05"), "quantity": 3},
        {"category": "Electronics"},
        {"country": "Kuwait"},
    )
    assert rows_of(mart_of(CATEGORY_COUNTRY_PERFORMANCE_GOLD, rows)) == [
        ("Egypt", "Electronics", Decimal("10.00"), 1, 1),
        ("Egypt", "Fitness", Decimal("30.15"), 6, 2),
        ("Kuwait", "Fitness", Decimal("10.00"), 1, 1),
    ]


def test_country_detailed_analysis_gold_has_every_measure_by_country(sales, rows_of) -> None:
    rows = sales(
        {"customer_id": 101, "store_id": 1, "product_id": 1, "quantity": 2},
        {"customer_id": 101, "store_id": 2, "product_id": 1},
        {"customer_id": 102, "store_id": 2, "product_id": 2, "price": Decimal("2.50")},
        {"country": "Kuwait", "location": "Egypt", "customer_id": 103},
    )
    assert rows_of(mart_of(COUNTRY_DETAILED_ANALYSIS_GOLD, rows)) == [
        ("Egypt", 2, 2, 3, 4, Decimal("32.50"), 32.5 / 3, 2),
        ("Kuwait", 1, 1, 1, 1, Decimal("10.00"), 10.0, 1),
    ]


def test_average_transaction_value_is_not_rounded(sales) -> None:
    [row] = mart_of(
        COUNTRY_DETAILED_ANALYSIS_GOLD, sales({"price": Decimal("0.01")}, *[{"price": Decimal(0)}] * 2)
    ).collect()
    assert row.avg_transaction_value == 0.01 / 3


def test_revenue_of_a_country_does_not_overflow(sales) -> None:
    rows = sales({"quantity": 1_000_000, "price": Decimal("5000.00")}, {"quantity": 3, "price": Decimal("0.10")})
    [row] = mart_of(COUNTRY_DETAILED_ANALYSIS_GOLD, rows).collect()
    assert row.total_revenue == Decimal("5000000000.30")
    assert mart_of(CATEGORY_COUNTRY_PERFORMANCE_GOLD, rows).collect()[0].revenue == Decimal("5000000000.30")
