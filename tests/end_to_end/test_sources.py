"""Tests of runs on Sail: with configured sources, with changed sources, and with `ingest=false`."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.landing import Landing
from cdp_local.bundle import Bundle

PROJECT = Path(__file__).resolve().parents[2]
FIXTURES = PROJECT / "fixtures"
TASKS = len(Bundle(PROJECT, {}).job("cdp_refresh").tasks)

Run = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(cdp: Callable[..., Any], home: Path) -> Run:
    """Return a function that runs the job in the home folder and returns the output of the run."""

    def run(*arguments: object, **environment: str) -> str:
        ended = cdp("run", "--home", home, *arguments, **environment)
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout)

    return run


def rows_of(home: Path, table: str) -> list[dict[str, Any]]:
    return DeltaTable(home / "warehouse" / "sales" / table).to_pyarrow_table().to_pylist()


def batches_in(home: Path) -> dict[str, int]:
    """Return the number of landed batches for each bronze table."""
    landing = Landing(str(home / "landing"))
    return {table.name: len(landing.batch_ids(table.source, table.entity)) for table in BRONZE_TABLES}


def test_source_is_landed_again_only_after_a_change(run: Run, home: Path) -> None:
    assert f"{TASKS} of {TASKS} tasks succeeded" in run()
    assert batches_in(home) == dict.fromkeys((table.name for table in BRONZE_TABLES), 1)
    counts = {table.name: len(rows_of(home, table.name)) for table in BRONZE_TABLES}
    assert counts == {
        "customers_bronze": 50,
        "products_bronze": 10,
        "store_bronze": 5,
        "transactions_bronze": 50,
        "crm_contacts_bronze": len(json.loads((FIXTURES / "crm_contacts.json").read_text())),
        "events_bronze": sum(len(path.read_text().splitlines()) for path in (FIXTURES / "events").iterdir()),
        "marketing_spend_bronze": sum(
            len(path.read_text().splitlines()) - 1 for path in (FIXTURES / "marketing_spend").iterdir()
        ),
        "exchange_rates_bronze": len((FIXTURES / "exchange_rates.csv").read_text().splitlines()) - 1,
    }
    run()
    assert batches_in(home) == dict.fromkeys((table.name for table in BRONZE_TABLES), 1)


def test_ingest_false_uses_batches_that_were_landed_elsewhere(run: Run, home: Path) -> None:
    run()
    shutil.rmtree(home / "warehouse")
    shutil.copytree(home / "landing", home / "landed elsewhere")
    landed = f"landing={home / 'landed elsewhere'}"
    assert f"{TASKS} of {TASKS} tasks succeeded" in run("--param", "ingest=false", "--var", landed)
    assert len(rows_of(home, "crm_contacts_bronze")) == 61
    assert batches_in(home) == dict.fromkeys((table.name for table in BRONZE_TABLES), 1)


def test_own_source_disables_samples_that_are_not_needed(run: Run, home: Path, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "events", tmp_path / "events")
    printed = run("--var", f"events_path={tmp_path / 'events'}")
    assert "Sample sources: customers API, database (" in printed
    assert {name: number for name, number in batches_in(home).items() if not number} == {
        "crm_contacts_bronze": 0,
        "marketing_spend_bronze": 0,
        "exchange_rates_bronze": 0,
    }
    assert "holds samples" not in printed


def test_run_with_own_sources_warns_of_earlier_samples(run: Run, tmp_path: Path) -> None:
    assert "holds samples" not in run("--only", "ingest_events")
    shutil.copytree(FIXTURES / "events", tmp_path / "events")
    assert "also holds samples of an earlier run" in run(
        "--only", "ingest_events", "--var", f"events_path={tmp_path / 'events'}"
    )


def test_new_source_column_is_kept_and_reported(run: Run, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FIXTURES / "database.sql").read_text(encoding="utf-8"))
    environment = {"CDP_SECRET_CDP_DATABASE_URL": f"sqlite:///{path}"}
    assert "New columns" not in run(**environment)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("ALTER TABLE products ADD colour TEXT; UPDATE products SET colour = 'red';")
    assert "New columns in the source, added to products_bronze: colour" in run(**environment)
    assert sorted(str(row["colour"]) for row in rows_of(home, "products_bronze")) == ["None"] * 10 + ["red"] * 10
