"""Columns for the notebooks that people open."""

from __future__ import annotations

from pyspark.sql import Column, Window
from pyspark.sql import functions as sf

_WIDTH = 30


def bar(value: str) -> Column:
    """Return a bar of up to 30 characters. Its length shows a value relative to the largest value of the rows.

    A notebook shows the bar without a chart library. Use it for few rows, because all rows go through one partition.
    Null, zero and negative values have no bar.

    Args:
        value: Name of a column of numbers.
    """
    number = sf.col(value).cast("double")
    largest = sf.max(number).over(Window.partitionBy(sf.lit(1)))
    share = number / sf.nullif(largest, sf.lit(0.0))
    length = sf.when(number > 0, sf.round(share * _WIDTH)).otherwise(0).cast("int")
    return sf.repeat(sf.lit("█"), length)
