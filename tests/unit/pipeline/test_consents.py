"""Tests of the ledger of consent and of the current consent, on real tables: no decision is lost, refusals win."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CONSENTS_BRONZE, CRM_CONTACTS_BRONZE, CUSTOMERS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER, CONSENT_EVENTS_SILVER
from cdp_lib.contracts.identity import IDENTITY_OVERRIDES_SILVER, PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CONSENTS_SILVER
from cdp_lib.pipeline.compaction import remove_old_batches
from cdp_lib.silver.consents import build_consent_current_silver
from cdp_local.profile import Profiles
from cdp_local.workspace import PROJECT
from effort import IS_TORTURE, SEEDS

from ..warehouse import Warehouse, customer

SELECTION = (f"+{CONSENT_CURRENT_SILVER.name}",)
STEPS = 6 if IS_TORTURE else 3
RULES = """\
kinds:
  customer_id: {weight: 40}
  email: {weight: 16}
limits: {records_per_value: 20}
"""
PAGE = (PROJECT / "docs" / "privacy.md").read_text(encoding="utf-8")
DOCUMENTED_QUERY = next(text for text in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) if "WITH latest" in text)
BEGIN = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """Return the path of a file of rules."""
    path = tmp_path / "identity.yml"
    path.write_text(RULES, encoding="utf-8")
    return str(path)


def hour(number: int) -> str:
    return (BEGIN + timedelta(hours=number)).isoformat()


def contact(name: str, changed: int, email: bool | None = None, at: int | None = None, **values: Any) -> dict[str, Any]:
    """Return a version of a contact that agreed to e-mails or refused them, at an hour."""
    answer = None if email is None else str(email).lower()
    decided = None if at is None else hour(at)
    given = {"cdp_emailconsent": answer, "cdp_emailconsenton": decided, "emailaddress1": "ana@example.com"}
    return {"contactid": name, "modifiedon": hour(changed), **given, **values}


def event(number: int, consent: str | None, **values: Any) -> dict[str, Any]:
    given = {"event_id": f"e{number}", "event_type": "page_view", "occurred_at": hour(number)}
    return {**given, "_source_file": f"f{number}", "consent": consent, **values}


def decision(number: int, state: str, at: int, file: str = "f", **subject: Any) -> dict[str, Any]:
    """Return a line of a file of decisions about e-mails."""
    given = {"record_id": f"r{number}", "purpose": "marketing", "channel": "email"}
    return {**given, "state": state, "decided_at": hour(at), "_source_file": file, **subject}


def decisions(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Return the decisions about e-mails and tracking, in order of time: record, purpose, state and hour."""
    names = ("record_key", "purpose", "state", "decided_at")
    rows = warehouse.store.read(CONSENT_EVENTS_SILVER).orderBy("record_key", "decided_at", "state")
    found = rows.selectExpr(*names[:3], "cast(decided_at as bigint)").collect()
    return [(*row[:3], int(row[3] - BEGIN.timestamp()) // 3600) for row in found]


def current(warehouse: Warehouse) -> dict[str, tuple[Any, ...]]:
    """Return state, record and reason of the consent of each person to e-mails, by the person's smallest record."""
    links: dict[int, list[str]] = {}
    for key, person in warehouse.rows(PERSON_LINKS_SILVER, "record_key", "person_id"):
        links.setdefault(person, []).append(key)
    names = ("person_id", "purpose", "state", "record_key", "reason")
    rows = warehouse.rows(CONSENT_CURRENT_SILVER, *names)
    return {
        min(links[person]): (state, key, why) for person, purpose, state, key, why in rows if purpose == "marketing"
    }


@pytest.mark.first_engine
def test_every_decision_is_kept_and_a_version_with_the_same_answer_adds_none(warehouse: Warehouse, rules: str) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1))
    warehouse.land(CRM_CONTACTS_BRONZE, 1, contact("a", 1, True), contact("b", 1, False, 0))
    warehouse.land(CRM_CONTACTS_BRONZE, 2, contact("a", 2, True), load="increment")
    warehouse.land(CRM_CONTACTS_BRONZE, 3, contact("a", 3, False), contact("b", 3, True, 2), load="increment")
    events = [event(1, "true", customer_id="1"), event(2, "true", customer_id="1"), event(3, "false", customer_id="1")]
    warehouse.land(EVENTS_BRONZE, 1, *events, event(4, None, customer_id="1"), event(4, "no"), load="files")
    warehouse.run(*SELECTION, identity_rules=rules)
    expected = [
        ("contact:a", "marketing", "given", 1),
        ("contact:a", "marketing", "withdrawn", 3),
        ("contact:b", "marketing", "refused", 0),
        ("contact:b", "marketing", "given", 2),
        ("customer:1", "tracking", "given", 1),
        ("customer:1", "tracking", "withdrawn", 3),
    ]
    assert decisions(warehouse) == expected
    warehouse.run(*SELECTION, identity_rules=rules, full_refresh="true")
    assert decisions(warehouse) == expected


