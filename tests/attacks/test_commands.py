"""Tests that no argument of a command reaches a table, a folder or a secret that the command does not name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_local.workspace import locked

from .commands import cdp, tables_in

pytestmark = pytest.mark.first_engine


def assert_refused(home: Path, *arguments: object) -> str:
    """Run a command that must fail with one line and change nothing. Return the line."""
    before = tables_in(home)
    ended = cdp(*arguments, "--home", home)
    assert ended.code == 1, ended
    assert ended.errors.startswith("error: ") and ended.errors.count("\n") == 1, ended.errors
    assert tables_in(home) == before
    return ended.errors.removeprefix("error: ")


@pytest.mark.parametrize(
    "parameter",
    [
        "run_id=a/../../..",
        "run_id=../../../../tmp/x",
        "run_started_at=2020-01-01T00:00:00Z",
        "landing=/tmp",
        "catalog=cat1`; DROP SCHEMA sales; --",
        "library_path=/tmp/attacker",
        "customers_api_url=http://attacker.invalid/",
        "secret_scope=other",
        "sources_file=/etc/passwd",
        "synapse_location=/tmp/copies",
        "job=cdp_stream",
        "entities=customers; import os",
        "as_of=2026-01-31' OR 1=1 --",
        "as_of={{job.parameters.ingest}}",
        "as_of=${var.secret_scope}",
        "ingest=true; rm -rf /",
        "full_refresh=true --select x",
        "replay_from=../../etc",
        "replay_from=20260131T235959Z/../..",
        "replay_from=20260131T235959Z' OR '1'='1",
    ],
)
def test_parameter_is_only_a_value(small_home: Path, parameter: str) -> None:
    assert_refused(small_home, "run", "--param", parameter)


@pytest.mark.parametrize(
    "variable",
    [
        "schema=../../../tmp/x",
        "schema=sales`; DROP TABLE customers_silver; --",
        "schema=a' LOCATION '/tmp/x",
        "serving_schema=sales/../..",
        'catalog=cat1"}, {name="other',
        "catalog=..",
    ],
)
def test_name_of_a_schema_is_never_a_path_or_a_statement(small_home: Path, variable: str) -> None:
    assert "can't be the name of a catalog or schema" in assert_refused(
        small_home, "run", "--var", variable, "--param", "ingest=false"
    )


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE customers_silver",
        "DROP SCHEMA sales CASCADE",
        "DELETE FROM customers_silver",
        "TRUNCATE TABLE customers_silver",
        "UPDATE customers_silver SET country = 'x'",
        "INSERT INTO stores_silver SELECT * FROM stores_silver",
        "INSERT OVERWRITE stores_silver SELECT * FROM stores_silver",
        "MERGE INTO stores_silver USING stores_silver AS s ON true WHEN MATCHED THEN DELETE",
        "CREATE TABLE x AS SELECT 1",
        "CREATE OR REPLACE VIEW customers_silver AS SELECT 1",
        "ALTER TABLE customers_silver DROP COLUMN email",
        "SET spark.sql.ansi.enabled = false",
        "WITH gone AS (DELETE FROM customers_silver) SELECT 1",
        "SELECT 1 /* */ ; DROP TABLE customers_silver --",
        "SELECT * FROM customers_silver; DROP TABLE customers_silver",
        "SELECT * FROM text.`/etc/passwd`",
        "SELECT * FROM delta.`/tmp`",
        "SELECT * FROM `customers_silver``; DROP TABLE stores_silver`",
        "SELECT * FROM read_files('/etc/passwd')",
        "SELECT * FROM other.sales.customers_silver",
    ],
)
def test_query_only_reads_tables_of_the_home(small_home: Path, query: str) -> None:
    assert_refused(small_home, "sql", query)


@pytest.mark.parametrize(
    "table", ["customers_silver; DROP TABLE stores_silver", "../../../etc/passwd", "a`b", "text.`/etc/passwd`", "*", ""]
)
def test_table_to_show_is_only_a_name(small_home: Path, table: str) -> None:
    assert "Unknown table" in assert_refused(small_home, "show", table)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "--select", "gold"],
        ["plan"],
        ["verify", "--repair"],
        ["maintain"],
        ["watch"],
        ["report"],
        ["quarantine"],
        ["sql", "SELECT 1"],
    ],
    ids=" ".join,
)
def test_command_beside_a_running_command_changes_nothing(small_home: Path, arguments: list[str]) -> None:
    with locked(small_home):
        assert "is in use by another cdp process" in assert_refused(small_home, *arguments)
