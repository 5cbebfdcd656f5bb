"""sales_by_week_gold: sales, returns and orders by week, in the groups that KPIs need."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame

from cdp_lib.contracts.gold import MONTHLY_GROUPS, SALES_BY_WEEK_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.frames import union
from cdp_lib.gold.category_monthly_sales import category_sales
from cdp_lib.gold.country_category_monthly_sales import country_category_sales
from cdp_lib.gold.country_monthly_orders import country_orders
from cdp_lib.gold.mart import is_line_of_weeks, lines_until, weeks_of_lines, with_week
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys

_SALES = {"category": category_sales, "country and category": country_category_sales, "country": country_orders}
"""Function that returns the figures of the groups of a period, by the value of `grouped_by`."""


def build_sales_by_week_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per week and group of lines.

    An order with lines in two weeks counts in both.

    Args:
        retails_silver: One row per line. The rows may be limited to some weeks, but include all lines of these weeks.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `sales_by_week_gold`.
    """
    lines = with_week(lines_until(retails_silver, as_of))
    return union([_group_rows(sales(lines, "sale_week"), grouped_by) for grouped_by, sales in _SALES.items()])


def _group_rows(groups: DataFrame, grouped_by: str) -> DataFrame:
    """Return groups with the columns of `sales_by_week_gold`."""
    values = {name: name for name in ("sale_week", *MONTHLY_GROUPS[grouped_by].column_names)}
    values |= {"grouped_by": f"'{grouped_by}'"}
    values |= {name: "'all'" for name in ("country", "category") if name not in values}
    return groups.selectExpr(
        *(f"cast({values.get(c.name, 'NULL')} as {c.type}) as `{c.name}`" for c in SALES_BY_WEEK_GOLD.columns)
    )


SALES_BY_WEEK = Table(
    SALES_BY_WEEK_GOLD,
    build_sales_by_week_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
    materialization=TouchedKeys(by=("sale_week",), where_in_input=is_line_of_weeks, keys_to_build=weeks_of_lines),
)
