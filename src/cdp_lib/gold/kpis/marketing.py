"""Measures of marketing: spend in the reporting currency, and consent."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.consent import MARKETING_CHANNELS
from cdp_lib.contracts.kpis import PAID_CHANNEL_PREFIX
from cdp_lib.frames import union
from cdp_lib.gold.kpis.measures import (
    EXACT,
    MEASURE_KEY,
    MeasureRows,
    by_dimensions,
    sum_measures,
    union_measures,
    with_measures,
)
from cdp_lib.gold.kpis.periods import Period


def spend_measures(
    period: Period, marketing_spend_silver: DataFrame, exchange_rates_silver: DataFrame, as_of: date
) -> MeasureRows:
    """Return measures of spend by period and channel. The spend of a month is spread evenly over its days.

    A month counts in full, even if it is not over. A week counts the days up to `as_of`, so that the weeks of a year
    add up to its months. The spend of a period is unknown if a month of the period has no rows, or if one of its rows
    has no exchange rate. Later steps find these periods with the measures `spend_days`, the number of days in months
    with rows, and `spend_rows_without_rate`.

    Args:
        period: Kind of the periods.
        marketing_spend_silver: One row per month, channel and campaign.
        exchange_rates_silver: One row per month and currency.
        as_of: Last day to include.
    """
    spent = marketing_spend_silver.where(sf.col("month") <= sf.lit(as_of))
    parts = _parts_of_months(period, _in_reporting_currency(spent, exchange_rates_silver), as_of)
    measures = {
        "spend": sf.col("money"),
        "paid_spend": sf.when(sf.col("is_paid"), sf.col("money")),
        "spend_rows_without_rate": sf.col("rate").isNull().cast("int"),
    }
    spend = with_measures(by_dimensions(parts, ["all", "channel"]), MEASURE_KEY, measures)
    months = spent.select("month", sf.lit(0).cast(EXACT).alias("money")).distinct()
    days = _parts_of_months(period, months, as_of)
    count = sf.datediff(sf.least("last", sf.lit(as_of)), "first") + 1
    covered = with_measures(by_dimensions(days, ["all"]), MEASURE_KEY, {"spend_days": count})
    return sum_measures(union_measures([spend, covered]))


def _in_reporting_currency(spend: DataFrame, exchange_rates: DataFrame) -> DataFrame:
    """Return spend with `is_paid`, `rate` and `money`. The last two are null without a rate up to the month."""
    spent = spend.select("month", "channel", "campaign", "amount", "currency")
    rates = exchange_rates.select(
        sf.col("currency").alias("rate_currency"), sf.col("month").alias("rate_month"), "rate"
    )
    is_known = (spent.currency == rates.rate_currency) & (rates.rate_month <= spent.month)
    latest_first = Window.partitionBy("month", "channel", "campaign").orderBy(sf.desc_nulls_last("rate_month"))
    return (
        spent.join(rates, is_known, how="left")
        .withColumn("rank", sf.row_number().over(latest_first))
        .where("rank = 1")
        .withColumn("money", (sf.col("amount") * sf.col("rate")).cast(EXACT))
        .withColumn("is_paid", sf.col("channel").startswith(PAID_CHANNEL_PREFIX))
    )


def _parts_of_months(period: Period, months: DataFrame, as_of: date) -> DataFrame:
    """Return one row per month and period that overlap, with the part of the month's money.

    The part of the days `first` to `last` is the share up to `last` less the share up to the day before `first`. Both
    are rounded down, so that the parts add up to the money of the month exactly.

    Args:
        period: Kind of the periods.
        months: Rows with the first day of a month in `month`, and `money`.
        as_of: Last day of parts that are weeks.
    """
    if period.name == "month":
        return months.select(
            "*", sf.col("month").alias("period"), sf.col("month").alias("first"), sf.last_day("month").alias("last")
        )
    end = sf.least(sf.last_day("month"), sf.lit(as_of))
    weeks = months.select(
        "*", sf.explode(period.between(sf.trunc("month", "week"), sf.trunc(end, "week"))).alias("period")
    )
    parts = weeks.select(
        "*", sf.greatest("period", "month").alias("first"), sf.least(period.last_day("period"), end).alias("last")
    )
    return parts.withColumn("money", _share(sf.dayofmonth("last")) - _share(sf.dayofmonth("first") - 1))


def _share(days: Column) -> Column:
    """Return the part of a month's money for its first days, rounded down to the last digit of `EXACT`."""
    # The scale of a quotient of decimals depends on the engine. Without a remainder, the quotient is an integer.
    millionths = (sf.col("money") * 1_000_000).cast("decimal(32,0)") * days.cast("decimal(2,0)")
    month_days = sf.dayofmonth(sf.last_day("month")).cast("decimal(2,0)")
    whole = ((millionths - millionths % month_days) / month_days).cast("decimal(32,0)")
    return (whole * sf.lit(Decimal("0.000001"))).cast(EXACT)


def consent_measures(
    period: Period, person_links_silver: DataFrame, consent_current_silver: DataFrame, as_of: date
) -> MeasureRows:
    """Return measures of the current consent to marketing, by consent channel.

    The measure `asked_persons` counts persons with a decision. Later steps use it to find channels without consent
    data.

    Args:
        period: Kind of the periods.
        person_links_silver: One row per record.
        consent_current_silver: One row per person, purpose and channel with a decision.
        as_of: Last day to include.
    """
    latest = sf.lit(period.start(as_of)).alias("period")
    decided = consent_current_silver.where("purpose = 'marketing'").select(
        "person_id", sf.col("channel").alias("consent_channel"), "is_allowed", latest
    )
    named = person_links_silver.where(sf.col("source").isin("customers", "crm_contacts")).select("person_id")
    persons = union([named, decided.select("person_id")]).agg(sf.count_distinct("person_id").alias("persons"))
    channels = sf.explode(sf.array(*map(sf.lit, MARKETING_CHANNELS))).alias("consent_channel")
    known = persons.where("persons > 0").select("persons", channels, latest)
    agreeing = {"agreeing_persons": sf.col("is_allowed").cast("int"), "asked_persons": sf.lit(1)}
    parts = [
        with_measures(by_dimensions(known, ["consent_channel"]), MEASURE_KEY, {"known_persons": sf.col("persons")}),
        with_measures(by_dimensions(decided, ["consent_channel"]), MEASURE_KEY, agreeing),
    ]
    return sum_measures(union_measures(parts))
