"""Tests of the command `cdp consent`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from cdp_lib.contracts.consent import CONSENT_EVENTS_SILVER
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_local import consent_command
from cdp_local.bundle import Bundle
from cdp_local.cli import app
from cdp_local.terminal import Terminal
from cdp_local.workspace import PROJECT

pytestmark = pytest.mark.first_engine

DECISIONS = (
    ("contact:a", "marketing", "email", "given", datetime(2026, 1, 1, tzinfo=UTC)),
    ("contact:a", "marketing", "email", "withdrawn", datetime(2026, 5, 3, 23, 59, tzinfo=UTC)),
    ("contact:b", "marketing", "email", "given", datetime(2026, 6, 1, tzinfo=UTC)),
    ("contact:b", "marketing", "sms", "given", datetime(2026, 5, 4, tzinfo=UTC)),
    ("contact:c", "analytics", "all", "refused", datetime(2026, 5, 1, tzinfo=UTC)),
)
"""Records a and b belong to person 1, and record c to person 2."""


@pytest.fixture
def consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs `cdp consent` and returns the answers by purpose and channel, and the reason."""
    monkeypatch.setattr(consent_command, "console", Terminal(width=300))
    folder = tmp_path / "warehouse" / Bundle(PROJECT, {}).variable("schema")
    names = ("record_key", "purpose", "channel", "state", "decided_at")
    columns = dict(zip(names, map(list, zip(*DECISIONS, strict=True)), strict=True))
    same = {name: ["x"] * len(DECISIONS) for name in ("source", "method", "source_record")}
    write_deltalake(folder / CONSENT_EVENTS_SILVER.name, pa.table(columns | same))
    links = {"record_key": ["contact:a", "contact:b", "contact:c"], "person_id": [1, 1, 2]}
    write_deltalake(folder / PERSON_LINKS_SILVER.name, pa.table(links))

    def run(*arguments: str) -> dict[tuple[str, str], str]:
        done = CliRunner().invoke(app, ["consent", "--home", str(tmp_path), *arguments])
        assert done.exit_code == 0, done.exception
        cells = [line.replace("\u2502", " ").replace("\u2503", " ").split() for line in done.stdout.splitlines()]
        return {(row[0], row[1]): " ".join(row[2:]) for row in cells if len(row) > 3 and row[2] in ("yes", "no")}

    return run


@pytest.mark.parametrize(
    ("at", "email", "sms"),
    [
        ("2025-12-31", "no no record", "no no record"),
        ("2026-05-02", "yes given", "no no record"),
        ("2026-05-03", "no withdrawn", "no no record"),
        ("2026-05-04", "no withdrawn", "yes given"),
        ("2026-06-01", "no withdrawn; the strictest of 2 records counts", "yes given"),
    ],
)
def test_consent_on_a_day_is_the_strictest_record_at_its_end(consent, at: str, email: str, sms: str) -> None:
    shown = consent("--person", "1", "--at", at)
    assert shown["marketing", "email"].startswith(email)
    assert shown["marketing", "sms"].startswith(sms)


def test_without_a_record_only_what_needs_no_consent_is_allowed(consent) -> None:
    shown = consent("--person", "1")
    allowed = {purpose for (purpose, channel), answer in shown.items() if answer.startswith("yes") and channel != "sms"}
    assert allowed == {"analytics", "service"}
    assert shown["analytics", "all"] == "yes no objection"
    assert consent("--person", "2")["analytics", "all"].startswith("no refused")


def test_wrong_day_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["consent", "--home", str(tmp_path), "--person", "1", "--at", "3 May"])
    assert str(refused.exception) == "'3 May' is not a day: write --at as 2026-05-03."
