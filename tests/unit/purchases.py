"""Purchases of sales written down in a test."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.silver.purchases import build_purchases_silver


def with_month(sales: DataFrame) -> DataFrame:
    """Sales with the month of their day."""
    return sales.withColumn("sale_month", sf.trunc("transaction_date", "month").cast("date"))


def purchases_of(sales: DataFrame) -> DataFrame:
    """What customers bought on which days."""
    return build_purchases_silver(with_month(sales))
