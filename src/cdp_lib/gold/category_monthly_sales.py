"""category_monthly_sales_gold: sales by month and product category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.gold import CATEGORY_MONTHLY_SALES_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines, number_with_sales
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_category_monthly_sales_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per month and product category sold in that month.

    Args:
        retails_silver: One row per line. The rows may be limited to some months, but include all lines of these months.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `category_monthly_sales_gold`.
    """
    months = category_sales(lines_until(retails_silver, as_of), "sale_month")
    return months.selectExpr(*CATEGORY_MONTHLY_SALES_GOLD.select_list)


CATEGORY_MONTHLY_SALES = Table(
    CATEGORY_MONTHLY_SALES_GOLD,
    build_category_monthly_sales_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_month",)),
)


def category_sales(lines: DataFrame, period: str) -> DataFrame:
    """Return one row per period and product category sold in that period.

    The query counts customers in two steps: it groups by customer, and then counts these groups. A count of distinct
    customers in one step would take several times as long.

    Args:
        lines: One row per line, with all lines of the periods to compute.
        period: Column with the first day of the line's period, `sale_month` or `sale_week`.
    """
    customers = lines.groupBy(period, "category", "customer_id").agg(
        sf.sum("revenue").alias("revenue"),
        sf.sum("quantity").alias("quantity"),
        number_of_sales().alias("transactions"),
        number_of_lines().alias("_line_count"),
    )
    return customers.groupBy(period, "category").agg(
        *(sf.sum(name).alias(name) for name in ("revenue", "quantity", "transactions", "_line_count")),
        number_with_sales("transactions", of_whom="customer_id").alias("customers"),
    )
