"""price_segment_analysis_gold: sales by price segment and product category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales, price_segment
from cdp_lib.contracts.gold import PRICE_SEGMENT_ANALYSIS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines
from cdp_lib.pipeline.table import Table


def build_price_segment_analysis_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per price segment and product category with sales.

    Args:
        retails_silver: One row per line.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `price_segment_analysis_gold`.
    """
    segments = (
        lines_until(retails_silver, as_of)
        .groupBy(price_segment(sf.col("price")).alias("price_segment"), "category")
        .agg(
            number_of_sales().alias("transaction_count"),
            sf.sum("quantity").alias("total_quantity"),
            sf.sum("revenue").alias("total_revenue"),
            number_of_lines().alias("_line_count"),
        )
    )
    return segments.selectExpr(*PRICE_SEGMENT_ANALYSIS_GOLD.select_list)


PRICE_SEGMENT_ANALYSIS = Table(
    PRICE_SEGMENT_ANALYSIS_GOLD,
    build_price_segment_analysis_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
)
