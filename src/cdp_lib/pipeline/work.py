"""Input and result of a materialization: the refresh of one table in one run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import ID_KEYS_SILVER
from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.erasure.suppressions import Suppressions
from cdp_lib.frames import read_csv
from cdp_lib.landing import Landing
from cdp_lib.mapped_rows import map_rows
from cdp_lib.mapping import NO_MAPPING
from cdp_lib.mapping import Mapping as ColumnMapping
from cdp_lib.pipeline.fingerprint import fingerprint
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.sums import read_sums
from cdp_lib.pipeline.table import BUSINESS_DATE, Table
from cdp_lib.settings import Settings
from cdp_lib.storage import DeltaStore

MAPPING = "mapping"
"""Name of the mapping among the settings in the state of a table."""

REFUSED = "refused"
"""Name in the `details` of a table's state: batches that a guard has refused, and that may still be merged."""

IDS_SINCE = "since"
"""Name in the details of the state of `id_keys_silver`: token of the creation of the table."""

SET_ASIDE = "set_aside"
"""Name in the `details` of a table's state: refused batches that are ignored because a later snapshot took their place.
"""

LOADED_IN_VERSION = "_version"
"""Bronze column with the number of the table version that loaded the row."""


@dataclass(frozen=True)
class RowCounts:
    """Row counts of a refresh.

    Attributes:
        rows: Number of written rows: new rows, and rows that replaced an older version.
        removed: Number of rows deleted from the table.
        quarantined: Number of refused rows.
        superseded: Number of received rows that are in neither the table nor the quarantine. A superseded row is a
            tombstone, is replaced by a later version of its key, or equals the table's row of its key. If
            `unchanged_keys` returns a key, the rows of the key are not counted.
        warned: Number of written rows that break a warning rule.
    """

    rows: int = 0
    removed: int = 0
    quarantined: int = 0
    superseded: int = 0
    warned: int = 0

    def __add__(self, other: RowCounts) -> RowCounts:
        """Return the sum of both counts."""
        return RowCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Outcome:
    """Result of a refresh.

    Attributes:
        state: State of the table after the refresh.
        counts: Row counts of the refresh.
        notes: Sentences about the refresh that a person should read.
    """

    state: TableState
    counts: RowCounts = RowCounts()
    notes: tuple[str, ...] = ()


def setting_texts(table: Table, values: Mapping[str, Any], mappings: Mapping[str, ColumnMapping]) -> dict[str, str]:
    """Return the settings that a table was built with, as they are stored in its state.

    Args:
        table: Declaration of the table.
        values: Values of the table's declared settings, by name.
        mappings: Mappings of the table's bronze inputs, by table name. Empty mappings are not stored. A bronze table
            stores no mapping, because its rows do not depend on the mapping.
    """
    texts = {} if isinstance(table.contract, BronzeContract) else {n: str(each) for n, each in mappings.items() if each}
    named = {MAPPING if len(mappings) == 1 else f"{MAPPING} of {name}": text for name, text in texts.items()}
    return {name: str(value) for name, value in values.items()} | named


def mapping_of(state: TableState) -> ColumnMapping:
    """Return the mapping that a table was last built with."""
    return ColumnMapping.from_text(state.settings.get(MAPPING, ""))


def without_batches(rows: DataFrame, batches: Collection[str]) -> DataFrame:
    """Return bronze rows without the rows of some batches."""
    return rows.where(~sf.col("_batch_id").isin(*batches)) if batches else rows


def map_stored_rows(store: DeltaStore, rows: DataFrame, contract: BronzeContract, mapping: ColumnMapping) -> DataFrame:
    """Apply a mapping to rows of a bronze table (`map_rows`), with the numbers of identifiers from `id_keys_silver`.

    Args:
        store: Tables of the platform.
        rows: Rows of the bronze table.
        contract: Contract of the bronze table.
        mapping: Mapping of the entity.
    """
    return map_rows(rows, contract, mapping, store.read(ID_KEYS_SILVER) if mapping.text_ids else None)


