"""country_monthly_orders_gold: orders by month and country of customers."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import is_sale, number_of_sales
from cdp_lib.contracts.gold import COUNTRY_MONTHLY_ORDERS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines, number_with_sales
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_country_monthly_orders_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per month and country of customers with orders. Lines without an order number are left out.

    An order with lines in two months counts in both.

    Args:
        retails_silver: One row per line. The rows may be limited to some months, but include all lines of these months.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `country_monthly_orders_gold`.
    """
    months = country_orders(lines_until(retails_silver, as_of), "sale_month")
    return months.selectExpr(*COUNTRY_MONTHLY_ORDERS_GOLD.select_list)


COUNTRY_MONTHLY_ORDERS = Table(
    COUNTRY_MONTHLY_ORDERS_GOLD,
    build_country_monthly_orders_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_month",)),
)


def country_orders(lines: DataFrame, period: str) -> DataFrame:
    """Return one row per period and country of customers with orders.

    Args:
        lines: One row per line, with all lines of the periods to compute.
        period: Column with the first day of the line's period, `sale_month` or `sale_week`.
    """
    orders = (
        lines.where("order_id IS NOT NULL")
        .groupBy(period, "country", "order_id")
        .agg(
            sf.sum("revenue").alias("revenue"),
            sf.sum(sf.when(is_sale(), sf.col("quantity")).otherwise(sf.lit(0))).alias("items"),
            number_of_sales().alias("sales"),
            number_of_lines().alias("_line_count"),
        )
    )
    return orders.groupBy(period, "country").agg(
        number_with_sales("sales").alias("orders"),
        *(sf.sum(name).alias(name) for name in ("revenue", "items", "_line_count")),
    )
