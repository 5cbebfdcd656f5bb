"""Segments: RFM scores, the usual interval between purchases of each customer, and the name that follows from them.

A customer is overdue compared with the usual interval. A customer with few purchases has no reliable interval of their
own. The shop's interval, the median of the customers who bought again, therefore counts as `SHOP_WEIGHT` further
intervals. If nobody bought again, the churn horizon stands in for the shop's interval.

The segments use no fitted model. The shop's figures come from the query that counts the values for the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.analytics.rfm import count_by_value, quantile, rfm_values, with_scores
from cdp_lib.analytics.summaries import build_customer_summaries
from cdp_lib.contracts.segments import SEGMENTS

SHOP_WEIGHT = 2
"""Number of intervals of the shop that are added to the intervals of each customer."""

_INTERVAL = "interval"
_HORIZON = "churn_horizon_days"


@dataclass(frozen=True)
class SegmentTerms:
    """Settings of the segments.

    Attributes:
        churn_horizon_days: Length of the churn horizon, in days.
        minimum_scored_buyers: Minimum number of buyers for a division into fifths.
    """

    churn_horizon_days: int
    minimum_scored_buyers: int


def segments_at(
    customer_acquisitions_silver: DataFrame, purchases_silver: DataFrame, as_of: date, terms: SegmentTerms
) -> DataFrame:
    """Return customers with summaries and segments at a day.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        as_of: Last day to include.
        terms: Settings of the segments.

    Returns:
        Columns of `build_customer_summaries` and `with_segments`.
    """
    customers = build_customer_summaries(customer_acquisitions_silver, purchases_silver, as_of)
    return with_segments(customers, count_by_value(customers, segment_values()), terms)


def segment_values() -> dict[str, Column]:
    """Return the values whose numbers of buyers determine the segments: the scored values and the own interval."""
    own = sf.when(sf.col("frequency") > 0, sf.greatest(sf.floor(_span() / sf.col("frequency")), sf.lit(1)))
    return rfm_values() | {_INTERVAL: own.cast("double")}


def with_segments(customers: DataFrame, counts: Mapping[str, Mapping[float, int]], terms: SegmentTerms) -> DataFrame:
    """Return customers with three RFM scores, `purchase_interval_days`, `overdue` and `segment`.

    All but `segment` are null for customers who never bought.

    Args:
        customers: One row per customer, with columns of `build_customer_summaries`.
        counts: Number of buyers by value, for each of `segment_values`.
        terms: Settings of the segments.
    """
    intervals = counts[_INTERVAL]
    # The median is not sensitive to the few customers who came back after years.
    shop = quantile(intervals, Fraction(1, 2)) if intervals else terms.churn_horizon_days
    interval = (_span() + sf.lit(float(SHOP_WEIGHT * shop))) / (sf.col("frequency") + SHOP_WEIGHT)
    scored = with_scores(customers, counts, terms.minimum_scored_buyers).select(
        "*", interval.alias("purchase_interval_days"), (sf.col("recency_days") / interval).alias("overdue")
    )
    horizon = sf.lit(terms.churn_horizon_days).alias(_HORIZON)
    return scored.select("*", horizon).select("*", segment().alias("segment")).drop(_HORIZON)


def _span() -> Column:
    """Return the days from the first to the latest purchase."""
    return sf.datediff("last_purchase_date", "first_purchase_date")


def segment() -> Column:
    """Return the name of the first segment whose rule holds for the columns of a row."""
    first, *rest = SEGMENTS
    return reduce(
        lambda case, each: case.when(sf.expr(each.holds), each.name), rest, sf.when(sf.expr(first.holds), first.name)
    )
