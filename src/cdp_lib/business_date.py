"""The day that figures refer to."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import CUSTOMERS_SILVER, EVENTS_SILVER, RETAILS_SILVER
from cdp_lib.frames import union
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables

DATED_BY = {RETAILS_SILVER: "transaction_date", CUSTOMERS_SILVER: "registration_date", EVENTS_SILVER: "occurred_at"}
"""The tables that say when something happened, and by which column."""


def business_date(tables: Tables, settings: Settings) -> date:
    """The day that figures refer to: the one a run is told, else the latest on which anything happened.

    Not the day of the run: in a workspace that was paused, or on samples, every customer would seem to have churned. It
    is, where nothing has happened yet.

    Args:
        tables: Tables of the platform.
        settings: Settings of the run.

    Raises:
        CdpError: A silver table does not exist yet.
    """
    if settings.as_of:
        return settings.as_of
    latest = union(
        [
            tables.read_table(contract).select(sf.max(sf.col(column).cast("date")).alias("day"))
            for contract, column in DATED_BY.items()
        ]
    )
    [(day,)] = latest.agg(sf.max("day")).collect()
    return day if isinstance(day, date) else settings.run_started_at.date()


def month_before(day: date) -> date:
    """The same day of the month before, or its last one.

    >>> month_before(date(2026, 3, 31))
    datetime.date(2026, 2, 28)
    """
    last = day.replace(day=1) - timedelta(days=1)
    return last.replace(day=min(day.day, last.day))
