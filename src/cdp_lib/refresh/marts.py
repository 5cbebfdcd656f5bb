"""Brings marts of sales up to date by the sales that have changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame

from cdp_lib.columns import is_until
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.marts import Mart, build_mart, move_mart, touched_keys
from cdp_lib.refresh.changes import months_of, read_missed_changes
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables


def refresh_marts(tables: Tables, runs: RunLog, settings: Settings, marts: Sequence[Mart]) -> int | None:
    """Bring marts up to date, as far as they are not.

    They are moved by what `retails_changes_silver` says since they were last written. They are made from all sales if
    that does not say all of it, if anything but sales is not what it was (`as_of`, the version of this library), or if
    a run has been killed while it moved them: who has moved once may not be moved twice.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.
        settings: Settings of the run.
        marts: Marts that the task writes.

    Returns:
        Rows of the marts; None where nothing they are made from has changed.

    Raises:
        CdpError: `retails_silver` does not exist yet.
    """
    contracts = [mart.contract for mart in marts]
    inputs = runs.read_inputs([RETAILS_SILVER], as_of=settings.as_of)
    if not runs.is_due(contracts, inputs):
        return None
    sales = tables.read_table(RETAILS_SILVER).where(is_until("transaction_date", settings.as_of))
    changes = read_missed_changes(tables, runs, settings, contracts, as_of=settings.as_of)
    runs.plan_tables(contracts, inputs)
    if changes is None:
        for mart in marts:
            tables.replace_table(mart.contract, build_mart(mart, sales, _pairs(tables, mart)))
    else:
        changes = changes.where(is_until("transaction_date", settings.as_of))
        months = months_of(changes)
        for mart in marts:
            _move(tables, mart, changes, months, sales)
    rows = tables.count_rows(contracts)
    runs.finish_tables(contracts, inputs, rows)
    return rows


def _move(tables: Tables, mart: Mart, changes: DataFrame, months: Sequence[date], sales: DataFrame) -> None:
    if not mart.is_large:
        there = tables.read_table(mart.contract)
        moved = move_mart(mart, there, changes, months, sales, _pairs(tables, mart))
        tables.replace_table(mart.contract, moved.where("NOT _is_gone"))
        return
    there = tables.read_rows(mart.contract, touched_keys(mart, changes))
    tables.merge_changes(mart.contract, move_mart(mart, there, changes, months, sales))


def _pairs(tables: Tables, mart: Mart) -> DataFrame | None:
    return tables.read_table(mart.pairs.contract) if mart.pairs else None
