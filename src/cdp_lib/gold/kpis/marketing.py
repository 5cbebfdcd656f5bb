"""Measures of marketing: what was spent, in the reporting currency, and who may be spoken to."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import PAID_CHANNELS
from cdp_lib.frames import union
from cdp_lib.gold.kpis.measures import PLACE, Measured, by_dimensions, sum_measures, with_measures

_CONSENTS = ("email", "sms", "phone")


def spend_measures(marketing_spend_silver: DataFrame, exchange_rates_silver: DataFrame, as_of: date) -> Measured:
    """Measures of spend by month and channel; `spend_rows` and `spend_rows_without_rate` say whether it is known.

    Args:
        marketing_spend_silver: One row per month, channel and campaign.
        exchange_rates_silver: One row per month and currency.
        as_of: Last day that counts.
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
        .withColumn("is_paid", sf.col("channel").startswith(PAID_CHANNELS))
    )
    measures = {
        "spend": sf.col("money"),
        "paid_spend": sf.when(sf.col("is_paid"), sf.col("money")),
        "spend_rows": sf.lit(1),
        "spend_rows_without_rate": sf.col("rate").isNull().cast("int"),
    }
    by_channel = by_dimensions(converted, ["all", "channel"])
    return sum_measures(with_measures(by_channel, PLACE, measures))


def consent_measures(crm_contacts_silver: DataFrame, as_of: date) -> Measured:
    """Measures of consent as the CRM has it now, by way of marketing.

    Args:
        crm_contacts_silver: One row per contact.
        as_of: Last day that counts.
    """
    ways = union(
        [
            crm_contacts_silver.select(
                sf.lit(way).alias("consent_channel"),
                sf.coalesce(f"is_{way}_allowed", sf.lit(False)).cast("int").alias("agrees"),
            )
            for way in _CONSENTS
        ]
    ).withColumn("month", sf.lit(as_of.replace(day=1)))
    measures = {"contacts": sf.lit(1), "contacts_agreeing": sf.col("agrees")}
    return sum_measures(with_measures(by_dimensions(ways, ["consent_channel"]), PLACE, measures))
