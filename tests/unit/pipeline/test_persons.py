"""Tests of the tables of persons on real tables: random histories of records, overrides and rules."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE, CUSTOMERS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.identity import (
    IDENTITY_EDGES_SILVER,
    IDENTITY_OVERRIDES_SILVER,
    IDENTITY_RECORDS_SILVER,
    PERSON_HISTORY_SILVER,
    PERSON_LINKS_SILVER,
    PERSONS_SILVER,
)
from effort import IS_TORTURE, SEEDS

from ..warehouse import Warehouse, customer

TABLES = (IDENTITY_RECORDS_SILVER, IDENTITY_EDGES_SILVER, PERSON_LINKS_SILVER, PERSON_HISTORY_SILVER, PERSONS_SILVER)
SELECTION = [f"+{PERSON_HISTORY_SILVER.name}", PERSONS_SILVER.name]
RULES = """\
kinds:
  customer_id: {weight: 40}
  email: {weight: 16, persons_per_value: 1}
  phone: {weight: 12}
  device: {weight: 9, joins: anonymous, persons_per_value: 1, latest: 3}
limits: {records_per_value: %d}
"""
NAMES = ("Ada Lovelace", "Otto Normal", "Grace Hopper", "Mia Muster", "")
# The order of commits is the same on every engine, so only the torture tests kill a run at every commit.
COMMITS = range(8) if IS_TORTURE else (3, 6)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """Return the path of a file of rules."""
    path = tmp_path / "identity.yml"
    path.write_text(RULES % 20, encoding="utf-8")
    return str(path)


def persons(warehouse: Warehouse) -> dict[str, int]:
    """Return the person of each record."""
    return dict(warehouse.rows(PERSON_LINKS_SILVER, "record_key", "person_id"))


def groups(links: dict[str, int]) -> set[frozenset[str]]:
    """Return the records of each person, without the number of the person."""
    members: dict[int, set[str]] = {}
    for key, person in links.items():
        members.setdefault(person, set()).add(key)
    return {frozenset(keys) for keys in members.values()}


def contact(number: int, **values: Any) -> dict[str, Any]:
    received = {
        "customer_id": "cdp_customerid",
        "email": "emailaddress1",
        "phone": "mobilephone",
        "full_name": "fullname",
        "birth_date": "birthdate",
    }
    return {"contactid": guid(number), **{received[name]: value for name, value in values.items()}}


def guid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


def decide(warehouse: Warehouse, first: str, second: str, decision: str, at: int) -> None:
    """Add the decision of a person about two records."""
    row = {
        "record_a": min(first, second),
        "record_b": max(first, second),
        "decision": decision,
        "author": "tester",
        "reason": "seen",
        "decided_at": datetime(2026, 5, 1, tzinfo=UTC) + timedelta(minutes=at),
    }
    warehouse.store.append(IDENTITY_OVERRIDES_SILVER, warehouse.store.frame(IDENTITY_OVERRIDES_SILVER, [row]))


def test_records_of_all_sources_become_persons(warehouse: Warehouse, rules: str) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1, email="ada@example.com"), customer(2, email="otto@example.com"))
    warehouse.land(
        CRM_CONTACTS_BRONZE, 1, contact(1, customer_id=1), contact(2, email="ADA@example.com"), contact(3)
    )  # fmt: skip
    warehouse.run(*SELECTION, identity_rules=rules)

    found = persons(warehouse)

    assert groups(found) == {
        frozenset({"customer:1", f"contact:{guid(1)}", f"contact:{guid(2)}"}),
        frozenset({"customer:2"}),
        frozenset({f"contact:{guid(3)}"}),
    }
    assert found["customer:1"] == 1, "the persons of customers are numbered first"
    assert warehouse.rows(PERSON_HISTORY_SILVER, "event", "record_count") == [
        ("created", 1),
        ("created", 1),
        ("created", 3),
    ]


def test_wrong_merge_is_undone_completely(warehouse: Warehouse, rules: str) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1), customer(2))
    warehouse.run(*SELECTION, identity_rules=rules)
    before = persons(warehouse)

    decide(warehouse, "customer:1", "customer:2", "always", at=1)
    warehouse.run(*SELECTION, identity_rules=rules)
    assert persons(warehouse) == {"customer:1": 1, "customer:2": 1}
    decide(warehouse, "customer:1", "customer:2", "automatic", at=2)
    warehouse.run(*SELECTION, identity_rules=rules)

    after = persons(warehouse)
    assert groups(after) == groups(before)
    assert after["customer:1"] == 1, "the oldest number stays"
    assert after["customer:2"] == 3, "a number is never used again"
    assert warehouse.rows(PERSON_HISTORY_SILVER, "links_version", "person_id", "event", "other_person_id") == [
        (1, 1, "created", 0),
        (1, 2, "created", 0),
        (2, 1, "merged", 2),
        (2, 2, "absorbed", 1),
        (3, 1, "split", 3),
        (3, 3, "created", 1),
    ]


@pytest.mark.first_engine
def test_withdrawal_of_a_never_decision_alone_joins_the_records_again(warehouse: Warehouse, rules: str) -> None:
    same = {"full_name": "Ada Lovelace", "email": "ada@example.com"}
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1, **same), customer(2, **same))
    decide(warehouse, "customer:1", "customer:2", "never", at=1)
    warehouse.run(*SELECTION, identity_rules=rules)
    assert persons(warehouse) == {"customer:1": 1, "customer:2": 2}

    decide(warehouse, "customer:1", "customer:2", "automatic", at=2)
    warehouse.run(*SELECTION, identity_rules=rules)

    assert persons(warehouse) == {"customer:1": 1, "customer:2": 1}
    assert different(warehouse, rules) == []


@pytest.mark.first_engine
def test_without_rules_each_customer_is_a_person(warehouse: Warehouse, rules: str) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(11, email="a@example.com"), customer(12, email="a@example.com"))
    warehouse.land(CRM_CONTACTS_BRONZE, 1, contact(1, customer_id=11), contact(2, email="a@example.com"))
    warehouse.run(*SELECTION)
    assert persons(warehouse) == {"customer:11": 11, "customer:12": 12, f"contact:{guid(1)}": 11}
    assert not warehouse.rows(IDENTITY_RECORDS_SILVER)

    warehouse.run(*SELECTION, identity_rules=rules)
    assert set(persons(warehouse).values()) == {13}, "numbers of persons are not numbers of customers"

    warehouse.run(*SELECTION)
    assert persons(warehouse) == {"customer:11": 11, "customer:12": 12, f"contact:{guid(1)}": 11}


@pytest.mark.torture
@pytest.mark.parametrize("commit", COMMITS)
def test_killed_refresh_continues(warehouse: Warehouse, rules: str, commit: int) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1), customer(2, email="b@example.com"))
    warehouse.run(*SELECTION, identity_rules=rules)
    warehouse.land(CUSTOMERS_BRONZE, 2, customer(1, email="b@example.com"), customer(2, email="b@example.com"))

    warehouse.dies_at(commit, lambda: warehouse.run(*SELECTION, identity_rules=rules))
    warehouse.run(*SELECTION, identity_rules=rules)

    assert persons(warehouse) == {"customer:1": 1, "customer:2": 1}
    assert warehouse.rows(PERSON_HISTORY_SILVER, "person_id", "event", "other_person_id") == [
        (1, "created", 0),
        (1, "merged", 2),
        (2, "absorbed", 1),
        (2, "created", 0),
    ]
    assert different(warehouse, rules) == []


def different(warehouse: Warehouse, rules: str) -> list[str]:
    """Compare the tables of identity resolution with their rebuild. Return a message for each that differs."""
    names = [contract.name for contract in TABLES]
    return [each.complaint for each in warehouse.verify(*names, identity_rules=rules) if each.is_different]


@dataclass
class History:
    """Random records, and the operations that change them."""

    random: random.Random
    customers: dict[int, dict[str, Any]] = field(default_factory=dict)
    contacts: dict[int, dict[str, Any]] = field(default_factory=dict)

    def email(self) -> str:
        return f"{self.random.choice('abcdefgh')}@example.com"

    def phone(self) -> str:
        return f"+43 664 {self.random.randrange(1000000, 1000008)}"

    def new_customer(self, number: int) -> dict[str, Any]:
        return customer(number, email=self.email(), full_name=self.random.choice(NAMES))

    def new_contact(self, number: int) -> dict[str, Any]:
        values: dict[str, Any] = {"full_name": self.random.choice(NAMES)}
        chosen = self.random.randrange(4)
        if chosen == 0:
            values["customer_id"] = self.random.randrange(1, 12)
        if chosen in (1, 3):
            values["email"] = self.email()
        if chosen in (2, 3):
            values["phone"] = self.phone()
        return contact(number, **values)

    def change(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the new snapshot of customers, the changed contacts, and the keys of deleted contacts."""
        for number in self.random.sample(range(1, 12), 3):
            self.customers[number] = self.new_customer(number)
        changed = self.random.sample(range(1, 12), 3)
        for number in changed:
            self.contacts[number] = self.new_contact(number)
        gone = [number for number in self.contacts if number not in changed and self.random.random() < 0.15]
        for number in gone:
            del self.contacts[number]
        return [*self.customers.values()], [self.contacts[each] for each in changed], [
            {"contactid": guid(each)} for each in gone
        ]  # fmt: skip

    def events(self, day: int) -> Iterable[dict[str, Any]]:
        for number in range(4):
            who = self.random.choice(
                [
                    {"customer_id": self.random.randrange(1, 14), "anonymous_id": self.random.choice("xyz")},
                    {"anonymous_id": self.random.choice("xyz")},
                    {"email": self.email()},
                ]
            )
            event = {
                "event_id": f"{day}-{number}",
                "event_type": "page_view",
                "occurred_at": f"2026-02-{day:02d}T08:00:00Z",
            }
            yield {**event, "channel": "web", **who}


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_random_history_equals_a_rebuild(warehouse: Warehouse, rules: str, seed: int) -> None:
    history = History(random.Random(seed))
    path = Path(rules)
    for day in range(1, 8 if IS_TORTURE else 7):
        snapshot, contacts, gone = history.change()
        warehouse.land(CUSTOMERS_BRONZE, day, *snapshot)
        warehouse.land(CRM_CONTACTS_BRONZE, day, *contacts, gone=gone, load="increment")
        warehouse.land(EVENTS_BRONZE, day, *history.events(day), load="files")
        if day == 3:
            decide(warehouse, "customer:1", "customer:2", history.random.choice(["always", "never"]), at=day)
        if day == 5:
            path.write_text(RULES % history.random.choice([2, 3, 20]), encoding="utf-8")
        if day == 6:
            decide(warehouse, "customer:1", "customer:2", "automatic", at=day)
        old = persons(warehouse) if day > 1 else {}
        if day == 4:
            warehouse.dies_at(history.random.randrange(12), lambda: warehouse.run(*SELECTION, identity_rules=rules))
        warehouse.run(*SELECTION, identity_rules=rules)

        assert different(warehouse, rules) == []
        found = persons(warehouse)
        kept = {key for key in old.keys() & found.keys() if old[key] == found[key]}
        assert len(kept) * 2 >= len(old.keys() & found.keys()) or day == 5, "most records keep their person"
        assert replayed(warehouse) == sizes(found)


def sizes(links: dict[str, int]) -> dict[int, int]:
    return {person: list(links.values()).count(person) for person in links.values()}


def replayed(warehouse: Warehouse) -> dict[int, int]:
    """Return the persons that exist according to the history. The number of records is that of the links."""
    ends: dict[int, bool] = {}
    for _, changes in groupby(
        warehouse.rows(PERSON_HISTORY_SILVER, "links_version", "person_id", "event"), key=itemgetter(0)
    ):
        rows = [(person, event in ("absorbed", "retired")) for _, person, event in changes]
        ends |= dict.fromkeys((person for person, _ in rows), False) | {
            person: True for person, has_end in rows if has_end
        }
    alive = {person for person, has_end in ends.items() if not has_end}
    links = persons(warehouse)
    assert alive == set(links.values())
    return sizes(links)
