"""Measures of customers: purchases, retention, acquisition and predicted value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import CUSTOMER_DIMENSIONS, PAID_CHANNEL_PREFIX
from cdp_lib.frames import union, without_comments
from cdp_lib.gold.kpis.measures import (
    EXACT,
    MeasureRows,
    measures_by_dimensions,
    sum_measures,
    with_measures,
)
from cdp_lib.gold.kpis.periods import Period

_MEASURE_TYPES = {
    "revenue": "decimal(38,4)",
    "revenue_above_zero": "decimal(38,4)",
    "revenue_kept": "decimal(38,4)",
    "transactions": "bigint",
    "active_customers": "bigint",
    "returning_customers": "bigint",
    "users": "bigint",
    "new_customers": "bigint",
    "first_time_buyers": "bigint",
    "repeat_buyers": "bigint",
    "predicted_customers": "bigint",
    "predicted_clv": EXACT,
}
"""Types of the measures per customer and period. Sums of these types are fast. Speed matters, because each customer may
have a row for every period.
"""


def customer_measures(
    period: Period,
    purchases: DataFrame,
    customer_value: DataFrame,
    dimensions: DataFrame,
    activities: DataFrame,
    as_of: date,
) -> MeasureRows:
    """Return measures of customers by period, and by country, channel and segment.

    First, the purchases are reduced to a few rows per customer and period. These rows are summed by each combination of
    country, channel and segment. These sums are then summed by country, by channel and by segment. No customer is
    counted twice, because each customer has only one country, one channel and one segment.

    Args:
        period: Kind of the periods.
        purchases: One row per customer and day of purchase up to `as_of`.
        customer_value: One row per customer, at `as_of`.
        dimensions: One row per customer: `person_id`, `country`, `channel`, `segment`.
        activities: One row per activity, with `day` and `person_id`. `person_id` is null for people who are not
            customers.
        as_of: Last day to include.
    """
    names = [name for name in CUSTOMER_DIMENSIONS if name != "all"]
    customer_periods = [
        _periods_with_purchase(period, purchases),
        _periods_with_visit(period, purchases, activities),
        _periods_with_milestone(period, purchases, customer_value, as_of),
    ]
    groups = (
        union(customer_periods)
        .join(dimensions, "person_id", how="inner")
        .groupBy(*names, "period")
        .agg(*(sf.sum(name).alias(name) for name in _MEASURE_TYPES))
    )
    return sum_measures(measures_by_dimensions(_with_period_before(period, groups, names, as_of), CUSTOMER_DIMENSIONS))


def _periods_with_purchase(period: Period, purchases: DataFrame) -> DataFrame:
    """Return the purchases of each customer by period, and whether the customer also bought in the period before.

    A customer with returns only has not bought in the period.
    """
    periods = purchases.groupBy("person_id", period.of("purchase_date").alias("period")).agg(
        sf.sum("revenue").alias("revenue"), sf.sum("transaction_count").alias("transactions")
    )
    above_zero = sf.greatest("revenue", sf.lit(0).cast("decimal(38,4)"))
    is_active = sf.col("transactions") > 0
    # Use a join: a window over the periods of each customer takes twice as long as the join.
    before = periods.select(
        "person_id",
        period.later("period", 1).alias("period"),
        above_zero.alias("revenue_before"),
        is_active.alias("was_active"),
    )
    is_returning = is_active & sf.coalesce("was_active", sf.lit(False))
    return _with_all_measures(
        periods.join(before, ["person_id", "period"], how="left"),
        {
            "revenue": sf.col("revenue"),
            "revenue_above_zero": above_zero,
            "revenue_kept": sf.when(sf.col("revenue_before").isNotNull(), sf.least("revenue_before", above_zero)),
            "transactions": sf.col("transactions"),
            "active_customers": is_active.cast("bigint"),
            "returning_customers": is_returning.cast("bigint"),
            "users": is_active.cast("bigint"),
        },
    )


def _periods_with_visit(period: Period, purchases: DataFrame, activities: DataFrame) -> DataFrame:
    """Return the periods in which a customer had an activity but no purchase."""
    active = activities.where("person_id IS NOT NULL").select("person_id", period.of("day").alias("period"))
    bought = purchases.where("transaction_count > 0").select("person_id", period.of("purchase_date").alias("period"))
    visits = active.distinct().join(bought, ["person_id", "period"], how="left_anti")
    return _with_all_measures(visits, {"users": sf.lit(1)})


def _periods_with_milestone(period: Period, purchases: DataFrame, customer_value: DataFrame, as_of: date) -> DataFrame:
    """Return one row per customer and milestone: acquisition, first purchase, second purchase and prediction.

    Each row has the period of the milestone. The period of the prediction is the period of `as_of`.
    """
    value = customer_value.select("person_id", "acquisition_date", "first_purchase_date", "predictive_clv")
    later = (
        purchases.where("transaction_count > 0")
        .join(value, "person_id", how="inner")
        .where("purchase_date > first_purchase_date")
    )
    second = later.groupBy("person_id").agg(sf.min("purchase_date").alias("second_purchase_date"))
    periods = {
        "new_customers": period.of("acquisition_date"),
        "first_time_buyers": period.of("first_purchase_date"),
        "repeat_buyers": period.of("second_purchase_date"),
        "predicted_customers": sf.when(sf.col("predictive_clv").isNotNull(), sf.lit(period.start(as_of))),
    }
    by_milestone = sf.create_map(*(part for name, first_day in periods.items() for part in (sf.lit(name), first_day)))
    milestones = (
        value.join(second, "person_id", how="left")
        .select("person_id", "predictive_clv", sf.explode(by_milestone).alias("milestone", "period"))
        .where("period IS NOT NULL")
    )
    counts = {name: sf.when(sf.col("milestone") == name, 1) for name in periods}
    clv = sf.when(sf.col("milestone") == "predicted_customers", sf.col("predictive_clv"))
    return _with_all_measures(milestones, counts | {"predicted_clv": clv})


def _with_all_measures(rows: DataFrame, measures: Mapping[str, Column]) -> DataFrame:
    """Return rows with a column for every measure of `_MEASURE_TYPES`; null for a measure without an expression."""
    columns = [measures.get(name, sf.lit(None)).cast(type).alias(name) for name, type in _MEASURE_TYPES.items()]
    return without_comments(rows.select("person_id", "period", *columns), ["person_id", "period", *_MEASURE_TYPES])


def _with_period_before(period: Period, groups: DataFrame, dimensions: Sequence[str], as_of: date) -> MeasureRows:
    """Return the measures of each period, including the measures that refer to the previous period.

    Each row is used twice: for its own period, and as the previous period of the next period.
    """
    repeated = groups.select("*", sf.explode(sf.array(sf.lit(0), sf.lit(1))).alias("periods_later"))
    periods = repeated.withColumn("period", period.later("period", sf.col("periods_later"))).where(
        sf.col("period") <= sf.lit(as_of)
    )
    is_paid = sf.coalesce(sf.col("channel").startswith(PAID_CHANNEL_PREFIX), sf.lit(False))
    zero = sf.lit(0).cast("bigint")

    def count(name: str) -> Column:
        return sf.coalesce(name, zero)

    own_measures = {
        **{
            name: sf.col(name) for name in _MEASURE_TYPES if name not in ("revenue_above_zero", "revenue_kept", "users")
        },
        "customer_revenue": sf.col("revenue"),
        "active_users": sf.col("users"),
        "reactivated_customers": count("active_customers") - count("returning_customers") - count("first_time_buyers"),
        "paid_new_customers": sf.when(is_paid, sf.col("new_customers")).otherwise(zero),
    }
    previous_measures = {"active_before": sf.col("active_customers"), "revenue_before": sf.col("revenue_above_zero")}
    is_own_period = sf.col("periods_later") == 0
    measures = {
        **{name: sf.when(is_own_period, measure) for name, measure in own_measures.items()},
        **{name: sf.when(~is_own_period, measure) for name, measure in previous_measures.items()},
        # Revenue lost = revenue of the previous period − `revenue_kept` of the period. Each term has its own row.
        "revenue_lost": sf.when(is_own_period, -sf.col("revenue_kept")).otherwise(sf.col("revenue_above_zero")),
    }
    return with_measures(periods, [*dimensions, "period"], measures)
