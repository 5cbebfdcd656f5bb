"""cohort_retention_gold: retention of cohorts of customers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import without_comment
from cdp_lib.contracts.analytics import COHORT_RETENTION_GOLD
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import (
    ACTIVITIES_SILVER,
    CUSTOMER_ACQUISITIONS_SILVER,
    PURCHASES_SILVER,
)
from cdp_lib.frames import union, without_comments
from cdp_lib.pipeline.table import BUSINESS_DATE, Table

_DAYS = (1, 7, 30, 60, 90, 180, 365)
"""Values of N for N-day and unbounded retention, in days."""

_BRACKETS = ((1, 7), (8, 30), (31, 60), (61, 90), (91, 180), (181, 365))
"""First and last day of each bracket, counted from day 0."""

_MONTHS = 24
"""Last month of purchase and revenue retention, as a number of months after the cohort month."""

_COHORT = ("cohort_type", "cohort_month")


def build_cohort_retention_gold(
    customer_acquisitions_silver: DataFrame,
    purchases_silver: DataFrame,
    activities_silver: DataFrame,
    person_links_silver: DataFrame,
    as_of: date,
) -> DataFrame:
    """One row per cohort of customers, kind of retention and window; the retention is null until the window ends.

    Each customer belongs to the acquisition cohort of the month in which the customer was acquired. Each buyer also
    belongs to the first-purchase cohort of the month in which the customer first bought. Day 0 is the day of
    acquisition or of the first purchase. A customer is active on a day with a purchase or with an activity linked to
    the customer.

    - N-day retention: share of the cohort that is active exactly on day N. Days are calendar days.
    - Unbounded retention: share of the cohort that is active on day N or later.
    - Bracket retention: share of the cohort that is active on at least one day of the bracket.
    - Purchase retention: share of the cohort that buys in the k-th calendar month after the cohort month.
    - Revenue retention: revenue of the cohort in the k-th calendar month after the cohort month, divided by the revenue
      of the cohort in the cohort month.

    The retention is null, never 0, until the window has ended for all customers of the cohort. A window of calendar
    months ends with its last month. A window of days is counted from each customer's day 0, so it ends last for
    customers whose day 0 is the last day of the cohort month. Unbounded retention has a value when day N is over. The
    value may still rise with a later `as_of`, because customers come back.

    Source: Amplitude, Retention Analysis (“return on”, “return on or after”, strict calendar dates); Adobe Customer
    Journey Analytics, guided analysis (bounded, unbounded, custom brackets). Amplitude computes the average
    without the customers who have not reached day N. This table waits for the whole cohort instead, so that all rows of
    a cohort refer to the same customers.

    Args:
        customer_acquisitions_silver: One row per person with a customer.
        purchases_silver: One row per person and day of purchase.
        activities_silver: One row per identity and day.
        person_links_silver: One row per record.
        as_of: Last day to include.

    Returns:
        Columns of `cohort_retention_gold`. A window has a row as soon as it has begun for a customer whose day 0 is the
        first day of the cohort month.
    """
    purchases = purchases_silver.where(sf.col("purchase_date") <= sf.lit(as_of))
    members = _members(customer_acquisitions_silver, as_of)
    days = _active_days(purchases.where("transaction_count > 0"), activities_silver, person_links_silver, as_of)
    cells = union([_day_cells(members, days), _month_cells(members, purchases)])
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
    reads=(CUSTOMER_ACQUISITIONS_SILVER, PURCHASES_SILVER, ACTIVITIES_SILVER, PERSON_LINKS_SILVER),
    settings=(BUSINESS_DATE,),
)


def _members(acquisitions: DataFrame, as_of: date) -> DataFrame:
    """Return one row per customer and cohort, with the customer's day 0 in the cohort."""
    until = sf.lit(as_of)
    bought = sf.when(sf.col("first_purchase_date") <= until, sf.col("first_purchase_date"))
    registered = sf.when(sf.col("registration_date") <= until, sf.col("registration_date"))
    days = {"acquisition": sf.least(registered, bought), "first_purchase": bought}
    return (
        union(
            [
                acquisitions.select(
                    "person_id", sf.lit(cohort_type).alias("cohort_type"), without_comment(day).alias("day_0")
                )
                for cohort_type, day in days.items()
            ]
        )
        .select("*", sf.trunc("day_0", "month").alias("cohort_month"))
        .where("day_0 IS NOT NULL")
    )


def _active_days(purchases: DataFrame, activities: DataFrame, links: DataFrame, as_of: date) -> DataFrame:
    """Return the (person, day) pairs with a purchase or an activity.

    A pair may occur several times. Repeated pairs do not affect the retention.
    """
    days = activities.where(sf.col("activity_date") <= sf.lit(as_of)).select(
        "identity", sf.col("activity_date").alias("day")
    )
    active = days.join(links.select(sf.col("record_key").alias("identity"), "person_id"), "identity", how="inner")
    bought = purchases.select("person_id", sf.col("purchase_date").alias("day"))
    return union([without_comments(rows, ["person_id", "day"]) for rows in (active, bought)])