@pytest.mark.first_engine
def test_decision_in_a_file_counts_for_the_person_of_its_subject(warehouse: Warehouse, rules: str) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, customer(1, email="ana@example.com"), customer(2, email="mia@example.com"))
    warehouse.land(CRM_CONTACTS_BRONZE, 1, contact("a", 1, True))
    warehouse.run(*SELECTION, identity_rules=rules)
    assert current(warehouse) == {"contact:a": ("given", "contact:a", "only_record")}
    ana, new = {"email": "ANA@example.com"}, {"email": "new@example.com"}
    lines = [
        decision(1, "given", 1, **ana),
        decision(1, "withdrawn", 5, **ana),
        decision(2, "Given", 2, customer_id="2"),
        decision(3, "given", 3, "g", contact_id="A"),
        decision(4, "refused", 3, "g", **new),
        decision(5, "given", 4, "g", **new) | {"purpose": "research"},
        decision(6, "given", 4, "g"),
        decision(7, "maybe", 4, "g", **new),
    ]
    warehouse.land(CONSENTS_BRONZE, 2, *lines, load="files")
    warehouse.run(*SELECTION, identity_rules=rules, refused_share_limit="1")
    expected = {
        "contact:a": ("withdrawn", "email:ana@example.com", "most_restrictive"),
        "customer:2": ("given", "customer:2", "only_record"),
        "email:new@example.com": ("refused", "email:new@example.com", "only_record"),
    }
    assert current(warehouse) == expected
    assert decisions(warehouse) == [
        ("contact:a", "marketing", "given", 1),
        ("contact:a", "marketing", "given", 3),
        ("customer:2", "marketing", "given", 2),
        ("email:ana@example.com", "marketing", "given", 1),
        ("email:ana@example.com", "marketing", "withdrawn", 5),
        ("email:new@example.com", "marketing", "refused", 3),
    ]
    refused = warehouse.rows(CONSENTS_SILVER.quarantine, "broken_rules")
    assert sorted(name for (rules,) in refused for name in rules) == [
        "channel_is_known",
        "identity_is_present",
        "purpose_is_known",
        "state_is_known",
    ]
    # A new version of a file replaces the decisions of the earlier version.
    warehouse.land(CONSENTS_BRONZE, 3, decision(2, "refused", 2, customer_id="2"), load="files")
    warehouse.run(*SELECTION, identity_rules=rules, refused_share_limit="1")
    assert current(warehouse) == expected | {
        "contact:a": ("given", "contact:a", "only_record"),
        "customer:2": ("refused", "customer:2", "only_record"),
    }
    assert warehouse.complaints() == []


@pytest.mark.first_engine
def test_ledger_survives_the_removal_of_old_batches(warehouse: Warehouse, rules: str) -> None:
    for day, answer in enumerate((True, True, False, False, True), start=1):
        warehouse.land(CRM_CONTACTS_BRONZE, day, contact("a", day, answer), load="increment")
    warehouse.run(*SELECTION, identity_rules=rules)
    before = decisions(warehouse)
    assert [state for _, _, state, _ in before] == ["given", "withdrawn", "given"]
    [compacted] = remove_old_batches(warehouse.store, warehouse.landing, 0, datetime(2026, 4, 1, tzinfo=UTC))
    assert (compacted.batches, compacted.rows_after) == (4, 3)
    warehouse.run(*SELECTION, identity_rules=rules, full_refresh="true")
    assert decisions(warehouse) == before


@pytest.mark.first_engine
def test_decision_after_the_last_change_of_its_contact_does_not_outrank_later_ones(
    warehouse: Warehouse, rules: str
) -> None:
    warehouse.land(CRM_CONTACTS_BRONZE, 1, contact("a", 1, True, 9_999_999))
    warehouse.run(*SELECTION, identity_rules=rules)
    warehouse.land(CRM_CONTACTS_BRONZE, 2, contact("a", 2, False, 2), load="increment")
    warehouse.run(*SELECTION, identity_rules=rules)
    assert current(warehouse) == {"contact:a": ("withdrawn", "contact:a", "only_record")}


def test_merged_persons_get_the_most_restrictive_consent_and_their_own_after_a_split(
    warehouse: Warehouse, rules: str
) -> None:
    agrees, refuses = contact("a", 1, True), contact("b", 1, False)
    warehouse.land(CRM_CONTACTS_BRONZE, 1, agrees, refuses, contact("c", 1, emailaddress1="mia@example.com"))
    warehouse.run(*SELECTION, identity_rules=rules)
    assert current(warehouse) == {"contact:a": ("refused", "contact:b", "most_restrictive")}
    columns = ("record_a", "record_b", "decision", "author", "reason", "decided_at")
    decided = ("contact:a", "contact:b", "never", "Ana Berg", "Two sisters.", datetime(2026, 4, 1, tzinfo=UTC))
    rows = warehouse.store.frame(IDENTITY_OVERRIDES_SILVER, [dict(zip(columns, decided, strict=True))])
    warehouse.store.append(IDENTITY_OVERRIDES_SILVER, rows)
    warehouse.run(*SELECTION, identity_rules=rules)
    assert current(warehouse) == {
        "contact:a": ("given", "contact:a", "only_record"),
        "contact:b": ("refused", "contact:b", "only_record"),
    }


