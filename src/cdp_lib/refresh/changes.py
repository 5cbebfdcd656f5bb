"""What has changed of sales since tables were made from them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import RETAILS_CHANGES_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import of_types, worked_out_few
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables


def read_missed_changes(
    tables: Tables, runs: RunLog, settings: Settings, contracts: Collection[TableContract], **inputs: object
) -> DataFrame | None:
    """What has changed of sales since tables were last made from them.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.
        settings: Settings of the run.
        contracts: Contracts of the tables, all that the task writes.
        inputs: What else they are made from, as for `RunLog.read_inputs`.

    Returns:
        Rows of `retails_changes_silver`; None where the tables are to be made anew, from all sales.
    """
    missed = runs.missed_changes(RETAILS_SILVER, contracts, **inputs)
    needed = (*contracts, RETAILS_CHANGES_SILVER)
    if missed is None or settings.full_refresh or not all(map(tables.exists, needed)):
        return None
    log = tables.read_table(RETAILS_CHANGES_SILVER).where(sf.col("_change_id").isin(*missed))
    changes, _ = worked_out_few(of_types(log, RETAILS_CHANGES_SILVER.types))
    known = {change_id for (change_id,) in changes.select("_change_id").distinct().collect()}
    # The log keeps the latest changes only.
    return changes if known == set(missed) else None


def months_of(changes: DataFrame) -> list[date]:
    """First days of the months that changed sales are of."""
    return [month for (month,) in changes.select("sale_month").distinct().collect()]
