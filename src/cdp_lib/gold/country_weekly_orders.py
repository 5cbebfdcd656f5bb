"""country_weekly_orders_gold: orders by week and country of customers."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame

from cdp_lib.contracts.gold import COUNTRY_WEEKLY_ORDERS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.country_monthly_orders import country_orders
from cdp_lib.gold.mart import is_line_of_weeks, lines_until, weeks_of_lines, with_week
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_country_weekly_orders_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per week and country of customers with orders. Lines without an order number are left out.

    An order with lines in two weeks counts in both.

    Args:
        retails_silver: One row per line. The rows may be limited to some weeks, but include all lines of these weeks.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `country_weekly_orders_gold`.
    """
    return country_orders(with_week(lines_until(retails_silver, as_of)), "sale_week", COUNTRY_WEEKLY_ORDERS_GOLD)


COUNTRY_WEEKLY_ORDERS = Table(
    COUNTRY_WEEKLY_ORDERS_GOLD,
    build_country_weekly_orders_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_week",), where_in_input=is_line_of_weeks, keys_to_build=weeks_of_lines),
)
