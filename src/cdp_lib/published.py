"""Copies of the gold tables for readers outside Unity Catalog: at a known place, and without personal data."""

from __future__ import annotations

from cdp_lib.contracts.analytics import ANALYTICS_TABLES, CUSTOMER_SEGMENTS_GOLD, SEGMENT_MOVEMENTS_GOLD
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.gold.marts import MARTS_OF_TASK
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables

PUBLISHED_TABLES = (*GOLD_TABLES, *ANALYTICS_TABLES)

_OF_TASK = {task: tuple(mart.contract for mart in marts) for task, marts in MARTS_OF_TASK.items()} | {
    "customer_segments_gold": (CUSTOMER_SEGMENTS_GOLD, SEGMENT_MOVEMENTS_GOLD)
}
LOGGED_AS = {contract: contract.name for contract in PUBLISHED_TABLES} | {
    contract: task for task, contracts in _OF_TASK.items() for contract in contracts
}
"""The name that the log has of a table's changes: its own, or that of a task that writes several tables at once."""


def publish_gold(tables: Tables, runs: RunLog, settings: Settings) -> int:
    """Copy the gold tables that have changed since they were last copied to this place.

    A run that was killed has logged nothing: the next one copies the same tables again.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.
        settings: Settings of the run.

    Returns:
        Rows written.

    Raises:
        CdpError: A gold table does not exist yet.
    """
    location = settings.synapse_location
    histories = runs.histories(set(LOGGED_AS.values()))
    changes = {contract.name: histories[name].latest for contract, name in LOGGED_AS.items()}
    inputs = runs.read_inputs([], synapse_location=location, **changes)
    before = {} if settings.full_refresh else runs.last_inputs(PUBLISHED_TABLES)
    due = [
        contract
        for contract in PUBLISHED_TABLES
        if any(before.get(name) != inputs[name] for name in ("synapse_location", "code_version", contract.name))
        or not tables.is_published(contract, location)
    ]
    if not due:
        return 0
    written = tables.publish_tables(due, location)
    runs.finish_tables(PUBLISHED_TABLES, inputs, written.rows)
    return written.rows
