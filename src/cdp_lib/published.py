"""Copies of the gold tables, without personal data, for readers outside Unity Catalog.

A copy has no row of fewer people than `minimum_cell_size`. A table with a row per customer is copied only on request:
its copy is pseudonymised, because a customer number still identifies a person. Profiles are never copied, because they
exist to read and find the contact data of persons.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from cdp_lib.contracts.analytics import ANALYTICS_TABLES
from cdp_lib.contracts.gold import GOLD_TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.storage import DeltaStore

PUBLISHED_TABLES = (*GOLD_TABLES, *ANALYTICS_TABLES)


@dataclass(frozen=True)
class Copies:
    """Location and content of the copies.

    Attributes:
        location: Folder of the copies.
        minimum_cell_size: Smallest number of people whose figures are copied.
        has_customers: Whether the tables with a row per customer are copied.
    """

    location: str
    minimum_cell_size: int
    has_customers: bool

    def tables(self) -> list[TableContract]:
        """Return the tables to copy."""
        return [contract for contract in PUBLISHED_TABLES if self.has_customers or not contract.is_per_customer]

    def settings_of(self, contract: TableContract) -> dict[str, str]:
        """Return the settings that the copy of a table depends on."""
        counts_people = {"minimum_cell_size": str(self.minimum_cell_size)} if contract.counts_people else {}
        return {"location": self.location} | counts_people


def publish_gold(store: DeltaStore, copies: Copies, *, full_refresh: bool = False) -> int:
    """Copy each gold table if the table or a setting has changed since its last copy, or if the copy is missing.

    The state of a copy records which version of the table was copied. All states are written after the last copy. If a
    run is killed before it writes the states, the next run copies the same tables again.

    Args:
        store: Tables of the platform.
        copies: Location and content of the copies.
        full_refresh: Whether to copy every table, even if it has not changed.

    Returns:
        Number of rows of the copied tables. Rows that are withheld are included.

    Raises:
        CdpError: A gold table does not exist yet.
    """
    states = read_states(store)
    changed = {contract.name for contract in due_copies(states, copies)}
    due = [
        contract
        for contract in copies.tables()
        if full_refresh or contract.name in changed or not store.is_published(contract, copies.location)
    ]
    for contract in due:
        store.publish(contract, copies.location, copies.minimum_cell_size)
        copy_state = _copy_state(states, contract)
        states[_state_name(contract)] = replace(
            copy_state,
            version=copy_state.version + 1,
            inputs={contract.name: _version(states, contract)},
            settings=copies.settings_of(contract),
        )
    if due:
        write_states(store, states)
    return sum(store.count(due).values())


def forget_copies(store: DeltaStore, names: Collection[str]) -> None:
    """Make the copies of tables due, although the tables keep their versions.

    Args:
        store: Tables of the platform.
        names: Names of tables whose rows were repaired.
    """
    states = read_states(store)
    copies = [_state_name(each) for each in PUBLISHED_TABLES if each.name in names and _state_name(each) in states]
    if copies:
        write_states(store, states | {name: replace(states[name], inputs={}) for name in copies})


def due_copies(states: States, copies: Copies) -> list[TableContract]:
    """Return the tables that have changed since their last copy, or that were copied with other settings.

    Args:
        states: States of the tables and copies.
        copies: Location and content of the copies.

    Raises:
        CdpError: A gold table does not exist yet.
    """
    return [
        contract
        for contract in copies.tables()
        if _copy_state(states, contract).inputs.get(contract.name) != _version(states, contract)
        or _copy_state(states, contract).settings != copies.settings_of(contract)
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
