"""Tags and masks of columns with personal data, on Databricks.

The contracts say which columns hold personal data. A store tags and masks the tables that it creates. This module does
so for tables that are older than their class of personal data, or than the masks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.storage import DeltaStore

PROTECTION = "personal data"
"""Name of the state that records which classes and which masks the tables have."""

_GROUP = "unmasked_group"


def require_unmasked(store: DeltaStore) -> None:
    """Check that the identity of this run reads personal data, and not masks. See `protect`.

    Args:
        store: Tables of the platform.

    Raises:
        CdpError: The tables have masks, and the identity is not in the group that reads through them.
    """
    _require_member(store, [_recorded_group(read_states(store))])


def protect(store: DeltaStore, states: States) -> None:
    """Tag and mask existing tables if a class of personal data or the group has changed. Record this in the states.

    Tables whose rewrite was interrupted are protected again, because the interruption may have been between the rewrite
    and the masks. If nothing changed, the function runs no statement, except a check of the group if there are masks.

    A run whose identity reads masks would store the masks instead of the data. Such a run is refused.

    Args:
        store: Tables of the platform. Its `unmasked_group` is the wanted group.
        states: States of the tables. The function updates the dictionary. Before the first run, it is empty.

    Raises:
        CdpError: The identity of the run is not in the group.
    """
    if not store.is_databricks:
        return
    group, recorded_group = store.unmasked_group, _recorded_group(states)
    _require_member(store, [recorded_group, group])
    fingerprint = _fingerprint(group)
    if not states:
        return
    if states.get(PROTECTION, TableState()).fingerprint == fingerprint:
        interrupted = [table for name in states if states[name].is_rewriting for table in _family(name)]
        for contract in _existing(store, interrupted):
            store.protect(contract)
        return
    for contract in _existing(store, TABLES.values()):
        if recorded_group and not group:
            store.remove_masks(contract)
        store.protect(contract)
    states[PROTECTION] = TableState(fingerprint=fingerprint, details={_GROUP: group})
    write_states(store, states)


def _existing(store: DeltaStore, contracts: Iterable[TableContract]) -> list[TableContract]:
    return [contract for contract in contracts if contract.personal_columns and store.exists(contract)]


def _family(name: str) -> list[TableContract]:
    """Return a table, its quarantine and its change sets."""
    return [TABLES[each] for each in (name, f"{name}_quarantine", f"{name}_changes") if each in TABLES]


def _recorded_group(states: States) -> str:
    return str(states.get(PROTECTION, TableState()).details.get(_GROUP, ""))


def _require_member(store: DeltaStore, groups: Iterable[str]) -> None:
    for group in sorted({*groups} - {""}):
        if not store.is_member(group):
            raise CdpError(
                f"The identity of this run is not in the account group '{group}' (unmasked_group): it would read masks"
                " and store them instead of the data. Add the identity to the group; no table has changed."
            )


def _fingerprint(group: str) -> str:
    """Return a hash of the classes of personal data and of the group."""
    classes = {name: [(c.name, c.type, c.pii) for c in table.personal_columns] for name, table in TABLES.items()}
    return hashlib.sha256(json.dumps([classes, group]).encode()).hexdigest()[:16]
