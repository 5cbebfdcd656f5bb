"""Customer summaries up to a given day: the input of all customer figures. The query reads the purchases once."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf


def build_customer_summaries(
    customer_acquisitions_silver: DataFrame, purchases_silver: DataFrame, as_of: date
) -> DataFrame:
    """One row per customer acquired by `as_of`, with or without purchases.

    A customer is acquired on the day of registration or of the first purchase, whichever is earlier. If neither day is
    known, the customer counts as acquired.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day with sales or returns.
        as_of: Last day to include.

    Returns:
        These columns, in four groups:

        - for every customer: `person_id`; `acquisition_date` and `tenure_days`, null if the acquisition is unknown
        - null for customers who never bought: `first_purchase_date`, `last_purchase_date`, `frequency` (repeat purchase
          days), `recency_days`, `monetary_value`, `repeat_revenue` and `repeat_monetary_value`
        - 0 for customers who never bought: `transaction_count` and `purchase_day_count`
        - 0 for customers with neither a purchase nor a return: `total_revenue`

        `repeat_monetary_value` is also null for customers without a repeat purchase.
    """
    days = purchases_silver.where(sf.col("purchase_date") <= sf.lit(as_of))
    # Revenue includes days with returns only. All other figures leave these days out.
    day = sf.when(sf.col("transaction_count") > 0, sf.col("purchase_date"))
    purchases = days.groupBy("person_id").agg(
        sf.min(day).alias("first_purchase_date"),
        sf.max(day).alias("last_purchase_date"),
        sf.sum("transaction_count").alias("transaction_count"),
        sf.nullif(sf.count(day), sf.lit(0)).alias("purchase_day_count"),
        sf.sum("revenue").alias("total_revenue"),
        sf.min_by("revenue", sf.coalesce(day, sf.lit(date.max))).alias("first_revenue"),
    )
    acquired_by = sf.least(_null_if_after("registration_date", as_of), _null_if_after("first_purchase_date", as_of))
    customers = customer_acquisitions_silver.where(
        acquired_by.isNotNull() | sf.col("acquisition_date").isNull()
    ).select("person_id", acquired_by.alias("acquisition_date"))
    repeat_revenue = (sf.col("total_revenue") - sf.col("first_revenue")).cast("decimal(38,4)")
    return customers.join(purchases, "person_id", how="left").select(
        "person_id",
        "acquisition_date",
        sf.datediff(sf.lit(as_of), "acquisition_date").alias("tenure_days"),
        "first_purchase_date",
        "last_purchase_date",
        (sf.col("purchase_day_count") - 1).alias("frequency"),
        sf.datediff(sf.lit(as_of), "last_purchase_date").alias("recency_days"),
        (sf.col("total_revenue").cast("double") / sf.col("purchase_day_count")).alias("monetary_value"),
        repeat_revenue.alias("repeat_revenue"),
        sf.when(
            sf.col("purchase_day_count") > 1, repeat_revenue.cast("double") / (sf.col("purchase_day_count") - 1)
        ).alias("repeat_monetary_value"),
        sf.coalesce("transaction_count", sf.lit(0)).alias("transaction_count"),
        sf.coalesce("purchase_day_count", sf.lit(0)).alias("purchase_day_count"),
        sf.coalesce("total_revenue", sf.lit(0)).cast("decimal(38,4)").alias("total_revenue"),
    )


def _null_if_after(day: str, as_of: date) -> Column:
    """Return the day, or null if the day is after `as_of`."""
    return sf.when(sf.col(day) <= sf.lit(as_of), sf.col(day))
