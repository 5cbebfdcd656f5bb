"""Measures of marketing: spend in the reporting currency, and consent."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import PAID_CHANNEL_PREFIX
from cdp_lib.frames import union
from cdp_lib.gold.kpis.measures import MEASURE_KEY, MeasureRows, by_dimensions, sum_measures, with_measures

_CONSENT_CHANNELS = ("email", "sms", "phone")


def spend_measures(marketing_spend_silver: DataFrame, exchange_rates_silver: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of spend by month and channel.

    The spend of a month is unknown if the month has no rows, or if one of its rows has no exchange rate. Later steps
    find these months with the measures `spend_rows` and `spend_rows_without_rate`, which count rows.

    Args:
        marketing_spend_silver: One row per month, channel and campaign.
        exchange_rates_silver: One row per month and currency.
        as_of: Last day to include.
    """
    spend = marketing_spend_silver.where(sf.col("month") <= sf.lit(as_of)).select(
        "month", "channel", "campaign", "amount", "currency"
    )
    rates = exchange_rates_silver.select(
        sf.col("currency").alias("rate_currency"), sf.col("month").alias("rate_month"), "rate"
    )
    is_known = (spend.currency == rates.rate_currency) & (rates.rate_month <= spend.month)
    latest_first = Window.partitionBy("month", "channel", "campaign").orderBy(sf.desc_nulls_last("rate_month"))
    converted = (
        spend.join(rates, is_known, how="left")
        .withColumn("rank", sf.row_number().over(latest_first))
        .where("rank = 1")
        .withColumn("money", (sf.col("amount") * sf.col("rate")).cast("decimal(38,6)"))
        .withColumn("is_paid", sf.col("channel").startswith(PAID_CHANNEL_PREFIX))
    )
    measures = {
        "spend": sf.col("money"),
        "paid_spend": sf.when(sf.col("is_paid"), sf.col("money")),
        "spend_rows": sf.lit(1),
        "spend_rows_without_rate": sf.col("rate").isNull().cast("int"),
    }
    by_channel = by_dimensions(converted, ["all", "channel"])
    return sum_measures(with_measures(by_channel, MEASURE_KEY, measures))


def consent_measures(crm_contacts_silver: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of the current consent in the CRM, by consent channel.

    The measure `contacts_asked` counts contacts with a decision. Later steps use it to find channels without consent
    data.

    Args:
        crm_contacts_silver: One row per contact.
        as_of: Last day to include.
    """
    consents = union(
        [
            crm_contacts_silver.select(
                sf.lit(channel).alias("consent_channel"),
                sf.col(f"is_{channel}_allowed").cast("int").alias("agrees"),
            )
            for channel in _CONSENT_CHANNELS
        ]
    ).withColumn("month", sf.lit(as_of.replace(day=1)))
    measures = {
        "contacts": sf.lit(1),
        "contacts_agreeing": sf.coalesce("agrees", sf.lit(0)),
        "contacts_asked": sf.col("agrees").isNotNull().cast("int"),
    }
    return sum_measures(with_measures(by_dimensions(consents, ["consent_channel"]), MEASURE_KEY, measures))
