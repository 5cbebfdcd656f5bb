"""seasonal_analysis_gold: sales by season and product category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import season
from cdp_lib.contracts.gold import SEASONAL_ANALYSIS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines
from cdp_lib.pipeline.table import Table


def build_seasonal_analysis_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per season and product category sold in that season, over all years.

    The query groups by month first. The query then computes the season once per month, and not once per sale.

    Args:
        retails_silver: One row per line.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `seasonal_analysis_gold`.
    """
    months = (
        lines_until(retails_silver, as_of)
        .groupBy("sale_month", "category")
        .agg(
            sf.sum("revenue").alias("revenue"),
            sf.sum("quantity").alias("quantity"),
            number_of_lines().alias("_line_count"),
        )
    )
    seasons = months.groupBy(season(sf.col("sale_month")).alias("season"), "category").agg(
        sf.sum("revenue").alias("seasonal_revenue"),
        sf.sum("quantity").alias("seasonal_quantity"),
        sf.sum("_line_count").alias("_line_count"),
    )
    return seasons.selectExpr(*SEASONAL_ANALYSIS_GOLD.select_list)


SEASONAL_ANALYSIS = Table(
    SEASONAL_ANALYSIS_GOLD, build_seasonal_analysis_gold, reads=(RETAILS_SILVER,), settings=("as_of",)
)
