"""What each table was last made from. This, and nothing else, decides what is due."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from cdp_lib.contracts.ops import TABLE_STATE_OPS
from cdp_lib.storage import DeltaStore

Version = tuple[int, str]
"""Number and token of a version of a table."""


@dataclass(frozen=True)
class TableState:
    """The state of one table.

    Attributes:
        version: Number of its version: rises by one with each change of its rows, never taken from a clock.
        token: Random name of that version: two histories never share one.
        base: Token of the version before.
        inputs: Version of each input that it was made from, by table.
        fingerprint: Fingerprint of the code that made it.
        settings: Values of its declared settings, as text.
        rewritten_at: Number of the version that last replaced the whole table.
        is_rewriting: Whether a whole rewrite has begun and not ended: until it has, its rows are unknown.
        rows: Rows in it; None where that is not known.
        refused: Rows in its quarantine.
        change_sets: Token of each kept change set, by the number of the version it leads to: these are stored whole.
        details: What its materialization keeps for itself.
    """

    version: int = 0
    token: str = ""
    base: str = ""
    inputs: Mapping[str, Version] = field(default_factory=dict)
    fingerprint: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    rewritten_at: int = 0
    is_rewriting: bool = False
    rows: int | None = None
    refused: int = 0
    change_sets: Mapping[int, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a state; what it does not know it ignores, as later versions may write more."""
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in json.loads(text).items() if name in known}
        values["inputs"] = {name: (number, token) for name, (number, token) in values.get("inputs", {}).items()}
        values["change_sets"] = {int(number): token for number, token in values.get("change_sets", {}).items()}
        return cls(**values)

    def to_json(self) -> str:
        """The state as the table of states and headers of change sets hold it."""
        return json.dumps(asdict(self), sort_keys=True)


States = dict[str, TableState]
"""State of each table by its name."""


def read_states(store: DeltaStore) -> States:
    """Read the state of every table; empty before the first run."""
    if not store.exists(TABLE_STATE_OPS):
        return {}
    rows = store.read(TABLE_STATE_OPS).select("table_name", "state").collect()
    return {name: TableState.from_json(state) for name, state in rows}


def write_states(store: DeltaStore, states: Mapping[str, TableState]) -> None:
    """Replace the state of every table, in one commit. There is one writer at a time."""
    rows = [
        {
            "table_name": name,
            "version": state.version,
            "row_count": state.rows,
            "refused_count": state.refused,
            "is_rewriting": state.is_rewriting,
            "state": state.to_json(),
        }
        for name, state in sorted(states.items())
    ]
    store.create(TABLE_STATE_OPS)
    store.overwrite(TABLE_STATE_OPS, store.frame(TABLE_STATE_OPS, rows))


def mark_for_rewrite(store: DeltaStore, names: Collection[str]) -> None:
    """Let the next run rebuild tables whose rows can't be trusted.

    Args:
        store: Tables of the platform.
        names: Names of the tables.
    """
    states = read_states(store)
    write_states(store, states | {name: replace(states[name], is_rewriting=True) for name in names if name in states})
