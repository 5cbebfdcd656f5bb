"""Tests of figures by person: a merge of persons, and its undo, move all purchases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, CUSTOMERS_SILVER, PURCHASES_SILVER
from cdp_lib.identity.off import links_of_customers
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.state import read_states
from cdp_lib.pipeline.touched_keys import TouchedKeys
from cdp_local.workspace import PROJECT

from ..warehouse import Warehouse, customer, product, sale, store
from .shop import FEBRUARY, JANUARY, MARCH

RULES = {"identity_rules": str(PROJECT / "identity.yml")}
SELECTION = ("+customer_value_gold",)
pytestmark = pytest.mark.first_engine


def _links_by_household(customers_silver: DataFrame) -> DataFrame:
    """Return the links of customers: the person of a customer is the household if the household is a number."""
    contacts = customers_silver.select("customer_id", sf.lit("").alias("contact_id")).limit(0)
    person = sf.coalesce(sf.col("household_id").try_cast("bigint"), sf.col("customer_id"))
    persons = customers_silver.select("customer_id", person.alias("person"))
    links = links_of_customers(customers_silver, contacts).join(persons, "customer_id", how="left")
    return links.withColumn("person_id", sf.col("person")).selectExpr(*PERSON_LINKS_SILVER.select_list)


@pytest.fixture
def mall(warehouse: Warehouse) -> Warehouse:
    """Return a warehouse with the sales of three customers. Equal households are one person."""
    tables = platform_graph().tables
    links = replace(
        tables[PERSON_LINKS_SILVER.name],
        build=_links_by_household,
        reads=(CUSTOMERS_SILVER,),
        settings=(),
        materialization=TouchedKeys(by=("customer_id",), is_followed=True),
    )
    warehouse.graph = Graph((tables | {links.name: links}).values())
    warehouse.land_sales(
        1,
        customers=[customer(1), customer(2), customer(3)],
        products=[product(1)],
        store=[store(1)],
        transactions=[
            sale(1, JANUARY, customer_id=1),
            sale(2, FEBRUARY, customer_id=2),
            sale(3, MARCH, customer_id=3),
            sale(4, FEBRUARY, customer_id=1),
        ],
    )
    warehouse.run(*SELECTION, **RULES)
    return warehouse


def _revenue(mall: Warehouse) -> dict[int, int]:
    return {person: int(revenue) for person, revenue in mall.rows(CUSTOMER_VALUE_GOLD, "person_id", "total_revenue")}


def test_merge_of_persons_and_its_undo_move_all_purchases(mall: Warehouse) -> None:
    before = {each: mall.rows(each) for each in (PURCHASES_SILVER, CUSTOMER_ACQUISITIONS_SILVER)}
    assert _revenue(mall) == {1: 40, 2: 20, 3: 20}

    mall.land(CUSTOMERS_BRONZE, 2, customer(1), customer(2, household_id="1"), customer(3))
    mall.run(*SELECTION, **RULES)
    assert _revenue(mall) == {1: 60, 3: 20}
    assert [row[:2] for row in mall.rows(PURCHASES_SILVER)] == [(1, JANUARY), (1, FEBRUARY), (3, MARCH)]
    assert [person for person, *_ in mall.rows(CUSTOMER_ACQUISITIONS_SILVER)] == [1, 3]

    mall.land(CUSTOMERS_BRONZE, 3, customer(1), customer(2), customer(3))
    mall.run(*SELECTION, **RULES)
    assert _revenue(mall) == {1: 40, 2: 20, 3: 20}
    assert {each: mall.rows(each) for each in before} == before


def test_only_months_of_moved_customers_are_rebuilt(mall: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[set[object]] = []
    table = mall.graph.tables[PURCHASES_SILVER.name]

    def build(retails_silver: DataFrame, *others: object, **settings: object) -> DataFrame:
        built.append({month.month for (month,) in retails_silver.select("sale_month").distinct().collect()})
        rows: DataFrame = table.build(retails_silver, *others, **settings)
        return rows

    mall.graph = Graph((mall.graph.tables | {table.name: replace(table, build=build)}).values())
    mall.run("+purchases_silver", **RULES)
    built.clear()
    mall.land(CUSTOMERS_BRONZE, 2, customer(1), customer(2, household_id="3"), customer(3))
    mall.run("+purchases_silver", **RULES)
    assert built == [{2, 3}]


def test_new_customers_and_changed_names_rebuild_no_month(mall: Warehouse) -> None:
    version = read_states(mall.store)[PURCHASES_SILVER.name].version
    mall.land(CUSTOMERS_BRONZE, 2, customer(1), customer(2), customer(3), customer(4, household_id="1"))
    mall.run(*SELECTION, **RULES)
    assert read_states(mall.store)[PURCHASES_SILVER.name].version == version
    mall.land(TRANSACTIONS_BRONZE, 3, sale(5, MARCH, customer_id=4), load="increment")
    mall.run(*SELECTION, **RULES)
    assert _revenue(mall) == {1: 60, 2: 20, 3: 20}


def test_links_rebuild_no_purchases_if_identity_resolution_is_off(mall: Warehouse) -> None:
    mall.run(*SELECTION)
    version = read_states(mall.store)[PURCHASES_SILVER.name].version
    mall.land(CUSTOMERS_BRONZE, 2, customer(1), customer(2, household_id="1"), customer(3))
    mall.run(*SELECTION)
    assert read_states(mall.store)[PURCHASES_SILVER.name].version == version
    assert _revenue(mall) == {1: 40, 2: 20, 3: 20}


def test_merge_after_a_kill_at_any_commit_moves_all_purchases(mall: Warehouse) -> None:
    mall.land(CUSTOMERS_BRONZE, 2, customer(1), customer(2, household_id="1"), customer(3))
    commit = 0
    while mall.dies_at(commit, lambda: mall.run("+purchases_silver", **RULES)):
        commit += 1
    assert [row[:2] for row in mall.rows(PURCHASES_SILVER)] == [(1, JANUARY), (1, FEBRUARY), (3, MARCH)]


def test_purchases_by_customer_of_an_earlier_version_are_rebuilt(warehouse: Warehouse) -> None:
    tables = platform_graph().tables
    table = tables[PURCHASES_SILVER.name]
    columns = (replace(table.contract.columns[0], name="customer_id"), *table.contract.columns[1:])
    keys = {"key": ("customer_id", "purchase_date"), "clustered_by": ("purchase_date", "customer_id")}

    def build(*inputs: DataFrame, **settings: object) -> DataFrame:
        rows: DataFrame = table.build(*inputs, **settings)
        return rows.withColumnRenamed("person_id", "customer_id")

    earlier = replace(table, contract=replace(table.contract, columns=columns, **keys), build=build)
    warehouse.land_sales(
        1, customers=[customer(1)], products=[product(1)], store=[store(1)], transactions=[sale(1, JANUARY)]
    )
    warehouse.graph = Graph((tables | {table.name: earlier}).values())
    warehouse.run("+purchases_silver")
    assert "customer_id" in warehouse.store.read(PURCHASES_SILVER).columns

    warehouse.graph = platform_graph()
    warehouse.run("+customer_acquisitions_silver")
    assert warehouse.store.read(PURCHASES_SILVER).columns == [*PURCHASES_SILVER.column_names]
    assert warehouse.rows(PURCHASES_SILVER, "person_id", "purchase_date") == [(1, JANUARY)]
    assert warehouse.differences("purchases_silver", "customer_acquisitions_silver") == []
