"""kpi_monthly_gold: every KPI by month and dimension."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import local_time
from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, KPI_MONTHLY_GOLD
from cdp_lib.contracts.gold import (
    CATEGORY_MONTHLY_SALES_GOLD,
    COUNTRY_CATEGORY_MONTHLY_SALES_GOLD,
    COUNTRY_MONTHLY_ORDERS_GOLD,
)
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.kpis import KPIS, MEASURES, Kpi
from cdp_lib.contracts.silver import (
    ACTIVITIES_SILVER,
    CRM_CONTACTS_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    PURCHASES_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.contracts.table import UNKNOWN, TableContract
from cdp_lib.frames import compute_in_parallel, union, with_types, without_comments
from cdp_lib.gold.category_monthly_sales import build_category_monthly_sales_gold
from cdp_lib.gold.country_category_monthly_sales import build_country_category_monthly_sales_gold
from cdp_lib.gold.country_monthly_orders import build_country_monthly_orders_gold
from cdp_lib.gold.kpis.customers import customer_measures
from cdp_lib.gold.kpis.engagement import engagement_measures, with_persons
from cdp_lib.gold.kpis.marketing import consent_measures, spend_measures
from cdp_lib.gold.kpis.measures import (
    EXACT,
    MEASURE_KEY,
    MeasureRows,
    align_measures,
    month_of,
    sum_measures,
    with_measures,
)
from cdp_lib.gold.kpis.sales import anonymous_measures, category_measures, line_measures, order_measures
from cdp_lib.pipeline.table import BUSINESS_DATE, Table

_CUMULATIVE = {
    "customers_to_date": "new_customers",
    "buyers_to_date": "first_time_buyers",
    "repeat_buyers_to_date": "repeat_buyers",
    "revenue_to_date": "customer_revenue",
}
"""Cumulative measures up to the end of a month, each with the monthly measure that is summed."""


def build_kpi_monthly_gold(
    persons_silver: DataFrame,
    person_links_silver: DataFrame,
    crm_contacts_silver: DataFrame,
    events_silver: DataFrame,
    activities_silver: DataFrame,
    retails_silver: DataFrame,
    purchases_silver: DataFrame,
    category_monthly_sales_gold: DataFrame,
    country_category_monthly_sales_gold: DataFrame,
    country_monthly_orders_gold: DataFrame,
    marketing_spend_silver: DataFrame,
    exchange_rates_silver: DataFrame,
    customer_value_gold: DataFrame,
    as_of: date,
    gross_margin: float,
    business_time_zone: str,
) -> DataFrame:
    """One row per month, dimension, dimension value and KPI.

    The months run from the first month with an acquisition, an event or marketing spend to the month of `as_of`,
    without gaps. A month without a sale has a revenue of 0.

    Args:
        persons_silver: One row per person.
        person_links_silver: One row per record.
        crm_contacts_silver: One row per contact.
        events_silver: One row per event.
        activities_silver: One row per identity and day.
        retails_silver: One row per sale.
        purchases_silver: One row per person and day of purchase.
        category_monthly_sales_gold: One row per month and product category.
        country_category_monthly_sales_gold: One row per month, country and product category.
        country_monthly_orders_gold: One row per month and country.
        marketing_spend_silver: One row per month, channel and campaign.
        exchange_rates_silver: One row per month and currency.
        customer_value_gold: One row per person with a customer, at the same `as_of`.
        as_of: Last day to include.
        gross_margin: Share of revenue that remains after the cost of goods sold, above 0 and up to 1.
        business_time_zone: IANA name of the time zone of business days.

    Returns:
        Columns of `kpi_monthly_gold`.
    """
    events = events_silver.withColumn("occurred_at", local_time(sf.col("occurred_at"), business_time_zone))
    dimensions = _customer_dimensions(customer_value_gold, persons_silver)
    first_days = {
        # Purchases are not needed: no customer has a purchase before the acquisition date.
        "acquisition_date": customer_value_gold,
        "occurred_at": events,
        "month": marketing_spend_silver,
    }
    purchases = purchases_silver.where(sf.col("purchase_date") <= sf.lit(as_of))
    activities = with_persons(activities_silver, person_links_silver, as_of)
    until = partial(_months_until, retails_silver, as_of)
    categories = until(category_monthly_sales_gold, CATEGORY_MONTHLY_SALES_GOLD, build_category_monthly_sales_gold)
    groups = until(
        country_category_monthly_sales_gold,
        COUNTRY_CATEGORY_MONTHLY_SALES_GOLD,
        build_country_category_monthly_sales_gold,
    )
    orders = until(country_monthly_orders_gold, COUNTRY_MONTHLY_ORDERS_GOLD, build_country_monthly_orders_gold)
    parts = [
        customer_measures(purchases, customer_value_gold, dimensions, activities, as_of),
        category_measures(categories),
        line_measures(groups),
        anonymous_measures(groups),
        order_measures(orders),
        spend_measures(marketing_spend_silver, exchange_rates_silver, as_of),
        consent_measures(crm_contacts_silver, as_of),
        engagement_measures(activities, events, as_of),
        _first_month(first_days, as_of),
    ]
    first, *rest = align_measures(parts)
    # The parts fit in memory: their number of rows depends on months and dimension values, not on customers.
    types = {"dimension": "STRING", "dimension_value": "STRING", "month": "DATE"} | dict.fromkeys(first.measures, EXACT)
    collected = replace(first, rows=compute_in_parallel([with_types(part.rows, types) for part in (first, *rest)]))
    complete = _with_measures_to_date(_without_gaps(sum_measures(collected), as_of), gross_margin)
    return _kpi_rows(complete, as_of).selectExpr(*KPI_MONTHLY_GOLD.select_list)


KPI_MONTHLY = Table(
    KPI_MONTHLY_GOLD,
    build_kpi_monthly_gold,
    reads=(
        PERSONS_SILVER,
        PERSON_LINKS_SILVER,
        CRM_CONTACTS_SILVER,
        EVENTS_SILVER,
        ACTIVITIES_SILVER,
        RETAILS_SILVER,
        PURCHASES_SILVER,
        CATEGORY_MONTHLY_SALES_GOLD,
        COUNTRY_CATEGORY_MONTHLY_SALES_GOLD,
        COUNTRY_MONTHLY_ORDERS_GOLD,
        MARKETING_SPEND_SILVER,
        EXCHANGE_RATES_SILVER,
        CUSTOMER_VALUE_GOLD,
    ),
    settings=(BUSINESS_DATE, "gross_margin", "business_time_zone"),
)


def _months_until(
    retails: DataFrame,
    as_of: date,
    mart: DataFrame,
    contract: TableContract,
    build: Callable[[DataFrame, date | None], DataFrame],
) -> DataFrame:
    """Return the rows of a monthly mart up to `as_of`.

    The month of `as_of` is computed from the lines. In the mart, this month may include lines after `as_of`.
    """
    month = sf.lit(as_of.replace(day=1))
    earlier_months = mart.where(sf.col("sale_month") < month)
    last_month = build(retails.where(sf.col("sale_month") == month), as_of)
    return union([without_comments(rows, contract.column_names) for rows in (earlier_months, last_month)])


def _customer_dimensions(values: DataFrame, persons: DataFrame) -> DataFrame:
    """Return one row per customer, with the customer's value of each dimension."""
    known = persons.select("person_id", "country", sf.col("acquisition_channel").alias("channel"))
    return values.select("person_id", "segment").join(known, "person_id", how="left")


