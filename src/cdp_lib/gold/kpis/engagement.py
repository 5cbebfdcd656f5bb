"""Measures of engagement: who does what on the web, in the app and with e-mails."""

from __future__ import annotations

from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.kpis import ENGAGEMENT_POINTS, NOT_AN_ACTIVITY, TRAILING_DAYS
from cdp_lib.gold.kpis.measures import Measured, measures_by_dimensions, month_of, union_measures, with_measures

_WEEK = 7


def build_activities(events_silver: DataFrame, customer_links_silver: DataFrame, as_of: date) -> DataFrame:
    """One row per activity: an event that a person has done.

    Args:
        events_silver: One row per event.
        customer_links_silver: One row per identity.
        as_of: Last day that counts.

    Returns:
        `person` (the customer, else the identity), `customer_id` (null of who is no known customer), `day`,
        `has_session` and `points`.
    """
    links = customer_links_silver.select("identity", sf.col("customer_id").alias("linked_id"))
    return (
        _done(events_silver, as_of)
        .join(links, "identity", how="left")
        .select(
            sf.coalesce(identity_of("customer", sf.col("linked_id")), "identity").alias("person"),
            sf.col("linked_id").alias("customer_id"),
            "day",
            sf.col("session_id").isNotNull().alias("has_session"),
            _points().alias("points"),
        )
    )


def _done(events_silver: DataFrame, as_of: date) -> DataFrame:
    """The events that a person has done, with their day."""
    is_done = ~sf.col("event_type").isin(*NOT_AN_ACTIVITY) & sf.col("identity").isNotNull()
    days = events_silver.where(is_done).withColumn("day", sf.col("occurred_at").cast("date"))
    return days.where(sf.col("day") <= sf.lit(as_of))


def engagement_measures(activities: DataFrame, events_silver: DataFrame, as_of: date) -> Measured:
    """Measures of engagement by month.

    Args:
        activities: As `build_activities` gives them.
        events_silver: One row per event.
        as_of: Last day that counts.
    """
    parts = [_of_people(activities, as_of), _of_sessions(events_silver, as_of), _of_mailings(events_silver, as_of)]
    return measures_by_dimensions(union_measures(parts), ["all"])


def _points() -> Column:
    kinds = list(ENGAGEMENT_POINTS.items())
    (kind, points), *others = kinds
    is_of = sf.col("event_type")
    scored = reduce(lambda case, each: case.when(is_of == each[0], each[1]), others, sf.when(is_of == kind, points))
    return scored.otherwise(1)


def _of_sessions(events_silver: DataFrame, as_of: date) -> Measured:
    months = _done(events_silver, as_of).groupBy(month_of("day").alias("month"))
    sessions = months.agg(sf.countDistinct("session_id").alias("sessions"))
    return with_measures(sessions, ["month"], {"sessions": sf.col("sessions")})


def _of_people(activities: DataFrame, as_of: date) -> Measured:
    """Of each month, who did what in it, and in the days that end with it.

    A day can be in the windows of its own month and of the next two: 30 days up to 1 March begin in January.
    """
    days = activities.groupBy("person", "day").agg(
        sf.bool_or("has_session").alias("has_session"), sf.sum("points").alias("points")
    )
    own_month = month_of("day")
    own, *later = (sf.add_months(own_month, number) for number in range(3))
    of_months = days.select(
        "*",
        sf.explode(sf.array_compact(sf.array(own, *(sf.when(_is_in_window(m, as_of), m) for m in later)))).alias(
            "month"
        ),
    )
    is_own = sf.col("month") == own_month
    is_in_window = _is_in_window(sf.col("month"), as_of)
    people = of_months.groupBy("month", "person").agg(
        sf.bool_or(is_own).alias("is_active"),
        sf.bool_or(is_own & sf.col("has_session")).alias("has_session"),
        sf.sum(sf.when(is_own, sf.col("points"))).alias("points"),
        sf.count(sf.when(is_in_window, 1)).alias("days"),
        sf.bool_or(is_in_window & (_age(sf.col("month"), as_of) < _WEEK)).alias("is_of_week"),
    )
    counts = {
        "session_people": sf.count_if("has_session"),
        "people": sf.count_if("is_active"),
        "points": sf.sum("points"),
        "person_days": sf.sum("days"),
        "month_people": sf.count_if(sf.col("days") > 0),
        "week_people": sf.count_if("is_of_week"),
    }
    months = people.groupBy("month").agg(*(count.alias(name) for name, count in counts.items()))
    return with_measures(months, ["month"], {name: sf.col(name) for name in counts})


def _is_in_window(month: Column, as_of: date) -> Column:
    """Whether a day is one of those that end with a month, or with the last day that counts."""
    age = _age(month, as_of)
    return (month <= sf.lit(as_of)) & (age >= 0) & (age < TRAILING_DAYS)


def _age(month: Column, as_of: date) -> Column:
    return sf.datediff(sf.least(sf.last_day(month), sf.lit(as_of)), "day")


def _of_mailings(events_silver: DataFrame, as_of: date) -> Measured:
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
