"""Frames from rows written down in a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
from deltalake import Schema
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdp_lib.contracts.table import Column
from cdp_lib.tables import Tables

from .warehouse import Warehouse

FrameOf = Callable[..., DataFrame]


@pytest.fixture
def frame_of(spark: SparkSession) -> FrameOf:
    """A frame of these columns; a value that a row leaves out is null."""

    def build(columns: Sequence[Column], *rows: dict[str, Any]) -> DataFrame:
        assert not {name for row in rows for name in row} - {column.name for column in columns}
        schema = StructType.fromDDL(", ".join(f"`{column.name}` {column.type}" for column in columns))
        # Through Arrow: Spark would send rows through a Python worker each time the frame is looked at.
        # Delta writes a schema as Spark does; Spark's own way to Arrow differs between pyspark and databricks-connect.
        arrow_schema = pa.schema(Schema.from_json(schema.json()))
        return spark.createDataFrame(pa.Table.from_pylist(list(rows), arrow_schema), schema)

    return build


@pytest.fixture
def warehouse(tables: Tables, frame_of: FrameOf) -> Warehouse:
    """A warehouse without a batch."""
    return Warehouse(tables, frame_of)
