"""Common form of the measures of KPIs: data frames with key columns and one column per measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import without_comment
from cdp_lib.contracts.kpis import Dimension
from cdp_lib.contracts.table import UNKNOWN
from cdp_lib.frames import union

EXACT = "decimal(38,6)"
"""Type of exact sums. An exact sum is the same on every engine, regardless of how the rows are distributed."""

MEASURE_KEY = ("dimension", "dimension_value", "period")
"""Key columns of measures in their final form."""


@dataclass(frozen=True)
class MeasureRows:
    """Rows with measures. The measures have the type `EXACT`, so that later sums are exact.

    A measure is null in a row that adds nothing to the sum.

    The column names are stored with the rows, because asking the engine for them takes as long as planning a query.

    Attributes:
        rows: Rows with the columns of `keys` and `measures`.
        keys: Names of the key columns.
        measures: Names of the measures.
    """

    rows: DataFrame
    keys: tuple[str, ...]
    measures: tuple[str, ...]


def with_measures(rows: DataFrame, keys: Iterable[str], measures: Mapping[str, Column]) -> MeasureRows:
    """Return rows with the given key columns, and with measures of the type `EXACT`.

    Args:
        rows: Rows that the measures are computed from.
        keys: Names of the key columns.
        measures: Expression of each measure, by name.
    """
    names = tuple(keys)
    columns = [
        *(without_comment(sf.col(name)).alias(name) for name in names),
        *(measure.cast(EXACT).alias(name) for name, measure in measures.items()),
    ]
    return MeasureRows(rows.select(*columns), names, tuple(measures))


def align_measures(parts: Sequence[MeasureRows]) -> list[MeasureRows]:
    """Add the missing measures to each part as null columns, so that all parts have the same measures.

    Args:
        parts: Data frames with measures. All have the same key columns.
    """
    all_measures = tuple(dict.fromkeys(name for part in parts for name in part.measures))
    # `unionByName` could add missing columns, but some engines give these columns a type that cannot be summed.
    null_measures = {name: sf.lit(None).cast(EXACT).alias(name) for name in all_measures}
    return [
        replace(
            part,
            rows=part.rows.select(
                *part.keys, *(name if name in part.measures else null_measures[name] for name in all_measures)
            ),
            measures=all_measures,
        )
        for part in parts
    ]


def union_measures(parts: Sequence[MeasureRows]) -> MeasureRows:
    """Return the rows of all parts.

    Args:
        parts: Data frames with measures. All have the same key columns.
    """
    aligned = align_measures(parts)
    return replace(aligned[0], rows=union([part.rows for part in aligned]))


def sum_measures(measured: MeasureRows) -> MeasureRows:
    """Return one row per key, with the sum of each measure.

    A sum is null if the measure is null in every row of the key.
    """
    sums = [sf.sum(name).cast(EXACT).alias(name) for name in measured.measures]
    return replace(measured, rows=measured.rows.groupBy(*measured.keys).agg(*sums))


def measures_by_dimensions(measured: MeasureRows, dimensions: Sequence[Dimension]) -> MeasureRows:
    """Repeat each row once per dimension (`by_dimensions`). Keep only the measures and the columns of `MEASURE_KEY`.

    Args:
        measured: Rows with `period`, and with a column for each dimension except `all`.
        dimensions: Dimensions to return measures by.
    """
    return MeasureRows(
        by_dimensions(measured.rows, dimensions).select(*MEASURE_KEY, *measured.measures),
        MEASURE_KEY,
        measured.measures,
    )


def by_dimensions(rows: DataFrame, dimensions: Sequence[Dimension]) -> DataFrame:
    """Repeat each row once per dimension, and add the columns `dimension` and `dimension_value`.

    For example, a row with the country `DE` is returned with `dimension` = `country` and `dimension_value` = `DE`.

    Args:
        rows: Rows with a column for each dimension except `all`.
        dimensions: Dimensions to repeat the rows for.
    """
    named = [dimension for dimension in dimensions if dimension != "all"]
    value = sf.lit("all")
    for dimension in named:
        value_of_row = without_comment(sf.coalesce(dimension, sf.lit(UNKNOWN)))
        value = sf.when(sf.col("dimension") == dimension, value_of_row).otherwise(value)
    repeated = rows.select("*", sf.explode(sf.array(*map(sf.lit, dimensions))).alias("dimension"))
    return repeated.select("*", value.alias("dimension_value")).drop(*named)
