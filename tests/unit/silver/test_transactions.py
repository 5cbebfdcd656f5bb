from datetime import date

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import TRANSACTIONS_SILVER
from cdp_lib.silver.transactions import TRANSACTIONS, build_transactions_silver

SALE = {
    "transaction_id": 31,
    "customer_id": 101,
    "product_id": 1,
    "store_id": 2,
    "quantity": 3,
    "transaction_date": date(2025, 4, 1),
}


def test_build_transactions_silver_keeps_values_and_batch_of_a_sale(bronze_rows) -> None:
    [row] = build_transactions_silver(bronze_rows(TRANSACTIONS_BRONZE, SALE | {"_batch_id": "b7"})).collect()
    assert {name: row[name] for name in SALE} == SALE
    assert (row["updated_at"], row["_batch_id"], row["_rescued_data"]) == (None, "b7", None)


def test_build_transactions_silver_keeps_sales_without_references(bronze_rows, verdicts) -> None:
    rows = bronze_rows(TRANSACTIONS_BRONZE, SALE | {"customer_id": None, "product_id": None, "store_id": None})
    [verdict] = verdicts(build_transactions_silver(rows), TRANSACTIONS_SILVER)
    assert (verdict.broken_rules, verdict["_warnings"]) == ([], [])


def test_build_transactions_silver_parses_updated_at(bronze_rows) -> None:
    rows = bronze_rows(TRANSACTIONS_BRONZE, SALE | {"updated_at": "2026-01-30 06:00:00"})
    assert build_transactions_silver(rows).selectExpr("unix_seconds(updated_at)").collect() == [(1769752800,)]


def test_columns_whose_source_has_no_value_have_none(bronze_rows) -> None:
    names = TRANSACTIONS.may_lack[TRANSACTIONS_BRONZE]
    [row] = build_transactions_silver(bronze_rows(TRANSACTIONS_BRONZE, SALE | dict.fromkeys(names))).collect()
    assert {name: row[name] for name in names.values()} == dict.fromkeys(names.values())
