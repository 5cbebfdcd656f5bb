"""Tests of `cdp subject-access` and `cdp forget` on the sample sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deltalake import DeltaTable

ALBA = ("Alba Ackerfeld", "alba.ackerfeld@example.com")


def values_of(home: Path, table: str, column: str) -> list[object]:
    """Return the values of a column, read with delta-rs."""
    return DeltaTable(home / "warehouse" / "sales" / table).to_pyarrow_table()[column].to_pylist()


@pytest.mark.first_engine
def test_a_person_gets_everything_and_is_forgotten(cdp, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "alba"
    assert cdp("run", "--home", home).returncode == 0
    revenue = sum(values_of(home, "retails_silver", "revenue"))

    given = cdp("subject-access", "--email", "ALBA.Ackerfeld@example.com", "--to", folder, "--home", home)
    assert (given.returncode, given.stderr) == (0, "")
    assert given.stdout.endswith(f"tables written to {folder}.\n")
    tables = {table["name"]: table for table in json.loads((folder / "person.json").read_text())["tables"]}
    assert {"customers_bronze", "crm_contacts_bronze", "transactions_bronze", "customer_profile_gold"} <= set(tables)
    assert {row["customer_id"] for row in tables["customers_silver"]["rows"]} == {101}
    assert all(name in (folder / "person.html").read_text() for name in ALBA)
    assert (folder / "person.json").stat().st_mode & 0o077 == 0

    forgotten = cdp("forget", "--customer-id", 101, "--home", home)
    assert (forgotten.returncode, forgotten.stderr) == (0, "")
    assert 101 not in values_of(home, "customers_silver", "customer_id")
    assert sum(values_of(home, "retails_silver", "revenue")) == revenue
    assert not [path for path in (home / "landing").rglob("*.jsonl") if path.is_file() and ALBA[0] in path.read_text()]

    # The sources still have her.
    again = cdp("run", "--home", home)
    assert (again.returncode, again.stderr) == (0, "")
    assert 101 not in values_of(home, "customers_silver", "customer_id")
    assert not [path for path in (home / "landing").rglob("*.jsonl") if path.is_file() and ALBA[0] in path.read_text()]
    nothing = cdp("subject-access", "--email", ALBA[1], "--to", tmp_path / "nothing", "--home", home)
    assert (nothing.returncode, nothing.stderr) == (1, "error: Nothing is stored about this person.\n")


def test_errors_are_one_line(cdp, tmp_path: Path) -> None:
    for arguments, message in {
        (): "Name one person: write one of --customer-id, --email and --person.",
        ("--customer-id", "1", "--email", "a@b.example"): "Name one person: write one of --customer-id, --email and"
        " --person.",
        ("--person", "Ann"): "The request has no usable person_id.",
        ("--person", "1"): f"There is no home folder {tmp_path}/nowhere: `cdp run` creates it.",
    }.items():
        failed = cdp("forget", *arguments, "--home", tmp_path / "nowhere")
        assert (failed.returncode, failed.stderr) == (1, f"error: {message}\n")
