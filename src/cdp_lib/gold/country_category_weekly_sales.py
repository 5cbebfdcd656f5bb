"""country_category_weekly_sales_gold: discounts, costs, returns and anonymous sales by week, country and category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame

from cdp_lib.contracts.gold import COUNTRY_CATEGORY_WEEKLY_SALES_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.country_category_monthly_sales import country_category_sales
from cdp_lib.gold.mart import is_line_of_weeks, lines_until, weeks_of_lines, with_week
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_country_category_weekly_sales_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per week, country of customers and product category with lines.

    Args:
        retails_silver: One row per line. The rows may be limited to some weeks, but include all lines of these weeks.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `country_category_weekly_sales_gold`.
    """
    return country_category_sales(
        with_week(lines_until(retails_silver, as_of)), "sale_week", COUNTRY_CATEGORY_WEEKLY_SALES_GOLD
    )


COUNTRY_CATEGORY_WEEKLY_SALES = Table(
    COUNTRY_CATEGORY_WEEKLY_SALES_GOLD,
    build_country_category_weekly_sales_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_week",), where_in_input=is_line_of_weeks, keys_to_build=weeks_of_lines),
)
