"""Tests of sums: marts add up to silver after every refresh, and a mart that does not is named and held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from deltalake import DeltaTable

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import CUSTOMER_PRODUCT_AFFINITY_GOLD, MONTHLY_SALES_GOLD
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.sums import DAY_COLUMNS, SUMS
from cdp_lib.pipeline import run as pipeline_run
from cdp_lib.pipeline import work
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.run import TableRun
from cdp_lib.pipeline.state import read_states, write_states
from cdp_lib.pipeline.sums import read_sums

from ..warehouse import MARTS, Warehouse, customer, sale
from .shop import JANUARY, MARCH, sell

GOLD = [f"+{name}" for name in SUMS]


@pytest.fixture
def mall(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse with two sales and all sales marts."""
    return filled(sell_everywhere)


def sell_everywhere(warehouse: Warehouse) -> None:
    """Land and refresh two sales, and refresh all sales marts."""
    sell(warehouse)
    warehouse.run(*GOLD)


def states_and_tables(mall: Warehouse) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sums of each table according to its state, and according to its rows."""
    states = read_states(mall.store)
    of_states = {name: {k: Decimal(v) for k, v in states[name].known_sums.items()} for name in SUMS}
    of_tables = {
        name: {k: Decimal(v) for k, v in read_sums(mall.store.read(TABLES[name]), TABLES[name]).items()}
        for name in SUMS
    }
    return of_states, of_tables


def errors(runs: list[TableRun]) -> dict[str, str]:
    return {run.table: run.error for run in runs if run.state == "failed"}


# Declarations


@pytest.mark.torture
@pytest.mark.first_engine
def test_every_sales_mart_declares_what_it_adds_up_to() -> None:
    assert {contract.name for contract in MARTS} <= set(SUMS) <= set(TABLES)
    graph = platform_graph()
    for name, measures in SUMS.items():
        inputs = [each for each in graph.reads(name) if set(SUMS.get(each, {})) & set(measures)]
        known = {measure for each in inputs for measure in SUMS[each]}
        assert name in DAY_COLUMNS or set(measures) <= known, name
        if "_line_count" in TABLES[name].column_names:
            assert any("_line_count" in measure for measure in measures.values()), name


# Sums


@pytest.mark.torture
def test_states_have_the_sums_of_their_tables_after_every_kind_of_refresh(mall: Warehouse) -> None:
    mall.land(TRANSACTIONS_BRONZE, 2, sale(1, JANUARY, quantity=5), sale(3, MARCH, customer_id=None), load="increment")
    mall.run(*GOLD)
    of_states, of_tables = states_and_tables(mall)
    assert of_states == of_tables
    mall.land(TRANSACTIONS_BRONZE, 3, sale(4, MARCH, quantity=-1), load="increment", gone=[{"transaction_id": 2}])
    mall.land(CUSTOMERS_BRONZE, 3, customer(1, registration_date=None), customer(2))
    mall.run(*GOLD)
    of_states, of_tables = states_and_tables(mall)
    assert of_states == of_tables
    assert of_states["retails_silver"]["lines"] == of_states["monthly_sales_gold"]["lines"] == 3
    assert of_states["retails_silver"]["revenue"] == of_states["seasonal_analysis_gold"]["revenue"] == Decimal(60)
    mall.run(*GOLD, full_refresh="true")
    assert states_and_tables(mall) == (of_states, of_tables)


@pytest.mark.torture
def test_sums_of_a_mart_up_to_a_day_are_compared_with_the_lines_up_to_the_day(mall: Warehouse) -> None:
    mall.run(*GOLD, as_of=str(JANUARY))
    assert Decimal(read_states(mall.store)["monthly_sales_gold"].known_sums["lines"]) == 1
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, JANUARY), sale(4, MARCH), load="increment")
    mall.run(*GOLD, as_of=str(JANUARY))
    assert Decimal(read_states(mall.store)["monthly_sales_gold"].known_sums["lines"]) == 2


@pytest.mark.torture
def test_sums_of_tables_of_an_earlier_version_are_computed_once(mall: Warehouse) -> None:
    states = read_states(mall.store)
    write_states(mall.store, {name: replace(state, sums={}, summed_token="") for name, state in states.items()})
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    mall.run(*GOLD)
    assert Decimal(read_states(mall.store)["retails_silver"].known_sums["lines"]) == 3


@pytest.mark.torture
def test_sums_belong_to_a_version(mall: Warehouse) -> None:
    """Code that changes rows and sets a new token need not know of sums: they are then unknown, not wrong."""
    state = read_states(mall.store)["retails_silver"]
    assert state.known_sums and not replace(state, token="new").known_sums


@pytest.mark.torture
@pytest.mark.first_engine
def test_only_tables_that_are_rebuilt_for_some_keys_are_summed_by_a_query(
    mall: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed: list[str] = []

    def counting(rows: Any, contract: Any) -> dict[str, str]:
        summed.append(contract.name)
        return read_sums(rows, contract)

    for module in (work, pipeline_run):
        monkeypatch.setattr(module, "read_sums", counting)
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    mall.run(*GOLD)
    assert set(summed) == {
        "category_monthly_sales_gold",
        "country_category_monthly_sales_gold",
        "country_monthly_orders_gold",
        "customer_product_affinity_gold",
        "monthly_sales_gold",
        "purchases_silver",
        "sales_by_week_gold",
    }
    assert len(summed) == len(set(summed))


# Differences


@pytest.mark.torture
def test_a_mart_that_does_not_add_up_is_named_and_rebuilt_by_the_next_run(mall: Warehouse) -> None:
    expected = {name: state.version for name, state in read_states(mall.store).items()}
    table = mall.store.name_of(MONTHLY_SALES_GOLD.name)
    mall.store.session.sql(f"UPDATE {table} SET monthly_revenue = 13 WHERE transaction_month = 1").collect()
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")

    [(name, error)] = errors(mall.runner().refresh(GOLD)).items()

    assert name == "monthly_sales_gold"
    assert error.startswith(
        "monthly_sales_gold does not add up: its revenue (monthly_revenue) is 53.0000, but retails_silver has 60.0000."
    )
    assert "\n" not in error and "`cdp verify --repair`" in error
    states = read_states(mall.store)
    assert states["monthly_sales_gold"].version == expected["monthly_sales_gold"]
    assert states["monthly_sales_gold"].is_rewriting
    assert mall.refreshed(*GOLD) == ["monthly_sales_gold"]
    assert mall.differences() == []


@pytest.mark.torture
def test_downstream_tables_of_a_mart_that_does_not_add_up_are_skipped(mall: Warehouse) -> None:
    DeltaTable(mall.tables_folder / CUSTOMER_PRODUCT_AFFINITY_GOLD.name).delete("customer_id = 1")
    mall.land(CUSTOMERS_BRONZE, 2, customer(1), customer(2))
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH, customer_id=2), load="increment")
    before = mall.rows(TABLES["product_performance_gold"])
    states = {run.table: run.state for run in mall.runner().refresh(GOLD)}
    assert states["customer_product_affinity_gold"] == "failed"
    assert states["product_performance_gold"] == "skipped"
    assert mall.rows(TABLES["product_performance_gold"]) == before


@pytest.mark.torture
def test_silver_that_was_changed_by_hand_fails_marts_until_it_is_repaired(mall: Warehouse) -> None:
    table = mall.store.name_of(RETAILS_SILVER.name)
    mall.store.session.sql(f"UPDATE {table} SET revenue = 0 WHERE transaction_id = 1").collect()
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    failed = errors(mall.runner().refresh(GOLD))
    assert "seasonal_analysis_gold" in failed
    assert set(failed) <= set(SUMS)
    assert [each.table_name for each in mall.verify(repair=True) if each.is_repaired] == ["retails_silver"]
    mall.run(*GOLD)
    assert mall.differences() == []
    assert mall.rows(MONTHLY_SALES_GOLD, "transaction_month", "monthly_transactions") == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.torture
def test_registrations_add_up_to_customers(mall: Warehouse) -> None:
    trends = "+customer_registration_trends_gold"

    DeltaTable(mall.tables_folder / CUSTOMERS_SILVER.name).delete("customer_id = 1")
    mall.land(CUSTOMERS_BRONZE, 2, customer(2), load="increment")
    [error] = errors(mall.runner().refresh([trends])).values()
    assert error.startswith(
        "customer_registration_trends_gold does not add up: its registrations (new_customers) is 1,"
    )
    assert "but customers_silver has 2" in error
    mall.verify("silver", repair=True)
    mall.run(trends)
    assert mall.rows(TABLES["customer_registration_trends_gold"], "new_customers") == [(2,)]
