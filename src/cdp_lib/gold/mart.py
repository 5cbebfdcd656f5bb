"""Common parts of the sales marts: the sales up to a day, and measures of sales."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import is_on_or_before, revenue


def sales_until(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """Return the sales up to a day, with their `revenue`.

    Args:
        retails_silver: One row per sale.
        as_of: Last day to include; None for all days.
    """
    sales = retails_silver.where(is_on_or_before("transaction_date", as_of))
    return sales.withColumn("revenue", revenue(sf.col("quantity"), sf.col("price")))


def total(column: str) -> Column:
    """Return the sum of a column. The sum of `quantity` is a BIGINT, so that the sum does not overflow.

    >>> spark.range(3).agg(total("id").alias("n")).first().n
    3
    """
    return sf.sum(sf.col(column).cast("bigint") if column == "quantity" else sf.col(column))


def number_of_sales() -> Column:
    """Return the number of sales as a sum of ones, because not every engine can sum the results of `count`.

    >>> spark.range(3).agg(number_of_sales().alias("n")).first().n
    3
    """
    return sf.sum(sf.lit(1).cast("bigint"))


def ratio(numerator: str, denominator: str) -> Column:
    """Return the unrounded quotient of two measures; null if the denominator is 0 or null."""
    return sf.col(numerator).cast("double") / sf.nullif(sf.col(denominator), sf.lit(0))
