"""States of tables. A state records what a table was last built from. The runner uses it to find due tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from cdp_lib.contracts.ops import TABLE_STATE_OPS
from cdp_lib.errors import CdpError
from cdp_lib.storage import DeltaStore

STATE_FORMAT = 3
"""Number of the format of states and tables, which each state stores.

Raise the number if the code of an earlier version can't work with the tables any more, for example because a table has
a new required column, or because `details` has a new entry. The earlier code then ends with a clear error.
"""

Version = tuple[int, str]
"""Number and token of a version of a table."""


@dataclass(frozen=True)
class TableState:
    """The state of one table.

    Attributes:
        version: Number of the table's version. It rises by one with each change.
        token: Random name of the version. Two versions with the same token have the same content.
        base: Token of the previous version.
        inputs: For each input, by table name: number and token of the version that the table was built from.
        fingerprint: Fingerprint of the code that built the table.
        settings: Values of the table's declared settings, as strings.
        rewritten_at: Number of the latest version that was written without a record of the changed rows, for example
            by a full refresh. A downstream table that was built from an earlier version has to read all rows.
        is_rewriting: Whether a rewrite of the whole table has started but not ended. If true, the rows are unknown.
        rows: Number of rows of the table. None if unknown.
        refused: Number of rows in the quarantine.
        change_sets: Token of each stored change set, by the number of the version that the change set produced.
        details: Values that the materialization keeps from one refresh to the next.
        sums: Sums of the table's rows as text, by measure (`SUMS`).
        summed_token: Token of the version that `sums` belongs to.
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
    sums: Mapping[str, str] = field(default_factory=dict)
    summed_token: str = ""

    @property
    def known_sums(self) -> Mapping[str, str]:
        """Return the sums of the current version. Empty if they are unknown, because something else set the token."""
        return self.sums if self.summed_token == self.token else {}

    def with_sums(self, sums: Mapping[str, str]) -> Self:
        """Return a copy with the sums of the current version."""
        return replace(self, sums=sums, summed_token=self.token)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return a state from JSON. Ignore unknown fields, which a later version of the platform may have written.

        Raises:
            CdpError: A later version of the platform has written the state, in a format that this version can't use.
        """
        known, stored = {each.name for each in fields(cls)}, json.loads(text)
        if (number := stored.get("format", 1)) > STATE_FORMAT:
            raise CdpError(
                f"A later version of the platform has written the tables: their format is {number}, and this version"
                f" can use formats up to {STATE_FORMAT}. No table was changed. Deploy the later version again, or"
                " restore all tables from a backup of before the upgrade."
            )
        values = {name: value for name, value in stored.items() if name in known}
        values["inputs"] = {name: (number, token) for name, (number, token) in values.get("inputs", {}).items()}
        values["change_sets"] = {int(number): token for number, token in values.get("change_sets", {}).items()}
        return cls(**values)

    def to_json(self) -> str:
        """Return the state as JSON, the format of `table_state_ops` and of change set headers."""
        return json.dumps(asdict(self) | {"format": STATE_FORMAT}, sort_keys=True)


States = dict[str, TableState]
"""State of each table, by table name."""


def read_states(store: DeltaStore) -> States:
    """Return the state of every table. Return an empty dictionary before the first run.

    Raises:
        CdpError: A state can't be read, or a table has several states.
    """
    if not store.exists(TABLE_STATE_OPS):
        return {}
    states: States = {}
    for name, state in store.read(TABLE_STATE_OPS).select("table_name", "state").collect():
        try:
            if name in states:
                raise ValueError("the table has several rows")
            states[name] = TableState.from_json(state)
        except (ValueError, TypeError, AttributeError) as error:
            raise CdpError(
                f"The row of {name} in {store.name_of(TABLE_STATE_OPS.name)} can't be read ({error}): drop this table"
                " of states. The next run then builds every table again."
            ) from error
    return states


def write_states(store: DeltaStore, states: Mapping[str, TableState]) -> None:
    """Replace the states of all tables in one commit. The caller must be the only writer of the states."""
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
