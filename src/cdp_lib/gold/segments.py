"""Tables of the segments: the segment of each customer, and moves between segments."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.segments import SegmentTerms, segments_at
from cdp_lib.business_date import month_before
from cdp_lib.contracts.analytics import CUSTOMER_SEGMENTS_GOLD, CUSTOMER_VALUE_GOLD, SEGMENT_MOVEMENTS_GOLD
from cdp_lib.contracts.segments import NOT_YET_A_CUSTOMER
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.pipeline.table import BUSINESS_DATE, Table


def build_customer_segments_gold(
    customer_value_gold: DataFrame,
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    as_of: date,
    churn_horizon_days: int,
    minimum_scored_buyers: int,
) -> DataFrame:
    """One row per customer, with the segment at `as_of` and one month earlier.

    Args:
        customer_value_gold: One row per customer, at the same `as_of`.
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        as_of: Last day to include.
        churn_horizon_days: Length of the churn horizon, in days.
        minimum_scored_buyers: Minimum number of buyers for RFM scores that are fifths.

    Returns:
        Columns of `customer_segments_gold`.
    """
    previous_as_of = month_before(as_of)
    terms = SegmentTerms(churn_horizon_days, minimum_scored_buyers)
    before = segments_at(customer_acquisitions_silver, purchases_silver, previous_as_of, terms)
    return segments_of(customer_value_gold, before, as_of, previous_as_of)


CUSTOMER_SEGMENTS = Table(
    CUSTOMER_SEGMENTS_GOLD,
    build_customer_segments_gold,
    reads=(CUSTOMER_VALUE_GOLD, CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER),
    settings=(BUSINESS_DATE, "churn_horizon_days", "minimum_scored_buyers"),
)


def segments_of(scored: DataFrame, scored_before: DataFrame, as_of: date, previous_as_of: date) -> DataFrame:
    """Return customers with their segments at `as_of` and at `previous_as_of`.

    Both segments are computed from the current data, so a late-arriving sale does not cause a move between segments.

    Args:
        scored: One row per customer at `as_of`, from `with_segments` or from `customer_value_gold`.
        scored_before: One row per customer at `previous_as_of`, from `segments_at`.
        as_of: Last day to include.
        previous_as_of: Day of the earlier segments.

    Returns:
        Columns of `customer_segments_gold`.
    """
    before = scored_before.select("person_id", sf.col("segment").alias("previous_segment"))
    segments = scored.drop("as_of").join(before, "person_id", how="left")
    dated = segments.select("*", sf.lit(as_of).alias("as_of"), sf.lit(previous_as_of).alias("previous_as_of"))
    return dated.selectExpr(*CUSTOMER_SEGMENTS_GOLD.select_list)


def build_segment_movements_gold(customer_segments_gold: DataFrame) -> DataFrame:
    """One row per pair of segments, at previous_as_of and at as_of, that at least one customer has.

    Args:
        customer_segments_gold: One row per customer.

    Returns:
        Columns of `segment_movements_gold`. Each customer is included in exactly one row.
    """
    movements = customer_segments_gold.groupBy(
        "previous_as_of",
        "as_of",
        sf.coalesce("previous_segment", sf.lit(NOT_YET_A_CUSTOMER)).alias("from_segment"),
        sf.col("segment").alias("to_segment"),
    ).agg(sf.count("*").alias("customer_count"))
    return movements.selectExpr(*SEGMENT_MOVEMENTS_GOLD.select_list)


SEGMENT_MOVEMENTS = Table(SEGMENT_MOVEMENTS_GOLD, build_segment_movements_gold, reads=(CUSTOMER_SEGMENTS_GOLD,))
