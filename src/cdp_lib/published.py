"""Copies of the gold tables, without personal data, for readers outside Unity Catalog."""

from __future__ import annotations

from dataclasses import replace

from cdp_lib.contracts.analytics import ANALYTICS_TABLES
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.storage import DeltaStore

PUBLISHED_TABLES = (*GOLD_TABLES, *ANALYTICS_TABLES)


def publish_gold(store: DeltaStore, location: str, *, full_refresh: bool = False) -> int:
    """Copy each gold table to a location if the table has changed since its last copy, or if the copy is missing.

    The state of a copy records which version of the table was copied. All states are written after the last copy. If a
    run is killed before it writes the states, the next run copies the same tables again.

    Args:
        store: Tables of the platform.
        location: Folder of the copies.
        full_refresh: Whether to copy every table, even if it has not changed.

    Returns:
        Number of rows written.

    Raises:
        CdpError: A gold table does not exist yet.
    """
    states = read_states(store)
    changed = {contract.name for contract in due_copies(states, location)}
    due = [
        contract
        for contract in PUBLISHED_TABLES
        if full_refresh or contract.name in changed or not store.is_published(contract, location)
    ]
    for contract in due:
        store.publish(contract, location)
        copy_state = _copy_state(states, contract)
        states[_state_name(contract)] = replace(
            copy_state,
            version=copy_state.version + 1,
            inputs={contract.name: _version(states, contract)},
            settings={"location": location},
        )
    if due:
        write_states(store, states)
    return sum(store.count(due).values())


def due_copies(states: States, location: str) -> list[TableContract]:
    """Return the tables that have changed since their last copy, or whose last copy is at another location.

    Args:
        states: States of the tables and copies.
        location: Folder of the copies.

    Raises:
        CdpError: A gold table does not exist yet.
    """
    return [
        contract
        for contract in PUBLISHED_TABLES
        if _copy_state(states, contract).inputs.get(contract.name) != _version(states, contract)
        or _copy_state(states, contract).settings != {"location": location}
    ]


def _state_name(contract: TableContract) -> str:
    return f"copy of {contract.name}"


def _copy_state(states: States, contract: TableContract) -> TableState:
    return states.get(_state_name(contract), TableState())


def _version(states: States, contract: TableContract) -> tuple[int, str]:
    state = states.get(contract.name)
    if state is None:
        raise CdpError(f"{contract.name} does not exist yet: refresh it first.")
    return state.version, state.token
