"""Tests that an incremental refresh of a mart gives the same rows as building the mart from its whole input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import CATEGORY_MONTHLY_SALES_GOLD, MONTHLY_SALES_GOLD, STORE_PRODUCT_PERFORMANCE_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.pipeline import change_sets
from cdp_lib.storage import open_store
from effort import IS_TORTURE

from ..warehouse import MARTS, Warehouse, customer, product, sale, store
from .shop import FEBRUARY, JANUARY, MARCH, sell

# Only the torture tests kill a run at every commit.
STEP = 1 if IS_TORTURE else 4

BANDS = (Decimal(500), Decimal(1500))

LANDINGS: dict[str, Callable[[Warehouse, int], object]] = {
    "new": lambda shop, day: shop.land(TRANSACTIONS_BRONZE, day, sale(3, MARCH, quantity=5), load="increment"),
    "late": lambda shop, day: shop.land(TRANSACTIONS_BRONZE, day, sale(4, JANUARY), load="increment"),
    "corrected": lambda shop, day: shop.land(TRANSACTIONS_BRONZE, day, sale(1, MARCH, quantity=9), load="increment"),
    "deleted": lambda shop, day: shop.land(
        TRANSACTIONS_BRONZE, day, load="increment", gone=[{"transaction_id": 2}, {"transaction_id": 1}]
    ),
    "a product is renamed": lambda shop, day: shop.land(
        PRODUCTS_BRONZE, day, product(1, product_name="Mat", category="Fitness")
    ),
    "a price changes": lambda shop, day: shop.land(
        PRODUCTS_BRONZE, day, product(1, "1600.00", updated_at="2026-02-01T00:00:00Z")
    ),
    "a customer has no name": lambda shop, day: shop.land(CUSTOMERS_BRONZE, day, customer(1, full_name=None)),
    "a customer moves": lambda shop, day: shop.land(CUSTOMERS_BRONZE, day, customer(1, country="UAE")),
    "a store is renamed": lambda shop, day: shop.land(STORE_BRONZE, day, store(1, store_name="S", location="UAE")),
    "all sales again": lambda shop, day: shop.land(TRANSACTIONS_BRONZE, day, sale(1, JANUARY), sale(2, FEBRUARY)),
    "a customer goes": lambda shop, day: shop.land(CUSTOMERS_BRONZE, day, customer(2)),
}


def expected(shop: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Build each mart from its whole inputs, and return the rows."""
    rows = {}
    for contract in MARTS:
        table = shop.graph.tables[contract.name]
        settings = {name: BANDS if name == "price_bands" else None for name in table.settings}
        built = table.build(*map(shop.store.read, table.reads), **settings)
        rows[contract.name] = sorted(map(tuple, built.collect()), key=repr)
    return rows