def _first_month(first_days: Mapping[str, DataFrame], as_of: date) -> MeasureRows:
    """Return one row for the first month with an acquisition, an event or spend. The row has 0 transactions.

    `_without_gaps` begins with the first month of its input. Without this row, it would leave out a first month that
    has no measures.
    """
    days = union(
        [
            rows.select(sf.min(day).cast("date").alias("day")).where(sf.col("day") <= sf.lit(as_of))
            for day, rows in first_days.items()
        ]
    )
    first = days.agg(sf.min(month_of("day")).alias("month")).where("month IS NOT NULL")
    all_values = sf.lit("all")
    keys = first.select(all_values.alias("dimension"), all_values.alias("dimension_value"), "month")
    return with_measures(keys, MEASURE_KEY, {"transactions": sf.lit(0)})


def _without_gaps(measured: MeasureRows, as_of: date) -> DataFrame:
    """Return one row per month and dimension value, without gaps between months. A missing measure is 0."""
    keys = measured.rows.select("dimension", "dimension_value").distinct()
    first = measured.rows.agg(sf.min("month").alias("first"))
    every_month = sf.sequence("first", sf.lit(as_of.replace(day=1)), sf.expr("INTERVAL 1 MONTH"))
    grid = keys.join(sf.broadcast(first.select(sf.explode(every_month).alias("month"))), how="cross")
    filled = grid.join(measured.rows, [*MEASURE_KEY], how="left")
    zero = sf.lit(0).cast(EXACT)
    return filled.select(*MEASURE_KEY, *(sf.coalesce(name, zero).alias(name) for name in measured.measures))


