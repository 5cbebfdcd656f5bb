"""KPIs by period and dimension, from their measures: the builder of `kpi_monthly_gold` and `kpi_weekly_gold`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import local_time
from cdp_lib.contracts.kpis import KNOWN_FROM, KPIS, MEASURES, Kpi
from cdp_lib.contracts.table import UNKNOWN, TableContract
from cdp_lib.frames import compute_in_parallel, union, with_types, without_comments
from cdp_lib.gold.kpis.customers import customer_measures
from cdp_lib.gold.kpis.engagement import engagement_measures, with_persons
from cdp_lib.gold.kpis.marketing import consent_measures, spend_measures
from cdp_lib.gold.kpis.measures import (
    EXACT,
    MEASURE_KEY,
    MeasureRows,
    align_measures,
    sum_measures,
    union_measures,
)
from cdp_lib.gold.kpis.periods import Period
from cdp_lib.gold.kpis.sales import anonymous_measures, category_measures, line_measures, order_measures

_CUMULATIVE = {
    "customers_to_date": "new_customers",
    "buyers_to_date": "first_time_buyers",
    "repeat_buyers_to_date": "repeat_buyers",
    "revenue_to_date": "customer_revenue",
}
"""Cumulative measures up to the end of a period, each with the measure of the period that is summed."""

_KNOWN_SINCE = {evidence: f"known_since_{number}" for number, evidence in enumerate(KNOWN_FROM)}
"""Names of columns with the first period in which the evidence of `KNOWN_FROM` is true, by evidence."""


@dataclass(frozen=True)
class Mart:
    """A sales mart by period, and how to compute its latest period from the lines.

    Attributes:
        contract: Contract of the mart. The first column has the first day of the period.
        build: Builder of the mart.
    """

    contract: TableContract
    build: Callable[[DataFrame, date | None], DataFrame]

    def until(self, period: Period, mart: DataFrame, retails: DataFrame, as_of: date) -> DataFrame:
        """Return the rows of the mart up to `as_of`, with the first day of the period in `period`.

        The period of `as_of` is computed from the lines. In the mart, this period may include lines after `as_of`.

        Args:
            period: Kind of the periods.
            mart: Rows of the mart.
            retails: One row per line.
            as_of: Last day to include.
        """
        [first_day, *_] = self.contract.column_names
        latest = sf.lit(period.start(as_of))
        earlier = mart.where(sf.col(first_day) < latest)
        last = self.build(retails.where(sf.col("transaction_date") >= latest), as_of)
        rows = union([without_comments(each, self.contract.column_names) for each in (earlier, last)])
        return rows.withColumnRenamed(first_day, "period")


@dataclass(frozen=True)
class KpiTable:
    """A table of KPIs by period.

    Attributes:
        contract: Contract of the table. The first column has the first day of the period.
        period: Kind of the periods.
    """

    contract: TableContract
    period: Period

    @property
    def kpis(self) -> list[Kpi]:
        """Return the KPIs of the table."""
        return [kpi for kpi in KPIS if self.period.name == "month" or kpi.has_weeks]


def build_kpis(
    table: KpiTable,
    persons_silver: DataFrame,
    person_links_silver: DataFrame,
    consent_current_silver: DataFrame,
    events_silver: DataFrame,
    activities_silver: DataFrame,
    purchases_silver: DataFrame,
    categories: DataFrame,
    groups: DataFrame,
    orders: DataFrame,
    marketing_spend_silver: DataFrame,
    exchange_rates_silver: DataFrame,
    customer_value_gold: DataFrame,
    *,
    as_of: date,
    gross_margin: float,
    business_time_zone: str,
) -> DataFrame:
    """Return one row per period, dimension, dimension value and KPI.

    The periods run from the first period with an acquisition, an event or marketing spend to the period of `as_of`,
    without gaps. A period without a sale has a revenue of 0.

    Args:
        table: Table to build.
        persons_silver: One row per person.
        person_links_silver: One row per record.
        consent_current_silver: One row per person, purpose and channel with a decision.
        events_silver: One row per event.
        activities_silver: One row per identity and day.
        purchases_silver: One row per person and day of purchase.
        categories: Sales by `period` and product category up to `as_of`, from `Mart.until`.
        groups: Sales by `period`, country and product category up to `as_of`.
        orders: Orders by `period` and country up to `as_of`.
        marketing_spend_silver: One row per month, channel and campaign.
        exchange_rates_silver: One row per month and currency.
        customer_value_gold: One row per person with a customer, at the same `as_of`.
        as_of: Last day to include.
        gross_margin: Share of revenue that remains after the cost of goods sold, above 0 and up to 1.
        business_time_zone: IANA name of the time zone of business days.

    Returns:
        Columns of the table.
    """
    period = table.period
    events = events_silver.withColumn("occurred_at", local_time(sf.col("occurred_at"), business_time_zone))
    dimensions = _customer_dimensions(customer_value_gold, persons_silver)
    purchases = purchases_silver.where(sf.col("purchase_date") <= sf.lit(as_of))
    activities = with_persons(activities_silver, person_links_silver, as_of)
    sales = [
        category_measures(categories),
        line_measures(groups),
        anonymous_measures(groups),
        order_measures(orders),
    ]
    others = [
        spend_measures(period, marketing_spend_silver, exchange_rates_silver, as_of),
        consent_measures(period, person_links_silver, consent_current_silver, as_of),
        engagement_measures(period, activities, events, as_of),
    ]
    # Each part is a query. More queries would cost more on Spark, and a larger query is planned on one core.
    parts = [
        customer_measures(period, purchases, customer_value_gold, dimensions, activities, as_of),
        union_measures(sales),
        union_measures(others),
    ]
    first, *rest = align_measures(parts)
    # The parts fit in memory: their number of rows depends on periods and dimension values, not on customers.
    types = {"dimension": "STRING", "dimension_value": "STRING", "period": "DATE"} | dict.fromkeys(
        first.measures, EXACT
    )
    collected = replace(first, rows=compute_in_parallel([with_types(part.rows, types) for part in (first, *rest)]))
    measures = _with_measures_to_date(
        period, _without_gaps(period, sum_measures(collected), as_of), gross_margin, as_of
    )
    [first_day, *_] = table.contract.column_names
    rows = _kpi_rows(table, measures, as_of).withColumnRenamed("period", first_day)
    return rows.selectExpr(*table.contract.select_list)


def _customer_dimensions(values: DataFrame, persons: DataFrame) -> DataFrame:
    """Return one row per customer, with the customer's value of each dimension."""
    known = persons.select("person_id", "country", sf.col("acquisition_channel").alias("channel"))
    return values.select("person_id", "segment").join(known, "person_id", how="left")


