from decimal import Decimal

import pytest

from cdp_lib.contracts.gold import CUSTOMER_PRODUCT_AFFINITY_GOLD, PRICE_SEGMENT_ANALYSIS_GOLD, PRODUCT_PERFORMANCE_GOLD
from cdp_lib.gold.price_segment_analysis import build_price_segment_analysis_gold, terciles

from .marts import mart_of


def test_product_performance_gold_has_one_row_per_product(sales, rows_of) -> None:
    rows = sales(
        {"product_id": 1, "customer_id": 101, "quantity": 2},
        {"product_id": 1, "customer_id": 101},
        {"product_id": 1, "customer_id": 102},
        {"product_id": 2, "product_name": "Dumbbell Set", "price": Decimal("1999.99")},
    )
    assert rows_of(mart_of(PRODUCT_PERFORMANCE_GOLD, rows)) == [
        (1, "Yoga Mat", "Fitness", 4, Decimal("40.00"), 3, 2),
        (2, "Dumbbell Set", "Fitness", 1, Decimal("1999.99"), 1, 1),
    ]


def test_price_segment_analysis_gold_splits_at_500_and_1500(sales, rows_of) -> None:
    prices = ["499.99", "500.00", "1499.99", "1500.00"]
    rows = sales(*({"price": Decimal(price), "quantity": 2} for price in prices), {"category": "Electronics"})
    assert rows_of(mart_of(PRICE_SEGMENT_ANALYSIS_GOLD, rows)) == [
        ("Budget", "Electronics", 1, 1, Decimal("10.00")),
        ("Budget", "Fitness", 1, 2, Decimal("999.98")),
        ("Mid-Range", "Fitness", 2, 4, Decimal("3999.98")),
        ("Premium", "Fitness", 1, 2, Decimal("3000.00")),
    ]


def test_price_segment_uses_unit_price(sales) -> None:
    rows = sales({"price": Decimal("499.00"), "quantity": 100})
    assert [row.price_segment for row in mart_of(PRICE_SEGMENT_ANALYSIS_GOLD, rows).collect()] == ["Budget"]


def test_automatic_price_bands_divide_the_sales_into_thirds(sales) -> None:
    rows = sales(*({"price": Decimal(price)} for price in ("0.99", "1.49", "2.50", "3.99", "12.346", "12.341")))
    assert terciles(rows) == (Decimal("2.50"), Decimal("12.30"))
    segments = {
        row.price_segment: row.transaction_count
        for row in build_price_segment_analysis_gold(rows, None, None).collect()
    }
    assert segments == {"Budget": 2, "Mid-Range": 2, "Premium": 2}


@pytest.mark.parametrize("prices", [[], ["7"], ["7", "7", "7"]])
def test_automatic_price_bands_of_a_single_price_give_one_segment(sales, prices: list[str]) -> None:
    rows = sales(*({"price": Decimal(price)} for price in prices))
    segments = [row.price_segment for row in build_price_segment_analysis_gold(rows, None, None).collect()]
    assert segments == ["Budget"] * bool(prices)


def test_customer_product_affinity_gold_counts_quantity_and_transactions(sales, rows_of) -> None:
    rows = sales(
        {"customer_id": 101, "product_id": 1, "quantity": 3},
        {"customer_id": 101, "product_id": 1, "quantity": 2},
        {"customer_id": 101, "product_id": 2, "product_name": "Dumbbell Set"},
        {"customer_id": 102, "full_name": None, "product_id": 1},
    )
    assert rows_of(mart_of(CUSTOMER_PRODUCT_AFFINITY_GOLD, rows)) == [
        (101, "Alba Ackerfeld", 1, "Yoga Mat", "Fitness", 5, 2),
        (101, "Alba Ackerfeld", 2, "Dumbbell Set", "Fitness", 1, 1),
        (102, None, 1, "Yoga Mat", "Fitness", 1, 1),
    ]


def test_customers_with_equal_names_are_separate(sales) -> None:
    assert mart_of(CUSTOMER_PRODUCT_AFFINITY_GOLD, sales({"customer_id": 101}, {"customer_id": 102})).count() == 2


def test_revenue_of_a_product_does_not_overflow(sales) -> None:
    rows = sales(*[{"price": Decimal("99999999999999.99")}] * 3)
    expected = Decimal("299999999999999.97")
    assert mart_of(PRODUCT_PERFORMANCE_GOLD, rows).collect()[0].total_revenue == expected
    assert mart_of(PRICE_SEGMENT_ANALYSIS_GOLD, rows).collect()[0].total_revenue == expected
