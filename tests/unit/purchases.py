"""Build purchases from the sales of a test."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import times
from cdp_lib.identity.rules import OFF
from cdp_lib.silver.purchases import build_purchases_silver


def with_month(sales: DataFrame) -> DataFrame:
    """Add the column `sale_month` to sales, and their revenue if it is null."""
    revenue = sf.coalesce("revenue", times(sf.col("quantity"), sf.col("price")))
    return sales.withColumns({"sale_month": sf.trunc("transaction_date", "month").cast("date"), "revenue": revenue})


def purchases_of(sales: DataFrame) -> DataFrame:
    """Build purchases from sales: one row per person and day with a purchase. Each customer is a person."""
    return build_purchases_silver(with_month(sales), sales, OFF)
