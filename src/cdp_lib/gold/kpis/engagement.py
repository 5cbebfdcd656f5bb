"""Measures of engagement: activities on the web, in the app and in e-mails."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.kpis import TRAILING_DAYS
from cdp_lib.gold.kpis.measures import MeasureRows, measures_by_dimensions, month_of, union_measures, with_measures
from cdp_lib.silver.activities import is_activity

_WEEK_DAYS = 7


def with_persons(activities_silver: DataFrame, person_links_silver: DataFrame, as_of: date) -> DataFrame:
    """Return the days on which an identity was active, with the person of the identity.

    Args:
        activities_silver: One row per identity and day.
        person_links_silver: One row per record.
        as_of: Last day to include.

    Returns:
        `person` (the person, or the identity if the person is unknown), `person_id` (null if the person is unknown),
        `day`, `has_session` and `points`. A person has a row per identity and day.
    """
    links = person_links_silver.select(sf.col("record_key").alias("identity"), "person_id")
    return (
        activities_silver.where(sf.col("activity_date") <= sf.lit(as_of))
        .join(links, "identity", how="left")
        .select(
            sf.coalesce(identity_of("person", sf.col("person_id")), "identity").alias("person"),
            "person_id",
            sf.col("activity_date").alias("day"),
            "has_session",
            "points",
        )
    )


def engagement_measures(activities: DataFrame, events_silver: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of engagement by month.

    Args:
        activities: One row per identity and day, from `with_persons`.
        events_silver: One row per event, with `occurred_at` in the time zone of business days.
        as_of: Last day to include.
    """
    parts = [
        _people_measures(activities, as_of),
        _session_measures(events_silver, as_of),
        _mailing_measures(events_silver, as_of),
    ]
    return measures_by_dimensions(union_measures(parts), ["all"])


def _session_measures(events_silver: DataFrame, as_of: date) -> MeasureRows:
    days = events_silver.where(is_activity()).withColumn("day", sf.col("occurred_at").cast("date"))
    months = days.where(sf.col("day") <= sf.lit(as_of)).groupBy(month_of("day").alias("month"))
    sessions = months.agg(sf.countDistinct("session_id").alias("sessions"))
    return with_measures(sessions, ["month"], {"sessions": sf.col("sessions")})


def _people_measures(activities: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of people by month.

    Some measures use the activities of the month. Other measures use the activities in a window of 30 days. The window
    ends with the month, or with `as_of` if `as_of` is earlier. One day can be in the windows of three months. For
    example, if `as_of` is 1 March 2026, 31 January is in the windows of January, February and March.
    """
    days = activities.groupBy("person", "day").agg(
        sf.bool_or("has_session").alias("has_session"), sf.sum("points").alias("points")
    )
    own_month = month_of("day")
    own, *later = (sf.add_months(own_month, number) for number in range(3))
    by_month = days.select(
        "*",
        sf.explode(sf.array_compact(sf.array(own, *(sf.when(_is_in_window(m, as_of), m) for m in later)))).alias(
            "month"
        ),
    )
    is_own = sf.col("month") == own_month
    is_in_window = _is_in_window(sf.col("month"), as_of)
    people = by_month.groupBy("month", "person").agg(
        sf.bool_or(is_own).alias("is_active"),
        sf.bool_or(is_own & sf.col("has_session")).alias("has_session"),
        sf.sum(sf.when(is_own, sf.col("points"))).alias("points"),
        sf.count(sf.when(is_in_window, 1)).alias("days"),
        sf.bool_or(is_in_window & (_days_to_end(sf.col("month"), as_of) < _WEEK_DAYS)).alias("is_in_week"),
    )
    counts = {
        "session_people": sf.count_if("has_session"),
        "people": sf.count_if("is_active"),
        "points": sf.sum("points"),
        "person_days": sf.sum("days"),
        "month_people": sf.count_if(sf.col("days") > 0),
        "week_people": sf.count_if("is_in_week"),
    }
    months = people.groupBy("month").agg(*(count.alias(name) for name, count in counts.items()))
    return with_measures(months, ["month"], {name: sf.col(name) for name in counts})


def _is_in_window(month: Column, as_of: date) -> Column:
    """Return whether `day` is in the trailing window that ends with the month, or with `as_of` if that is earlier."""
    days_to_end = _days_to_end(month, as_of)
    return (month <= sf.lit(as_of)) & (days_to_end >= 0) & (days_to_end < TRAILING_DAYS)


def _days_to_end(month: Column, as_of: date) -> Column:
    """Return the number of days from `day` to the end of the month, or to `as_of` if `as_of` is earlier."""
    return sf.datediff(sf.least(sf.last_day(month), sf.lit(as_of)), "day")


def _mailing_measures(events_silver: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of mailings by month.

    A mailing is one campaign sent to one address in one month. An open or a click counts only if it happens in the
    same month, and if its person has not refused tracking.
    """

    def has(event_type: str) -> Column:
        return sf.max((sf.col("event_type") == event_type).cast("int"))

    mailings = (
        events_silver.where(sf.col("occurred_at").cast("date") <= sf.lit(as_of))
        .where("event_type = 'email_sent' OR event_type IN ('email_open', 'email_click') AND identity IS NOT NULL")
        .groupBy(
            sf.coalesce("email", "identity").alias("address"),
            sf.coalesce("campaign", sf.lit("")).alias("campaign"),
            sf.trunc(sf.col("occurred_at").cast("date"), "month").alias("month"),
        )
        .agg(
            has("email_sent").alias("sent"),
            # Count a click as an open too, because a blocked tracking pixel reports no open.
            sf.greatest(has("email_open"), has("email_click")).alias("opened"),
            has("email_click").alias("clicked"),
        )
        .where("sent = 1")
    )
    measures = {f"mailings_{stage}": sf.col(stage) for stage in ("sent", "opened", "clicked")}
    return with_measures(mailings, ["month"], measures)
