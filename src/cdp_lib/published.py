"""Copies of the gold tables, without personal data, for readers outside Unity Catalog.

A copy has no row of fewer people than `minimum_cell_size`. A table with a row per customer is copied only on request:
its copy is pseudonymised, because a customer number still identifies a person. It has only the persons whom the rule of
the table's purpose allows. Profiles are never copied, because they exist to read and find the contact data of persons.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame

from cdp_lib.consent import permitted_rows, rule_of
from cdp_lib.contracts.analytics import ANALYTICS_TABLES
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
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
        analytics_needs_consent: Whether the copies have only persons who agreed to analytics.
    """

    location: str
    minimum_cell_size: int
    has_customers: bool
    analytics_needs_consent: bool = False

    def tables(self) -> list[TableContract]:
        """Return the tables to copy."""
        return [contract for contract in PUBLISHED_TABLES if self.has_customers or not contract.is_per_customer]

    def settings_of(self, contract: TableContract) -> dict[str, str]:
        """Return the settings that the copy of a table depends on."""
        counts_people = {"minimum_cell_size": str(self.minimum_cell_size)} if contract.counts_people else {}
        purpose = {"purpose": f"{contract.purpose} {self.analytics_needs_consent}"} if contract.purpose else {}
        return {"location": self.location} | counts_people | purpose

    def rows_of(self, store: DeltaStore, contract: TableContract) -> DataFrame:
        """Return the rows of a table that the copy has.

        Raises:
            CdpError: The table has a row per customer, but no purpose.
        """
        rows, condition = store.read(contract), contract.is_shown(self.minimum_cell_size)
        shown = rows.where(condition) if condition else rows
        if not contract.is_per_customer:
            return shown
        rule = rule_of(contract.purpose, analytics_needs_consent=self.analytics_needs_consent)
        return permitted_rows(store, shown, rule)


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
        store.publish(contract, copies.rows_of(store, contract), copies.location)
        copy_state = _copy_state(states, contract)
        states[_state_name(contract)] = replace(
            copy_state,
            version=copy_state.version + 1,
            inputs=_inputs(states, contract),
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
        if _copy_state(states, contract).inputs != _inputs(states, contract)
        or _copy_state(states, contract).settings != copies.settings_of(contract)
    ]


def _state_name(contract: TableContract) -> str:
    return f"copy of {contract.name}"


def _copy_state(states: States, contract: TableContract) -> TableState:
    return states.get(_state_name(contract), TableState())


def _inputs(states: States, contract: TableContract) -> dict[str, tuple[int, str]]:
    """Return the versions of the tables that a copy depends on: a table with a row per customer depends on consent."""
    read = (contract, CONSENT_CURRENT_SILVER) if contract.is_per_customer else (contract,)
    return {each.name: _version(states, each) for each in read}


def _version(states: States, contract: TableContract) -> tuple[int, str]:
    state = states.get(contract.name)
    if state is None:
        raise CdpError(f"{contract.name} does not exist yet: refresh it first.")
    return state.version, state.token
