"""Measures of engagement: activities on the web, in the app and in e-mails."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.kpis import TRAILING_DAYS
from cdp_lib.gold.kpis.measures import MeasureRows, measures_by_dimensions, union_measures, with_measures
from cdp_lib.gold.kpis.periods import Period
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


def engagement_measures(period: Period, activities: DataFrame, events_silver: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of engagement by period.

    Args:
        period: Kind of the periods.
        activities: One row per identity and day, from `with_persons`.
        events_silver: One row per event, with `occurred_at` in the time zone of business days.
        as_of: Last day to include.
    """
    parts = [
        _people_measures(period, activities, as_of),
        _session_measures(period, events_silver, as_of),
        _mailing_measures(period, events_silver, as_of),
    ]
    return measures_by_dimensions(union_measures(parts), ["all"])


def _session_measures(period: Period, events_silver: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of sessions by period.

    A period has a row even if none of its events is an activity, so that the KPIs begin with the first event.
    """
    days = events_silver.withColumn("day", sf.col("occurred_at").cast("date"))
    periods = days.where(sf.col("day") <= sf.lit(as_of)).groupBy(period.of("day").alias("period"))
    sessions = periods.agg(sf.countDistinct(sf.when(is_activity(), sf.col("session_id"))).alias("sessions"))
    return with_measures(sessions, ["period"], {"sessions": sf.col("sessions")})


def _people_measures(period: Period, activities: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of people by period.

    Some measures use the activities of the period. Other measures use the activities in a window of 30 days. The window
    ends with the period, or with `as_of` if `as_of` is earlier. One day can be in the windows of several periods. For
    example, if `as_of` is 1 March 2026, 31 January is in the windows of January, February and March.
    """
    days = activities.groupBy("person", "day").agg(
        sf.bool_or("has_session").alias("has_session"), sf.sum("points").alias("points")
    )

    def days_to_end(first_day: Column) -> Column:
        return sf.datediff(period.end(first_day, as_of), "day")

    def is_in_window(first_day: Column) -> Column:
        return (first_day <= sf.lit(as_of)) & days_to_end(first_day).between(0, TRAILING_DAYS - 1)

    own = period.of("day")
    later = [period.later(own, number) for number in range(1, period.windows_of_day)]
    periods = sf.array_compact(sf.array(own, *(sf.when(is_in_window(each), each) for each in later)))
    by_period = days.select("*", sf.explode(periods).alias("period"))
    is_own, in_window = sf.col("period") == own, is_in_window(sf.col("period"))
    people = by_period.groupBy("period", "person").agg(
        sf.bool_or(is_own).alias("is_active"),
        sf.bool_or(is_own & sf.col("has_session")).alias("has_session"),
        sf.sum(sf.when(is_own, sf.col("points"))).alias("points"),
        sf.count(sf.when(in_window, 1)).alias("days"),
        sf.bool_or(in_window & (days_to_end(sf.col("period")) < _WEEK_DAYS)).alias("is_in_week"),
    )
    counts = {
        "session_people": sf.count_if("has_session"),
        "people": sf.count_if("is_active"),
        "points": sf.sum("points"),
        "person_days": sf.sum("days"),
        "month_people": sf.count_if(sf.col("days") > 0),
        "week_people": sf.count_if("is_in_week"),
    }
    periods_of_people = people.groupBy("period").agg(*(count.alias(name) for name, count in counts.items()))
    return with_measures(periods_of_people, ["period"], {name: sf.col(name) for name in counts})


def _mailing_measures(period: Period, events_silver: DataFrame, as_of: date) -> MeasureRows:
    """Return measures of mailings by period.

    A mailing is one campaign sent to one address in one period. An open or a click counts only if it happens in the
    same period, and if its person has not refused tracking.
    """

    def has(event_type: str) -> Column:
        return sf.max((sf.col("event_type") == event_type).cast("int"))

    mailings = (
        events_silver.withColumn("day", sf.col("occurred_at").cast("date"))
        .where(sf.col("day") <= sf.lit(as_of))
        .where("event_type = 'email_sent' OR event_type IN ('email_open', 'email_click') AND identity IS NOT NULL")
        .groupBy(
            sf.coalesce("email", "identity").alias("address"),
            sf.coalesce("campaign", sf.lit("")).alias("campaign"),
            period.of("day").alias("period"),
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
    return with_measures(mailings, ["period"], measures)
