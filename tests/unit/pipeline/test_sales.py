"""Tests of incremental refreshes of sales and of their inputs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.pipeline.work import RowCounts
from effort import IS_TORTURE

from ..warehouse import Warehouse, batch_id_of, customer, product, sale, store
from .shop import FEBRUARY, MARCH, prices_of_sales, sell

# Only the torture tests kill a run at every commit. The order of commits is the same on every engine.
STEP = 1 if IS_TORTURE else 7


@pytest.mark.torture
@pytest.mark.parametrize(
    ("missing", "arrival", "rule"),
    [
        ({"customer_id": 2}, (CUSTOMERS_BRONZE, [customer(1), customer(2)]), "customer_is_known"),
        ({"product_id": 2}, (PRODUCTS_BRONZE, [product(1), product(2)]), "product_is_known"),
        ({"store_id": 2}, (STORE_BRONZE, [store(1), store(2)]), "store_is_known"),
    ],
    ids=["customer", "product", "store"],
)
def test_a_sale_of_an_unknown_record_leaves_quarantine_when_the_record_arrives(
    shop: Warehouse, missing: dict[str, int], arrival: Any, rule: str
) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH, **missing), load="increment")
    shop.refresh()
    assert shop.broken_rules(RETAILS_SILVER) == {"3": [rule]}
    assert set(prices_of_sales(shop)) == {1, 2}
    assert shop.complaints() == []

    bronze, rows = arrival
    shop.land(bronze, 3, *rows)
    shop.refresh()
    assert shop.broken_rules(RETAILS_SILVER) == {}
    assert set(prices_of_sales(shop)) == {1, 2, 3}
    assert shop.complaints() == []


@pytest.mark.torture
def test_a_deleted_sale_leaves_quarantine(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, customer_id=9), load="increment")
    shop.refresh()
    shop.land(TRANSACTIONS_BRONZE, 3, load="increment", gone=[{"transaction_id": 3}, {"transaction_id": 1}])
    shop.refresh()
    assert shop.broken_rules(RETAILS_SILVER) == {}
    assert set(prices_of_sales(shop)) == {2}
    assert shop.complaints() == []


def test_sales_follow_corrections_and_customer_changes(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(2, FEBRUARY, quantity=7), load="increment")
    shop.land(CUSTOMERS_BRONZE, 2, customer(1, country="UAE"))
    shop.refresh()
    assert shop.rows(RETAILS_SILVER, "transaction_id", "quantity", "country") == [(1, 2, "UAE"), (2, 7, "UAE")]


@pytest.mark.first_engine
def test_only_changed_sales_are_written(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    assert shop.refresh()["retails_silver"].rows == 1


@pytest.mark.first_engine
def test_a_refresh_without_changes_writes_nothing(shop: Warehouse) -> None:
    before = shop.contents()
    assert {*shop.refresh().values()} == {RowCounts()}
    assert shop.contents() == before


@pytest.mark.torture
def test_a_full_refresh_restores_rows_deleted_by_hand(shop: Warehouse, spark: Any) -> None:
    before = shop.contents()
    spark.sql(f"DELETE FROM {shop.store.name_of(RETAILS_SILVER.name)} WHERE transaction_id = 1").collect()
    shop.refresh(full_refresh="true")
    assert shop.contents() == before
    assert shop.complaints() == []


@pytest.mark.first_engine
def test_rows_deleted_by_hand_are_reported(shop: Warehouse, spark: Any) -> None:
    spark.sql(f"DELETE FROM {shop.store.name_of(RETAILS_SILVER.name)} WHERE transaction_id = 1").collect()
    complaint = "2 rows in, but 1 out + 0 quarantined + 0 superseded: 1 missing"
    assert shop.complaints() == [f"retails_silver, batch {batch_id_of(1)}: {complaint}", f"retails_silver: {complaint}"]
    [found] = [each for each in shop.verify(repair=True) if each.is_different]
    assert (found.table_name, str(found.difference)) == ("retails_silver", "1 row missing, 0 too many, 0 changed")
    assert shop.complaints() == []


def disputed() -> tuple[dict[str, Any], ...]:
    """Return two different records of customer 4. Both are refused."""
    return customer(4), customer(4, full_name="Another name")


def second_day(shop: Warehouse) -> None:
    """Land batches with new, corrected, deleted, refused and repaired rows, and with a new price."""
    shop.land(CUSTOMERS_BRONZE, 2, customer(1, country="UAE"), customer(3), *disputed())
    shop.land(PRODUCTS_BRONZE, 2, product(1, "12.00"), product(2))
    rows = [sale(2, FEBRUARY, quantity=3), sale(3, MARCH), sale(4, customer_id=9), sale(5, quantity=0), sale(None)]
    shop.land(TRANSACTIONS_BRONZE, 2, *rows, load="increment", gone=[{"transaction_id": 1}])


@pytest.mark.first_engine  # tests/faults kills runs too, and make torture kills runs of a second engine
def test_tables_are_right_after_a_killed_refresh_is_repeated(filled: Callable[..., Warehouse], tmp_path: Path) -> None:
    shop = filled(sell)
    copy = tmp_path / "copy"
    second_day(shop)
    shutil.copytree(shop.tables_folder, copy)
    shop.refresh()
    expected, accounts = shop.contents(), shop.reconcile()
    assert shop.complaints() == []
    commit = 0
    while True:
        shop.restore(copy)
        if not shop.is_killed_at(commit):
            break
        shop.refresh()
        assert shop.contents() == expected, commit
        assert shop.reconcile() == accounts, commit
        commit += STEP
    assert commit > 20
