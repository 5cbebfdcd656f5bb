"""Measures of engagement: who does what on the web, in the app and with e-mails."""

from __future__ import annotations

from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.kpis import ENGAGEMENT_POINTS, NOT_AN_ACTIVITY, TRAILING_DAYS
from cdp_lib.gold.kpis.measures import by_dimensions, month_of, union_measures, with_measures

_WEEK = 7


def build_activities(events_silver: DataFrame, customer_links_silver: DataFrame, as_of: date) -> DataFrame:
    """One row per activity: an event that a person has done.

    Args:
        events_silver: One row per event.
        customer_links_silver: One row per identity.
        as_of: Last day that counts.

    Returns:
        `person` (the customer, else the identity), `customer_id` (null of who is no known customer), `day`,
        `session_id` and `points`.
    """
    day = sf.col("occurred_at").cast("date")
    done = events_silver.where(~sf.col("event_type").isin(*NOT_AN_ACTIVITY)).where(sf.col("identity").isNotNull())
    links = customer_links_silver.select("identity", sf.col("customer_id").alias("linked_id"))
    return (
        done.where(day <= sf.lit(as_of))
        .join(links, "identity", how="left")
        .select(
            sf.coalesce(identity_of("customer", sf.col("linked_id")), "identity").alias("person"),
            sf.col("linked_id").alias("customer_id"),
            day.alias("day"),
            "session_id",
            _points().alias("points"),
        )
    )


def engagement_measures(activities: DataFrame, events_silver: DataFrame, months: DataFrame, as_of: date) -> DataFrame:
    """Measures of engagement by month.

    Args:
        activities: As `build_activities` gives them.
        events_silver: One row per event.
        months: One row per month, `month` its first day.
        as_of: Last day that counts.
    """
    measures = union_measures([_of_month(activities), _of_trailing_days(activities, months, as_of)])
    return union_measures([by_dimensions(rows, ["all"]) for rows in (measures, _of_mailings(events_silver, as_of))])


def _points() -> Column:
    kinds = list(ENGAGEMENT_POINTS.items())
    (kind, points), *others = kinds
    is_of = sf.col("event_type")
    scored = reduce(lambda case, each: case.when(is_of == each[0], each[1]), others, sf.when(is_of == kind, points))
    return scored.otherwise(1)


def _of_month(activities: DataFrame) -> DataFrame:
    months = activities.groupBy(month_of("day").alias("month")).agg(
        sf.countDistinct("session_id").alias("sessions"),
        sf.countDistinct(sf.when(sf.col("session_id").isNotNull(), sf.col("person"))).alias("session_people"),
        sf.countDistinct("person").alias("people"),
        sf.sum("points").alias("points"),
    )
    return with_measures(months, ["month"], {name: sf.col(name) for name in months.columns if name != "month"})


def _of_trailing_days(activities: DataFrame, months: DataFrame, as_of: date) -> DataFrame:
    """A day can be in the windows of its own month and of the next two: 30 days up to 1 March begin in January."""
    windows = months.select("month", sf.least(sf.last_day("month"), sf.lit(as_of)).alias("last_day"))
    days = activities.select("person", "day").distinct()
    month = month_of("day")
    months_of_day = sf.array(*(sf.add_months(month, later) for later in range(3)))
    of_months = days.select("*", sf.explode(months_of_day).alias("month"))
    age = sf.datediff("last_day", "day")
    within = of_months.join(sf.broadcast(windows), "month", how="inner").where((age >= 0) & (age < TRAILING_DAYS))
    counts = within.groupBy("month").agg(
        sf.count("*").alias("person_days"),
        sf.countDistinct("person").alias("month_people"),
        sf.countDistinct(sf.when(age < _WEEK, sf.col("person"))).alias("week_people"),
    )
    return with_measures(counts, ["month"], {name: sf.col(name) for name in counts.columns if name != "month"})


def _of_mailings(events_silver: DataFrame, as_of: date) -> DataFrame:
    """A mailing is an address and a campaign in a month; only those that were sent in it count as opened."""

    def has(event_type: str) -> Column:
        return sf.max((sf.col("event_type") == event_type).cast("int"))

    mailings = (
        events_silver.where(sf.col("occurred_at").cast("date") <= sf.lit(as_of))
        .where(sf.col("event_type").isin("email_sent", "email_open", "email_click"))
        .groupBy(
            sf.coalesce("email", "identity").alias("address"),
            sf.coalesce("campaign", sf.lit("")).alias("campaign"),
            sf.trunc(sf.col("occurred_at").cast("date"), "month").alias("month"),
        )
        .agg(
            has("email_sent").alias("sent"),
            # Who clicks has opened, even where the picture that tells so is blocked.
            sf.greatest(has("email_open"), has("email_click")).alias("opened"),
            has("email_click").alias("clicked"),
        )
        .where("sent = 1")
    )
    measures = {f"mailings_{fate}": sf.col(fate) for fate in ("sent", "opened", "clicked")}
    return with_measures(mailings, ["month"], measures)
