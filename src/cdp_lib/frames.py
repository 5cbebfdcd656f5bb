"""DataFrame → DataFrame: what more than one module does with whole frames."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from cdp_lib.columns import uncommented

FEW_ROWS = 10_000
"""Rows of a table that may be held in memory, and be part of a plan."""

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
    """Columns of the rows, without the comments of the table they come from: Sail can't unite those that differ."""
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


def worked_out_few(rows: DataFrame) -> tuple[DataFrame, int | None]:
    """The rows, worked out now and held in memory, and how many: a plan works out what it reads twice, twice.

    More rows than `FEW_ROWS` stay the plan they are; how many, is None then.

    Args:
        rows: Rows, best `of_types`.

    >>> worked_out_few(spark.range(2))[1], worked_out_few(spark.range(FEW_ROWS + 1))[1]
    (2, None)
    """
    held = rows.limit(FEW_ROWS + 1).toArrow()
    return (rows, None) if held.num_rows > FEW_ROWS else (_frame_of(held, rows), held.num_rows)


def worked_out_together(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all, worked out side by side and held in memory: to plan a large query takes one core for long.

    Args:
        frames: Few rows each, in the same columns; best `of_types`.
    """
    with ThreadPoolExecutor() as pool:
        held = list(pool.map(lambda frame: frame.toArrow(), frames))
    return _frame_of(pa.concat_tables(held, promote_options="default"), frames[0])


def _frame_of(held: pa.Table, rows: DataFrame) -> DataFrame:
    if not held.num_rows:  # nothing to tell the types from
        return rows.sparkSession.createDataFrame([], rows.schema)
    # In one piece: Spark takes no rows from the pieces after an empty one.
    return rows.sparkSession.createDataFrame(held.combine_chunks())