def _with_measures_to_date(rows: DataFrame, gross_margin: float) -> DataFrame:
    """Add cumulative measures to the rows, and set unknown spend, openings, clicks and consent to null."""
    to_date = Window.partitionBy("dimension", "dimension_value").orderBy("month")
    so_far = to_date.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    # If any channel has spend rows in a month, a channel without spend rows has a spend of 0 in that month.
    # If no channel has spend rows, the spend of the month is unknown.
    of_month = Window.partitionBy("month")
    has_spend = sf.max("spend_rows").over(of_month) > 0
    known = rows.select("*", has_spend.alias("has_spend"))
    lacks_rate = sf.col("spend_rows_without_rate") > 0
    lacked_rate = sf.sum("spend_rows_without_rate").over(so_far) > 0

    def sum_so_far(measure: Column) -> Column:
        return sf.sum(measure).over(so_far)

    new_with_spend = sf.when(sf.col("has_spend"), sf.col("new_customers")).otherwise(0)
    cumulative = {name: sum_so_far(sf.col(monthly)) for name, monthly in _CUMULATIVE.items()}
    is_unknown_channel = (sf.col("dimension") == "channel") & (sf.col("dimension_value") == UNKNOWN)
    is_known = sf.col("has_spend") & ~lacks_rate & ~is_unknown_channel
    # If a source does not report openings, clicks, orders or returns, their number is unknown, not 0.
    of_value = Window.partitionBy("dimension", "dimension_value")
    often_unreported = ("mailings_opened", "mailings_clicked", "orders", "returned_revenue")
    reported = {name: sf.sum(name).over(of_value) > 0 for name in often_unreported}
    adjusted = {
        **{name: sf.when(is_reported, sf.col(name)) for name, is_reported in reported.items()},
        # If no contact ever decided on a channel, the CRM has no consent data for it: shares are unknown, not 0.
        "contacts": sf.when(sf.col("contacts_asked") > 0, sf.col("contacts")),
        "contacts_agreeing": sf.when(sf.col("contacts_asked") > 0, sf.col("contacts_agreeing")),
        "predicted_clv": sf.when(sf.col("predicted_customers") > 0, sf.col("predicted_clv")),
        "spend": sf.when(is_known, sf.col("spend")),
        "paid_spend": sf.when(is_known, sf.col("paid_spend")),
        "spend_to_date": sf.when(~lacked_rate & ~is_unknown_channel, sum_so_far(sf.col("spend"))),
        "new_customers_with_spend": sum_so_far(new_with_spend),
        "gross_margin": sf.lit(gross_margin),
    }
    columns = {name: sf.col(name) for name in MEASURES} | cumulative | adjusted
    return known.select(*MEASURE_KEY, *(columns[name].cast("double").alias(name) for name in MEASURES))


def _kpi_rows(rows: DataFrame, as_of: date) -> DataFrame:
    """Return one row per month, dimension value and KPI that is reported for the dimension."""
    numerators = sf.array(*(_null_until_month_ends(kpi.numerator, kpi, as_of) for kpi in KPIS))
    denominators = sf.array(*(_null_until_month_ends(kpi.denominator, kpi, as_of) for kpi in KPIS))
    reported = sf.array_compact(
        sf.array(*(sf.when(_is_reported(kpi, as_of), number) for number, kpi in enumerate(KPIS)))
    )
    each = rows.select(
        *MEASURE_KEY,
        numerators.alias("numerators"),
        denominators.alias("denominators"),
        sf.array(*(_people(kpi) for kpi in KPIS)).alias("people"),
        sf.explode(reported).alias("number"),
    )
    parts = each.select(
        *MEASURE_KEY,
        sf.get("people", sf.col("number")).alias("people"),
        sf.get(sf.array(*(sf.lit(kpi.name) for kpi in KPIS)), sf.col("number")).alias("kpi"),
        sf.get("numerators", sf.col("number")).alias("numerator"),
        sf.get("denominators", sf.col("number")).alias("denominator"),
    )
    value = sf.col("numerator") / sf.nullif("denominator", sf.lit(0.0))
    return parts.select("*", value.alias("value"), sf.lit(as_of).alias("as_of"))


def _is_reported(kpi: Kpi, as_of: date) -> Column:
    """Return whether a KPI is reported for a row.

    A KPI is reported only for its dimensions. Some KPIs are reported only for the latest month.
    """
    is_reported = sf.col("dimension").isin(*kpi.dimensions)
    return is_reported & (sf.col("month") == sf.lit(as_of.replace(day=1))) if kpi.is_of_latest_month else is_reported


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


def _null_until_month_ends(part: str, kpi: Kpi, as_of: date) -> Column:
    """Return a KPI's numerator or denominator; null for an unfinished month if the KPI needs whole months."""
    figure = sf.expr(part).cast("double")
    return sf.when(sf.last_day("month") <= sf.lit(as_of), figure) if kpi.needs_whole_month else figure