def _day_cells(members: DataFrame, active_days: DataFrame) -> DataFrame:
    """Return the rows of the cohort table for N-day, unbounded and bracket retention.

    The query aggregates by customer first, and then by cohort.
    """
    age = sf.datediff("day", "day_0")
    joined = members.join(active_days, "person_id", how="left").withColumn("age", age)
    windows: list[tuple[str, int, int | None]] = [
        *(("n_day", day, day) for day in _DAYS),
        *(("unbounded", day, None) for day in _DAYS),
        *(("bracket", first, last) for first, last in _BRACKETS),
    ]
    by_customer = joined.groupBy("person_id", *_COHORT).agg(
        *(
            _holds_for_any_row(_is_in_window(sf.col("age"), *window[1:])).alias(f"w{n}")
            for n, window in enumerate(windows)
        )
    )
    by_cohort = by_customer.groupBy(*_COHORT).agg(
        sf.count("*").alias("cohort_size"), *(sf.sum(f"w{n}").alias(f"w{n}") for n in range(len(windows)))
    )
    return _cells(by_cohort, windows)


def _month_cells(members: DataFrame, purchases: DataFrame) -> DataFrame:
    """Return the rows of the cohort table for purchase and revenue retention."""
    months = purchases.groupBy("person_id", sf.col("sale_month").alias("month")).agg(
        sf.sum("revenue").alias("revenue"), (sf.sum("transaction_count") > 0).cast("bigint").alias("has_bought")
    )
    age = 12 * (sf.year("month") - sf.year("cohort_month")) + sf.month("month") - sf.month("cohort_month")
    joined = members.join(months, "person_id", how="left").withColumn("age", age)
    by_age = joined.groupBy(*_COHORT, "age").agg(
        sf.sum("has_bought").alias("buyers"), sf.sum("revenue").alias("revenue")
    )
    sizes = members.groupBy(*_COHORT).agg(sf.count("*").alias("cohort_size"))
    windows = [(kind, month, month) for kind in ("purchase", "revenue") for month in range(_MONTHS + 1)]
    figures = {"purchase": "buyers", "revenue": "revenue"}
    by_cohort = by_age.groupBy(*_COHORT).agg(
        *(
            sf.sum(sf.when(sf.col("age") == month, sf.col(figures[kind]))).alias(f"w{n}")
            for n, (kind, month, _) in enumerate(windows)
        )
    )
    return _cells(sizes.join(by_cohort, [*_COHORT], how="inner"), windows, first_revenue=f"w{_MONTHS + 1}")


def _holds_for_any_row(condition: Column) -> Column:
    """Return 1 if the condition holds for any row of the group, else 0."""
    return sf.max(sf.when(condition, 1).otherwise(0))


def _is_in_window(age: Column, first: int, last: int | None) -> Column:
    return age >= first if last is None else age.between(first, last)


def _cells(by_cohort: DataFrame, windows: Sequence[tuple[str, int, int | None]], first_revenue: str = "") -> DataFrame:
    """Return one row per cohort and window.

    Args:
        by_cohort: One row per cohort, with one column per window. The column `w0` holds the numerator of the first
            window, `w1` the numerator of the second window, and so on.
        windows: (kind of retention, first day or month, last day or month) of each window. The last element is None for
            a window without an end.
        first_revenue: Column with the revenue in the cohort month, the denominator of revenue retention.
    """
    zero = sf.lit(0).cast("decimal(38,4)")
    by_window = by_cohort.select("*", sf.explode(sf.array(*map(sf.lit, range(len(windows))))).alias("number"))

    def value_of_window(values: Sequence[Column]) -> Column:
        case = sf.when(sf.col("number") == 0, values[0])
        for number, value in enumerate(values[1:], 1):
            case = case.when(sf.col("number") == number, value)
        return case

    def denominator(kind: str) -> Column:
        size = sf.col("cohort_size").cast("decimal(38,4)")
        return sf.coalesce(sf.col(first_revenue).cast("decimal(38,4)"), zero) if kind == "revenue" else size

    return by_window.select(
        *_COHORT,
        value_of_window([sf.lit(kind) for kind, _, _ in windows]).alias("retention_type"),
        value_of_window([sf.lit(first) for _, first, _ in windows]).alias("window_start"),
        value_of_window([sf.lit(last).cast("int") for _, _, last in windows]).alias("window_end"),
        "cohort_size",
        value_of_window([sf.coalesce(sf.col(f"w{n}").cast("decimal(38,4)"), zero) for n in range(len(windows))]).alias(
            "numerator"
        ),
        value_of_window([denominator(kind) for kind, _, _ in windows]).alias("denominator"),
    )
