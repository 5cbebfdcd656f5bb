"""DataFrame → DataFrame: what more than one module does with whole frames."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources.abc import Traversable

import pyarrow as pa
from pyarrow import csv
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from cdp_lib.columns import uncommented

_ARROW_TYPES = {
    "STRING": pa.string(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
}

_NAMES_IN_JSON: Mapping[str, object] = {
    "INT": "integer",
    "BIGINT": "long",
    "ARRAY<STRING>": {"type": "array", "elementType": "string", "containsNull": True},
}
"""What a schema as JSON calls a type whose name in DDL is another one."""


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all; a plan that is as flat as can be, however many there are.

    >>> union([spark.range(2), spark.range(3), spark.range(4)]).count()
    9
    """
    if len(frames) == 1:
        return frames[0]
    half = len(frames) // 2
    return union(frames[:half]).unionByName(union(frames[half:]))


def without_comments(rows: DataFrame, names: Iterable[str]) -> DataFrame:
    """Columns of the rows, without the comments of the table they come from: some engines unite none that differ."""
    return rows.select(*(uncommented(sf.col(name)).alias(name) for name in names))


def of_types(rows: DataFrame, types: Mapping[str, str]) -> DataFrame:
    """The rows in these columns, whose types are known from here on: to ask for them takes as long as to plan a query.

    Args:
        rows: Rows with these columns, in types that lose nothing on the way to these.
        types: Types as in DDL, by column.

    >>> of_types(spark.range(2), {"id": "BIGINT"}).toArrow().schema.names
    ['id']
    """
    fields = [
        {"name": name, "type": _NAMES_IN_JSON.get(type_, type_.lower()), "nullable": True, "metadata": {}}
        for name, type_ in types.items()
    ]
    return rows.to(StructType.fromJson({"type": "struct", "fields": fields}))


def worked_out_together(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all, worked out side by side and held in memory: to plan a large query takes one core for long.

    Args:
        frames: Few rows each, in the same columns; best `of_types`.
    """
    with ThreadPoolExecutor() as pool:
        held = list(pool.map(lambda frame: frame.toArrow(), frames))
    together = pa.concat_tables(held, promote_options="default")
    if not together.num_rows:  # nothing to tell the types from
        return frames[0].limit(0)
    return frame_of(together, frames[0])


def frame_of(held: pa.Table, beside: DataFrame) -> DataFrame:
    """Return a frame of rows in memory, which can be joined with another one.

    Args:
        held: The rows, at least one.
        beside: The other frame.
    """
    # In one piece: Spark takes no rows from the pieces after an empty one.
    return beside.sparkSession.createDataFrame(held.combine_chunks())


def read_csv(session: SparkSession, file: Traversable) -> DataFrame:
    """Return the lines of a CSV file with a header, all columns as text, null where there is none."""
    with file.open("rb") as content:
        names = csv.read_csv(content).column_names
    with file.open("rb") as content:
        # Not what Arrow takes for null by itself: NA is a country.
        options = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        )
        return session.createDataFrame(csv.read_csv(content, convert_options=options).combine_chunks())


def frame_of_rows(rows: Sequence[Mapping[str, object]], types: Mapping[str, str], beside: DataFrame) -> DataFrame:
    """Return a frame of Python rows.

    Args:
        rows: Values by column; a column that is left out is null.
        types: Types as in DDL, by column.
        beside: A frame of the session.
    """
    schema = pa.schema([(name, _ARROW_TYPES[type_]) for name, type_ in types.items()])
    table = pa.Table.from_pylist([{name: row.get(name) for name in types} for row in rows], schema)
    return frame_of(table, beside) if rows else of_types(beside.select(*nulls(types)).limit(0), types)


def nulls(types: Mapping[str, str]) -> list[Column]:
    """Return a null of each type, by name."""
    return [sf.lit(None).cast(type_).alias(name) for name, type_ in types.items()]
