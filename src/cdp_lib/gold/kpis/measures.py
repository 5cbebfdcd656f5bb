"""The shape all measures of `kpi_monthly_gold` are worked out in: one column for each, null where it has no say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import uncommented
from cdp_lib.contracts.kpis import Dimension
from cdp_lib.frames import union

EXACT = "decimal(38,6)"
"""Measures are summed exactly: figures of a month are the same on every engine, however its rows are spread."""

UNKNOWN = "unknown"
"""Value of a dimension for what has none."""

PLACE = ("dimension", "dimension_value", "month")


def with_measures(rows: DataFrame, keep: Iterable[str], measures: Mapping[str, Column]) -> DataFrame:
    """Rows with these columns and exact measures.

    Args:
        rows: Any rows.
        keep: Names of the columns that say what the measures are of.
        measures: Measure by name.
    """
    return rows.select(
        *(uncommented(sf.col(name)).alias(name) for name in keep),
        *(measure.cast(EXACT).alias(name) for name, measure in measures.items()),
    )


def union_measures(frames: Iterable[DataFrame]) -> DataFrame:
    """The rows of all, with a column for each measure that any of them has.

    Args:
        frames: Rows with measures, and the same other columns in all.
    """
    columns = [(frame, frame.columns) for frame in frames]
    every = list(dict.fromkeys(name for _, names in columns for name in names))
    # `unionByName` could fill in what is missing, but on Sail in no type that can be summed.
    nothing = {name: sf.lit(None).cast(EXACT).alias(name) for name in every}
    return union(
        [frame.select(*(name if name in names else nothing[name] for name in every)) for frame, names in columns]
    )


def sum_measures(rows: DataFrame, by: Iterable[str]) -> DataFrame:
    """The sum of each measure, null where no row of a group has it.

    Args:
        rows: Rows with the columns of `by` and measures, nothing else.
        by: Names of the columns to group by.
    """
    keys = list(by)
    measures = [name for name in rows.columns if name not in keys]
    return rows.groupBy(*keys).agg(*(sf.sum(name).cast(EXACT).alias(name) for name in measures))


def by_dimensions(rows: DataFrame, dimensions: Sequence[Dimension]) -> DataFrame:
    """Each row once for each dimension, with `dimension` and `dimension_value`.

    Args:
        rows: Rows with a column for each dimension but `all`.
        dimensions: The dimensions.
    """
    named = [dimension for dimension in dimensions if dimension != "all"]
    value = sf.lit("all")
    for dimension in named:
        of_row = uncommented(sf.coalesce(dimension, sf.lit(UNKNOWN)))
        value = sf.when(sf.col("dimension") == dimension, of_row).otherwise(value)
    others = [name for name in rows.columns if name not in named]
    each = rows.select("*", sf.explode(sf.array(*map(sf.lit, dimensions))).alias("dimension"))
    return each.select("dimension", value.alias("dimension_value"), *others)


def month_of(day: str) -> Column:
    """First day of the month of a day."""
    return sf.trunc(sf.col(day), "month")
