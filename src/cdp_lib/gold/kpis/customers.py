"""Measures of customers: what they buy, whether they come back, when they were won and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import BY_CUSTOMER, PAID_CHANNELS
from cdp_lib.frames import union, without_comments
from cdp_lib.gold.kpis.measures import (
    EXACT,
    PLACE,
    Measured,
    by_dimensions,
    measures_by_dimensions,
    month_of,
    sum_measures,
    with_measures,
)

_COUNTED = {
    "revenue": "decimal(38,2)",
    "revenue_kept": "decimal(38,2)",
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
"""What a customer counts for in a month, in types that are quick to sum: there is a row for each month of each."""


def customer_measures(
    purchases: DataFrame, customer_value: DataFrame, dimensions: DataFrame, activities: DataFrame, as_of: date
) -> Measured:
    """Measures of customers by month, and by country, channel and segment.

    Each customer has one value of each dimension, so that customers are counted once for each combination of them, and
    the dimensions add up counts. What is left after the first step grows with customers and months, not with sales.

    Args:
        purchases: One row per customer and day of purchase up to `as_of`.
        customer_value: One row per customer, of `as_of`.
        dimensions: One row per customer: `customer_id`, `country`, `channel`, `segment`.
        activities: One row per person and day with an activity: `customer_id`, null of who is none, and `day`.
        as_of: Last day that counts.
    """
    names = [name for name in BY_CUSTOMER if name != "all"]
    counted = [
        _of_months(purchases),
        _of_visits(purchases, activities),
        _of_occasions(purchases, customer_value, as_of),
    ]
    places = (
        union(counted)
        .join(dimensions, "customer_id", how="inner")
        .groupBy(*names, "month")
        .agg(*(sf.sum(name).alias(name) for name in _COUNTED))
    )
    return sum_measures(measures_by_dimensions(_with_month_after(places, names, as_of), BY_CUSTOMER))


def category_measures(category_monthly_sales: DataFrame) -> Measured:
    """Measures of sales by month and product category.

    Args:
        category_monthly_sales: One row per month and category, up to `as_of`.
    """
    months = category_monthly_sales.withColumnsRenamed({"sale_month": "month", "customers": "active_customers"})
    measures = {name: sf.col(name) for name in ("revenue", "transactions", "active_customers")}
    return with_measures(by_dimensions(months, ["category"]), PLACE, measures)


def _of_months(purchases: DataFrame) -> DataFrame:
    """What customers buy in a month, and whether they did so in the month before."""
    months = purchases.groupBy("customer_id", sf.col("sale_month").alias("month")).agg(
        sf.sum("revenue").alias("revenue"), sf.sum("transaction_count").alias("transactions")
    )
    # Joined and not sorted: a window over each customer's months takes twice as long.
    before = months.select(
        "customer_id", sf.add_months("month", 1).alias("month"), sf.col("revenue").alias("revenue_before")
    )
    is_returning = sf.col("revenue_before").isNotNull()
    return _counted(
        months.join(before, ["customer_id", "month"], how="left"),
        {
            "revenue": sf.col("revenue"),
            "revenue_kept": sf.when(is_returning, sf.least("revenue_before", "revenue")),
            "transactions": sf.col("transactions"),
            "active_customers": sf.lit(1),
            "returning_customers": is_returning.cast("bigint"),
            "users": sf.lit(1),
        },
    )


def _of_visits(purchases: DataFrame, activities: DataFrame) -> DataFrame:
    """Customers with an activity in a month and no purchase."""
    active = activities.where("customer_id IS NOT NULL").select("customer_id", month_of("day").alias("month"))
    bought = purchases.select("customer_id", sf.col("sale_month").alias("month"))
    visits = active.distinct().join(bought, ["customer_id", "month"], how="left_anti")
    return _counted(visits, {"users": sf.lit(1)})


def _of_occasions(purchases: DataFrame, customer_value: DataFrame, as_of: date) -> DataFrame:
    """The months in which customers were won, bought for the first and the second time, and are predicted."""
    value = customer_value.select("customer_id", "acquisition_date", "first_purchase_date", "predictive_clv")
    later = purchases.join(value, "customer_id", how="inner").where("purchase_date > first_purchase_date")
    second = later.groupBy("customer_id").agg(sf.min("purchase_date").alias("second_purchase_date"))
    months = {
        "new_customers": month_of("acquisition_date"),
        "first_time_buyers": month_of("first_purchase_date"),
        "repeat_buyers": month_of("second_purchase_date"),
        "predicted_customers": sf.when(sf.col("predictive_clv").isNotNull(), sf.lit(as_of.replace(day=1))),
    }
    by_occasion = sf.create_map(*(part for name, month in months.items() for part in (sf.lit(name), month)))
    occasions = (
        value.join(second, "customer_id", how="left")
        .select("customer_id", "predictive_clv", sf.explode(by_occasion).alias("occasion", "month"))
        .where("month IS NOT NULL")
    )
    counts = {name: sf.when(sf.col("occasion") == name, 1) for name in months}
    clv = sf.when(sf.col("occasion") == "predicted_customers", sf.col("predictive_clv"))
    return _counted(occasions, counts | {"predicted_clv": clv})


def _counted(rows: DataFrame, counts: Mapping[str, Column]) -> DataFrame:
    columns = [counts.get(name, sf.lit(None)).cast(type).alias(name) for name, type in _COUNTED.items()]
    return without_comments(rows.select("customer_id", "month", *columns), ["customer_id", "month", *_COUNTED])


def _with_month_after(places: DataFrame, dimensions: Sequence[str], as_of: date) -> Measured:
    """Measures of a month's customers, and of what they are to the month after it."""
    each = places.select("*", sf.explode(sf.array(sf.lit(0), sf.lit(1))).alias("later"))
    months = each.withColumn("month", sf.add_months("month", sf.col("later"))).where(sf.col("month") <= sf.lit(as_of))
    is_paid = sf.coalesce(sf.col("channel").startswith(PAID_CHANNELS), sf.lit(False))
    nobody = sf.lit(0).cast("bigint")

    def count(name: str) -> Column:
        return sf.coalesce(name, nobody)

    of_month = {
        **{name: sf.col(name) for name in _COUNTED if name not in ("revenue_kept", "users")},
        "active_users": sf.col("users"),
        "reactivated_customers": count("active_customers") - count("returning_customers") - count("first_time_buyers"),
        "paid_new_customers": sf.when(is_paid, sf.col("new_customers")).otherwise(nobody),
    }
    of_month_before = {"active_before": sf.col("active_customers"), "revenue_before": sf.col("revenue")}
    is_own = sf.col("later") == 0
    measures = {
        **{name: sf.when(is_own, measure) for name, measure in of_month.items()},
        **{name: sf.when(~is_own, measure) for name, measure in of_month_before.items()},
        # What the customers of the month before brought in then, but for what each of them brings in again.
        "revenue_lost": sf.when(is_own, -sf.col("revenue_kept")).otherwise(sf.col("revenue")),
    }
    return with_measures(months, [*dimensions, "month"], measures)
