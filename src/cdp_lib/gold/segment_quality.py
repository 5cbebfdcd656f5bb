"""segment_quality_gold: the segments of a churn horizon ago, and what their customers have bought since."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as sf

from cdp_lib.analytics.promises import Outcome, is_kept
from cdp_lib.analytics.segments import SegmentTerms, segments_at
from cdp_lib.contracts.analytics import SEGMENT_QUALITY_GOLD
from cdp_lib.contracts.segments import ALL_BUYERS, NEVER_BOUGHT, SEGMENTS
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER
from cdp_lib.frames import frame_from_rows
from cdp_lib.pipeline.table import BUSINESS_DATE, Append, Table


def build_segment_quality_gold(
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    segment_quality_gold: DataFrame,
    as_of: date,
    churn_horizon_days: int,
    minimum_scored_buyers: int,
    minimum_segment_size: int,
    recorded_at: datetime,
) -> DataFrame:
    """One row per segment at the cut-off, `churn_horizon_days` before `as_of`, with the purchases up to `as_of`.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        segment_quality_gold: One row per earlier `as_of` and segment.
        as_of: Last day to include.
        churn_horizon_days: Length of the churn horizon, in days.
        minimum_scored_buyers: Minimum number of buyers for RFM scores that are fifths.
        minimum_segment_size: Minimum number of customers in a segment whose promise is checked.
        recorded_at: Start of the run.

    Returns:
        Columns of `segment_quality_gold`.
    """
    cut_off = as_of - timedelta(days=churn_horizon_days)
    terms = SegmentTerms(churn_horizon_days, minimum_scored_buyers)
    customers = segments_at(customer_acquisitions_silver, purchases_silver, cut_off, terms)
    after = purchases_silver.where(sf.col("purchase_date").between(sf.lit(cut_off + timedelta(days=1)), sf.lit(as_of)))
    found = {row.segment: row for row in _purchases_by_segment(customers, after)}
    outcomes = {name: Outcome(row.customers, row.bought) for name, row in found.items()}
    buyers = [outcome for name, outcome in outcomes.items() if name != NEVER_BOUGHT]
    outcomes[ALL_BUYERS] = Outcome(sum(each.customers for each in buyers), sum(each.bought for each in buyers))
    revenue = {name: row.revenue or 0 for name, row in found.items()}
    revenue[ALL_BUYERS] = sum(amount for name, amount in revenue.items() if name != NEVER_BOUGHT)
    checkable_from = None if buyers else _checkable_from(purchases_silver, as_of, churn_horizon_days)
    promises = {each.name: each.promise for each in SEGMENTS} | {ALL_BUYERS: None}
    outcomes = dict.fromkeys(promises, Outcome(0, 0)) | outcomes
    rows = [
        {
            "as_of": as_of,
            "cut_off": cut_off,
            "segment": name,
            "customer_count": outcomes[name].customers,
            "bought_share": outcomes[name].share,
            "revenue_after": revenue.get(name, 0),
            "promise": promise.text if promise else None,
            "is_kept": is_kept(promise, outcomes, minimum_segment_size) if promise else None,
            "checkable_from": checkable_from,
        }
        for name, promise in promises.items()
    ]
    return frame_from_rows(rows, SEGMENT_QUALITY_GOLD.types, purchases_silver)


SEGMENT_QUALITY = Table(
    SEGMENT_QUALITY_GOLD,
    build_segment_quality_gold,
    reads=(CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER),
    settings=(BUSINESS_DATE, "churn_horizon_days", "minimum_scored_buyers", "minimum_segment_size"),
    materialization=Append(),
    only_if="fit_models",
)


def _purchases_by_segment(customers: DataFrame, after: DataFrame) -> list[Row]:
    """Return the number of customers, the number who bought, and the revenue in the horizon, by segment."""
    bought = after.groupBy("person_id").agg(
        sf.sum("revenue").alias("revenue"), sf.max("transaction_count").alias("transactions")
    )
    return (
        customers.select("person_id", "segment")
        .join(bought, "person_id", how="left")
        .groupBy("segment")
        .agg(
            sf.count("*").alias("customers"),
            sf.count(sf.when(sf.col("transactions") > 0, 1)).alias("bought"),
            sf.sum("revenue").cast("decimal(38,4)").alias("revenue"),
        )
        .collect()
    )


def _checkable_from(purchases_silver: DataFrame, as_of: date, horizon_days: int) -> date | None:
    """Return the day on which the churn horizon of the first purchase ends; None if nobody has bought."""
    bought = purchases_silver.where((sf.col("transaction_count") > 0) & (sf.col("purchase_date") <= sf.lit(as_of)))
    day: date | None
    [(day,)] = bought.agg(sf.date_add(sf.min("purchase_date"), horizon_days)).collect()
    return day
