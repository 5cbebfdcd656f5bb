"""monthly_sales_gold: sales by month."""

from __future__ import annotations

from datetime import date
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.gold import MONTHLY_SALES_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines, number_with_sales
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_monthly_sales_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per month with sales.

    The query groups by customer before it counts customers. A distinct count per month takes several times as long as
    this query.

    Args:
        retails_silver: One row per line. The rows may be limited to some months, but include all lines of these months.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `monthly_sales_gold`.
    """
    customers = (
        lines_until(retails_silver, as_of)
        .groupBy("sale_month", "customer_id")
        .agg(
            sf.sum("revenue").alias("monthly_revenue"),
            sf.sum("quantity").alias("monthly_quantity"),
            number_of_sales().alias("monthly_transactions"),
            number_of_lines().alias("_line_count"),
        )
    )
    months = customers.groupBy("sale_month").agg(
        *(
            sf.sum(name).alias(name)
            for name in ("monthly_revenue", "monthly_quantity", "monthly_transactions", "_line_count")
        ),
        number_with_sales("monthly_transactions", of_whom="customer_id").alias("monthly_customers"),
    )
    return months.select(
        "*",
        sf.year("sale_month").alias("transaction_year"),
        sf.quarter("sale_month").alias("transaction_quarter"),
        sf.month("sale_month").alias("transaction_month"),
    ).selectExpr(*MONTHLY_SALES_GOLD.select_list)


def _is_in_months(months: list[date]) -> Column:
    """Return whether a row belongs to one of the months. Each month is given by its first day."""
    # On Spark, the condition of an overwrite must compare plain columns, so compare year and month separately.
    conditions = [
        (sf.col("transaction_year") == day.year) & (sf.col("transaction_month") == day.month) for day in months
    ]
    return reduce(or_, conditions)


MONTHLY_SALES = Table(
    MONTHLY_SALES_GOLD,
    build_monthly_sales_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_month",), where=_is_in_months),
)
