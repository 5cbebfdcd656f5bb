"""Tests of compaction: tables get the same rows as without compaction, whichever batches land later."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import (
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    PRODUCTS_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.consent import CONSENT_EVENTS_SILVER
from cdp_lib.contracts.silver import (
    CONSENTS_SILVER,
    CRM_CONTACTS_SILVER,
    EVENTS_SILVER,
    PRODUCT_PRICES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.pipeline.compaction import CompactedTable, late_batch_messages, remove_old_batches
from cdp_lib.storage import open_store

from ..warehouse import OF_SALES, Warehouse, batch_id_of, customer, extracted_at, product, sale
from .shop import FEBRUARY, JANUARY, sell

TABLES = (*OF_SALES, EVENTS_SILVER, CRM_CONTACTS_SILVER, CONSENTS_SILVER, CONSENT_EVENTS_SILVER)


def event(number: int, name: str, **values: Any) -> dict[str, Any]:
    given = {"event_id": f"e{number}", "event_type": "page_view", "occurred_at": "2026-02-01T00:00:00Z"}
    return {**given, "customer_id": "1", "_source_file": name, **values}


def contact(name: str, **values: Any) -> dict[str, Any]:
    return {"contactid": name, "fullname": name, "modifiedon": "2026-02-01T00:00:00Z", **values}


def trade(warehouse: Warehouse) -> None:
    """Land and refresh several days with new, corrected, deleted and refused rows."""
    sell(warehouse)
    warehouse.land(TRANSACTIONS_BRONZE, 2, sale(2, FEBRUARY, quantity=3), sale(3, customer_id=9), load="increment")
    warehouse.land(TRANSACTIONS_BRONZE, 3, sale(4), load="increment", gone=[{"transaction_id": 1}])
    warehouse.land(CUSTOMERS_BRONZE, 3, customer(1, country="UAE"), customer(4), customer(4, full_name="B"))
    for day, price in ((2, "12.00"), (3, "12.00"), (4, "10.00")):
        warehouse.land(PRODUCTS_BRONZE, day, product(1, price))
    warehouse.land(EVENTS_BRONZE, 1, event(1, "a"), event(2, "a"), load="files")
    warehouse.land(
        EVENTS_BRONZE, 2, event(1, "b", event_type="checkout"), event(3, "b", occurred_at=None), load="files"
    )
    warehouse.land(EVENTS_BRONZE, 3, event(2, "a"), load="files")
    warehouse.land(CRM_CONTACTS_BRONZE, 1, contact("c1", cdp_emailconsent="true"), contact("c2"))
    warehouse.land(CRM_CONTACTS_BRONZE, 2, contact("c1", fullname="C"), load="increment", gone=[{"contactid": "c2"}])
    warehouse.land(CRM_CONTACTS_BRONZE, 3, contact("c3", cdp_smsconsent="false"), load="increment")
    warehouse.refresh(*TABLES)


def land_later_batches(warehouse: Warehouse) -> None:
    """Land and refresh later batches. Some of these batches change rows of the oldest batches."""
    warehouse.land(TRANSACTIONS_BRONZE, 5, sale(2, JANUARY), load="increment", gone=[{"transaction_id": 4}])
    warehouse.land(CUSTOMERS_BRONZE, 5, customer(1), customer(9))
    warehouse.land(PRODUCTS_BRONZE, 5, product(1, "11.00", updated_at="2026-03-02T00:00:00Z"))
    warehouse.land(EVENTS_BRONZE, 5, event(7, "b"), load="files")
    warehouse.land(CRM_CONTACTS_BRONZE, 5, contact("c2"), load="increment", gone=[{"contactid": "c1"}])
    warehouse.refresh(*TABLES)


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse that has loaded the batches of several days."""
    return filled(trade)


def compact(warehouse: Warehouse) -> list[CompactedTable]:
    """Compact all old batches, as if a month had passed since they landed."""
    return remove_old_batches(warehouse.store, warehouse.landing, 30, extracted_at(30) + timedelta(days=30))


def contents_of(warehouse: Warehouse) -> dict[str, Any]:
    contents = warehouse.contents(*TABLES)
    assert warehouse.complaints() == []
    return contents


