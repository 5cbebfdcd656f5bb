"""Tests of profiles that follow changes: only the persons whose records or figures changed are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD
from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE, EVENTS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.identity import PERSONS_SILVER
from cdp_lib.contracts.profile import CUSTOMER_PROFILE_GOLD
from cdp_lib.contracts.silver import PURCHASES_SILVER
from cdp_lib.pipeline import follow_groups
from cdp_lib.pipeline.graph import Graph
from cdp_lib.pipeline.table import BUSINESS_DATE
from cdp_local.bundle import PROJECT

from ..warehouse import Warehouse, customer, product, sale, store
from .shop import FEBRUARY, JANUARY, MARCH
from .test_persons import contact, decide, guid

RULES = {"identity_rules": str(PROJECT / "identity.yml")}
SELECTION = ("+customer_profile_gold",)
FOLLOWING = (PERSONS_SILVER.name, CUSTOMER_PROFILE_GOLD.name)


def _values(purchases_silver: DataFrame, as_of: date) -> DataFrame:
    """Return the revenue of each person. No figure depends on other persons, and no model is fitted."""
    given = {"person_id": sf.col("person_id"), "total_revenue": sf.col("total"), "as_of": sf.lit(as_of)}
    empty = {"STRING": "none", "BIGINT": 0, "DECIMAL(38,4)": 0}
    totals = purchases_silver.groupBy("person_id").agg(sf.sum("revenue").alias("total"))
    return totals.select(
        *(
            given.get(each.name, sf.lit(empty.get(each.type) if each.required else None))
            .cast(each.type)
            .alias(each.name)
            for each in CUSTOMER_VALUE_GOLD.columns
        )
    )


class Shop:
    """Warehouse with four persons, and the persons whose rows were built in the latest run, by table."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.built: dict[str, set[int]] = {}
        tables = warehouse.graph.tables
        watched = {name: replace(tables[name], build=self._watched(name, tables[name].build)) for name in FOLLOWING}
        value = replace(
            tables[CUSTOMER_VALUE_GOLD.name], build=_values, reads=(PURCHASES_SILVER,), settings=(BUSINESS_DATE,)
        )
        warehouse.graph = Graph((tables | watched | {value.name: value}).values())

    def _watched(self, name: str, build: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
        def build_and_remember(*frames: DataFrame, **settings: object) -> DataFrame:
            rows = build(*frames, **settings)
            self.built[name] = {person for (person,) in rows.select("person_id").collect()}
            return rows

        return build_and_remember

    def run(self) -> list[set[int]]:
        """Refresh, and return the persons that were built in each of both tables."""
        self.built = {}
        self.warehouse.run(*SELECTION, **RULES)
        return [self.built.get(name, set()) for name in FOLLOWING]

    def wrong(self) -> list[str]:
        """Return a message for each table that differs from its rebuild."""
        verified = self.warehouse.verify(*FOLLOWING, **RULES)
        assert len(verified) == len(FOLLOWING)
        return [each.complaint for each in verified if each.is_different or each.skip_reason]


@pytest.fixture
def shop(warehouse: Warehouse) -> Shop:
    """Return a shop with the persons 1 to 3 of a customer each, and 4 of a contact. Another contact belongs to 1."""
    warehouse.land_sales(
        1,
        customers=[customer(each, email=f"{each}@example.com") for each in (1, 2, 3)],
        products=[product(1)],
        store=[store(1)],
        transactions=[sale(1, JANUARY, customer_id=1), sale(2, FEBRUARY, customer_id=2), sale(3, MARCH, customer_id=3)],
    )
    contacts = (contact(1, customer_id=1), contact(2, email="other@example.com"))
    warehouse.land(CRM_CONTACTS_BRONZE, 1, *contacts, load="increment")
    shop = Shop(warehouse)
    assert shop.run() == [{1, 2, 3, 4}, {1, 2, 3, 4}]
    return shop


@pytest.mark.first_engine
def test_only_touched_persons_are_built(shop: Shop) -> None:
    land = shop.warehouse.land
    land(CRM_CONTACTS_BRONZE, 2, contact(1, customer_id=1, phone="+43 664 1234567"), load="increment")
    assert shop.run() == [{1}, {1}]
    land(TRANSACTIONS_BRONZE, 3, sale(4, FEBRUARY, customer_id=2), load="increment")
    assert shop.run() == [set(), {2}]
    event = {"event_id": "a", "event_type": "page_view", "occurred_at": "2026-02-20T08:00:00Z", "channel": "web"}
    land(EVENTS_BRONZE, 4, event | {"email": "3@example.com"}, load="files")
    assert shop.run() == [{3}, {3}]
    refusal = event | {"event_id": "b", "customer_id": "2", "consent": "false", "_source_file": "g"}
    land(EVENTS_BRONZE, 5, refusal, load="files")
    assert shop.run() == [set(), {2}]
    assert shop.wrong() == []
    assert shop.run() == [set(), set()], "nothing is due"


@pytest.mark.torture
def test_join_split_and_deletion_equal_a_rebuild(shop: Shop) -> None:
    store = shop.warehouse
    decide(store, "customer:1", "customer:2", "always", at=1)
    assert shop.run() == [{1}, {1}]
    assert store.rows(CUSTOMER_PROFILE_GOLD, "person_id", "record_count") == [(1, 3), (3, 1), (4, 1)]
    decide(store, "customer:1", "customer:2", "never", at=2)
    assert shop.run() == [{1, 5}, {1, 5}]
    assert shop.wrong() == []
    store.land(CRM_CONTACTS_BRONZE, 2, gone=[{"contactid": guid(each)} for each in (1, 2)], load="increment")
    assert shop.run() == [{1}, {1}]
    assert store.rows(PERSONS_SILVER, "person_id", "record_count") == [(1, 1), (3, 1), (5, 1)]
    assert store.rows(CUSTOMER_PROFILE_GOLD, "person_id", "record_count") == [(1, 1), (3, 1), (5, 1)]
    assert shop.wrong() == []


@pytest.mark.first_engine
def test_many_touched_persons_replace_the_table(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_groups, "_MAX_TOUCHED", 0)
    shop.warehouse.land(CRM_CONTACTS_BRONZE, 2, contact(1, customer_id=1, phone="+43 664 1234567"), load="increment")
    assert shop.run() == [{1, 2, 3, 4}, {1, 2, 3, 4}]
    assert shop.wrong() == []
