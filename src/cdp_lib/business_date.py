"""The business date: the day that figures refer to."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import BUSINESS_DATE_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER, PURCHASES_SILVER
from cdp_lib.frames import union
from cdp_lib.pipeline.table import Table, Value


def build_business_date_silver(
    purchases_silver: DataFrame, customers_silver: DataFrame, events_silver: DataFrame
) -> DataFrame:
    """Return one row: the latest day with a purchase, a registration or an event.

    If sales arrive later than other data, customers seem to have churned until the sales arrive. Set `as_of` to avoid
    this.

    Args:
        purchases_silver: One row per customer and day of purchase.
        customers_silver: One row per customer.
        events_silver: One row per event.

    Returns:
        Columns of `business_date_silver`.
    """
    days = (
        purchases_silver.select(sf.max("purchase_date").alias("day")),
        customers_silver.select(sf.max("registration_date").alias("day")),
        events_silver.select(sf.max("occurred_at").cast("date").alias("day")),
    )
    latest = union(days).agg(sf.max("day").alias("latest_date"))
    return latest.selectExpr(*BUSINESS_DATE_SILVER.select_list)


BUSINESS_DATE_TABLE = Table(
    BUSINESS_DATE_SILVER,
    build_business_date_silver,
    reads=(PURCHASES_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER),
    materialization=Value(),
)


def month_before(day: date) -> date:
    """Return the same day of the previous month, or the last day of that month if it is shorter.

    >>> month_before(date(2026, 3, 31))
    datetime.date(2026, 2, 28)
    """
    last_of_previous = day.replace(day=1) - timedelta(days=1)
    return last_of_previous.replace(day=min(day.day, last_of_previous.day))
