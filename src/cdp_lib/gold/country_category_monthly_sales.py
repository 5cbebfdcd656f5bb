"""country_category_monthly_sales_gold: discounts, costs, returns and anonymous sales by month, country and category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import is_sale
from cdp_lib.contracts.gold import COUNTRY_CATEGORY_MONTHLY_SALES_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_country_category_monthly_sales_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per month, country of customers and product category with lines.

    Args:
        retails_silver: One row per line. The rows may be limited to some months, but include all lines of these months.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `country_category_monthly_sales_gold`.
    """
    months = country_category_sales(lines_until(retails_silver, as_of), "sale_month")
    return months.selectExpr(*COUNTRY_CATEGORY_MONTHLY_SALES_GOLD.select_list)


COUNTRY_CATEGORY_MONTHLY_SALES = Table(
    COUNTRY_CATEGORY_MONTHLY_SALES_GOLD,
    build_country_category_monthly_sales_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_month",)),
)


def country_category_sales(lines: DataFrame, period: str) -> DataFrame:
    """Return one row per period, country of customers and product category with lines.

    Args:
        lines: One row per line, with all lines of the periods to compute.
        period: Column with the first day of the line's period, `sale_month` or `sale_week`.
    """
    revenue, is_anonymous, zero = sf.col("revenue"), sf.col("customer_id").isNull(), sf.lit(0)
    has_discount, has_cost = sf.col("discount").isNotNull(), sf.col("cost").isNotNull()
    return lines.groupBy(period, "country", "category").agg(
        sf.sum(sf.when(is_sale(), revenue).otherwise(zero)).alias("sold_revenue"),
        sf.sum(sf.when(is_sale(), zero).otherwise(-revenue)).alias("returned_revenue"),
        sf.sum(sf.when(is_anonymous, revenue).otherwise(zero)).alias("anonymous_revenue"),
        sf.sum((is_anonymous & is_sale()).cast("bigint")).alias("anonymous_transactions"),
        sf.sum("discount").alias("discount"),
        sf.sum(sf.when(has_discount, revenue + sf.col("discount"))).alias("list_revenue"),
        sf.sum("cost").alias("cost"),
        sf.sum(sf.when(has_cost, revenue)).alias("costed_revenue"),
        number_of_lines().alias("_line_count"),
    )
