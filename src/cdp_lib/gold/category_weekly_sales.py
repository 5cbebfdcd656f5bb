"""category_weekly_sales_gold: sales by week and product category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame

from cdp_lib.contracts.gold import CATEGORY_WEEKLY_SALES_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.category_monthly_sales import category_sales
from cdp_lib.gold.mart import is_line_of_weeks, lines_until, weeks_of_lines, with_week
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_category_weekly_sales_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per week and product category sold in that week.

    Args:
        retails_silver: One row per line. The rows may be limited to some weeks, but include all lines of these weeks.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `category_weekly_sales_gold`.
    """
    return category_sales(with_week(lines_until(retails_silver, as_of)), "sale_week", CATEGORY_WEEKLY_SALES_GOLD)


CATEGORY_WEEKLY_SALES = Table(
    CATEGORY_WEEKLY_SALES_GOLD,
    build_category_weekly_sales_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_week",), where_in_input=is_line_of_weeks, keys_to_build=weeks_of_lines),
)
