"""The business date: the day that figures refer to."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import local_time
from cdp_lib.contracts.silver import BUSINESS_DATE_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER, RETAILS_SILVER
from cdp_lib.frames import union
from cdp_lib.pipeline.table import Table, Value


def build_business_date_silver(
    retails_silver: DataFrame, customers_silver: DataFrame, events_silver: DataFrame, business_time_zone: str
) -> DataFrame:
    """Return one row: the latest day with a sale, a registration or an event.

    If sales arrive later than other data, customers seem to have churned until the sales arrive. Set `as_of` to avoid
    this.

    Args:
        retails_silver: One row per line.
        customers_silver: One row per customer.
        events_silver: One row per event.
        business_time_zone: IANA name of the time zone of business days.

    Returns:
        Columns of `business_date_silver`.
    """
    last_event = local_time(sf.max("occurred_at"), business_time_zone)
    days = (
        retails_silver.select(sf.max("transaction_date").alias("day")),
        customers_silver.select(sf.max("registration_date").alias("day")),
        events_silver.select(last_event.cast("date").alias("day")),
    )
    latest = union(days).agg(sf.max("day").alias("latest_date"))
    return latest.selectExpr(*BUSINESS_DATE_SILVER.select_list)


BUSINESS_DATE_TABLE = Table(
    BUSINESS_DATE_SILVER,
    build_business_date_silver,
    reads=(RETAILS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER),
    settings=("business_time_zone",),
    materialization=Value(),
)


def month_before(day: date) -> date:
    """Return the same day of the previous month, or the last day of that month if it is shorter.

    >>> month_before(date(2026, 3, 31))
    datetime.date(2026, 2, 28)
    """
    last_of_previous = day.replace(day=1) - timedelta(days=1)
    return last_of_previous.replace(day=min(day.day, last_of_previous.day))
