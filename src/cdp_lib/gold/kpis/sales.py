"""Measures of sales: by category, of anonymous lines, of orders, discounts, costs and returns."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import CUSTOMER_DIMENSIONS
from cdp_lib.gold.kpis.measures import MEASURE_KEY, MeasureRows, by_dimensions, sum_measures, with_measures


def category_measures(category_sales: DataFrame) -> MeasureRows:
    """Return measures of sales by period and product category.

    Args:
        category_sales: One row per `period` and category, up to `as_of`.
    """
    periods = category_sales.withColumnRenamed("customers", "active_customers")
    measures = {name: sf.col(name) for name in ("revenue", "transactions", "active_customers")}
    return with_measures(by_dimensions(periods, ["category"]), MEASURE_KEY, measures)


def line_measures(sales: DataFrame) -> MeasureRows:
    """Return measures of discounts, costs and returns by period, country and product category.

    Args:
        sales: One row per `period`, country and category, up to `as_of`.
    """
    names = ("sold_revenue", "returned_revenue", "discount", "list_revenue", "cost", "costed_revenue")
    rows = by_dimensions(sales, ["all", "country", "category"])
    return sum_measures(with_measures(rows, MEASURE_KEY, {name: sf.col(name) for name in names}))


def anonymous_measures(sales: DataFrame) -> MeasureRows:
    """Return measures of anonymous lines by period. Their country, channel and segment are unknown.

    Args:
        sales: One row per `period`, country and category, up to `as_of`.
    """
    unknown = sf.lit(None).cast("string")
    lines = sales.where("anonymous_revenue <> 0 OR anonymous_transactions <> 0").select(
        "period",
        *(unknown.alias(name) for name in CUSTOMER_DIMENSIONS if name != "all"),
        sf.col("anonymous_revenue").alias("revenue"),
        "anonymous_revenue",
        sf.col("anonymous_transactions").alias("transactions"),
    )
    measures: dict[str, Column] = {name: sf.col(name) for name in ("revenue", "anonymous_revenue", "transactions")}
    return sum_measures(with_measures(by_dimensions(lines, CUSTOMER_DIMENSIONS), MEASURE_KEY, measures))


def order_measures(orders: DataFrame) -> MeasureRows:
    """Return measures of orders by period and country.

    Args:
        orders: One row per `period` and country, up to `as_of`.
    """
    measures = {"orders": sf.col("orders"), "order_revenue": sf.col("revenue"), "order_items": sf.col("items")}
    return sum_measures(with_measures(by_dimensions(orders, ["all", "country"]), MEASURE_KEY, measures))