def marts(shop: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Return the stored rows of the marts."""
    return {contract.name: shop.rows(contract) for contract in MARTS}


NAMES = [contract.name for contract in MARTS]


def refresh(shop: Warehouse, **parameters: str) -> list[str]:
    """Refresh sales and marts; return the marts that were due."""
    due = shop.refreshed(*(f"+{name}" for name in NAMES), **parameters)
    return [name for name in due if name in NAMES]


@pytest.fixture
def mall(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse with two sales and their marts."""
    return filled(sell_and_sum)


def sell_and_sum(warehouse: Warehouse) -> None:
    """Land and refresh two sales, and refresh their marts."""
    sell(warehouse)
    refresh(warehouse)


@pytest.mark.first_engine  # on other engines, one refresh covers all changes
def test_marts_follow_every_kind_of_change(mall: Warehouse) -> None:
    for day, (kind, land) in enumerate(LANDINGS.items(), 2):
        land(mall, day)
        assert refresh(mall), kind
        assert marts(mall) == expected(mall), kind


def test_marts_that_missed_runs_catch_up(mall: Warehouse) -> None:
    for day, kinds in enumerate((("new", "a product is renamed"), ("corrected", "late", "a customer moves")), 2):
        for hour, kind in enumerate(kinds):
            LANDINGS[kind](mall, 3 * day + hour)
        mall.refresh()
    assert refresh(mall)
    assert marts(mall) == expected(mall)


@pytest.mark.first_engine
def test_only_changed_keys_are_rebuilt(mall: Warehouse) -> None:
    """Rows of other months that were edited by hand stay until a full refresh.

    The edit keeps the sum of the mart, because a refresh compares it with silver.
    """
    rows = mall.store.read(CATEGORY_MONTHLY_SALES_GOLD)
    edited = sf.when(rows.sale_month == JANUARY.replace(day=1), rows.quantity + 100).otherwise(rows.quantity - 100)
    mall.store.replace(CATEGORY_MONTHLY_SALES_GOLD, rows.withColumn("quantity", edited.cast("decimal(38,3)")))
    LANDINGS["new"](mall, 2)
    refresh(mall)
    quantities = [(JANUARY.replace(day=1), 102), (FEBRUARY.replace(day=1), -98), (MARCH.replace(day=1), 5)]
    assert mall.rows(CATEGORY_MONTHLY_SALES_GOLD, "sale_month", "quantity") == quantities
    refresh(mall, full_refresh="true")
    assert marts(mall) == expected(mall)


@pytest.mark.torture
def test_marts_are_not_due_without_changes(mall: Warehouse) -> None:
    assert refresh(mall) == []
    mall.land(TRANSACTIONS_BRONZE, 2, sale(1, JANUARY), load="increment")
    mall.refresh()
    before = marts(mall)
    refresh(mall)
    assert marts(mall) == before


@pytest.mark.first_engine
def test_as_of_in_the_past_and_back(mall: Warehouse) -> None:
    refresh(mall, as_of="2026-01-31")
    assert mall.rows(MONTHLY_SALES_GOLD, "transaction_month", "monthly_transactions") == [(1, 1)]
    LANDINGS["late"](mall, 2)
    refresh(mall, as_of="2026-01-31")
    assert mall.rows(MONTHLY_SALES_GOLD, "transaction_month", "monthly_transactions") == [(1, 2)]
    refresh(mall)
    assert marts(mall) == expected(mall)


@pytest.mark.first_engine
def test_a_dropped_mart_is_rebuilt(mall: Warehouse, spark: Any, catalog: str, schema: str) -> None:
    spark.sql(f"DROP TABLE {mall.store.name_of(STORE_PRODUCT_PERFORMANCE_GOLD.name)}").collect()
    mall.store = open_store(spark, catalog, schema)
    assert "store_product_performance_gold" in refresh(mall)
    assert marts(mall) == expected(mall)


@pytest.mark.first_engine
def test_a_mart_is_rebuilt_if_change_sets_it_needs_are_deleted(
    mall: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_sets, "MAX_CHANGE_SETS", 2)
    monkeypatch.setattr(change_sets, "_VERSIONS_BETWEEN_REMOVALS", 1)
    for day, kind in enumerate(("new", "late", "corrected", "deleted"), 2):
        LANDINGS[kind](mall, day)
        mall.refresh()
    kept = mall.store.read(RETAILS_SILVER.changes).select("_change_set").distinct().count()
    assert kept <= 3
    refresh(mall)
    assert marts(mall) == expected(mall)


@pytest.mark.first_engine
def test_marts_are_right_after_a_killed_refresh_is_repeated(mall: Warehouse, tmp_path: Path) -> None:
    LANDINGS["new"](mall, 2)
    LANDINGS["a customer moves"](mall, 2)
    mall.refresh()
    copy = tmp_path / "copy"
    shutil.copytree(mall.tables_folder, copy)
    for commit in range(0, 60, STEP):
        mall.restore(copy)
        if not mall.dies_at(commit, lambda: refresh(mall)):
            break
        refresh(mall)
        assert marts(mall) == expected(mall), commit
    assert commit > len(MARTS) - STEP
