"""Tests of the whole job. They compare its tables with results that DuckDB computes from the sources."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.gold import GOLD_TABLES

PROJECT = Path(__file__).resolve().parents[2]
FIXTURES = PROJECT / "fixtures"
EXPECTED = (PROJECT / "tests" / "end_to_end" / "expected.sql").read_text(encoding="utf-8")

Rows = list[tuple[Any, ...]]


def rows_of_table(home: Path, name: str) -> Rows:
    """Read a table with delta-rs. Return its sorted rows, with the columns in the order of the contract."""
    table = DeltaTable(home / "warehouse" / "sales" / name).to_pyarrow_table()
    columns = [column for column in TABLES[name].column_names if column not in RUN_COLUMNS]
    return sorted((tuple(row[column] for column in columns) for row in table.to_pylist()), key=repr)


RUN_COLUMNS = {
    *("_batch_id", "_source_file", "_ingested_at", "_version", "fitted_at"),
    *("linked_at", "links_version", "happened_at"),
}
"""Columns whose values depend on the run. All other columns depend only on the data."""

NOT_IN_FIRST_RUN = ("_changes", "_lease_ops", "id_keys_silver", "erasure_requests_ops", "suppressions_ops")
"""Endings of tables that no first run creates: change sets, because no table exists before it, numbers of text
identifiers, which the samples do not have, and the tables of erasures.
"""

TABLES_OF_FIRST_RUN = [name for name in TABLES if not name.endswith(NOT_IN_FIRST_RUN)]
"""Tables that a first run creates."""

NOT_IN_SAMPLES = {"country_monthly_orders_gold"}
"""Tables without rows, because the samples have no orders."""

TABLES_OF_DATA = [name for name in TABLES_OF_FIRST_RUN if TABLES[name].layer != "ops"]
"""Tables that depend only on the data, not on the run."""


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory, cdp: Callable[..., Any], engine: str) -> Path:
    """Return the home folder after one run on the sample data."""
    home = tmp_path_factory.mktemp("refreshed")
    run = cdp("run", "--engine", engine, "--home", home)
    assert run.returncode == 0, run.stderr
    return home


@pytest.fixture(scope="module")
def expected() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a DuckDB connection with the expected gold tables, computed from the sample data."""
    connection = duckdb.connect()
    connection.execute((FIXTURES / "database.sql").read_text(encoding="utf-8"))
    connection.execute(f"CREATE TABLE customers AS SELECT * FROM read_json('{FIXTURES}/customers.json')")
    connection.execute(EXPECTED)
    yield connection
    connection.close()


@pytest.mark.every_case
@pytest.mark.parametrize("name", [contract.name for contract in GOLD_TABLES])
def test_every_gold_table_equals_the_result_of_duckdb(
    refreshed: Path, expected: duckdb.DuckDBPyConnection, name: str
) -> None:
    columns = ", ".join(TABLES[name].column_names)
    rows = expected.sql(f"SELECT {columns} FROM {name}").fetchall()
    assert rows or name in NOT_IN_SAMPLES, "an empty expectation proves nothing"
    assert rows_of_table(refreshed, name) == sorted(rows, key=repr)


