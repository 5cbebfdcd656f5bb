"""category_country_performance_gold: sales by customer country and product category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.gold import CATEGORY_COUNTRY_PERFORMANCE_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines, number_with_sales
from cdp_lib.pipeline.table import Table


def build_category_country_performance_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per country of customers and product category that they bought.

    The query counts products in two steps: it groups by product, and then counts these groups. A count of distinct
    products in one step would take several times as long.

    Args:
        retails_silver: One row per line.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `category_country_performance_gold`.
    """
    products = (
        lines_until(retails_silver, as_of)
        .groupBy("country", "category", "product_id")
        .agg(
            sf.sum("revenue").alias("revenue"),
            sf.sum("quantity").alias("quantity_sold"),
            number_of_sales().alias("sales"),
            number_of_lines().alias("_line_count"),
        )
    )
    groups = products.groupBy("country", "category").agg(
        sf.sum("revenue").alias("revenue"),
        sf.sum("quantity_sold").alias("quantity_sold"),
        number_with_sales("sales").alias("unique_products"),
        sf.sum("_line_count").alias("_line_count"),
    )
    return groups.selectExpr(*CATEGORY_COUNTRY_PERFORMANCE_GOLD.select_list)


CATEGORY_COUNTRY_PERFORMANCE = Table(
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    build_category_country_performance_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
)
