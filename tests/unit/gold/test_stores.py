from decimal import Decimal

from cdp_lib.contracts.gold import STORE_CUSTOMER_ANALYSIS_GOLD, STORE_PRODUCT_PERFORMANCE_GOLD

from .marts import mart_of


def test_store_product_performance_gold_has_one_row_per_store_and_product(sales, rows_of) -> None:
    rows = sales(
        {"store_id": 1, "product_id": 1, "quantity": 2},
        {"store_id": 1, "product_id": 1, "price": Decimal("0.33")},
        {"store_id": 1, "product_id": 2, "product_name": "Dumbbell Set"},
        {"store_id": 2, "store_name": "Mega Plaza"},
    )
    assert rows_of(mart_of(STORE_PRODUCT_PERFORMANCE_GOLD, rows)) == [
        (1, "City Mall Store", 1, "Yoga Mat", 3, Decimal("20.33")),
        (1, "City Mall Store", 2, "Dumbbell Set", 1, Decimal("10.00")),
        (2, "Mega Plaza", 1, "Yoga Mat", 1, Decimal("10.00")),
    ]


def test_store_customer_analysis_gold_has_location_of_store(sales, rows_of) -> None:
    rows = sales(
        {"store_id": 1, "country": "Egypt", "location": "UAE", "customer_id": 101},
        {"store_id": 1, "country": "Kuwait", "location": "UAE", "customer_id": 102},
        {"store_id": 2, "store_name": "Mega Plaza", "location": "Kuwait"},
    )
    assert rows_of(mart_of(STORE_CUSTOMER_ANALYSIS_GOLD, rows)) == [
        (1, "City Mall Store", "UAE", 2, 2, 1.0),
        (2, "Mega Plaza", "Kuwait", 1, 1, 1.0),
    ]


def test_average_transactions_per_customer_is_not_rounded(sales) -> None:
    rows = sales(*({"customer_id": customer} for customer in (101, 101, 102, 103)))
    assert mart_of(STORE_CUSTOMER_ANALYSIS_GOLD, rows).collect()[0].avg_transactions_per_customer == 4 / 3


def test_revenue_of_a_store_does_not_overflow(sales) -> None:
    [row] = mart_of(
        STORE_PRODUCT_PERFORMANCE_GOLD, sales({"quantity": 2_000_000, "price": Decimal("5000.00")})
    ).collect()
    assert row.revenue_generated == 10_000_000_000