@dataclass
class Answers:
    """Random answers, and what they mean by a second implementation."""

    chance: random.Random
    told: dict[str, list[tuple[int, bool, bool]]] = field(default_factory=dict)
    """Of each record: hour, answer, and whether the source names the hour."""

    def version(self, number: int, changed: int) -> dict[str, Any]:
        """Return a version of a contact."""
        answer = self.chance.choice((None, True, False))
        at = self.chance.choice((None, changed - self.chance.randrange(5)))
        if answer is not None:
            hour_of_answer = changed if at is None else at
            self.told.setdefault(f"contact:c{number}", []).append((hour_of_answer, answer, at is not None))
        # Versions of other addresses join and separate persons.
        address = {"emailaddress1": f"p{self.chance.randrange(3)}@example.com"}
        return contact(f"c{number}", changed, answer, at, **address)

    def state_of(self, record: str, until: int) -> tuple[str, int] | None:
        """Return the latest state of a record and its hour; None without a decision."""
        answers = sorted(
            {each for each in self.told.get(record, []) if each[0] <= until}, key=lambda e: (e[0], not e[1])
        )
        state: tuple[str, int] | None = None
        was_given, before = False, None
        for at, answer, has_own_time in answers:
            was_given |= answer
            if has_own_time or answer != before:
                state = ("given" if answer else "withdrawn" if was_given else "refused", at)
            before = answer
        return state


def expected_states(answers: Answers, links: dict[str, int], until: int) -> dict[int, tuple[bool, int]]:
    """Return whether each person with a decision allows e-mails, and the number of records with a decision."""
    states: dict[int, list[str]] = {}
    for record, person in links.items():
        if found := answers.state_of(record, until):
            states.setdefault(person, []).append(found[0])
    return {person: (all(state == "given" for state in each), len(each)) for person, each in states.items()}


@pytest.mark.first_engine
@pytest.mark.parametrize("seed", range(min(SEEDS, 20)))
def test_random_histories_give_the_state_of_the_strictest_record(warehouse: Warehouse, rules: str, seed: int) -> None:
    chance = random.Random(seed)
    answers = Answers(chance)
    for step in range(1, STEPS + 1):
        numbers = chance.sample(range(6), 4)
        versions = [answers.version(number, 10 * step + chance.randrange(8)) for number in numbers]
        gone = [{"contactid": f"c{chance.randrange(6)}"}] if chance.random() < 0.2 else []
        warehouse.land(CRM_CONTACTS_BRONZE, step, *versions, load="increment", gone=gone)
        warehouse.run(*SELECTION, identity_rules=rules)
        links = dict(warehouse.rows(PERSON_LINKS_SILVER, "record_key", "person_id"))
        names = ("person_id", "is_allowed", "record_count")
        found = {person: state for person, *state in warehouse.rows(CONSENT_CURRENT_SILVER, *names)}
        assert found == {key: list(each) for key, each in expected_states(answers, links, 10**6).items()}
    until = chance.randrange(10 * STEPS)
    ledger = warehouse.store.read(CONSENT_EVENTS_SILVER).where(f"decided_at <= timestamp'{hour(until)}'")
    as_of = build_consent_current_silver(warehouse.store.read(PERSON_LINKS_SILVER), ledger).select(*names).collect()
    assert {row[0]: tuple(row[1:]) for row in as_of} == expected_states(answers, links, until)
    query = DOCUMENTED_QUERY.replace("2026-05-04 00:00:00+00:00", hour(until + 1))
    for contract in (CONSENT_EVENTS_SILVER, PERSON_LINKS_SILVER):
        query = query.replace(contract.name, warehouse.store.name_of(contract.name))
    allowed = {row[0] for row in warehouse.store.session.sql(query).collect()}
    assert allowed == {person for person, (gave, _) in expected_states(answers, links, until).items() if gave}
    profiles, told = Profiles(warehouse.tables_folder), BEGIN + timedelta(hours=until)
    shown = {person: profiles.decisions_of(person, told) for person in links.values()}
    assert {
        person: (decision.counts["state"] == "given", 1 + len(decision.others))
        for person, each in shown.items()
        for decision in each
    } == expected_states(answers, links, until)
    before = sorted(warehouse.rows(CONSENT_EVENTS_SILVER), key=repr)
    warehouse.run(*SELECTION, identity_rules=rules, full_refresh="true")
    assert sorted(warehouse.rows(CONSENT_EVENTS_SILVER), key=repr) == before
