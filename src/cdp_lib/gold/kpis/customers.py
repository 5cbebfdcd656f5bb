"""Measures of customers: what they buy, whether they come back, when they were won and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import uncommented
from cdp_lib.contracts.kpis import BY_CUSTOMER, PAID_CHANNELS
from cdp_lib.frames import worked_out
from cdp_lib.gold.kpis.measures import PLACE, by_dimensions, month_of, sum_measures, union_measures, with_measures


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
    months = _customer_months(purchases)
    # As many rows as combinations of dimensions and months: from here on, no customer is looked at twice.
    cells = worked_out(_cells_of_months(months.join(located, "customer_id", how="inner"), places))
    others = (
        _of_repeat_buyers(months),
        _of_users(months, activities),
        _of_acquisition(customers),
        _of_predictions(customers, as_of),
    )
    measures = union_measures(
        [
            with_measures(cells, places, {name: sf.col(name) for name in _OF_MONTH}),
            _of_month_after(cells, places, as_of),
            *(
                sum_measures(rows.join(located, "customer_id", how="inner").drop("customer_id"), places)
                for rows in others
            ),
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
    """One row per customer and month with a purchase, and the months with one before and after."""
    months = purchases.groupBy("customer_id", sf.col("sale_month").alias("month")).agg(
        sf.sum("revenue").alias("revenue"),
        sf.sum("transaction_count").alias("transactions"),
        (sf.count("*") > 1).alias("has_two_days"),
    )
    in_order = Window.partitionBy("customer_id").orderBy("month")
    return months.select(
        "*",
        sf.lag("month").over(in_order).alias("month_before"),
        sf.lead("month").over(in_order).alias("month_after"),
        sf.lead("revenue").over(in_order).alias("revenue_after"),
    )


_OF_MONTH = (
    "revenue",
    "transactions",
    "active_customers",
    "first_time_buyers",
    "returning_customers",
    "reactivated_customers",
)
"""Measures of a month's buyers."""

_OF_MONTH_AFTER = ("active_before", "revenue_before", "revenue_lost")
"""What a month's buyers are to the month after it."""


def _cells_of_months(months: DataFrame, places: Sequence[str]) -> DataFrame:
    """The sums of what customers did in a month, and of what the month after it makes of that."""
    is_first = sf.col("month_before").isNull()
    is_returning = sf.coalesce(sf.col("month_before") == sf.add_months("month", -1), sf.lit(False))
    is_back = sf.coalesce(sf.col("month_after") == sf.add_months("month", 1), sf.lit(False))
    zero = sf.lit(0).cast("decimal(38,2)")
    revenue_again = sf.when(is_back, sf.col("revenue_after")).otherwise(zero)
    measures = {
        "revenue": sf.col("revenue"),
        "transactions": sf.col("transactions"),
        "active_customers": sf.lit(1),
        "first_time_buyers": is_first.cast("int"),
        "returning_customers": is_returning.cast("int"),
        "reactivated_customers": (~is_first & ~is_returning).cast("int"),
        "active_before": sf.lit(1),
        "revenue_before": sf.col("revenue"),
        "revenue_lost": sf.greatest(zero, (sf.col("revenue") - revenue_again).cast("decimal(38,2)")),
    }
    return months.groupBy(*places).agg(*(sf.sum(measure).alias(name) for name, measure in measures.items()))


def _of_month_after(cells: DataFrame, places: Sequence[str], as_of: date) -> DataFrame:
    measured = with_measures(cells, places, {name: sf.col(name) for name in _OF_MONTH_AFTER})
    return measured.withColumn("month", sf.add_months("month", 1)).where(sf.col("month") <= sf.lit(as_of))


def _of_repeat_buyers(months: DataFrame) -> DataFrame:
    """The month of the second day with a sale: the first month, if it has two, else the next."""
    second = sf.when(sf.col("has_two_days"), sf.col("month")).otherwise(sf.col("month_after"))
    firsts = months.where(sf.col("month_before").isNull()).select("customer_id", second.alias("month"))
    return with_measures(firsts.where("month IS NOT NULL"), ["customer_id", "month"], {"repeat_buyers": sf.lit(1)})


def _of_users(months: DataFrame, activities: DataFrame) -> DataFrame:
    active = activities.where("customer_id IS NOT NULL").select(
        uncommented(sf.col("customer_id")).alias("customer_id"), month_of("day").alias("month")
    )
    users = (
        months.select(uncommented(sf.col("customer_id")).alias("customer_id"), "month").unionByName(active).distinct()
    )
    return with_measures(users, ["customer_id", "month"], {"active_users": sf.lit(1)})


def _of_acquisition(customers: DataFrame) -> DataFrame:
    is_paid = sf.coalesce(sf.col("channel").startswith(PAID_CHANNELS), sf.lit(False))
    acquired = customers.select("customer_id", month_of("acquisition_date").alias("month"), is_paid.alias("is_paid"))
    measures = {"new_customers": sf.lit(1), "paid_new_customers": sf.col("is_paid").cast("int")}
    return with_measures(acquired, ["customer_id", "month"], measures)


def _of_predictions(customers: DataFrame, as_of: date) -> DataFrame:
    predicted = customers.where("predictive_clv IS NOT NULL").select(
        "customer_id", sf.lit(as_of.replace(day=1)).alias("month"), "predictive_clv"
    )
    measures = {"predicted_customers": sf.lit(1), "predicted_clv": sf.col("predictive_clv")}
    return with_measures(predicted, ["customer_id", "month"], measures)
