"""DataFrame functions that several modules share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources.abc import Traversable

import pyarrow as pa
from pyarrow import csv
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from cdp_lib.columns import without_comment

ARROW_TYPES = {
    "STRING": pa.string(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DECIMAL(38,4)": pa.decimal128(38, 4),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
}
"""Arrow type of each type of a column, as in DDL."""

_ROWS_AT_ONCE = 100_000
"""Rows that are sent to the engine in one message. Spark Connect refuses messages above 128 MB."""

_JSON_TYPES: Mapping[str, object] = {
    "INT": "integer",
    "BIGINT": "long",
    "ARRAY<STRING>": {"type": "array", "elementType": "string", "containsNull": True},
}
"""Types whose name in a JSON schema of Spark differs from their DDL name, by DDL name."""


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """Return the rows of all DataFrames. The depth of the plan grows with the logarithm of the number of DataFrames.

    >>> union([spark.range(2), spark.range(3), spark.range(4)]).count()
    9
    """
    if len(frames) == 1:
        return frames[0]
    half = len(frames) // 2
    return union(frames[:half]).unionByName(union(frames[half:]))


def in_steps(rows: DataFrame, steps: Mapping[str, Sequence[Callable[[Column], Column]]]) -> DataFrame:
    """Replace columns by the results of functions that are applied one after the other.

    Each step is a projection of its own. In one expression, an engine evaluates a value once for each of its uses:
    after five steps that use their input twice, the first step would run 32 times.

    Args:
        rows: Rows with the columns.
        steps: Functions by column.

    >>> twice = lambda value: value + value
    >>> in_steps(spark.range(3), {"id": [twice, twice]}).collect()
    [Row(id=0), Row(id=4), Row(id=8)]
    """
    for number in range(max(map(len, steps.values()), default=0)):
        columns = {name: each[number](sf.col(name)) for name, each in steps.items() if number < len(each)}
        rows = rows.withColumns(columns)
    return rows


def without_comments(rows: DataFrame, names: Iterable[str]) -> DataFrame:
    """Select columns without their comments: some engines cannot union columns with different comments."""
    return rows.select(*(without_comment(sf.col(name)).alias(name) for name in names))


def with_missing(rows: DataFrame, values: Mapping[str, Column]) -> DataFrame:
    """Return rows with the given columns added, except for columns that the rows already have.

    >>> with_missing(spark.range(1), {"id": sf.lit(7), "note": sf.lit("new")}).collect()
    [Row(id=0, note='new')]
    """
    names = {*rows.columns}
    return rows.select("*", *(value.alias(name) for name, value in values.items() if name not in names))


def with_types(rows: DataFrame, types: Mapping[str, str]) -> DataFrame:
    """Select columns with declared types, so that later steps know the schema without planning the query.

    Args:
        rows: Rows with at least these columns. The conversion to the given types must be without loss, such as from INT
            to BIGINT.
        types: Types as in DDL, by column.

    >>> with_types(spark.range(2), {"id": "BIGINT"}).toArrow().schema.names
    ['id']
    """
    fields = [
        {"name": name, "type": _JSON_TYPES.get(type_, type_.lower()), "nullable": True, "metadata": {}}
        for name, type_ in types.items()
    ]
    return rows.to(StructType.fromJson({"type": "struct", "fields": fields}))


def compute_in_parallel(frames: Sequence[DataFrame]) -> DataFrame:
    """Compute DataFrames in parallel and return their rows as one DataFrame in memory.

    Planning a large query takes long and uses only one core, so several queries are planned in parallel.

    Args:
        frames: DataFrames with few rows and the same columns, preferably from `with_types`.
    """
    with ThreadPoolExecutor() as pool:
        tables = list(pool.map(lambda frame: frame.toArrow(), frames))
    table = pa.concat_tables(tables, promote_options="default")
    if not table.num_rows:  # Spark cannot infer the types of an empty table
        return frames[0].limit(0)
    return frame_from_arrow(table, frames[0])


def frame_from_arrow(table: pa.Table, session_of: DataFrame) -> DataFrame:
    """Return the rows of an Arrow table as a DataFrame.

    Args:
        table: Rows, at least one.
        session_of: DataFrame whose Spark session creates the result, so that the two DataFrames can be joined.
    """
    # Combine the chunks, because Spark ignores the rows after an empty chunk.
    return session_of.sparkSession.createDataFrame(table.combine_chunks())


def frames_from_arrow(table: pa.Table, session_of: DataFrame) -> list[DataFrame]:
    """Return the rows of an Arrow table as DataFrames that are small enough to be sent to the engine in one message.

    Write the DataFrames one after the other: a union would be one message again.

    Args:
        table: Rows.
        session_of: DataFrame whose Spark session creates the results.
    """
    starts = range(0, table.num_rows, _ROWS_AT_ONCE)
    return [frame_from_arrow(table.slice(start, _ROWS_AT_ONCE), session_of) for start in starts]


def read_csv(session: SparkSession, file: Traversable) -> DataFrame:
    """Return the rows of a CSV file that has a header. All columns are text; an empty field is null."""
    with file.open("rb") as content:
        names = csv.read_csv(content).column_names
    with file.open("rb") as content:
        # Arrow reads NA as null by default, but NA is the code of Namibia.
        options = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        )
        return session.createDataFrame(csv.read_csv(content, convert_options=options).combine_chunks())


def frame_from_rows(rows: Sequence[Mapping[str, object]], types: Mapping[str, str], session_of: DataFrame) -> DataFrame:
    """Return Python rows as a DataFrame.

    Args:
        rows: Values of each row, by column name. A missing column is null.
        types: Types as in DDL, by column.
        session_of: DataFrame whose Spark session creates the result.
    """
    schema = pa.schema([(name, ARROW_TYPES[type_]) for name, type_ in types.items()])
    table = pa.Table.from_pylist([{name: row.get(name) for name in types} for row in rows], schema)
    return frame_from_arrow(table, session_of) if rows else with_types(session_of.select(*nulls(types)).limit(0), types)


def nulls(types: Mapping[str, str]) -> list[Column]:
    """Return null columns with the given names and types."""
    return [sf.lit(None).cast(type_).alias(name) for name, type_ in types.items()]
