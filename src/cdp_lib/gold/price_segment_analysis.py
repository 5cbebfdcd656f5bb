"""price_segment_analysis_gold: sales by price segment and product category."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.rfm import leading_digits, quantile
from cdp_lib.columns import number_of_sales, price_segment
from cdp_lib.contracts.gold import PRICE_SEGMENT_ANALYSIS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines
from cdp_lib.pipeline.table import Table


def build_price_segment_analysis_gold(
    retails_silver: DataFrame, as_of: date | None, price_bands: tuple[Decimal, Decimal] | None
) -> DataFrame:
    """One row per price segment and product category with sales.

    Args:
        retails_silver: One row per line.
        as_of: Last day to include; None for all days.
        price_bands: The two prices that divide prices into segments; None for the terciles of the prices of the sales.

    Returns:
        Columns of `price_segment_analysis_gold`.
    """
    lines = lines_until(retails_silver, as_of)
    bands = price_bands or terciles(lines)
    segments = lines.groupBy(price_segment(sf.col("price"), bands).alias("price_segment"), "category").agg(
        number_of_sales().alias("transaction_count"),
        sf.sum("quantity").alias("total_quantity"),
        sf.sum("revenue").alias("total_revenue"),
        number_of_lines().alias("_line_count"),
    )
    return segments.selectExpr(*PRICE_SEGMENT_ANALYSIS_GOLD.select_list)


PRICE_SEGMENT_ANALYSIS = Table(
    PRICE_SEGMENT_ANALYSIS_GOLD,
    build_price_segment_analysis_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of", "price_bands"),
)


def terciles(lines: DataFrame) -> tuple[Decimal, Decimal]:
    """Return the two prices that divide the sales into thirds: the lowest prices of the second and of the third third.

    Prices count with three significant digits. Sales with equal prices are in one segment, so segments can differ in
    size, and a shop with a single price has only the first segment.

    Args:
        lines: One row per line.
    """
    cents = leading_digits(sf.col("price")).alias("cents")
    counts = dict(tuple(row) for row in lines.where("quantity > 0").groupBy(cents).agg(sf.count("*")).collect())
    if not counts:
        return Decimal(1), Decimal(2)  # nothing to divide
    last = max(counts) + 1
    low, high = (
        min((value for value in counts if value > quantile(counts, Fraction(third, 3))), default=last)
        for third in (1, 2)
    )
    return Decimal(int(low)) / 100, Decimal(int(high)) / 100
