"""Purchases, built from the sales of a test."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.silver.purchases import build_purchases_silver


def with_month(sales: DataFrame) -> DataFrame:
    """Return sales with the month of the sale."""
    return sales.withColumn("sale_month", sf.trunc("transaction_date", "month").cast("date"))


def purchases_of(sales: DataFrame) -> DataFrame:
    """Return the days on which customers bought, and their purchases, from sales."""
    return build_purchases_silver(with_month(sales))