def _without_gaps(period: Period, measured: MeasureRows, as_of: date) -> DataFrame:
    """Return one row per period and dimension value, without gaps between periods. A missing measure is 0.

    The columns of `_KNOWN_SINCE` have the first period in which a measure of `KNOWN_FROM` is known.
    """
    keys = measured.rows.select("dimension", "dimension_value").distinct()
    is_total = sf.col("dimension") == "all"
    first_days = measured.rows.agg(
        sf.min("period").alias("first"),
        *(
            sf.min(sf.when(is_total & sf.expr(evidence), sf.col("period"))).alias(name)
            for evidence, name in _KNOWN_SINCE.items()
        ),
    )
    every_period = sf.explode(period.between(sf.col("first"), sf.lit(period.start(as_of))))
    periods = first_days.select(*_KNOWN_SINCE.values(), every_period.alias("period"))
    grid = keys.join(sf.broadcast(periods), how="cross")
    filled = grid.join(measured.rows, [*MEASURE_KEY], how="left")
    zero = sf.lit(0).cast(EXACT)
    return filled.select(
        *MEASURE_KEY, *_KNOWN_SINCE.values(), *(sf.coalesce(name, zero).alias(name) for name in measured.measures)
    )


def _with_measures_to_date(period: Period, rows: DataFrame, gross_margin: float, as_of: date) -> DataFrame:
    """Add cumulative measures to the rows, and set measures that no source knows to null."""
    to_date = Window.partitionBy("dimension", "dimension_value").orderBy("period")
    so_far = to_date.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    # If any channel has spend in a month, a channel without spend has a spend of 0 in that month. If no channel has
    # spend, the spend of the month is unknown, and so is the spend of a week that begins or ends in the month.
    days = sf.datediff(period.end("period", as_of), "period") + 1
    has_spend = sf.max("spend_days").over(Window.partitionBy("period")) == days
    known = rows.select("*", has_spend.alias("has_spend"))
    lacks_rate = sf.col("spend_rows_without_rate") > 0
    lacked_rate = sf.sum("spend_rows_without_rate").over(so_far) > 0

    def sum_so_far(measure: Column) -> Column:
        return sf.sum(measure).over(so_far)

    new_with_spend = sf.when(sf.col("has_spend"), sf.col("new_customers")).otherwise(0)
    cumulative = {name: sum_so_far(sf.col(of_period)) for name, of_period in _CUMULATIVE.items()}
    is_unknown_channel = (sf.col("dimension") == "channel") & (sf.col("dimension_value") == UNKNOWN)
    is_known = sf.col("has_spend") & ~lacks_rate & ~is_unknown_channel
    adjusted = {
        **{
            name: sf.when(sf.col("period") >= sf.col(_KNOWN_SINCE[evidence]), sf.col(name))
            for evidence, names in KNOWN_FROM.items()
            for name in names
        },
        # If nobody ever decided on a channel, no source has consent data for it: shares are unknown, not 0.
        "known_persons": sf.when(sf.col("asked_persons") > 0, sf.col("known_persons")),
        "agreeing_persons": sf.when(sf.col("asked_persons") > 0, sf.col("agreeing_persons")),
        "predicted_clv": sf.when(sf.col("predicted_customers") > 0, sf.col("predicted_clv")),
        "spend": sf.when(is_known, sf.col("spend")),
        "paid_spend": sf.when(is_known, sf.col("paid_spend")),
        "spend_to_date": sf.when(~lacked_rate & ~is_unknown_channel, sum_so_far(sf.col("spend"))),
        "new_customers_with_spend": sum_so_far(new_with_spend),
        "gross_margin": sf.lit(gross_margin),
    }
    columns = {name: sf.col(name) for name in MEASURES} | cumulative | adjusted
    return known.select(*MEASURE_KEY, *(columns[name].cast("double").alias(name) for name in MEASURES))


