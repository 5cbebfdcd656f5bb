"""The work of one table in one run: what its materialization gets, and what it gives back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from importlib.resources import files
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.frames import read_csv
from cdp_lib.landing import Landing
from cdp_lib.pipeline.fingerprint import fingerprint
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.table import BUSINESS_DATE, Table
from cdp_lib.settings import Settings
from cdp_lib.storage import DeltaStore

LOADED_AT = "_version"
"""Column of bronze: number of the table's version that the row was loaded with."""


@dataclass(frozen=True)
class RowCounts:
    """What a refresh did to rows.

    Attributes:
        rows: Rows written: new ones, and those that replaced an older version.
        removed: Rows that left the table.
        quarantined: Rows that were refused.
        superseded: Rows older than, or equal to, a row of the table, or that say that a record is gone. After a
            snapshot, those that are what the table holds do not count.
        warned: Rows written in spite of a warning.
    """

    rows: int = 0
    removed: int = 0
    quarantined: int = 0
    superseded: int = 0
    warned: int = 0

    def __add__(self, other: RowCounts) -> RowCounts:
        """Both together."""
        return RowCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Outcome:
    """What a refresh came to.

    Attributes:
        state: State of the table afterwards.
        counts: What happened to rows.
        new_columns: Columns that the table gained.
    """

    state: TableState
    counts: RowCounts = RowCounts()
    new_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """One table to be brought up to date.

    Attributes:
        table: Its declaration.
        store: Tables of the platform.
        landing: Where batches are landed.
        settings: Settings of the run.
        state: Its state before.
        inputs: State of each table that it reads.
        values: Values of its declared settings, by name.
        must_rewrite: Whether its rows can't be taken over: it is new, or its code or a setting has changed.
        announce: Writes down that a whole rewrite of the table begins.
        readers: Number of the version that each of its readers has seen.
    """

    table: Table
    store: DeltaStore
    landing: Landing
    settings: Settings
    state: TableState
    inputs: Mapping[str, TableState]
    values: Mapping[str, Any]
    must_rewrite: bool
    announce: Callable[[], None]
    readers: tuple[int, ...] = ()

    @property
    def contract(self) -> TableContract:
        """Contract of the table."""
        return self.table.contract

    def frames(self) -> list[DataFrame]:
        """A frame of each table that the builder reads, then of each file."""
        session = self.store.session
        of_files = [read_csv(session, files("cdp_lib.reference") / name) for name in self.table.files]
        return [*map(self.store.read, self.table.reads), *of_files]

    def build(self, *frames: DataFrame, **more: object) -> DataFrame:
        """Call the builder with frames and with the declared settings."""
        values = {"as_of" if name == BUSINESS_DATE else name: value for name, value in self.values.items()}
        built: DataFrame = self.table.build(*frames, **values, **more)
        return built

    def has_changed(self, contract: TableContract) -> bool:
        """Return whether an input has changed since the version that the table was made from."""
        return self.state.inputs[contract.name][0] != self.inputs[contract.name].version

    def changed_rows(self, contract: TableContract) -> DataFrame | None:
        """Return the rows of an input that were changed since the version that the table was made from.

        Of a corrected row both versions, of one that left the last; of bronze the rows that were loaded.

        Returns:
            None where that is not known: the input was rewritten, or its change sets are not all there.
        """
        seen, now = self.state.inputs[contract.name][0], self.inputs[contract.name]
        if now.rewritten_at > seen:
            return None
        if isinstance(contract, BronzeContract):
            return self.store.read(contract).where(sf.col(LOADED_AT) > seen)
        if not self.has_changed(contract):
            return self.store.read(contract).limit(0)
        tokens = [now.change_sets.get(number) for number in range(seen + 1, now.version + 1)]
        if None in tokens or not self.store.exists(contract.changes):
            return None
        changes = self.store.read(contract.changes).where(sf.col("_change_set").isin(tokens))
        return changes.where("_change_type IN ('insert', 'before', 'delete')").select(*contract.column_names)

    def next_state(self, token: str = "") -> TableState:
        """Return the state after the next change, which may leave the rest of the table as it is."""
        return replace(
            self.state,
            version=self.state.version + 1,
            token=token or secrets.token_hex(8),
            base=self.state.token,
            inputs={name: (state.version, state.token) for name, state in self.inputs.items()},
            fingerprint=fingerprint(self.table),
            settings={name: str(value) for name, value in self.values.items()},
            is_rewriting=False,
        )

    def moved(self, written: int) -> Outcome:
        """Return the outcome of a change of some rows that nobody follows."""
        return Outcome(replace(self.next_state(), rows=None, rewritten_at=self.state.version + 1), RowCounts(written))

    def rewritten(self, rows: int, *, token: str = "", details: Mapping[str, Any] | None = None) -> Outcome:
        """Return the outcome of a whole rewrite, after which no older change set counts."""
        state = self.next_state(token)
        changed = replace(state, rows=rows, rewritten_at=state.version, change_sets={}, details=details or {})
        return Outcome(changed, RowCounts(rows))

    def unchanged(self) -> Outcome:
        """Return the outcome where the table is what its inputs make of it already."""
        state = self.next_state(self.state.token)
        return Outcome(replace(state, version=self.state.version, token=self.state.token))
