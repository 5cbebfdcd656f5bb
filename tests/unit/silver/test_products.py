import json
from decimal import Decimal

from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import PRODUCTS_SILVER
from cdp_lib.contracts.table import VALUES_FIT
from cdp_lib.silver.products import build_products_silver

MAT = {"product_id": 3, "product_name": "Yoga Mat", "category": "Fitness", "price": Decimal("499.00")}


def test_build_products_silver_cleans_names_and_keeps_the_price_to_the_cent(bronze_rows) -> None:
    received = MAT | {"product_name": " Yoga  Mat ", "category": "Fitness\n", "price": Decimal("499.90")}
    [row] = build_products_silver(bronze_rows(PRODUCTS_BRONZE, received)).collect()
    assert [row[name] for name in MAT] == [3, "Yoga Mat", "Fitness", Decimal("499.90")]


def test_build_products_silver_parses_updated_at(bronze_rows) -> None:
    rows = build_products_silver(bronze_rows(PRODUCTS_BRONZE, MAT | {"updated_at": "2026-01-30 06:00:00.25"}))
    assert rows.selectExpr("unix_millis(updated_at)").collect() == [(1769752800250,)]


def test_product_with_a_rescued_price_is_rejected_with_the_price_as_received(bronze_rows, verdicts) -> None:
    received = MAT | {"price": None, "_rescued_data": '{"price":"EUR 5"}'}
    [rejected] = verdicts(build_products_silver(bronze_rows(PRODUCTS_BRONZE, received)), PRODUCTS_SILVER)
    assert rejected.broken_rules == [VALUES_FIT.name, "price_is_not_negative"]
    assert json.loads(json.loads(rejected.record)["_rescued_data"]) == {"price": "EUR 5"}


def test_product_with_only_a_number_and_a_price_is_kept(bronze_rows, verdicts) -> None:
    received = {"product_id": 3, "product_name": None, "category": "  ", "price": Decimal("499.00")}
    [kept] = verdicts(build_products_silver(bronze_rows(PRODUCTS_BRONZE, received)), PRODUCTS_SILVER)
    assert (kept.broken_rules, kept["product_name"], kept["category"]) == ([], "unknown", "unknown")
    assert kept["_warnings"] == ["product_name_is_present", "category_is_present"]
