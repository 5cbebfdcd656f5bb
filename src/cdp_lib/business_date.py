"""The day that figures refer to."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import CUSTOMERS_SILVER, EVENTS_SILVER, PURCHASES_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables

DATED_BY = {PURCHASES_SILVER: "purchase_date", CUSTOMERS_SILVER: "registration_date", EVENTS_SILVER: "occurred_at"}
"""The tables that say when something happened, and by which column."""


def business_date(tables: Tables, settings: Settings) -> date:
    """The day that figures refer to: the one a run is told, else the latest on which anything happened.

    Not the day of the run: in a workspace that was paused every customer would seem to have churned. It is, where
    nothing has happened yet, or a source's clock is ahead. Where sales come later than the rest, they look like churn
    until they are there: such a run is told its day.

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
            tables.read_table(contract).select(sf.max(column).cast("date").alias("day"))
            for contract, column in DATED_BY.items()
        ]
    )
    [(day,)] = latest.agg(sf.max("day")).collect()
    of_run = settings.run_started_at.date()
    return min(day, of_run) if isinstance(day, date) else of_run


def agreed_date(tables: Tables, settings: Settings, contract: TableContract) -> date:
    """The day that figures refer to, if a table they are made from refers to it, too.

    Args:
        tables: Tables of the platform.
        settings: Settings of the run.
        contract: Contract of the table, which has `as_of`.

    Raises:
        CdpError: The table refers to another day, or does not exist yet.
    """
    day = business_date(tables, settings)
    [(of_table,)] = tables.read_table(contract).select(sf.max("as_of")).collect()
    if of_table not in (None, day):
        raise CdpError(
            f"{contract.name} has the figures of {of_table}, not of {day}: run the task that writes it first, or the"
            " whole job."
        )
    return day


def month_before(day: date) -> date:
    """The same day of the month before, or its last one.

    >>> month_before(date(2026, 3, 31))
    datetime.date(2026, 2, 28)
    """
    last = day.replace(day=1) - timedelta(days=1)
    return last.replace(day=min(day.day, last.day))
