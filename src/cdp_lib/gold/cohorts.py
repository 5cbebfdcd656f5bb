"""cohort_retention_gold: who of those won in a month is still there later on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import uncommented
from cdp_lib.contracts.analytics import COHORT_RETENTION_GOLD
from cdp_lib.contracts.kpis import NOT_AN_ACTIVITY
from cdp_lib.contracts.silver import (
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMER_LINKS_SILVER,
    EVENTS_SILVER,
    PURCHASES_SILVER,
)
from cdp_lib.frames import union, without_comments
from cdp_lib.pipeline.table import BUSINESS_DATE, Table

_DAYS = (1, 7, 30, 60, 90, 180, 365)
"""Days of N-day and of unbounded retention."""

_BRACKETS = ((1, 7), (8, 30), (31, 60), (61, 90), (91, 180), (181, 365))
"""First and last day of each bracket."""

_MONTHS = 24
"""Months after the first that purchase and revenue retention go on for."""

_COHORT = ("cohort_type", "cohort_month")


def build_cohort_retention_gold(
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    events_silver: DataFrame,
    customer_links_silver: DataFrame,
    as_of: date,
) -> DataFrame:
    """One row per cohort, kind of retention and window.

    A customer is in the cohort of the month they were acquired in, and in that of the month they first bought in; that
    day is their day 0. Active is who buys, or does something in an event linked to them.

    - N-day: active on day N exactly. Unbounded: active on day N or later. Bracket: active within the bracket's days.
      Days are calendar days.
    - Purchase: bought in the k-th calendar month after the cohort's. Revenue: the cohort's revenue in it, by that of
      the cohort's own month.

    A window is over when it is over for who may have been won on the last day of the month. Until then – of unbounded
    retention, until day N is – the cell is null, and never 0. Unbounded retention may still rise after that, as long as
    `as_of` does: who stayed away comes back.

    Source: Amplitude, Retention Analysis (“return on”, “return on or after”, strict calendar dates); Adobe Customer
    Journey Analytics, guided analysis (the same as bounded and unbounded; custom brackets). Amplitude leaves who has
    not reached day N out of the average; here the whole cohort waits: all of its cells are of the same customers.

    Args:
        customer_acquisitions_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.
        events_silver: One row per event.
        customer_links_silver: One row per identity.
        as_of: Last day that counts.

    Returns:
        Columns of `cohort_retention_gold`. Windows that begin after `as_of` for all of a cohort have no row.
    """
    purchases = purchases_silver.where(sf.col("purchase_date") <= sf.lit(as_of))
    members = _members(customer_acquisitions_silver, as_of)
    days = _active_days(purchases, events_silver, customer_links_silver, as_of)
    cells = union([_of_days(members, days), _of_months(members, purchases)])
    last_day = sf.last_day("cohort_month")
    is_by_day = sf.col("retention_type").isin("n_day", "unbounded", "bracket")
    window_end = sf.coalesce("window_end", "window_start")
    over_at = sf.when(is_by_day, sf.date_add(last_day, window_end)).otherwise(
        sf.last_day(sf.add_months("cohort_month", window_end))
    )
    begins_at = sf.when(is_by_day, sf.date_add("cohort_month", sf.col("window_start"))).otherwise(
        sf.add_months("cohort_month", sf.col("window_start"))
    )
    numerator = sf.when(over_at <= sf.lit(as_of), sf.col("numerator"))
    divisor = sf.nullif(sf.col("denominator").cast("double"), sf.lit(0.0))
    return (
        cells.where(begins_at <= sf.lit(as_of))
        .withColumn("numerator", numerator)
        .select(
            "*",
            (sf.col("numerator").cast("double") / divisor).alias("retention"),
            sf.lit(as_of).alias("as_of"),
        )
        .selectExpr(*COHORT_RETENTION_GOLD.select_list)
    )


COHORT_RETENTION = Table(
    COHORT_RETENTION_GOLD,
    build_cohort_retention_gold,
    reads=(CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER, EVENTS_SILVER, CUSTOMER_LINKS_SILVER),
    settings=(BUSINESS_DATE,),
)


def _members(acquisitions: DataFrame, as_of: date) -> DataFrame:
    """One row per customer and cohort they are in, with their day 0."""
    until = sf.lit(as_of)
    bought = sf.when(sf.col("first_purchase_date") <= until, sf.col("first_purchase_date"))
    registered = sf.when(sf.col("registration_date") <= until, sf.col("registration_date"))
    days = {"acquisition": sf.least(registered, bought), "first_purchase": bought}
    return (
        union(
            [
                acquisitions.select(
                    "customer_id", sf.lit(cohort_type).alias("cohort_type"), uncommented(day).alias("day_0")
                )
                for cohort_type, day in days.items()
            ]
        )
        .select("*", sf.trunc("day_0", "month").alias("cohort_month"))
        .where("day_0 IS NOT NULL")
    )


def _active_days(purchases: DataFrame, events: DataFrame, links: DataFrame, as_of: date) -> DataFrame:
    """Days with a purchase or an activity of each customer: some of them twice, which makes no difference to "any"."""
    day = sf.col("occurred_at").cast("date")
    done = events.where(~sf.col("event_type").isin(*NOT_AN_ACTIVITY)).where(day <= sf.lit(as_of))
    of_customers = links.where("customer_id IS NOT NULL").select("identity", "customer_id")
    active = done.select("identity", day.alias("day")).distinct().join(of_customers, "identity", how="inner")
    bought = purchases.select("customer_id", sf.col("purchase_date").alias("day"))
    return union([without_comments(rows, ["customer_id", "day"]) for rows in (active, bought)])


def _of_days(members: DataFrame, active_days: DataFrame) -> DataFrame:
    """Cells of N-day, unbounded and bracket retention: one pass over customers, and then over cohorts."""
    age = sf.datediff("day", "day_0")
    joined = members.join(active_days, "customer_id", how="left").withColumn("age", age)
    windows: list[tuple[str, int, int | None]] = [
        *(("n_day", day, day) for day in _DAYS),
        *(("unbounded", day, None) for day in _DAYS),
        *(("bracket", first, last) for first, last in _BRACKETS),
    ]
    of_customers = joined.groupBy("customer_id", *_COHORT).agg(
        *(_is_any(_is_within(sf.col("age"), *window[1:])).alias(f"w{n}") for n, window in enumerate(windows))
    )
    of_cohorts = of_customers.groupBy(*_COHORT).agg(
        sf.count("*").alias("cohort_size"), *(sf.sum(f"w{n}").alias(f"w{n}") for n in range(len(windows)))
    )
    return _cells(of_cohorts, windows)


def _of_months(members: DataFrame, purchases: DataFrame) -> DataFrame:
    """Cells of purchase and revenue retention."""
    months = purchases.groupBy("customer_id", sf.col("sale_month").alias("month")).agg(
        sf.sum("revenue").alias("revenue")
    )
    age = 12 * (sf.year("month") - sf.year("cohort_month")) + sf.month("month") - sf.month("cohort_month")
    joined = members.join(months, "customer_id", how="left").withColumn("age", age)
    of_ages = joined.groupBy(*_COHORT, "age").agg(sf.count("*").alias("buyers"), sf.sum("revenue").alias("revenue"))
    sizes = members.groupBy(*_COHORT).agg(sf.count("*").alias("cohort_size"))
    windows = [(kind, month, month) for kind in ("purchase", "revenue") for month in range(_MONTHS + 1)]
    figures = {"purchase": "buyers", "revenue": "revenue"}
    of_cohorts = of_ages.groupBy(*_COHORT).agg(
        *(
            sf.sum(sf.when(sf.col("age") == month, sf.col(figures[kind]))).alias(f"w{n}")
            for n, (kind, month, _) in enumerate(windows)
        )
    )
    return _cells(sizes.join(of_cohorts, [*_COHORT], how="inner"), windows, revenue_before=f"w{_MONTHS + 1}")


def _is_any(condition: Column) -> Column:
    return sf.max(sf.when(condition, 1).otherwise(0))


def _is_within(age: Column, first: int, last: int | None) -> Column:
    return age >= first if last is None else age.between(first, last)


def _cells(
    of_cohorts: DataFrame, windows: Sequence[tuple[str, int, int | None]], revenue_before: str = ""
) -> DataFrame:
    """One row per cohort and window, of a row per cohort with the numerator of each in `w<number>`.

    Args:
        of_cohorts: One row per cohort.
        windows: Kind of retention, first and last day or month of each window.
        revenue_before: Column with what revenue is divided by.
    """
    zero = sf.lit(0).cast("decimal(38,2)")
    each = of_cohorts.select("*", sf.explode(sf.array(*map(sf.lit, range(len(windows))))).alias("number"))

    def of_window(values: Sequence[Column]) -> Column:
        case = sf.when(sf.col("number") == 0, values[0])
        for number, value in enumerate(values[1:], 1):
            case = case.when(sf.col("number") == number, value)
        return case

    def denominator(kind: str) -> Column:
        size = sf.col("cohort_size").cast("decimal(38,2)")
        return sf.coalesce(sf.col(revenue_before).cast("decimal(38,2)"), zero) if kind == "revenue" else size

    return each.select(
        *_COHORT,
        of_window([sf.lit(kind) for kind, _, _ in windows]).alias("retention_type"),
        of_window([sf.lit(first) for _, first, _ in windows]).alias("window_start"),
        of_window([sf.lit(last).cast("int") for _, _, last in windows]).alias("window_end"),
        "cohort_size",
        of_window([sf.coalesce(sf.col(f"w{n}").cast("decimal(38,2)"), zero) for n in range(len(windows))]).alias(
            "numerator"
        ),
        of_window([denominator(kind) for kind, _, _ in windows]).alias("denominator"),
    )
