from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from deltalake import DeltaTable

from cdp_lib import reconciliation
from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.ops import RECONCILIATION_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, PRODUCTS_SILVER, RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.state import read_states
from cdp_lib.reconciliation import (
    EARLIER,
    WHOLE_TABLE,
    Account,
    describe_imbalance,
    has_imbalance,
    reconcile,
    record_reconciliation,
)

from .warehouse import Warehouse, batch_id_of, customer, product, sale, store


def sell(warehouse: Warehouse) -> None:
    """Land two batches of sales and refresh. In the second, one sale has an unknown customer and one breaks a rule."""
    warehouse.land_sales(
        1, customers=[customer(1)], products=[product(1)], store=[store(1)], transactions=[sale(1), sale(2), sale(3)]
    )
    rows = [sale(3, quantity=9), sale(4, customer_id=9), sale(5, quantity=0)]
    warehouse.land(TRANSACTIONS_BRONZE, 2, *rows, load="increment")
    warehouse.refresh()


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse that has loaded two batches of sales."""
    return filled(sell)


def test_every_row_of_every_table_and_batch_is_accounted_for(shop: Warehouse) -> None:
    accounts = {(account.table_name, account.batch_id): account for account in shop.reconcile()}
    assert [account.complaint for account in accounts.values() if account.missing] == []
    assert {
        key: account for key, account in accounts.items() if key[0] in ("transactions_silver", "retails_silver")
    } == {
        (account.table_name, account.batch_id): account
        for account in (
            Account("transactions_silver", batch_id_of(1), 3, 2, 0, 1),
            Account("transactions_silver", batch_id_of(2), 3, 2, 1, 0),
            Account("transactions_silver", WHOLE_TABLE, 5, 4, 1),
            Account("retails_silver", batch_id_of(1), 2, 2, 0),
            Account("retails_silver", batch_id_of(2), 2, 1, 1),
            Account("retails_silver", WHOLE_TABLE, 4, 3, 1),
        )
    }
    assert accounts["transactions_bronze", WHOLE_TABLE] == Account("transactions_bronze", WHOLE_TABLE, 6, 6)
    assert {name for name, _ in accounts} == {
        name for name, table in shop.graph.tables.items() if table.contract.layer != "gold"
    } & {*read_states(shop.store)}


BY_HAND = [
    (TRANSACTIONS_SILVER, "DELETE FROM {table} WHERE transaction_id = 1", "transactions_silver"),
    (CUSTOMERS_SILVER, "DELETE FROM {table} WHERE customer_id = 1", "customers_silver"),
    (RETAILS_SILVER, "DELETE FROM {table} WHERE transaction_id = 3", "retails_silver, batch {day_2}"),
    (RETAILS_SILVER.quarantine, "DELETE FROM {table} WHERE record_key = '4'", "retails_silver, batch {day_2}"),
    (TRANSACTIONS_SILVER.quarantine, "DELETE FROM {table}", "transactions_silver"),
    (TRANSACTIONS_BRONZE, "DELETE FROM {table} WHERE transaction_id = 2", "transactions_bronze"),
    (
        TRANSACTIONS_SILVER,
        "UPDATE {table} SET _batch_id = 'x' WHERE transaction_id = 1",
        "transactions_silver, batch x",
    ),
]
"""Manual changes of a table. Each has the start of the message that reports the change."""


@pytest.mark.parametrize(("contract", "statement", "complaint"), BY_HAND)
def test_a_row_deleted_or_changed_by_hand_is_reported(
    shop: Warehouse, spark: Any, contract: TableContract, statement: str, complaint: str
) -> None:
    spark.sql(statement.format(table=shop.store.name_of(contract.name))).collect()
    complaint = complaint.format(day_2=batch_id_of(2))
    accounts = shop.reconcile()
    complaints = [account.complaint for account in accounts if account.missing]
    assert any(each.startswith(f"{complaint}:") for each in complaints)
    assert "Something other than this platform has changed the table" in describe_imbalance(accounts)
    assert contract.name.removesuffix("_quarantine") in record_reconciliation(shop.store, accounts)
    rows = shop.rows(RECONCILIATION_OPS, "table_name", "batch_id", "is_balanced")
    assert len(rows) == len(accounts)
    assert not all(is_balanced for *_, is_balanced in rows)


def test_a_row_added_by_hand_is_reported(shop: Warehouse, spark: Any) -> None:
    table = shop.store.name_of(TRANSACTIONS_SILVER.name)
    spark.sql(f"INSERT INTO {table} SELECT * FROM {table} WHERE transaction_id = 1").collect()
    assert "transactions_silver: 5 rows in, but 5 out + 1 quarantined + 0 superseded: 1 too many" in shop.complaints()


def test_balanced_accounts_are_not_reported(shop: Warehouse) -> None:
    accounts = shop.reconcile()
    assert (describe_imbalance(accounts), describe_imbalance([])) == ("", "")
    assert record_reconciliation(shop.store, accounts) == []


def test_accounts_of_an_earlier_reconciliation_are_replaced(shop: Warehouse) -> None:
    record_reconciliation(shop.store, [Account("gone_silver", "a", 1)])
    accounts = shop.reconcile()
    record_reconciliation(shop.store, accounts)
    assert shop.rows(RECONCILIATION_OPS, "is_balanced") == [(True,)] * len(accounts)


def test_unchanged_accounts_are_not_written_again(shop: Warehouse) -> None:
    accounts = shop.reconcile()
    record_reconciliation(shop.store, accounts)
    table = DeltaTable(shop.tables_folder / RECONCILIATION_OPS.name)
    before = table.version()
    record_reconciliation(shop.store, accounts)
    table.update_incremental()
    assert table.version() == before
    assert len(shop.rows(RECONCILIATION_OPS)) == len(accounts)


def test_only_changed_tables_are_counted_again(shop: Warehouse) -> None:
    record_reconciliation(shop.store, shop.reconcile(), shop.graph)
    assert reconcile(shop.store, shop.graph, only_changed=True) == []

    shop.land(TRANSACTIONS_BRONZE, 3, sale(6), load="increment")
    shop.refresh()
    accounts = reconcile(shop.store, shop.graph, only_changed=True)
    assert {"transactions_bronze", "transactions_silver", "retails_silver"} <= {each.table_name for each in accounts}
    assert "customers_silver" not in {each.table_name for each in accounts}
    record_reconciliation(shop.store, accounts, shop.graph)
    kept = {(row[0], row[1]): row[2] for row in shop.rows(RECONCILIATION_OPS, "table_name", "batch_id", "rows_out")}
    assert kept == {(each.table_name, each.batch_id): each.rows_out for each in shop.reconcile()}


def test_unbalanced_tables_are_counted_again_until_they_balance(shop: Warehouse, spark: Any) -> None:
    table = shop.store.name_of(TRANSACTIONS_SILVER.name)
    spark.sql(f"DELETE FROM {table} WHERE transaction_id = 1").collect()
    for _ in range(2):
        accounts = reconcile(shop.store, shop.graph, only_changed=True)
        assert "transactions_silver" in record_reconciliation(shop.store, accounts, shop.graph)
        assert has_imbalance(shop.store)
    shop.mark_for_rewrite("transactions_silver")
    shop.refresh()
    accounts = reconcile(shop.store, shop.graph, only_changed=True)
    assert record_reconciliation(shop.store, accounts, shop.graph) == []
    assert not has_imbalance(shop.store)


def test_old_batches_share_one_account(shop: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "_SINGLE_BATCHES", 1)
    accounts = {each.batch_id: each for each in shop.reconcile() if each.table_name == "transactions_silver"}
    assert accounts == {
        EARLIER: Account("transactions_silver", EARLIER, 3, 2, 0, 1),
        batch_id_of(2): Account("transactions_silver", batch_id_of(2), 3, 2, 1, 0),
        WHOLE_TABLE: Account("transactions_silver", WHOLE_TABLE, 5, 4, 1),
    }
    assert accounts[EARLIER].complaint.startswith("transactions_silver, earlier batches: 3 rows in, ")


def test_an_imbalance_is_described_with_the_number_of_further_ones() -> None:
    missing, surplus = Account("a_silver", "b1", 5, 1, 1, 1), Account("b_silver", WHOLE_TABLE, 2, 3)
    assert (missing.missing, surplus.missing) == (2, -1)
    assert describe_imbalance([Account("c_silver", "b1", 1, 1), missing, surplus]).startswith(
        "a_silver, batch b1: 5 rows in, but 1 out + 1 quarantined + 1 superseded: 2 missing"
        " (and 1 more, in reconciliation_ops). "
    )
    assert surplus.complaint == "b_silver: 2 rows in, but 3 out + 0 quarantined + 0 superseded: 1 too many"


def test_failed_rewriting_and_new_tables_are_not_counted(shop: Warehouse, spark: Any) -> None:
    for contract in (TRANSACTIONS_BRONZE, PRODUCTS_SILVER):
        spark.sql(f"DELETE FROM {shop.store.name_of(contract.name)}").collect()
    assert (
        len({complaint.split(":")[0] for complaint in shop.complaints()} & {"transactions_bronze", "products_silver"})
        == 2
    )
    shop.mark_for_rewrite("products_silver")
    accounts = reconcile(shop.store, shop.graph, held=["transactions_bronze"])
    names = {account.table_name for account in accounts}
    assert "customers_silver" in names
    assert not {"transactions_bronze", "products_silver", "events_silver"} & names
    assert [each.complaint for each in accounts if each.missing and each.table_name == "products_silver"] == []


def test_no_table_is_reconciled_before_the_first_run(warehouse: Warehouse) -> None:
    assert warehouse.reconcile() == []
    assert record_reconciliation(warehouse.store, []) == []
