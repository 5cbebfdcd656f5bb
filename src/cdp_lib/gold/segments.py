"""Marts of the RFM segments: who is in which, and who has moved."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.analytics import CUSTOMER_SEGMENTS_GOLD, SEGMENT_MOVEMENTS_GOLD
from cdp_lib.contracts.segments import NOT_YET


def build_customer_segments_gold(
    scored: DataFrame, scored_before: DataFrame, as_of: date, previous_as_of: date
) -> DataFrame:
    """One row per customer, with the RFM segment at `as_of` and a month before.

    Both are worked out from what is known today, so that a late sale moves nobody by being late.

    Args:
        scored: One row per customer at `as_of`, as `with_rfm` gives it, or `customer_value_gold`.
        scored_before: The same at `previous_as_of`.
        as_of: Last day that counts.
        previous_as_of: The day the earlier segments refer to.

    Returns:
        Columns of `customer_segments_gold`.
    """
    before = scored_before.select("customer_id", sf.col("segment").alias("previous_segment"))
    segments = scored.drop("as_of").join(before, "customer_id", how="left")
    dated = segments.select("*", sf.lit(as_of).alias("as_of"), sf.lit(previous_as_of).alias("previous_as_of"))
    return dated.selectExpr(*CUSTOMER_SEGMENTS_GOLD.select_list)


def build_segment_movements_gold(customer_segments_gold: DataFrame) -> DataFrame:
    """One row per pair of segments that customers moved between, or stayed in.

    Args:
        customer_segments_gold: One row per customer.

    Returns:
        Columns of `segment_movements_gold`. Every customer is in one row's count.
    """
    movements = customer_segments_gold.groupBy(
        "previous_as_of",
        "as_of",
        sf.coalesce("previous_segment", sf.lit(NOT_YET)).alias("from_segment"),
        sf.col("segment").alias("to_segment"),
    ).agg(sf.count("*").alias("customer_count"))
    return movements.selectExpr(*SEGMENT_MOVEMENTS_GOLD.select_list)
