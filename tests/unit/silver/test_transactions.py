from datetime import date

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import TRANSACTIONS_SILVER
from cdp_lib.quality import check_snapshot
from cdp_lib.silver.transactions import build_transactions_silver

SALE = {
    "transaction_id": 31,
    "customer_id": 101,
    "product_id": 1,
    "store_id": 1,
    "quantity": 3,
    "transaction_date": date(2025, 4, 1),
}


def test_build_transactions_silver_keeps_a_sale_as_it_is_with_its_batch(bronze_rows, rows_of) -> None:
    rows = build_transactions_silver(bronze_rows(TRANSACTIONS_BRONZE, SALE | {"_batch_id": "b7"}))
    checked = check_snapshot(rows, TRANSACTIONS_SILVER)
    assert rows_of(checked.kept) == [(31, 101, 1, 1, 3, date(2025, 4, 1), "b7")]


def test_build_transactions_silver_keeps_sales_that_name_nobody(bronze_rows) -> None:
    rows = bronze_rows(TRANSACTIONS_BRONZE, SALE | {"customer_id": None, "product_id": None, "store_id": None})
    assert check_snapshot(build_transactions_silver(rows), TRANSACTIONS_SILVER).kept.count() == 1


def test_a_sale_of_nothing_is_in_quarantine(bronze_rows) -> None:
    rows = bronze_rows(TRANSACTIONS_BRONZE, SALE | {"quantity": 0}, SALE | {"transaction_id": 32, "quantity": -1})
    checked = check_snapshot(build_transactions_silver(rows), TRANSACTIONS_SILVER)
    assert [row.broken_rules for row in checked.refused.collect()] == [["quantity_is_positive"]] * 2
