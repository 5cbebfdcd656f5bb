"""Tests of the commands `cdp identity …`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from cdp_lib.identity.model_file import load_model
from cdp_lib.identity.plan import Example, Plan
from cdp_lib.silver.person_links import latest_decisions
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


def test_withdrawn_decisions_are_decided_automatically(shop) -> None:
    assert run("split", "customer:2", *DECIDED).exit_code == 0
    assert run("join", "customer:1", "customer:3", *DECIDED).exit_code == 0
    shop.settings.run_started_at = NOW + timedelta(minutes=1)
    assert run("withdraw", "customer:2", "contact:a", *DECIDED).exit_code == 0
    assert in_force(shop) == {("customer:1", "customer:2"): "never", ("customer:1", "customer:3"): "always"}
    shop.settings.run_started_at = NOW + timedelta(minutes=2)
    assert run("withdraw", "customer:1", *DECIDED).exit_code == 0
    assert in_force(shop) == {}
    assert isinstance(run("withdraw", "customer:1", *DECIDED).exception, CdpError)
    assert len(decisions_in(shop)) == 6, "no row is deleted"


def in_force(shop) -> dict[tuple[str, str], str]:
    """Return the decision about each pair that is not withdrawn."""
    latest = latest_decisions(shop.store.read(IDENTITY_OVERRIDES_SILVER).toArrow()).to_pylist()
    return {(e["record_a"], e["record_b"]): e["decision"] for e in latest if e["decision"] != "automatic"}


@pytest.mark.first_engine
def test_training_writes_a_model_of_the_records(shop, monkeypatch, tmp_path) -> None:
    training = pytest.importorskip("cdp_local.identity_training")
    trained_on: list[str] = []

    def train(records, like, name):
        trained_on.extend(records["record_key"].to_pylist())
        return replace(like, name=name, prior=-9.5)

    monkeypatch.setattr(training, "train", train)
    ended = run("train", str(tmp_path / "my_shop.json"))
    assert ended.exit_code == 0, ended.exception
    assert sorted(trained_on) == sorted(PEOPLE)
    assert load_model(str(tmp_path / "my_shop.json")).prior == -9.5


@pytest.mark.first_engine
def test_training_without_splink_says_what_to_install(shop, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "splink", None)
    monkeypatch.delitem(sys.modules, "cdp_local.identity_training", raising=False)
    message = str(run("train", str(tmp_path / "my_shop.json")).exception)
    assert "splink" in message and ".[train]" in message and "\n" not in message


@pytest.mark.first_engine
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("split", *DECIDED), "Name the records that leave their person"),
        (("split", "customer:1", "--person", "1", *DECIDED), "Name the records that leave their person"),
        (("split", "customer:3", *DECIDED), "There is nothing to decide"),
        (("split", "customer:9", *DECIDED), "There is no record customer:9"),
        (("join", "customer:1", "customer:9", *DECIDED), "There is no record customer:9"),
        (("withdraw", "customer:1", *DECIDED), "There is no decision about customer:1"),
        (("withdraw", "customer:1", "customer:2", *DECIDED), "There is no decision about customer:1 and customer:2"),
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
