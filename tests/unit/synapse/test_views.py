"""Tests that each view returns its table's rows without personal data, from a copy that serverless SQL can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.published import PUBLISHED_TABLES
from cdp_local.synapse_views import tsql_type, view_statement

from .conftest import ALL_ROWS, Gold
from .serverless import View, contents, views

VIEWS = {view.folder: view for view in views()}
TEXT = "VARCHAR(8000) COLLATE Latin1_General_100_BIN2_UTF8"
TYPES = [
    ("BIGINT", "BIGINT"),
    ("BOOLEAN", "BIT"),
    ("DATE", "DATE"),
    ("DECIMAL(18,2)", "DECIMAL(18,2)"),
    ("DECIMAL(38,3)", "DECIMAL(38,3)"),
    ("DECIMAL(38,4)", "DECIMAL(38,4)"),
    ("DOUBLE", "FLOAT"),
    ("INT", "INT"),
    ("STRING", TEXT),
    ("TIMESTAMP", "DATETIME2(6)"),
]

NOT_IN_SAMPLES = {"country_monthly_orders_gold"}
"""Tables that have no rows in a run on the samples, because the samples have no orders."""

each_table = pytest.mark.parametrize("contract", PUBLISHED_TABLES, ids=lambda contract: contract.name)
each_view = pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)


def sorted_rows(rows: pa.Table) -> list[str]:
    return sorted(map(repr, rows.to_pylist()))


def assert_shows_all_but_personal_data(contract: TableContract, gold: Gold, *, may_be_empty: bool = False) -> None:
    """Assert that the view on the copy has all rows of the table, and all columns without personal data."""
    table = contents(DeltaTable(gold.tables / contract.name))
    expected = table.select([column.name for column in contract.columns if not column.pii])

    shown = VIEWS[contract.name].rows(contents(DeltaTable(gold.published / contract.name)))

    assert shown.num_rows > 0 or may_be_empty
    assert sorted_rows(shown) == sorted_rows(expected)
    assert shown.schema.types == expected.schema.types


@pytest.mark.every_case
@each_table
def test_a_view_shows_its_table_to_the_last_digit(contract: TableContract, written: Gold) -> None:
    assert_shows_all_but_personal_data(contract, written)


@each_table
def test_a_view_shows_what_the_job_has_written(contract: TableContract, refreshed: Gold) -> None:
    assert_shows_all_but_personal_data(contract, refreshed, may_be_empty=contract.name in NOT_IN_SAMPLES)


@each_table
def test_a_copy_asks_no_more_of_its_reader_than_serverless_offers(contract: TableContract, written: Gold) -> None:
    table = DeltaTable(written.published / contract.name)
    log = [json.loads(line) for commit in log_of(table) for line in commit.read_text().splitlines()]

    assert table.protocol().min_reader_version == 1
    assert not table.protocol().reader_features
    assert table.metadata().configuration == {"delta.enableDeletionVectors": "false"}
    assert [action for action in log if (action.get("add") or {}).get("deletionVector")] == []


def test_views_read_exactly_what_the_job_publishes(refreshed: Gold) -> None:
    assert sorted(path.name for path in refreshed.published.iterdir()) == sorted(VIEWS)


@each_table
def test_no_file_that_serverless_can_open_has_a_column_of_personal_data(
    contract: TableContract, refreshed: Gold
) -> None:
    files = list((refreshed.published / contract.name).glob("*.parquet"))
    public = [column.name for column in contract.columns if not column.pii]

    assert files or contract.name in NOT_IN_SAMPLES
    assert {tuple(pq.read_schema(file).names) for file in files} <= {tuple(public)}


def test_a_run_publishes_what_has_changed_and_a_run_without_a_location_nothing(
    cdp: Callable[..., Any], refreshed: Gold
) -> None:
    home = refreshed.published.parent
    before = sorted(home.rglob("gold/**/*"))
    other = home / "other"

    for location, said in (
        ("", "s"),
        (refreshed.published, "nothing new"),
        (other, "rows"),
        (other, "nothing new"),
    ):
        run = cdp("run", "--home", home, "--only", "publish", *ALL_ROWS, "--var", f"synapse_location={location}")
        assert run.returncode == 0, run.stderr
        assert re.search(rf"^publish +succeeded .* {said}$", run.stdout, re.MULTILINE), run.stdout

    assert sorted(home.rglob("gold/**/*")) == before
    assert sorted(path.name for path in other.iterdir()) == sorted(VIEWS)
    assert {DeltaTable(path).version() for path in other.iterdir()} == {0}


def log_of(table: DeltaTable) -> list[Path]:
    return sorted((Path(table.table_uri.removeprefix("file://")) / "_delta_log").glob("*.json"))


def test_every_published_table_has_one_view() -> None:
    assert sorted(view.folder for view in views()) == sorted(contract.name for contract in PUBLISHED_TABLES)


@each_view
def test_a_view_is_named_as_its_table_without_the_layer(view: View) -> None:
    schema = "customers" if TABLES[view.folder].is_per_customer else "sales"
    assert f"{view.name}_gold" == f"{schema}.{view.folder}"
    assert view.options == {"DATA_SOURCE": "gold", "FORMAT": "DELTA"}


@each_view
def test_a_view_reads_only_the_columns_it_shows(view: View) -> None:
    assert view.selected == tuple(view.columns)


@each_table
def test_a_views_types_are_the_contracts(contract: TableContract) -> None:
    of_type = dict(TYPES)

    assert VIEWS[contract.name].columns == {
        column.name: of_type[column.type] for column in contract.columns if not column.pii
    }


def test_no_view_has_a_column_that_is_personal_anywhere() -> None:
    personal = {column.name for contract in PUBLISHED_TABLES for column in contract.columns if column.pii}

    assert personal == {"full_name", "age_band", "generation", "gender", "city", "attributes"}
    assert {view.name: personal & set(view.columns) for view in VIEWS.values() if personal & set(view.columns)} == {}


def test_personal_data_that_a_contract_gains_stays_out() -> None:
    contract = TableContract(
        "visits_gold",
        "gold",
        "One row per visit.",
        (Column("visit_id", "INT", "number"), Column("phone", "STRING", "telephone number", pii="phone")),
    )

    assert "phone" not in view_statement(contract)


@pytest.mark.parametrize(("spark_type", "expected"), TYPES)
def test_a_spark_type_has_a_tsql_type(spark_type: str, expected: str) -> None:
    assert tsql_type(spark_type) == expected


@pytest.mark.parametrize("spark_type", ["ARRAY<STRING>", "STRUCT<a: INT>", "DECIMAL", "int"])
def test_a_type_without_a_counterpart_is_refused(spark_type: str) -> None:
    with pytest.raises(ValueError, match="No T-SQL type"):
        tsql_type(spark_type)
