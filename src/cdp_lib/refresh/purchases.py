"""Brings purchases up to date by the months in which sales have changed."""

from __future__ import annotations

from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import PURCHASES_SILVER, RETAILS_SILVER
from cdp_lib.refresh.changes import months_of, read_missed_changes
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.purchases import build_purchases_silver
from cdp_lib.tables import Tables


def refresh_purchases(tables: Tables, runs: RunLog, settings: Settings) -> int | None:
    """Bring `purchases_silver` up to date: months of which sales have changed are written anew, others stay.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.
        settings: Settings of the run.

    Returns:
        Rows written; None where no sale has changed.

    Raises:
        CdpError: `retails_silver` does not exist yet.
    """
    inputs = runs.read_inputs([RETAILS_SILVER])
    if not runs.is_due([PURCHASES_SILVER], inputs):
        return None
    sales = tables.read_table(RETAILS_SILVER)
    changes = read_missed_changes(tables, runs, settings, [PURCHASES_SILVER])
    if changes is None:
        tables.replace_table(PURCHASES_SILVER, build_purchases_silver(sales))
        rows = tables.count_rows([PURCHASES_SILVER])
    else:
        months = months_of(changes)
        purchases = build_purchases_silver(sales.where(sf.col("sale_month").isin(*months)))
        tables.replace_partitions(PURCHASES_SILVER, months, purchases)
        rows = tables.read_table(PURCHASES_SILVER).where(sf.col("sale_month").isin(*months)).count()
    runs.finish_tables([PURCHASES_SILVER], inputs, rows)
    return rows
