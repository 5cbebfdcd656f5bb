"""Tests of the commands `cdp identity …`."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cdp_lib.contracts.identity import (
    IDENTITY_EDGES_SILVER,
    IDENTITY_OVERRIDES_SILVER,
    IDENTITY_RECORDS_SILVER,
    PERSON_LINKS_SILVER,
)
from cdp_lib.errors import CdpError
from cdp_lib.identity.plan import Example, Plan
from cdp_local import identity_commands
from cdp_local.cli import app

from ..identity.resolved import RULES, resolved_tables

NOW = datetime(2026, 7, 2, tzinfo=UTC)
PEOPLE = {
    "customer:1": ("nour", "email:n@x.com"),
    "contact:a": ("nour", "email:n@x.com", "phone:+43"),
    "customer:2": ("nour", "phone:+43"),
    "customer:3": ("maximilian", "email:n@x.com"),
}
DECIDED = ("--author", "Ana Berg", "--reason", "two sisters")


@pytest.fixture
def shop(store, frame_of, monkeypatch):
    """Return a runner with a few resolved records and without a workspace. A refresh only notes its tables."""
    tables = resolved_tables(frame_of, PEOPLE)
    for contract, rows in (
        (IDENTITY_RECORDS_SILVER, tables.records),
        (IDENTITY_EDGES_SILVER, tables.edges),
        (IDENTITY_OVERRIDES_SILVER, tables.decisions),
        (PERSON_LINKS_SILVER, tables.links),
    ):
        store.replace(contract, rows)
    refreshed: list[str] = []
    runner = SimpleNamespace(
        store=store,
        settings=SimpleNamespace(identity_rules=RULES, run_started_at=NOW),
        refresh=lambda selection: refreshed.extend(selection) or [],
        refreshed=refreshed,
    )
    monkeypatch.setattr(identity_commands, "open_workspace", lambda *_: nullcontext())
    monkeypatch.setattr(identity_commands, "open_runner", lambda *_: runner)
    return runner


def run(*arguments: str):
    return CliRunner().invoke(app, ["identity", *arguments])


def decisions_in(shop) -> list[tuple[str, str, str, str]]:
    names = ("record_a", "record_b", "decision", "author")
    rows = shop.store.read(IDENTITY_OVERRIDES_SILVER).orderBy("record_a", "record_b").collect()
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.first_engine
def test_explain_prints_evidence_way_and_decision(shop) -> None:
    answer = run("explain", "customer:1", "customer:2")
    assert answer.exit_code == 0, answer.exception
    assert "They are one person through contact:a." in answer.stdout
    assert "needed" in answer.stdout
    cut = run("explain", "customer:1", "customer:3").stdout
    assert "+████████████████" in cut and "their names or birth dates clearly differ" in cut


def test_split_separates_a_record_and_refreshes_what_depends_on_it(shop) -> None:
    assert run("split", "customer:2", *DECIDED).exit_code == 0
    assert decisions_in(shop) == [
        ("contact:a", "customer:2", "never", "Ana Berg"),
        ("customer:1", "customer:2", "never", "Ana Berg"),
    ]
    assert shop.refreshed == ["identity_overrides_silver+"]


@pytest.mark.first_engine
def test_split_of_a_person_separates_each_record(shop) -> None:
    [person] = {row["person_id"] for row in shop.store.read(PERSON_LINKS_SILVER).where("customer_id = 1").collect()}
    assert run("split", "--person", str(person), *DECIDED).exit_code == 0
    assert [row[:2] for row in decisions_in(shop)] == [
        ("contact:a", "customer:1"),
        ("contact:a", "customer:2"),
        ("customer:1", "customer:2"),
    ]


@pytest.mark.first_engine
def test_join_decides_about_the_pair(shop) -> None:
    assert run("join", "customer:3", "customer:1", *DECIDED).exit_code == 0
    assert decisions_in(shop) == [("customer:1", "customer:3", "always", "Ana Berg")]


@pytest.mark.first_engine
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("split", *DECIDED), "Name the records that leave their person"),
        (("split", "customer:1", "--person", "1", *DECIDED), "Name the records that leave their person"),
        (("split", "customer:3", *DECIDED), "There is nothing to decide"),
        (("split", "customer:9", *DECIDED), "There is no record customer:9"),
        (("join", "customer:1", "customer:9", *DECIDED), "There is no record customer:9"),
        (("join", "customer:1", "customer:3", "--author", "Ana", "--reason", " "), "A decision needs an author"),
    ],
)
def test_decision_that_makes_no_sense_is_an_error(shop, arguments, message) -> None:
    answer = run(*arguments)
    assert isinstance(answer.exception, CdpError) and str(answer.exception).startswith(message)
    assert decisions_in(shop) == [] and shop.refreshed == []


@pytest.mark.first_engine
def test_plan_prints_numbers_and_record_keys(shop, monkeypatch) -> None:
    planned = Plan(4, 2, 1, 1, 0, 2, (3,), (Example("merged", (1, 2), 4, ("contact:a", "customer:1")),))
    monkeypatch.setattr(identity_commands, "plan_rules", lambda *_: (planned, Decimal("1234.5000")))
    answer = run("plan")
    assert answer.exit_code == 0
    for text in ("nothing was written", "1,234.50", "merged", "contact:a, customer:1"):
        assert text in answer.stdout
