from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.ops import RECONCILIATION_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.reconciliation import record_reconciliation
from cdp_lib.runs import Account, BatchChange, Change

from .warehouse import Warehouse, batch_id_of, customer, product, sale, store


def sell(warehouse: Warehouse) -> None:
    """Sales of two batches, one of them waiting and one refused."""
    warehouse.land_sales(
        1, customers=[customer(1)], products=[product(1)], store=[store(1)], transactions=[sale(1), sale(2), sale(3)]
    )
    rows = [sale(3, quantity=9), sale(4, customer_id=9), sale(5, quantity=0)]
    warehouse.land(TRANSACTIONS_BRONZE, 2, *rows, load="increment")
    warehouse.refresh()


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """The warehouse of a shop that has sold."""
    return filled(sell)


def test_every_row_of_every_batch_is_accounted_for(shop: Warehouse) -> None:
    accounts = {(one.table_name, one.batch_id): one.account for one in shop.reconcile()}
    assert all(account.is_balanced for account in accounts.values())
    assert accounts["transactions_silver", batch_id_of(1)] == Account(3, 2, 0, 1)
    assert accounts["transactions_silver", batch_id_of(2)] == Account(3, 2, 1, 0)
    assert accounts["retails_silver", batch_id_of(2)] == Account(2, 1, 1, 0)
    assert accounts["transactions_bronze", batch_id_of(2)] == Account(3, 3)


@pytest.mark.parametrize(
    ("contract", "statement", "complaint"),
    [
        (TRANSACTIONS_SILVER, "DELETE FROM {table} WHERE transaction_id = 1", "transactions_silver, batch {day_1}"),
        (CUSTOMERS_SILVER, "DELETE FROM {table} WHERE customer_id = 1", "customers_silver, batch {day_1}"),
        (RETAILS_SILVER, "DELETE FROM {table} WHERE transaction_id = 3", "retails_silver, batch {day_2}"),
        (RETAILS_SILVER.quarantine, "DELETE FROM {table} WHERE record_key = '4'", "retails_silver, batch {day_2}"),
        (TRANSACTIONS_SILVER.quarantine, "DELETE FROM {table}", "transactions_silver, batch {day_2}"),
        (TRANSACTIONS_BRONZE, "DELETE FROM {table} WHERE transaction_id = 2", "transactions_bronze, batch {day_1}"),
        (
            TRANSACTIONS_SILVER,
            "UPDATE {table} SET _batch_id = 'x' WHERE transaction_id = 1",
            "transactions_silver, batch x",
        ),
    ],
)
def test_a_row_removed_or_moved_by_hand_is_missed_in_its_table_and_batch(
    shop: Warehouse, spark: Any, contract: Any, statement: str, complaint: str
) -> None:
    spark.sql(statement.format(table=shop.tables.name_of(contract))).collect()
    complaint = complaint.format(day_1=batch_id_of(1), day_2=batch_id_of(2))
    reconciled = shop.reconcile()
    complaints = [one.complaint for one in reconciled if not one.account.is_balanced]
    assert any(said.startswith(f"{complaint}:") for said in complaints)
    with pytest.raises(CdpError, match="Something besides this platform has changed the table"):
        record_reconciliation(shop.tables, reconciled)
    rows = shop.rows(RECONCILIATION_OPS, "table_name", "batch_id", "is_balanced")
    assert len(rows) == len(reconciled)
    assert not all(is_balanced for *_, is_balanced in rows)


def test_a_row_added_by_hand_is_one_too_many(shop: Warehouse, spark: Any) -> None:
    table = shop.tables.name_of(TRANSACTIONS_SILVER)
    spark.sql(f"INSERT INTO {table} SELECT * FROM {table} WHERE transaction_id = 1").collect()
    assert (
        f"transactions_silver, batch {batch_id_of(1)}: 3 rows in, but 3 out + 0 quarantined + 1 superseded: 1 too many"
        in (shop.complaints())
    )


def test_what_adds_up_is_written_once(shop: Warehouse) -> None:
    reconciled = shop.reconcile()
    for _ in range(2):
        record_reconciliation(shop.tables, reconciled)
    assert shop.rows(RECONCILIATION_OPS, "is_balanced") == [(True,)] * len(reconciled)


def test_a_table_whose_task_has_not_ended_holds_up_no_other(shop: Warehouse) -> None:
    change = Change("20990101T000000Z-1.1", {batch_id_of(2): BatchChange(Account(3, 0, 0, 3))})
    shop.log().plan(TRANSACTIONS_SILVER, change)
    reconciled = shop.reconcile()
    assert "transactions_silver" not in {one.table_name for one in reconciled}
    assert all(one.account.is_balanced for one in reconciled)


def test_bronze_rows_that_retention_has_deleted_are_counted_as_they_were(shop: Warehouse, spark: Any) -> None:
    table = shop.tables.name_of(TRANSACTIONS_BRONZE)
    spark.sql(f"DELETE FROM {table} WHERE _batch_id = '{batch_id_of(1)}'").collect()
    assert shop.complaints() == []