def _kpi_rows(table: KpiTable, rows: DataFrame, as_of: date) -> DataFrame:
    """Return one row per period, dimension value and KPI that is reported for the dimension."""
    is_complete = table.period.last_day("period") <= sf.lit(as_of)
    is_latest = sf.col("period") == sf.lit(table.period.start(as_of))
    kpis = table.kpis
    numerators = sf.array(*(_figure(kpi.numerator, kpi) for kpi in kpis))
    denominators = sf.array(*(_figure(kpi.denominator, kpi) for kpi in kpis))
    reported = sf.array_compact(
        sf.array(*(sf.when(_is_reported(kpi, is_latest), number) for number, kpi in enumerate(kpis)))
    )
    each = rows.withColumn("is_complete", is_complete).select(
        *MEASURE_KEY,
        "is_complete",
        numerators.alias("numerators"),
        denominators.alias("denominators"),
        sf.array(*(_people(kpi) for kpi in kpis)).alias("people"),
        sf.explode(reported).alias("number"),
    )
    parts = each.select(
        *MEASURE_KEY,
        "is_complete",
        sf.get("people", sf.col("number")).alias("people"),
        sf.get(sf.array(*(sf.lit(kpi.name) for kpi in kpis)), sf.col("number")).alias("kpi"),
        sf.get("numerators", sf.col("number")).alias("numerator"),
        sf.get("denominators", sf.col("number")).alias("denominator"),
    )
    value = sf.col("numerator") / sf.nullif("denominator", sf.lit(0.0))
    return parts.select("*", value.alias("value"), sf.lit(as_of).alias("as_of"))


def _is_reported(kpi: Kpi, is_latest: Column) -> Column:
    """Return whether a KPI is reported for a row.

    A KPI is reported only for its dimensions. Some KPIs are reported only for the latest period.
    """
    is_reported = sf.col("dimension").isin(*kpi.dimensions)
    return is_reported & is_latest if kpi.is_of_latest_month else is_reported


def _people(kpi: Kpi) -> Column:
    """Return the smallest number of people above 0 in a KPI's figures; null if there is none."""
    smallest = sf.lit(None).cast("double")
    for counts in sorted({kpi.counts_of_people(dimension) for dimension in kpi.dimensions}):
        above_zero = [sf.when(sf.expr(count) > 0, sf.expr(count)) for count in counts]
        dimensions = [dimension for dimension in kpi.dimensions if kpi.counts_of_people(dimension) == counts]
        if above_zero:
            least = sf.least(*above_zero) if len(above_zero) > 1 else above_zero[0]
            if "revenue" in kpi.numerator:
                # A return without a sale is revenue of at least one person, although nobody is active.
                least = sf.coalesce(least, sf.when(sf.expr(kpi.numerator) != 0, 1.0))
            smallest = sf.when(sf.col("dimension").isin(*dimensions), least).otherwise(smallest)
    return smallest


def _figure(part: str, kpi: Kpi) -> Column:
    """Return a KPI's numerator or denominator; null for an unfinished period if the KPI needs whole periods."""
    figure = sf.expr(part).cast("double")
    return sf.when(sf.col("is_complete"), figure) if kpi.needs_whole_period else figure
