"""Tests of the incremental refresh of identity_records_silver: it rebuilds only touched records."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE, CUSTOMERS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.identity import IDENTITY_RECORDS_SILVER
from cdp_lib.contracts.silver import CONSENTS_SILVER, CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.pipeline.state import TableState, read_states
from cdp_local.workspace import PROJECT
from effort import IS_TORTURE, SEEDS

from ..warehouse import Warehouse, customer

TABLES = (CUSTOMERS_SILVER, CRM_CONTACTS_SILVER, EVENTS_SILVER, CONSENTS_SILVER, IDENTITY_RECORDS_SILVER)
RULES = {"identity_rules": str(PROJECT / "identity.yml")}


def contact(name: str, **values: Any) -> dict[str, Any]:
    return {"contactid": name, "fullname": name, "modifiedon": "2026-02-01T00:00:00Z", **values}


def event(number: int, **values: Any) -> dict[str, Any]:
    given = {"event_id": f"e{number}", "event_type": "page_view", "occurred_at": f"2026-02-01T00:00:{number % 60:02}Z"}
    return {**given, "_source_file": f"f{number}", **values}


def refresh(warehouse: Warehouse, **parameters: str) -> None:
    warehouse.refresh(*TABLES, **(RULES | parameters))


def records(warehouse: Warehouse) -> dict[str, tuple[Any, ...]]:
    """Return the rows of the table by key."""
    rows = warehouse.rows(IDENTITY_RECORDS_SILVER)
    assert len(rows) == len({row[0] for row in rows}), "duplicate record"
    return {row[0]: row for row in rows}


def state_of(warehouse: Warehouse) -> TableState:
    return read_states(warehouse.store)[IDENTITY_RECORDS_SILVER.name]


def latest_changes(warehouse: Warehouse) -> dict[str, set[str]]:
    """Return the keys in the latest change set, by change type."""
    changes = warehouse.store.read(IDENTITY_RECORDS_SILVER.changes).where(
        f"_change_set = '{state_of(warehouse).token}'"
    )
    found: dict[str, set[str]] = {"insert": set(), "before": set(), "delete": set()}
    for kind, key in changes.select("_change_type", "record_key").collect():
        found.setdefault(kind, set()).add(key)
    return {kind: found[kind] for kind in ("insert", "before", "delete")}


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """Return a warehouse with records of all sources."""
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1), customer(2, full_name="Dr. Ana Ruiz"))
    warehouse.land(
        CRM_CONTACTS_BRONZE, 1, contact("c1", cdp_customerid="1", mobilephone="+43 664 1234567"), contact("c2")
    )
    events = [
        event(1, customer_id="1", anonymous_id="d1"),
        event(2, anonymous_id="d1"),
        event(3, email="c2@example.com"),
        event(4, customer_id="9", anonymous_id="d9"),
        event(5, anonymous_id="d5", consent="false"),
    ]
    warehouse.land(EVENTS_BRONZE, 1, *events, load="files")
    refresh(warehouse)
    return warehouse


def identifiers(warehouse: Warehouse) -> dict[str, list[str]]:
    return dict(warehouse.rows(IDENTITY_RECORDS_SILVER, "record_key", "identifiers"))


def test_records_of_all_sources_have_their_identifiers(shop: Warehouse) -> None:
    assert identifiers(shop) == {
        "customer:1": ["customer_id:1", "device:d1", "email:c1@example.com"],
        "customer:2": ["customer_id:2", "email:c2@example.com"],
        "contact:c1": ["customer_id:1", "phone:+436641234567"],
        "contact:c2": [],
        "customer:9": ["customer_id:9", "device:d9"],
        "device:d1": ["device:d1"],
        "email:c2@example.com": ["email:c2@example.com"],
    }


@pytest.mark.first_engine
def test_only_touched_records_are_in_the_change_set(shop: Warehouse) -> None:
    shop.land(EVENTS_BRONZE, 2, event(6, customer_id="1", anonymous_id="d6"), load="files")
    refresh(shop)
    assert latest_changes(shop) == {"insert": {"customer:1"}, "before": {"customer:1"}, "delete": set()}
    assert identifiers(shop)["customer:1"] == ["customer_id:1", "device:d1", "device:d6", "email:c1@example.com"]

    shop.land(CUSTOMERS_BRONZE, 3, customer(1), customer(2, full_name="Dr. Ana Ruiz"), customer(9))
    refresh(shop)
    assert latest_changes(shop) == {"insert": {"customer:9"}, "before": {"customer:9"}, "delete": set()}
    assert records(shop)["customer:9"][1] == "customers"

    shop.land(CRM_CONTACTS_BRONZE, 4, load="increment", gone=[{"contactid": "c2"}])
    refresh(shop)
    assert latest_changes(shop) == {"insert": set(), "before": set(), "delete": {"contact:c2"}}


@pytest.mark.first_engine
def test_change_that_changes_no_record_makes_no_new_version(shop: Warehouse) -> None:
    token = state_of(shop).token
    shop.land(EVENTS_BRONZE, 2, event(6, customer_id="1", anonymous_id="d1"), load="files")
    refresh(shop)
    assert state_of(shop).token == token


@pytest.mark.first_engine
def test_table_is_empty_while_identity_resolution_is_off(shop: Warehouse) -> None:
    refresh(shop, identity_rules="")
    assert records(shop) == {}
    shop.land(CUSTOMERS_BRONZE, 2, customer(1), customer(3))
    refresh(shop, identity_rules="")
    assert records(shop) == {}
    refresh(shop)
    assert {"customer:1", "customer:3", "contact:c1", "device:d1"} <= records(shop).keys()


def land_random_changes(warehouse: Warehouse, day: int, chance: random.Random) -> None:
    """Land new, changed and deleted customers and contacts, and new and changed events."""

    def value(prefix: str) -> str | None:
        return chance.choice([None, *(f"{prefix}{number}" for number in range(4))])

    if chance.random() < 0.7:
        numbers = chance.sample(range(1, 7), chance.randint(1, 5))
        rows = [customer(number, full_name=f"Name {chance.choice('abc')}") for number in numbers]
        warehouse.land(CUSTOMERS_BRONZE, day, *rows)
    if chance.random() < 0.7:
        names = chance.sample("abcdef", chance.randint(1, 3))
        rows = [
            contact(
                name, cdp_customerid=value(""), emailaddress1=f"{value('x')}@example.com", mobilephone=value("0664123")
            )
            for name in names[1:]
        ]
        warehouse.land(CRM_CONTACTS_BRONZE, day, *rows, load="increment", gone=[{"contactid": names[0]}])
    events = [
        event(
            chance.randint(1, 12),
            customer_id=value(""),
            anonymous_id=value("d"),
            email=chance.choice([None, "x1@example.com", "x2@example.com"]),
            consent=chance.choice([None, "true", "false"]),
        )
        for _ in range(chance.randint(1, 4))
    ]
    warehouse.land(EVENTS_BRONZE, day, *{each["event_id"]: each for each in events}.values(), load="files")


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_incremental_refresh_equals_a_rebuild_and_records_each_change(warehouse: Warehouse, seed: int) -> None:
    chance = random.Random(seed)
    land_random_changes(warehouse, 1, chance)
    refresh(warehouse)
    for day in range(2, 7 if IS_TORTURE else 5):
        before, token = records(warehouse), state_of(warehouse).token
        land_random_changes(warehouse, day, chance)
        refresh(warehouse)
        after, state = records(warehouse), state_of(warehouse)
        same = {key for key in before.keys() & after.keys() if before[key] == after[key]}
        assert (state.token == token) == (before == after)
        if before != after:
            assert latest_changes(warehouse) == {
                "insert": after.keys() - same,
                "before": (before.keys() & after.keys()) - same,
                "delete": before.keys() - after.keys(),
            }
        assert state.rewritten_at == 1, "the table was rewritten"
    incrementally = records(warehouse)
    refresh(warehouse, full_refresh="true")
    assert records(warehouse) == incrementally


@pytest.mark.first_engine
def test_refresh_after_a_kill_equals_a_rebuild(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 2, customer(2), customer(9))
    shop.land(EVENTS_BRONZE, 2, event(6, customer_id="1", anonymous_id="d6"), event(7, anonymous_id="d7"), load="files")
    shop.land(CRM_CONTACTS_BRONZE, 2, contact("c3"), load="increment", gone=[{"contactid": "c1"}])
    commit = 0
    while shop.is_killed_at(commit, *TABLES, **RULES):
        commit += 1
    assert commit > 3
    incrementally = records(shop)
    assert {"contact:c3", "device:d7"} <= incrementally.keys()
    refresh(shop, full_refresh="true")
    assert records(shop) == incrementally
