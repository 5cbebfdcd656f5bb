"""The shape all measures of `kpi_monthly_gold` are worked out in: one column for each, null where it has no say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Measured:
    """Rows with exact measures, null where a row has no say.

    The columns are known without asking the engine for them, which takes as long as to plan a query.

    Attributes:
        rows: The rows, in the columns of `keys` and `measures`.
        keys: Names of the columns that say what the measures are of.
        measures: Names of the measures.
    """

    rows: DataFrame
    keys: tuple[str, ...]
    measures: tuple[str, ...]


def with_measures(rows: DataFrame, keys: Iterable[str], measures: Mapping[str, Column]) -> Measured:
    """Rows with these columns and exact measures.

    Args:
        rows: Any rows.
        keys: Names of the columns that say what the measures are of.
        measures: Measure by name.
    """
    names = tuple(keys)
    columns = [
        *(uncommented(sf.col(name)).alias(name) for name in names),
        *(measure.cast(EXACT).alias(name) for name, measure in measures.items()),
    ]
    return Measured(rows.select(*columns), names, tuple(measures))


def align_measures(parts: Sequence[Measured]) -> list[Measured]:
    """The same rows, each with a column for each measure that any of them has.

    Args:
        parts: Rows with measures, all of the same keys.
    """
    every = tuple(dict.fromkeys(name for part in parts for name in part.measures))
    # `unionByName` could fill in what is missing, but on some engines in no type that can be summed.
    nothing = {name: sf.lit(None).cast(EXACT).alias(name) for name in every}
    return [
        replace(
            part,
            rows=part.rows.select(*part.keys, *(name if name in part.measures else nothing[name] for name in every)),
            measures=every,
        )
        for part in parts
    ]


def union_measures(parts: Sequence[Measured]) -> Measured:
    """The rows of all.

    Args:
        parts: Rows with measures, all of the same keys.
    """
    aligned = align_measures(parts)
    return replace(aligned[0], rows=union([part.rows for part in aligned]))


def sum_measures(measured: Measured) -> Measured:
    """One row per key, with the sum of each measure, null where no row of the key has it."""
    sums = [sf.sum(name).cast(EXACT).alias(name) for name in measured.measures]
    return replace(measured, rows=measured.rows.groupBy(*measured.keys).agg(*sums))


def measures_by_dimensions(measured: Measured, dimensions: Sequence[Dimension]) -> Measured:
    """Measures of a month and values of dimensions, by one dimension at a time.

    Args:
        measured: Rows with a column for each dimension but `all`, and `month`.
        dimensions: The dimensions.
    """
    return Measured(
        by_dimensions(measured.rows, dimensions).select(*PLACE, *measured.measures), PLACE, measured.measures
    )


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
    each = rows.select("*", sf.explode(sf.array(*map(sf.lit, dimensions))).alias("dimension"))
    return each.select("*", value.alias("dimension_value")).drop(*named)


def month_of(day: str) -> Column:
    """First day of the month of a day."""
    return sf.trunc(sf.col(day), "month")
