"""Measures of sales: by category, of anonymous lines, of orders, discounts, costs and returns."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import CUSTOMER_DIMENSIONS
from cdp_lib.gold.kpis.measures import MEASURE_KEY, MeasureRows, by_dimensions, sum_measures, with_measures


def category_measures(category_monthly_sales: DataFrame) -> MeasureRows:
    """Return measures of sales by month and product category.

    Args:
        category_monthly_sales: One row per month and category, up to `as_of`.
    """
    months = category_monthly_sales.withColumnsRenamed({"sale_month": "month", "customers": "active_customers"})
    measures = {name: sf.col(name) for name in ("revenue", "transactions", "active_customers")}
    return with_measures(by_dimensions(months, ["category"]), MEASURE_KEY, measures)


def line_measures(monthly_sales: DataFrame) -> MeasureRows:
    """Return measures of discounts, costs and returns by month, country and product category.

    Args:
        monthly_sales: One row per month, country and category, up to `as_of`.
    """
    months = monthly_sales.withColumnRenamed("sale_month", "month")
    names = ("sold_revenue", "returned_revenue", "discount", "list_revenue", "cost", "costed_revenue")
    rows = by_dimensions(months, ["all", "country", "category"])
    return sum_measures(with_measures(rows, MEASURE_KEY, {name: sf.col(name) for name in names}))


def anonymous_measures(monthly_sales: DataFrame) -> MeasureRows:
    """Return measures of anonymous lines by month. Their country, channel and segment are unknown.

    Args:
        monthly_sales: One row per month, country and category, up to `as_of`.
    """
    unknown = sf.lit(None).cast("string")
    lines = monthly_sales.where("anonymous_revenue <> 0 OR anonymous_transactions <> 0").select(
        sf.col("sale_month").alias("month"),
        *(unknown.alias(name) for name in CUSTOMER_DIMENSIONS if name != "all"),
        sf.col("anonymous_revenue").alias("revenue"),
        "anonymous_revenue",
        sf.col("anonymous_transactions").alias("transactions"),
    )
    measures: dict[str, Column] = {name: sf.col(name) for name in ("revenue", "anonymous_revenue", "transactions")}
    return sum_measures(with_measures(by_dimensions(lines, CUSTOMER_DIMENSIONS), MEASURE_KEY, measures))


def order_measures(monthly_orders: DataFrame) -> MeasureRows:
    """Return measures of orders by month and country.

    Args:
        monthly_orders: One row per month and country, up to `as_of`.
    """
    months = monthly_orders.withColumnRenamed("sale_month", "month")
    measures = {"orders": sf.col("orders"), "order_revenue": sf.col("revenue"), "order_items": sf.col("items")}
    return sum_measures(with_measures(by_dimensions(months, ["all", "country"]), MEASURE_KEY, measures))
