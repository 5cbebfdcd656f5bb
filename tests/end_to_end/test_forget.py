"""Tests of `cdp subject-access` and `cdp forget` on the sample sources."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from deltalake import DeltaTable

from cdp_lib.erasure.certificate import is_authentic

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

    before = cdp("forget", "--email", ALBA[1], "--verify-only", "--home", home)
    assert (before.returncode, before.stderr) == (1, "")
    assert {"crm_contacts_silver", "customers_bronze", "landing", "phone"} <= {*re.findall(r"\w+", before.stdout)}

    forgotten = cdp("forget", "--customer-id", 101, "--home", home)
    assert (forgotten.returncode, forgotten.stderr) == (0, "")
    *_, searched, written = forgotten.stdout.splitlines()
    assert re.fullmatch(r"\d+ files \([\d.]+ MB\) searched for \d+ spellings in [\d.]+ s: no trace\.", searched)
    certificate = Path(written.removeprefix("Certificate: ")).read_text()
    assert is_authentic(certificate, (home / "erasure.key").read_text())
    assert (json.loads(certificate)["hits"], "lba" in certificate.lower()) == (0, False)
    assert values_of(home, "erasure_requests_ops", "state") == ["certified"]
    assert [json.loads(text) for text in values_of(home, "erasure_requests_ops", "certificate")] == [
        json.loads(certificate)
    ]
    assert 101 not in values_of(home, "customers_silver", "customer_id")
    assert sum(values_of(home, "retails_silver", "revenue")) == revenue
    assert not [path for path in (home / "landing").rglob("*.jsonl") if path.is_file() and ALBA[0] in path.read_text()]

    # The sources still have her.
    again = cdp("run", "--home", home)
    assert (again.returncode, again.stderr) == (0, "")
    assert 101 not in values_of(home, "customers_silver", "customer_id")
    assert not [path for path in (home / "landing").rglob("*.jsonl") if path.is_file() and ALBA[0] in path.read_text()]
    (home / "logs" / "planted.log").write_text(f"sent to {ALBA[1]}")
    planted = cdp("forget", "--email", ALBA[1], "--verify-only", "--home", home)
    assert planted.returncode == 1
    assert ": 1 trace." in planted.stdout and "planted.log" in planted.stdout
    nothing = cdp("subject-access", "--email", ALBA[1], "--to", tmp_path / "nothing", "--home", home)
    assert (nothing.returncode, nothing.stderr) == (1, "error: Nothing is stored about this person.\n")


def test_errors_are_one_line(cdp, tmp_path: Path) -> None:
    for arguments, message in {
        (): "Name a person: write --customer-id, --email or --person.",
        ("--person", "Ann"): "The request has no usable person_id.",
        ("--person", "1"): f"There is no home folder {tmp_path}/nowhere: `cdp run` creates it.",
    }.items():
        failed = cdp("forget", *arguments, "--home", tmp_path / "nowhere")
        assert (failed.returncode, failed.stderr) == (1, f"error: {message}\n")
