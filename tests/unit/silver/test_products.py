import json
from decimal import Decimal

from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import PRODUCTS_SILVER
from cdp_lib.quality import VALUES_FIT, check_snapshot
from cdp_lib.silver.products import build_products_silver

MAT = {"product_id": 3, "product_name": "Yoga Mat", "category": "Fitness", "price": Decimal("499.00")}


def test_build_products_silver_cleans_names_and_keeps_the_price_to_the_cent(bronze_rows) -> None:
    received = MAT | {"product_name": " Yoga  Mat ", "category": "Fitness\n", "price": Decimal("499.90")}
    [row] = build_products_silver(bronze_rows(PRODUCTS_BRONZE, received)).collect()
    assert tuple(row[name] for name in PRODUCTS_SILVER.column_names) == (3, "Yoga Mat", "Fitness", Decimal("499.90"))


def test_a_product_whose_price_did_not_fit_is_in_quarantine_with_the_price_as_received(bronze_rows) -> None:
    received = MAT | {"price": None, "_rescued_data": '{"price":"EUR 5"}'}
    checked = check_snapshot(build_products_silver(bronze_rows(PRODUCTS_BRONZE, received)), PRODUCTS_SILVER)
    [refused] = checked.refused.collect()
    assert refused.broken_rules == [VALUES_FIT, "price_is_not_negative"]
    assert json.loads(json.loads(refused.record)["_rescued_data"]) == {"price": "EUR 5"}


def test_a_product_with_a_blank_name_is_in_quarantine_because_it_has_none(bronze_rows) -> None:
    rows = build_products_silver(bronze_rows(PRODUCTS_BRONZE, MAT | {"product_name": " "}))
    assert check_snapshot(rows, PRODUCTS_SILVER).refused.collect()[0].broken_rules == ["product_name_is_present"]
