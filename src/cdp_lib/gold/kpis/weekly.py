"""kpi_weekly_gold: every KPI by week and dimension."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD, KPI_WEEKLY_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.gold import MONTHLY_GROUPS, SALES_BY_WEEK_GOLD
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.silver import (
    ACTIVITIES_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    PURCHASES_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.gold.kpis.build import KpiTable, Mart, build_kpis
from cdp_lib.gold.kpis.periods import WEEK
from cdp_lib.gold.sales_by_week import build_sales_by_week_gold
from cdp_lib.pipeline.table import BUSINESS_DATE, Table

_SALES = Mart(SALES_BY_WEEK_GOLD, build_sales_by_week_gold)


def build_kpi_weekly_gold(
    persons_silver: DataFrame,
    person_links_silver: DataFrame,
    consent_current_silver: DataFrame,
    events_silver: DataFrame,
    activities_silver: DataFrame,
    retails_silver: DataFrame,
    purchases_silver: DataFrame,
    sales_by_week_gold: DataFrame,
    marketing_spend_silver: DataFrame,
    exchange_rates_silver: DataFrame,
    customer_value_gold: DataFrame,
    as_of: date,
    gross_margin: float,
    business_time_zone: str,
) -> DataFrame:
    """One row per week, dimension, dimension value and KPI.

    Args:
        persons_silver: One row per person.
        person_links_silver: One row per record.
        consent_current_silver: One row per person, purpose and channel with a decision.
        events_silver: One row per event.
        activities_silver: One row per identity and day.
        retails_silver: One row per sale.
        purchases_silver: One row per person and day of purchase.
        sales_by_week_gold: One row per week and group of lines.
        marketing_spend_silver: One row per month, channel and campaign.
        exchange_rates_silver: One row per month and currency.
        customer_value_gold: One row per person with a customer, at the same `as_of`.
        as_of: Last day to include.
        gross_margin: Share of revenue that remains after the cost of goods sold, above 0 and up to 1.
        business_time_zone: IANA name of the time zone of business days.

    Returns:
        Columns of `kpi_weekly_gold`.
    """
    sales = _SALES.until(WEEK, sales_by_week_gold, retails_silver, as_of)
    categories, groups, orders = (sales.where(sf.col("grouped_by") == grouped_by) for grouped_by in MONTHLY_GROUPS)
    return build_kpis(
        KpiTable(KPI_WEEKLY_GOLD, WEEK),
        persons_silver,
        person_links_silver,
        consent_current_silver,
        events_silver,
        activities_silver,
        purchases_silver,
        categories,
        groups,
        orders,
        marketing_spend_silver,
        exchange_rates_silver,
        customer_value_gold,
        as_of=as_of,
        gross_margin=gross_margin,
        business_time_zone=business_time_zone,
    )


KPI_WEEKLY = Table(
    KPI_WEEKLY_GOLD,
    build_kpi_weekly_gold,
    reads=(
        PERSONS_SILVER,
        PERSON_LINKS_SILVER,
        CONSENT_CURRENT_SILVER,
        EVENTS_SILVER,
        ACTIVITIES_SILVER,
        RETAILS_SILVER,
        PURCHASES_SILVER,
        SALES_BY_WEEK_GOLD,
        MARKETING_SPEND_SILVER,
        EXCHANGE_RATES_SILVER,
        CUSTOMER_VALUE_GOLD,
    ),
    settings=(BUSINESS_DATE, "gross_margin", "business_time_zone"),
)
