"""Common parts of the sales marts: the lines up to a day, and measures of lines.

A line is a sale if its quantity is above 0, and a return if its quantity is below 0. Sums of quantities and revenue
include returns. Counts of sales and of distinct customers, products or stores include sales only.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import is_on_or_before, week_of


def lines_until(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """Return the lines up to a day.

    Args:
        retails_silver: One row per line.
        as_of: Last day to include; None for all days.
    """
    return retails_silver.where(is_on_or_before("transaction_date", as_of))


def with_week(lines: DataFrame) -> DataFrame:
    """Return lines with the column `sale_week`, the Monday of the ISO week of each line."""
    return lines.withColumn("sale_week", week_of("transaction_date"))


def weeks_of_lines(changed_lines: DataFrame, _: DataFrame) -> DataFrame:
    """Return the weeks of changed lines, for a mart by `sale_week` (`TouchedKeys.keys_to_build`)."""
    return with_week(changed_lines).select("sale_week")


def is_line_of_weeks(weeks: list[Any]) -> Column:
    """Return whether a line is in one of some weeks (`TouchedKeys.where_in_input`).

    The condition also bounds the day, so that engines skip files by their statistics.

    Args:
        weeks: Mondays, at least one.
    """
    days = sf.col("transaction_date").between(sf.lit(min(weeks)), sf.date_add(sf.lit(max(weeks)), 6))
    return days & week_of("transaction_date").isin(weeks)


def number_of_lines() -> Column:
    """Return the number of lines as a sum of ones, because not every engine can sum the results of `count`.

    >>> spark.range(3).agg(number_of_lines().alias("n")).first().n
    3
    """
    return sf.sum(sf.lit(1).cast("bigint"))


def number_with_sales(sales: str, of_whom: str = "") -> Column:
    """Return the number of groups with a sale, such as the customers who bought.

    Args:
        sales: Column with the number of sales of a group.
        of_whom: Column that must not be null. Empty to count all groups with a sale.

    >>> customers = spark.sql("SELECT explode(array(3, 0, 1)) AS sales")
    >>> customers.agg(number_with_sales("sales").alias("n")).first().n
    2
    """
    has_sales = sf.col(sales) > 0
    return sf.sum((has_sales & sf.col(of_whom).isNotNull() if of_whom else has_sales).cast("bigint"))


def ratio(numerator: str, denominator: str) -> Column:
    """Return the unrounded quotient of two measures; null if the denominator is 0 or null."""
    return sf.col(numerator).cast("double") / sf.nullif(sf.col(denominator), sf.lit(0))
