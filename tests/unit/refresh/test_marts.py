"""Marts follow changes of sales, and are what all sales make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import MONTHLY_SALES_GOLD, SALES_BY_COUNTRY_GOLD, STORE_PRODUCT_PERFORMANCE_GOLD
from cdp_lib.contracts.silver import RETAILS_CHANGES_SILVER, RETAILS_SILVER
from cdp_lib.gold.marts import MONTHLY_SALES, SALES_BY_COUNTRY, build_mart
from cdp_lib.refresh import sales as refresh_of_sales
from cdp_lib.tables import Tables
from effort import IS_TORTURE

from ..warehouse import MARTS, OF_SALES, Warehouse, customer, product, sale, store
from .shop import FEBRUARY, JANUARY, MARCH, sell

TABLES = [mart.contract for mart in MARTS]
# Every write is the torture's.
STEP = 1 if IS_TORTURE else 4

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
    """What all sales make of the marts."""
    sales = shop.tables.read_table(RETAILS_SILVER)
    return {
        mart.contract.name: sorted((tuple(row) for row in build_mart(mart, sales).collect()), key=repr)
        for mart in MARTS
    }


def marts(shop: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """What the marts hold."""
    return {contract.name: shop.rows(contract) for contract in TABLES}


@pytest.fixture
def mall(filled: Callable[..., Warehouse]) -> Warehouse:
    """The warehouse of a shop that has sold, with its marts."""
    return filled(sell_and_sum)


def sell_and_sum(warehouse: Warehouse) -> None:
    """A shop that has sold, and its marts."""
    sell(warehouse)
    warehouse.refresh_marts()


@pytest.mark.first_engine  # another engine shows what it makes of them all at once
def test_marts_are_moved_by_every_kind_of_change(mall: Warehouse) -> None:
    for day, (kind, land) in enumerate(LANDINGS.items(), 2):
        land(mall, day)
        mall.refresh()
        assert mall.refresh_marts() is not None, kind
        assert marts(mall) == expected(mall), kind


def test_marts_that_have_missed_runs_catch_up(mall: Warehouse) -> None:
    for day, kinds in enumerate((("new", "a product is renamed"), ("corrected", "late", "a customer moves")), 2):
        for hour, kind in enumerate(kinds):
            LANDINGS[kind](mall, 3 * day + hour)
        mall.refresh()
    assert mall.refresh_marts() is not None
    assert marts(mall) == expected(mall)


@pytest.mark.first_engine
def test_a_mart_is_moved_and_not_made_anew(mall: Warehouse) -> None:
    """What a hand has added stays there, until a full refresh."""
    rows = mall.tables.read_table(SALES_BY_COUNTRY_GOLD)
    mall.tables.replace_table(SALES_BY_COUNTRY_GOLD, rows.selectExpr("country", "total_sales + 100 AS total_sales"))
    LANDINGS["new"](mall, 2)
    mall.refresh()
    mall.refresh_marts()
    assert mall.rows(SALES_BY_COUNTRY_GOLD) == [("Egypt", 103)]
    mall.refresh_marts(full_refresh="true")
    assert mall.rows(SALES_BY_COUNTRY_GOLD) == [("Egypt", 3)]


@pytest.mark.torture
def test_nothing_new_moves_nothing(mall: Warehouse) -> None:
    assert mall.refresh_marts() is None
    mall.land(TRANSACTIONS_BRONZE, 2, sale(1, JANUARY), load="increment")
    mall.refresh()
    assert mall.refresh_marts() is None


@pytest.mark.first_engine
def test_a_day_in_the_past_and_back(mall: Warehouse) -> None:
    mall.refresh_marts(as_of="2026-01-31")
    assert mall.rows(MONTHLY_SALES_GOLD, "transaction_month", "monthly_transactions") == [(1, 1)]
    LANDINGS["late"](mall, 2)
    mall.refresh()
    mall.refresh_marts(as_of="2026-01-31")
    assert mall.rows(MONTHLY_SALES_GOLD, "transaction_month", "monthly_transactions") == [(1, 2)]
    mall.refresh_marts()
    assert marts(mall) == expected(mall)


@pytest.mark.first_engine
def test_a_mart_that_is_gone_is_made_anew(mall: Warehouse, spark: Any, catalog: str, schema: str) -> None:
    spark.sql(f"DROP TABLE {mall.tables.name_of(STORE_PRODUCT_PERFORMANCE_GOLD)}").collect()
    again = Warehouse(Tables(spark, catalog, schema), mall.frame_of)
    again.runs = mall.runs
    LANDINGS["new"](again, 2)
    again.refresh()
    again.refresh_marts()
    assert marts(again) == expected(again)


@pytest.mark.first_engine
def test_marts_that_have_missed_more_than_the_log_keeps_are_made_anew(
    mall: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_of_sales, "_CHANGES_KEPT", 1)
    for day, kind in enumerate(("new", "late", "corrected", "deleted"), 2):
        LANDINGS[kind](mall, day)
        mall.refresh()
    assert len(mall.tables.read_partitions(RETAILS_CHANGES_SILVER)) == 2
    mall.refresh_marts()
    assert marts(mall) == expected(mall)


@pytest.mark.torture
def test_only_the_marts_of_a_task_are_written(mall: Warehouse) -> None:
    LANDINGS["new"](mall, 2)
    mall.refresh()
    assert mall.refresh_marts([MONTHLY_SALES, SALES_BY_COUNTRY]) == 4


@pytest.mark.first_engine
def test_a_task_killed_before_any_of_its_writes_and_made_again_moves_no_mart_twice(mall: Warehouse) -> None:
    for write in range(0, 40, STEP):
        mall.empty(*OF_SALES, RETAILS_CHANGES_SILVER, RETAILS_SILVER.quarantine, *TABLES)
        for contract in (CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE):
            mall.empty(contract)
        sell(mall)
        mall.refresh_marts()
        LANDINGS["new"](mall, 2)
        LANDINGS["a customer moves"](mall, 2)
        mall.refresh()
        if not mall.dies_at(write, mall.refresh_marts):
            break
        mall.refresh_marts()
        assert marts(mall) == expected(mall), write
    assert write > len(MARTS) - STEP