@dataclass(frozen=True)
class Work:
    """One table to refresh.

    Attributes:
        table: Declaration of the table.
        store: Tables of the platform.
        landing: Landed batches.
        settings: Settings of the run.
        state: State of the table before the refresh.
        inputs: State of each input, by table name.
        values: Values of the table's declared settings, by name.
        must_rewrite: Whether the whole table must be rewritten, for example because its code or a setting changed.
        mark_rewriting: Function that records that a rewrite of the whole table starts.
        mappings: Mappings of the table's bronze inputs, or of the bronze table itself, by table name.
        readers: For each table that reads this table: number of the version of this table that it has last read. 0 if
            it has read none.
        is_rebuild: Whether the current version of the table is built again, and not the next version. The rows of new
            batches are then left out: the table was not built from them.
        find_suppressions: Function that returns the digests of the names of erased persons. It returns None if nobody
            was erased.
        upstream_code: Hash of the code and settings that the tables upstream of a ledger were built with. The business
            date is left out.
    """

    table: Table
    store: DeltaStore
    landing: Landing
    settings: Settings
    state: TableState
    inputs: Mapping[str, TableState]
    values: Mapping[str, Any]
    must_rewrite: bool
    mark_rewriting: Callable[[], None]
    readers: tuple[int, ...] = ()
    mappings: Mapping[str, ColumnMapping] = field(default_factory=dict)
    is_rebuild: bool = False
    upstream_code: str = ""
    find_suppressions: Callable[[], Suppressions | None] = lambda: None

    @property
    def contract(self) -> TableContract:
        """Return the contract of the table."""
        return self.table.contract

    def frames(self) -> list[DataFrame]:
        """Return a data frame of each input table, then a data frame of each declared file."""
        session = self.store.session
        file_frames = [read_csv(session, files("cdp_lib.reference") / name) for name in self.table.files]
        return [*(self.map_input(each, self.filled_rows_of(each)) for each in self.table.reads), *file_frames]

    @cached_property
    def batches_set_aside(self) -> list[str]:
        """Return the refused batches that are ignored because a later snapshot took their place.

        A guard of this table, or of one of its inputs, refused these batches (`guards`).
        """
        names = {name for state in (self.state, *self.inputs.values()) for name in state.details.get(SET_ASIDE, [])}
        for contract in self.table.reads:
            snapshots = self.inputs[contract.name].details.get("snapshots", {})
            latest = max(snapshots, default="")
            names |= {name for name in self.state.details.get(REFUSED, []) if name < latest}
        return sorted(names)

    def rows_of(self, contract: TableContract) -> DataFrame:
        """Return the rows of an input. If the input is bronze, leave out the rows of `batches_set_aside`."""
        rows = self.store.read(contract)
        if not isinstance(contract, BronzeContract):
            return rows
        if self.is_rebuild:
            rows = rows.where(sf.coalesce(LOADED_IN_VERSION, sf.lit(0)) <= self.inputs[contract.name].version)
        return without_batches(rows, self.batches_set_aside)

    def map_input(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Apply the mapping to rows of a bronze input (`map_rows`). Return rows of other inputs unchanged.

        Filter rows before you call this method, because engines do not move filters before the mapping.
        """
        if not isinstance(contract, BronzeContract):
            return rows
        return map_stored_rows(self.store, rows, contract, self.mapping_of(contract))

    def mapping_of(self, contract: TableContract) -> ColumnMapping:
        """Return the mapping of a bronze table."""
        return self.mappings.get(contract.name, NO_MAPPING)

    @cached_property
    def _lacking(self) -> Mapping[TableContract, Collection[str]]:
        """Columns of the inputs (`Table.may_lack`) in which no row has a value, by input.

        They are unknown if an input has a mapping, because a mapping may refer to any column.
        """
        inputs = {} if any(self.mappings.values()) else self.table.may_lack
        return {each: self.store.null_columns(each, names) for each, names in inputs.items()}

    def null_columns(self) -> set[str]:
        """Return the columns of the table in which no row has a value, because the inputs lack the values."""
        return {self.table.may_lack[each][name] for each, names in self._lacking.items() for name in names} - {""}

    def filled_rows_of(self, contract: TableContract) -> DataFrame:
        """Return the rows of an input as `rows_of` does, without columns of `Table.may_lack` that have no value."""
        return self.rows_of(contract).drop(*self._lacking.get(contract, ()))

    def build(self, *frames: DataFrame, **more: object) -> DataFrame:
        """Call the builder with data frames, the declared settings and further keyword arguments."""
        values = {"as_of" if name == BUSINESS_DATE else name: value for name, value in self.values.items()}
        built: DataFrame = self.table.build(*frames, **values, **more)
        return built

    def has_changed(self, contract: TableContract) -> bool:
        """Return whether an input has changed since the table was last built from it."""
        return self.state.inputs[contract.name][0] != self.inputs[contract.name].version

    def changed_rows(self, contract: TableContract) -> DataFrame | None:
        """Return the rows of an input that changed since the table was last built from it.

        A changed row is returned twice: as it was before the change, and as it is after the change. A deleted row is
        returned as it was before the deletion. For a bronze input, the newly loaded rows are returned.

        Returns:
            The changed rows. None if they are unknown because the input was rewritten or change sets are missing.
        """
        seen, now = self.state.inputs[contract.name][0], self.inputs[contract.name]
        if now.rewritten_at > seen:
            return None
        if isinstance(contract, BronzeContract):
            return self.map_input(contract, self.rows_of(contract).where(sf.col(LOADED_IN_VERSION) > seen))
        if not self.has_changed(contract):
            return self.store.read(contract).limit(0)
        tokens = [now.change_sets.get(number) for number in range(seen + 1, now.version + 1)]
        if None in tokens or not self.store.exists(contract.changes):
            return None
        changes = self.store.read(contract.changes).where(sf.col("_change_set").isin(tokens))
        return changes.where("_change_type IN ('insert', 'before', 'delete')").select(*contract.column_names)

    def next_state(self, token: str = "") -> TableState:
        """Return the state of the table's next version.

        Fields that depend on the kind of refresh, such as the row count and the change sets, stay as they are.
        """
        return replace(
            self.state,
            version=self.state.version + 1,
            token=token or secrets.token_hex(8),
            base=self.state.token,
            inputs={name: (state.version, state.token) for name, state in self.inputs.items()},
            fingerprint=fingerprint(self.table),
            settings=setting_texts(self.table, self.values, self.mappings),
            is_rewriting=False,
        )

    def partly_changed(self, rows_written: int) -> Outcome:
        """Return the outcome of a refresh that changed some rows without a change set.

        The changed rows are not recorded, so downstream tables must read all rows. If the table has measures, all its
        rows are summed: rows that this refresh did not write may be wrong.
        """
        state = replace(self.next_state(), rows=None, rewritten_at=self.state.version + 1)
        return Outcome(
            state.with_sums(read_sums(self.store.read(self.contract), self.contract)), RowCounts(rows_written)
        )

    def rewritten(
        self,
        rows: int,
        *,
        token: str = "",
        details: Mapping[str, Any] | None = None,
        sums: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Return the outcome of a rewrite of the whole table. The earlier change sets become invalid."""
        state = self.next_state(token)
        changed = replace(state, rows=rows, rewritten_at=state.version, change_sets={}, details=details or {})
        return Outcome(changed.with_sums(sums or {}), RowCounts(rows))

    def unchanged(self) -> Outcome:
        """Return the outcome of a refresh that changed no row: the table keeps its version and token."""
        state = self.next_state(self.state.token)
        return Outcome(replace(state, version=self.state.version, token=self.state.token))
