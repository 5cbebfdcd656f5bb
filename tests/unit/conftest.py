"""Fixtures: functions that build data frames from Python rows, and warehouses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdp_lib.contracts.table import Column
from cdp_lib.storage import DeltaStore

from .warehouse import Warehouse

FrameOf = Callable[..., DataFrame]
Fill = Callable[[Warehouse], None]
Filled = Callable[[Fill], Warehouse]


@pytest.fixture
def frame_of(spark: SparkSession) -> FrameOf:
    """Return a function that builds a data frame from columns and rows. A missing value becomes null."""

    def build(columns: Sequence[Column], *rows: dict[str, Any]) -> DataFrame:
        assert not {name for row in rows for name in row} - {column.name for column in columns}
        schema = StructType.fromDDL(", ".join(f"`{column.name}` {column.type}" for column in columns))
        # Use Arrow, because Spark would send Python rows through a Python worker at each read of the data frame.
        # Convert the schema with Delta, because Spark's conversion differs between pyspark and databricks-connect.
        arrow_schema = pa.schema(Schema.from_json(schema.json()))
        return spark.createDataFrame(pa.Table.from_pylist(list(rows), arrow_schema), schema)

    return build


@pytest.fixture
def warehouse(store: DeltaStore, tmp_path: Path) -> Warehouse:
    """Return a warehouse without batches."""
    return Warehouse(store, tmp_path / "landing")


@pytest.fixture(scope="session")
def kept_warehouses() -> dict[Fill, tuple[Path, int]]:
    """Cache of filled warehouses: (folder, number of runs) by the function that filled the warehouse."""
    return {}


@pytest.fixture
def filled(
    request: pytest.FixtureRequest,
    warehouse: Warehouse,
    spark: SparkSession,
    engine: str,
    catalog: str,
    schema: str,
    kept_warehouses: dict[Fill, tuple[Path, int]],
) -> Filled:
    """Return a function that calls `fill` to land and refresh rows in a warehouse, and returns the warehouse.

    `fill` runs only once per test session. Each test gets a copy of the filled warehouse. On Databricks, `fill` runs
    for each test, because a workspace shares no files with this machine.
    """

    def filled_by(fill: Fill) -> Warehouse:
        if engine == "databricks":
            fill(warehouse)
            return warehouse
        folder = request.getfixturevalue("tmp_path") / schema
        if fill not in kept_warehouses:
            fill(warehouse)
            kept = request.getfixturevalue("tmp_path_factory").mktemp("warehouse")
            shutil.copytree(folder, kept / "tables")
            shutil.copytree(warehouse.folder, kept / "landing")
            kept_warehouses[fill] = kept, warehouse.runs
        else:
            kept, warehouse.runs = kept_warehouses[fill]
            shutil.copytree(kept / "tables", folder, dirs_exist_ok=True)
            shutil.copytree(kept / "landing", warehouse.folder)
            for table in folder.iterdir():
                name = f"{catalog}.{schema}.{table.name}"
                spark.sql(f"CREATE TABLE {name} USING delta LOCATION '{table}'").collect()
        return warehouse

    return filled_by
