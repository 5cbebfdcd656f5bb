"""activities_silver: days on which an identity in events was active."""

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import local_time
from cdp_lib.contracts.kpis import ENGAGEMENT_POINTS, NOT_AN_ACTIVITY
from cdp_lib.contracts.silver import ACTIVITIES_SILVER, EVENTS_SILVER
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_activities_silver(events_silver: DataFrame, business_time_zone: str) -> DataFrame:
    """Return one row per identity and day with an activity.

    The rows do not depend on the persons of the identities, so a merge of persons changes no row.

    Args:
        events_silver: One row per event.
        business_time_zone: IANA name of the time zone of business days.

    Returns:
        Columns of `activities_silver`.
    """
    day = local_time(sf.col("occurred_at"), business_time_zone).cast("date")
    activities = events_silver.where(is_activity()).select(
        "identity",
        day.alias("activity_date"),
        sf.col("session_id").isNotNull().alias("has_session"),
        _points().cast("bigint").alias("points"),
    )
    days = activities.groupBy("identity", "activity_date").agg(
        sf.count("*").alias("activity_count"),
        sf.bool_or("has_session").alias("has_session"),
        sf.sum("points").alias("points"),
    )
    return days.selectExpr(*ACTIVITIES_SILVER.select_list)


def is_activity() -> Column:
    """Return whether an event is an activity: it has an identity, and its type is not in `NOT_AN_ACTIVITY`."""
    return ~sf.col("event_type").isin(*NOT_AN_ACTIVITY) & sf.col("identity").isNotNull()


def _points() -> Column:
    """Return the engagement points of an event."""
    event_type = sf.col("event_type")
    (first, points), *rest = ENGAGEMENT_POINTS.items()
    scored = reduce(
        lambda case, each: case.when(event_type == each[0], each[1]), rest, sf.when(event_type == first, points)
    )
    return scored.otherwise(1)


def _with_identity(changed: DataFrame, existing: DataFrame) -> DataFrame:
    """Return the changed events that have an identity: only they are in `activities_silver`."""
    return changed.where("identity IS NOT NULL")


ACTIVITIES = Table(
    ACTIVITIES_SILVER,
    build_activities_silver,
    reads=(EVENTS_SILVER,),
    settings=("business_time_zone",),
    materialization=TouchedKeys(by=("identity",), keys_to_build=_with_identity, is_followed=True),
)