def test_every_sale_is_in_retails_silver(refreshed: Path, expected: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(name for name in TABLES["retails_silver"].column_names if name not in RUN_COLUMNS)
    rows = rows_of_table(refreshed, "retails_silver")
    assert rows == sorted(expected.sql(f"SELECT {columns} FROM retails").fetchall(), key=repr)
    assert len(rows) == 50


def test_every_table_exists_with_the_columns_of_its_contract(refreshed: Path) -> None:
    existing = {log.parent.name for log in (refreshed / "warehouse" / "sales").glob("*/_delta_log")}
    assert existing == set(TABLES_OF_FIRST_RUN)
    for name in existing:
        table = DeltaTable(refreshed / "warehouse" / "sales" / name)
        assert tuple(field.name for field in table.schema().fields) == TABLES[name].column_names
        assert table.metadata().description == TABLES[name].comment


def test_every_engine_makes_the_same_tables_as_sail(
    tmp_path: Path, refreshed: Path, cdp: Callable[..., Any], engine: str
) -> None:
    if engine == "sail":
        pytest.skip("the run of the other engine compares both engines")
    run = cdp("run", "--engine", "sail", "--home", tmp_path)
    assert run.returncode == 0, run.stderr
    assert {name: rows_of_table(refreshed, name) for name in TABLES_OF_DATA} == {
        name: rows_of_table(tmp_path, name) for name in TABLES_OF_DATA
    }


def test_kpis_of_all_agree_with_the_marts(refreshed: Path) -> None:
    rows = rows_of_table(refreshed, "kpi_monthly_gold")
    totals = {(month, kpi): value for month, dimension, _, kpi, value, *_ in rows if dimension == "all"}
    for year, _, month, revenue, _, transactions, customers, _ in rows_of_table(refreshed, "monthly_sales_gold"):
        day = date(year, month, 1)
        assert totals[day, "revenue"] == float(revenue)
        assert totals[day, "transactions"] == transactions
        assert totals[day, "active_customers"] == customers


def test_every_person_with_a_customer_has_a_value_a_segment_and_demographics(refreshed: Path) -> None:
    customers = {row[0] for row in rows_of_table(refreshed, "customers_silver")}
    persons = {person: numbers for person, numbers, *_ in rows_of_table(refreshed, "persons_silver") if numbers}
    assert sorted(int(number) for numbers in persons.values() for number in numbers) == sorted(customers)
    for name in ("customer_value_gold", "customer_segments_gold", "customer_demographics_gold"):
        assert sorted(row[0] for row in rows_of_table(refreshed, name)) == sorted(persons)
    assert sum(row[-1] for row in rows_of_table(refreshed, "segment_movements_gold")) == len(persons)


def test_too_few_customers_have_no_predictions_and_the_fits_say_so(refreshed: Path) -> None:
    """The sample data has 27 customers with purchases. A model needs more customers."""
    states = {row[4] for row in rows_of_table(refreshed, "model_fits_gold")}
    assert states == {"27 customers (a fit needs 100), 23 of them with repeat purchases (a fit needs 30)",
                      "23 customers (a fit needs 100), 23 of them with repeat purchases (a fit needs 30)"}  # fmt: skip


def test_no_sample_row_is_quarantined(refreshed: Path) -> None:
    assert {name for name in TABLES if name.endswith("_quarantine") and rows_of_table(refreshed, name)} == set()


def test_second_run_without_new_batches_writes_no_table(refreshed: Path, cdp: Callable[..., Any], engine: str) -> None:
    def versions() -> dict[str, int]:
        logs = (refreshed / "warehouse").glob("*/*/_delta_log")
        return {log.parent.name: DeltaTable(log.parent).version() for log in logs}

    before = versions()
    run = cdp("run", "--engine", engine, "--home", refreshed)
    assert run.returncode == 0, run.stderr
    assert versions() == before


def test_full_refresh_loads_every_landed_batch_exactly_once(
    refreshed: Path, cdp: Callable[..., Any], engine: str
) -> None:
    before = {name: rows_of_table(refreshed, name) for name in TABLES if name.endswith("_bronze")}
    run = cdp("run", "--engine", engine, "--home", refreshed, "--param", "full_refresh=true", "--select", "bronze")
    assert run.returncode == 0, run.stderr
    assert "events_bronze" in run.stdout and "403 rows" in run.stdout
    assert {name: rows_of_table(refreshed, name) for name in before} == before


def test_views_return_the_figures_that_the_run_prints(refreshed: Path, cdp: Callable[..., Any], engine: str) -> None:
    shown = cdp("show", "sales_serving.country_sales", "--engine", engine, "--home", refreshed)
    assert shown.returncode == 0, shown.stderr
    assert all(figure in shown.stdout for figure in ("Saudi Arabia", "74,010.00", "56,414.00", "47,161.00"))
    shown = cdp("show", "sales_serving.customer_segments", "--engine", engine, "--home", refreshed)
    assert shown.returncode == 0, shown.stderr
    assert all(figure in shown.stdout for figure in ("Never bought", "23", "127,747.00"))


def test_as_of_excludes_later_sales_from_gold(
    tmp_path: Path, refreshed: Path, cdp: Callable[..., Any], engine: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(refreshed, home)
    run = cdp(
        "run", "--engine", engine, "--home", home, "--param", "as_of=2025-05-31", "--select", "+monthly_sales_gold"
    )
    assert run.returncode == 0, run.stderr
    assert [row[:4] for row in rows_of_table(home, "monthly_sales_gold")] == [
        row[:4] for row in rows_of_table(refreshed, "monthly_sales_gold") if row[2] <= 5
    ]


def test_own_api_and_database_replace_the_samples(tmp_path: Path, cdp: Callable[..., Any]) -> None:
    records = json.loads((FIXTURES / "customers.json").read_text(encoding="utf-8"))[:3]
    (tmp_path / "customers.json").write_text(json.dumps(records, indent=2))
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database:
        database.executescript((FIXTURES / "database.sql").read_text(encoding="utf-8"))
        database.execute("DELETE FROM transactions WHERE customer_id > 102")
        database.commit()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PYTHONUNBUFFERED": "1"},
    )
    try:
        port = server.stdout.readline().split("port ")[1].split(" ")[0]
        run = cdp(
            "run",
            "--home",
            tmp_path / "home",
            "--var",
            f"customers_api_url=http://127.0.0.1:{port}/customers.json",
            CDP_SECRET_CDP_DATABASE_URL=f"sqlite:///{tmp_path}/shop.sqlite",
        )
    finally:
        server.kill()
        server.wait()
    assert run.returncode == 0, run.stderr
    assert "Sample sources" not in run.stdout
    assert len(rows_of_table(tmp_path / "home", "customers_silver")) == 3
    assert {row[1] for row in rows_of_table(tmp_path / "home", "retails_silver")} == {101, 102}


@pytest.mark.first_engine
def test_run_killed_at_random_times_and_repeated_makes_the_same_tables(
    tmp_path: Path, refreshed: Path, cdp: Callable[..., Any], engine: str
) -> None:
    """A kill may happen at any time, even during a commit. The tests in `tests/faults` kill runs between writes."""
    if engine != "sail":
        pytest.skip("the other engine commits through Delta too, with the same code around it")
    generator = random.Random(20261122)
    seconds = 5.0
    killed = 0
    for _ in range(10):
        begin = time.monotonic()
        run = subprocess.Popen(
            [Path(sys.executable).parent / "cdp", "run", "--engine", engine, "--home", tmp_path / "home"],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            run.wait(timeout=generator.uniform(0.25, 0.75) * seconds)
            seconds = time.monotonic() - begin  # each run has less work left than the previous run
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            killed += 1
    assert killed, "every run ended before it was killed"
    last = cdp("run", "--engine", engine, "--home", tmp_path / "home")
    assert last.returncode == 0, last.stderr
    for name in TABLES_OF_DATA:
        if not name.endswith("_bronze"):
            assert rows_of_table(tmp_path / "home", name) == rows_of_table(refreshed, name), name
        else:
            assert set(map(repr, rows_of_table(tmp_path / "home", name))) == set(
                map(repr, rows_of_table(refreshed, name))
            ), name
