"""Measures of customers: what they buy, whether they come back, when they were won and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import BY_CUSTOMER, PAID_CHANNELS
from cdp_lib.frames import worked_out
from cdp_lib.gold.kpis.measures import (
    EXACT,
    PLACE,
    by_dimensions,
    month_of,
    sum_measures,
    union_measures,
    with_measures,
)


def customer_measures(purchases: DataFrame, customers: DataFrame, activities: DataFrame, as_of: date) -> DataFrame:
    """Measures of customers by month, and by country, channel and segment.

    Each customer has one value of each dimension, so that customers are counted once for each combination of them, and
    the dimensions add up counts. What is left after the first step grows with customers and months, not with sales.

    Args:
        purchases: One row per customer and day of purchase up to `as_of`.
        customers: One row per customer: `customer_id`, `acquisition_date`, `predictive_clv`, `country`, `channel`,
            `segment`.
        activities: One row per person and day with an activity: `customer_id`, null of who is none, and `day`.
        as_of: Last day that counts.
    """
    dimensions = [name for name in BY_CUSTOMER if name != "all"]
    places = [*dimensions, "month"]
    located = customers.select("customer_id", *dimensions)
    # As many rows as combinations of dimensions and months: from here on, no customer is looked at twice.
    months = worked_out(_months(_customer_months(purchases).join(located, "customer_id", how="inner"), places))
    users = _users_who_bought_nothing(purchases, activities).join(located, "customer_id", how="inner")
    measures = union_measures(
        [
            with_measures(months, places, {name: sf.col(name) for name in (*_OF_MONTH, "active_users")}),
            _of_month_after(months, places, as_of),
            with_measures(
                users.groupBy(*places).agg(sf.count("*").alias("users")), places, {"active_users": sf.col("users")}
            ),
            _of_acquisition(customers, places),
            _of_predictions(customers, places, as_of),
        ]
    )
    return sum_measures(by_dimensions(measures, BY_CUSTOMER), PLACE)


def category_measures(category_monthly_sales: DataFrame) -> DataFrame:
    """Measures of sales by month and product category.

    Args:
        category_monthly_sales: One row per month and category, up to `as_of`.
    """
    months = category_monthly_sales.withColumnsRenamed({"sale_month": "month", "customers": "active_customers"})
    measures = {name: sf.col(name) for name in ("revenue", "transactions", "active_customers")}
    return with_measures(by_dimensions(months, ["category"]), PLACE, measures)


def _customer_months(purchases: DataFrame) -> DataFrame:
    """One row per customer and month with a purchase, with what the months with one before and after are."""
    months = purchases.groupBy("customer_id", sf.col("sale_month").alias("month")).agg(
        sf.sum("revenue").alias("revenue"),
        sf.sum("transaction_count").alias("transactions"),
        (sf.count("*") > 1).alias("has_two_days"),
    )
    in_order = Window.partitionBy("customer_id").orderBy("month")
    return months.select(
        "*",
        sf.row_number().over(in_order).alias("number"),
        sf.lag("month").over(in_order).alias("month_before"),
        sf.lag("has_two_days").over(in_order).alias("had_two_days"),
        sf.lead("month").over(in_order).alias("month_after"),
        sf.lead("revenue").over(in_order).alias("revenue_after"),
    )


_OF_MONTH = (
    "revenue",
    "transactions",
    "active_customers",
    "first_time_buyers",
    "repeat_buyers",
    "returning_customers",
    "reactivated_customers",
)
"""Measures of a month's buyers."""

_OF_MONTH_AFTER = ("active_before", "revenue_before", "revenue_lost")
"""What a month's buyers are to the month after it."""


def _months(customer_months: DataFrame, places: Sequence[str]) -> DataFrame:
    """One row per place, with the sums of what customers did in the month, and what the month after makes of it."""
    is_first = sf.col("number") == 1
    # The month of the second day with a purchase: the first month, if it has two, else the next.
    is_repeat = sf.when(is_first, sf.col("has_two_days")).otherwise((sf.col("number") == 2) & ~sf.col("had_two_days"))
    is_returning = sf.coalesce(sf.col("month_before") == sf.add_months("month", -1), sf.lit(False))
    is_back = sf.coalesce(sf.col("month_after") == sf.add_months("month", 1), sf.lit(False))
    zero = sf.lit(0).cast("decimal(38,2)")
    revenue_again = sf.when(is_back, sf.col("revenue_after")).otherwise(zero)
    measures = {
        "revenue": sf.col("revenue"),
        "transactions": sf.col("transactions"),
        "active_customers": sf.lit(1),
        "active_users": sf.lit(1),
        "first_time_buyers": is_first.cast("int"),
        "repeat_buyers": is_repeat.cast("int"),
        "returning_customers": is_returning.cast("int"),
        "reactivated_customers": (~is_first & ~is_returning).cast("int"),
        "active_before": sf.lit(1),
        "revenue_before": sf.col("revenue"),
        "revenue_lost": sf.greatest(zero, (sf.col("revenue") - revenue_again).cast("decimal(38,2)")),
    }
    return customer_months.groupBy(*places).agg(*(sf.sum(measure).alias(name) for name, measure in measures.items()))


def _of_month_after(months: DataFrame, places: Sequence[str], as_of: date) -> DataFrame:
    measured = with_measures(months, places, {name: sf.col(name) for name in _OF_MONTH_AFTER})
    return measured.withColumn("month", sf.add_months("month", 1)).where(sf.col("month") <= sf.lit(as_of))


def _users_who_bought_nothing(purchases: DataFrame, activities: DataFrame) -> DataFrame:
    """One row per customer and month with an activity and no purchase."""
    active = activities.where("customer_id IS NOT NULL").select("customer_id", month_of("day").alias("month"))
    bought = purchases.select("customer_id", sf.col("sale_month").alias("month"))
    return active.distinct().join(bought, ["customer_id", "month"], how="left_anti")


def _of_acquisition(customers: DataFrame, places: Sequence[str]) -> DataFrame:
    is_paid = sf.coalesce(sf.col("channel").startswith(PAID_CHANNELS), sf.lit(False))
    acquired = customers.withColumn("month", month_of("acquisition_date")).groupBy(*places)
    sums = acquired.agg(sf.count("*").alias("new"), sf.sum(is_paid.cast("int")).alias("paid"))
    measures = {"new_customers": sf.col("new"), "paid_new_customers": sf.col("paid")}
    return with_measures(sums, places, measures)


def _of_predictions(customers: DataFrame, places: Sequence[str], as_of: date) -> DataFrame:
    predicted = customers.where("predictive_clv IS NOT NULL").withColumn("month", sf.lit(as_of.replace(day=1)))
    clv = sf.sum(sf.col("predictive_clv").cast(EXACT))
    sums = predicted.groupBy(*places).agg(sf.count("*").alias("predicted"), clv.alias("clv"))
    return with_measures(sums, places, {"predicted_customers": sf.col("predicted"), "predicted_clv": sf.col("clv")})