@pytest.mark.first_engine
@pytest.mark.parametrize("parameters", [{}, {"full_refresh": "true"}], ids=["incremental", "full refresh"])
def test_tables_get_the_same_rows_after_compaction(
    shop: Warehouse, tmp_path: Path, spark: Any, parameters: dict[str, str]
) -> None:
    kept, kept_landing = tmp_path / "kept", tmp_path / "kept_landing"
    shutil.copytree(shop.tables_folder, kept)
    shutil.copytree(shop.folder, kept_landing)
    land_later_batches(shop)
    expected = contents_of(shop)

    shutil.rmtree(shop.folder)
    shutil.copytree(kept_landing, shop.folder)
    shop.restore(kept)
    compacted = compact(shop)
    assert {each.table_name: each.batches for each in compacted} == {
        "crm_contacts_bronze": 2,
        "customers_bronze": 1,
        "events_bronze": 2,
        "products_bronze": 3,
        "transactions_bronze": 2,
    }
    # Tables that keep past rows also get tombstones, so a few batches may need as many rows as before.
    assert [each.rows_after < each.rows_before for each in compacted].count(True) >= 2
    assert shop.landing.batch_ids("database", "products") == [batch_id_of(4)]
    land_later_batches(shop)
    if parameters:
        shop.refresh(*TABLES, **parameters)
    assert contents_of(shop) == expected


def test_compaction_keeps_every_price_change(shop: Warehouse) -> None:
    prices = shop.rows(PRODUCT_PRICES_SILVER)
    assert len(prices) == 3
    compact(shop)
    shop.refresh(*TABLES, full_refresh="true")
    assert shop.rows(PRODUCT_PRICES_SILVER) == prices


@pytest.mark.first_engine
def test_lost_state_keeps_rows_of_removed_batches(shop: Warehouse, spark: Any, catalog: str, schema: str) -> None:
    expected = contents_of(shop)
    compact(shop)
    spark.sql(f"DROP TABLE {shop.store.name_of('table_state_ops')}").collect()
    shutil.rmtree(shop.tables_folder / "table_state_ops")
    shop.store = open_store(spark, catalog, schema)
    shop.refresh(*TABLES)
    assert contents_of(shop) == expected


@pytest.mark.first_engine
def test_batches_stay_until_downstream_tables_have_read_them(shop: Warehouse) -> None:
    shop.land(PRODUCTS_BRONZE, 6, product(1, "13.00"))
    shop.run("products_bronze", "products_silver")
    skipped = {each.table_name: each.skip_reason for each in compact(shop) if each.skip_reason}
    assert skipped == {
        "products_bronze": "a downstream table has not read the newest rows: refresh the downstream tables first"
    }
    assert len(shop.landing.batch_ids("database", "products")) == 5


@pytest.mark.first_engine
def test_batches_that_landed_too_late_are_reported_and_kept(shop: Warehouse) -> None:
    shop.land(PRODUCTS_BRONZE, 20, product(1, "14.00"))
    shop.refresh(*TABLES)
    shop.land(PRODUCTS_BRONZE, 12, product(2, "15.00"))
    shop.land(TRANSACTIONS_BRONZE, 30, sale(9), load="increment")
    shop.land(TRANSACTIONS_BRONZE, 23, sale(8), load="increment")
    shop.refresh(*TABLES)
    late = f"batch {batch_id_of(12)} landed more than 7 days late and is not loaded"
    messages = {
        "products_bronze": f"{late}: run with replay_from={batch_id_of(12)}, or delete the folders of the late batches"
    }
    assert late_batch_messages(shop.store, shop.landing) == messages
    assert {each.table_name: each.skip_reason for each in compact(shop) if each.skip_reason} == messages
    assert batch_id_of(12) in shop.landing.batch_ids("database", "products")
    assert {8, 9} <= {row[0] for row in shop.rows(TRANSACTIONS_SILVER, "transaction_id")}
    shop.refresh(*TABLES, replay_from=batch_id_of(12))
    assert late_batch_messages(shop.store, shop.landing) == {}
    assert compact(shop)


@pytest.mark.first_engine
def test_young_batches_and_the_newest_batch_stay(shop: Warehouse) -> None:
    assert remove_old_batches(shop.store, shop.landing, 30, extracted_at(30)) == []
    assert remove_old_batches(shop.store, shop.landing, 0, datetime(2026, 3, 9, tzinfo=UTC)) != []
    assert shop.landing.batch_ids("database", "stores") == [batch_id_of(1)]


@pytest.mark.first_engine
def test_killed_compaction_loses_no_row(shop: Warehouse, tmp_path: Path) -> None:
    expected = contents_of(shop)
    kept, kept_landing = tmp_path / "kept", tmp_path / "kept_landing"
    shutil.copytree(shop.tables_folder, kept)
    shutil.copytree(shop.folder, kept_landing)
    commit = 0
    while True:
        shutil.rmtree(shop.folder)
        shutil.copytree(kept_landing, shop.folder)
        shop.restore(kept)
        if not shop.dies_at(commit, lambda: compact(shop)):
            break
        compact(shop)
        shop.refresh(*TABLES, full_refresh="true")
        assert contents_of(shop) == expected, commit
        commit += 4
    assert commit >= 12
