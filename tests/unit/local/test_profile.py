"""Tests of the story of one person, and of the command that prints it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from cdp_lib.contracts.profile import CUSTOMER_PROFILE_GOLD
from cdp_lib.contracts.silver import ID_KEYS_SILVER
from cdp_lib.errors import CdpError
from cdp_local.bundle import Bundle
from cdp_local.cli import app
from cdp_local.profile import Profiles
from cdp_local.workspace import PROJECT

pytestmark = pytest.mark.first_engine

PERSONS = 130
"""Number of persons: more than partitions, so that partitions have several persons."""


@pytest.fixture(scope="module")
def home(benchmark_module, tmp_path_factory) -> Path:
    """Return a home folder with the tables of the benchmark."""
    folder = tmp_path_factory.mktemp("home")
    benchmark_module("profiles").write_tables(folder_of(folder), PERSONS)
    return folder


def folder_of(home: Path) -> Path:
    return home / "warehouse" / Bundle(PROJECT, {}).variable("schema")


@pytest.fixture
def cdp_profile(home):
    """Return a function that runs `cdp profile` in this process."""

    def run(*arguments: str):
        return CliRunner().invoke(app, ["profile", "--home", str(home), *arguments])

    return run


def test_story_has_records_purchases_and_events_of_only_this_person(home) -> None:
    story = Profiles(folder_of(home)).story_of(7)
    assert story.person_id == 7
    assert [row["record_key"] for row in story.records] == [f"contact:{7:032x}", "customer:7"]
    assert [row["event"] for row in story.history] == ["created"]
    assert {row["transaction_date"] for row in story.purchases} <= {date(2026, m, 1) for m in (4, 5, 6)}
    assert story.purchases[0]["transaction_date"] == date(2026, 6, 1)
    assert [row["identity"] for row in story.events] == ["customer:7"]


def test_command_imports_no_engine_and_no_client_of_a_source(home) -> None:
    code = "import sys; from cdp_local.cli import app; \ntry: app()\nfinally: print(*sys.modules, file=sys.stderr)"
    # Without --home, the command reads the configured sources.
    for arguments in (["--home", str(home), "--email", "person7@example.com"], ["--phone", "+43 664 1234567"]):
        command = [sys.executable, "-c", code, "profile", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        imported = {name.split(".")[0] for name in ended.stderr.split()}
        assert {"cdp_local", "deltalake"} <= imported
        assert not imported & {"azure", "fsspec", "pandas", "pyarrow", "pyspark", "requests", "scipy", "sqlalchemy"}


def test_groups_have_their_values_and_their_origin(home) -> None:
    groups = {group.name: group for group in Profiles(folder_of(home)).story_of(7).groups}
    assert groups["name"].values == {"full_name": "full_name 7"}
    assert groups["name"].origin["record"] == "name_record 7"
    assert "phone" not in groups


def test_person_is_found_by_each_identifier(home) -> None:
    profiles = Profiles(folder_of(home))
    for identifier in ("email:person9@example.com", "customer:9", f"contact:{9:032x}"):
        assert profiles.persons_with(identifier) == [9]
    assert profiles.persons_with("email:nobody@example.com") == []


def test_text_identifier_of_a_customer_has_a_number(tmp_path) -> None:
    keys = {"entity": ["stores", "customers"], "source_id": ["C-7", "C-7"], "id": [8, 9]}
    write_deltalake(tmp_path / ID_KEYS_SILVER.name, pa.table(keys))
    profiles = Profiles(tmp_path)
    assert profiles.number_of_customer("C-7") == "9"
    assert profiles.number_of_customer("12") == "12"


def test_every_person_is_in_the_partition_of_the_look_up(home) -> None:
    profiles = Profiles(folder_of(home))
    chosen = range(0, PERSONS, 13)
    assert [profiles.story_of(person).person_id for person in chosen] == list(chosen)
    assert len(DeltaTable(folder_of(home) / CUSTOMER_PROFILE_GOLD.name).file_uris()) > 1


def test_missing_tables_are_an_error(tmp_path) -> None:
    with pytest.raises(CdpError, match="`cdp run` creates the profiles"):
        Profiles(tmp_path).persons_with("customer:1")


def test_command_prints_the_story_as_json(cdp_profile) -> None:
    content = json.loads(cdp_profile("--email", " Person7@Example.com ", "--json").stdout)
    assert content["person_id"] == 7
    assert content["groups"]["email"]["email"] == "person7@example.com"
    assert content["consent"] == {"email": None, "sms": None, "phone": None}
    assert content["purchases"][0]["transaction_date"] == "2026-06-01"


@pytest.mark.parametrize("arguments", [("--customer-id", "7"), ("--person", "7")])
def test_command_prints_the_story_as_tables(cdp_profile, arguments) -> None:
    answer = cdp_profile(*arguments)
    assert answer.exit_code == 0
    for text in ("Person 7", "never asked", "customer:7", "created", "Yoga Mat", "page_view", "name_record 7"):
        assert text in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--email", "nobody@example.com"), "No person has email:nobody@example.com."),
        (("--person", "999"), "There is no person 999."),
        (("--email", "nobody"), "nobody is not a possible e-mail address."),
        (("--phone", "12"), "12 is not a possible phone number: write it with its calling code"),
        ((), "Name one person"),
        (("--person", "1", "--customer-id", "1"), "Name one person"),
    ],
)
def test_unknown_person_is_an_error_of_one_line(cdp_profile, arguments, message) -> None:
    answer = cdp_profile(*arguments)
    assert answer.exit_code == 1 and isinstance(answer.exception, CdpError)
    assert str(answer.exception).startswith(message) and "\n" not in str(answer.exception)


def test_several_persons_with_an_identifier_are_listed(cdp_profile, monkeypatch) -> None:
    monkeypatch.setattr(Profiles, "persons_with", lambda self, identifier: [3, 5])
    assert str(cdp_profile("--email", "a@example.com").exception).endswith("choose one of them by --person 3, 5.")
