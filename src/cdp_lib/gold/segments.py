"""Marts of the RFM segments: who is in which, and who has moved."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.rfm import with_rfm
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.business_date import month_before
from cdp_lib.contracts.analytics import CUSTOMER_SEGMENTS_GOLD, CUSTOMER_VALUE_GOLD, SEGMENT_MOVEMENTS_GOLD
from cdp_lib.contracts.segments import NOT_YET
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.pipeline.table import BUSINESS_DATE, Table


def build_customer_segments_gold(
    customer_value_gold: DataFrame, customer_acquisitions_silver: DataFrame, purchases_silver: DataFrame, as_of: date
) -> DataFrame:
    """One row per customer, with the RFM segment at `as_of` and a month before.

    Args:
        customer_value_gold: One row per customer, of the same `as_of`.
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        as_of: Last day that counts.

    Returns:
        Columns of `customer_segments_gold`.
    """
    previous_as_of = month_before(as_of)
    before = with_rfm(build_customer_summaries(customer_acquisitions_silver, purchases_silver, previous_as_of))
    return segments_of(customer_value_gold, before, as_of, previous_as_of)


CUSTOMER_SEGMENTS = Table(
    CUSTOMER_SEGMENTS_GOLD,
    build_customer_segments_gold,
    reads=(CUSTOMER_VALUE_GOLD, CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER),
    settings=(BUSINESS_DATE,),
)


def segments_of(scored: DataFrame, scored_before: DataFrame, as_of: date, previous_as_of: date) -> DataFrame:
    """Return customers with the segment of now and that of before.

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


SEGMENT_MOVEMENTS = Table(SEGMENT_MOVEMENTS_GOLD, build_segment_movements_gold, reads=(CUSTOMER_SEGMENTS_GOLD,))
