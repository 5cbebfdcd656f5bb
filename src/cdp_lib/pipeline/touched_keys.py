"""Materialization of tables that group their input by keys: only the rows of changed keys are rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import union, without_comments
from cdp_lib.pipeline.change_sets import (
    new_change_set,
    replace_followed,
    table_changes,
    write_change_set,
)
from cdp_lib.pipeline.load_batches import LoadedBatches
from cdp_lib.pipeline.table import Materialization, Replace, Table
from cdp_lib.pipeline.work import Outcome, Work


@dataclass(frozen=True)
class TouchingLookup:
    """Lookup table whose changes touch keys, although the first input does not change.

    Attributes:
        contract: Contract of the lookup table. It must store change sets, or be rewritten whole.
        keys: Function that gets the changed rows of the lookup table and the rows of the refreshed table, and returns
            rows with the keys to rebuild. A changed row is passed as it was before, and as it is now.
        is_used: Function that gets the settings of the refreshed table, and returns whether its rows depend on the
            lookup table. If not, a change of the lookup table touches no key.
    """

    contract: TableContract
    keys: Callable[[DataFrame, DataFrame], DataFrame]
    is_used: Callable[[Mapping[str, Any]], bool]

    def touched(self, work: Work) -> DataFrame | None:
        """Return rows with the keys that changes of the lookup table touch. None if the changes are unknown."""
        existing = work.store.read(work.contract)
        if not self.is_used(work.values) or not work.has_changed(self.contract):
            return existing.limit(0)
        changed = work.changed_rows(self.contract)
        return None if changed is None else self.keys(changed, existing)


@dataclass(frozen=True)
class TouchedKeys(Materialization):
    """Rebuild the rows of the keys that changed in the first input.

    The other inputs are lookup tables. If only a lookup table changes, no key is rebuilt, unless the lookup table is in
    `lookups`. Therefore, if the change of another lookup table affects some keys, the first input must also change for
    these keys.

    Cost: the rows of the changed keys are read from the first input and written to the table. If the table is
    partitioned by the key, only the partitions of these keys are written. The whole table is rebuilt if the first input
    was rewritten, or if the code or a setting changed.

    If a run is killed, the next run rebuilds the same keys again. The result is the same, because the rows of a key are
    computed only from the inputs.

    Attributes:
        by: Key columns of the first input. The table has the same columns, unless `where` is given. The input may lack
            the column if `where_in_input` and `keys_to_build` are given.
        where: Function that gets a list of key values and returns a condition on the table's columns. The condition is
            true for the rows of these keys. Needed only if the table lacks the key column. In this case, `by` must have
            exactly one column.
        where_in_input: Function that gets a list of key values and returns a condition on the columns of the first
            input. The condition is true for the rows of these keys. Needed only if the input lacks the key column. In
            this case, `by` must have exactly one column.
        keys_to_build: Function that gets the changed rows of the first input and the rows of the table, and returns
            rows with the keys to rebuild. None to rebuild all keys of the changed rows.
        keep_rows: Function that gets the rows of the bronze table, and returns the rows that compaction has to keep.
            None if compaction has to keep no rows.
        lookups: Lookup tables whose changes touch keys. Not combined with `is_followed`.
        is_followed: Whether downstream tables read the change sets of this table. If true, changes are stored before
            they are merged (`change_sets`). Allowed only for tables without a quarantine.
    """

    by: tuple[str, ...]
    where: Callable[[list[Any]], Column] | None = None
    where_in_input: Callable[[list[Any]], Column] | None = None
    keys_to_build: Callable[[DataFrame, DataFrame], DataFrame] | None = None
    keep_rows: Callable[[DataFrame], DataFrame] | None = None
    lookups: tuple[TouchingLookup, ...] = ()
    is_followed: bool = False

    def refresh(self, work: Work) -> Outcome:
        """Rebuild the changed keys, or the whole table."""
        [contract, *lookups], store = work.table.reads, work.store
        changed = None if work.must_rewrite else work.changed_rows(contract)
        by_lookup = [] if changed is None else [lookup.touched(work) for lookup in self.lookups]
        if changed is None or None in by_lookup:
            return replace_followed(work) if self.is_followed else Replace().refresh(work)
        existing, rows, looked_up = (
            store.read(work.contract),
            work.map_input(contract, work.rows_of(contract)),
            list(map(store.read, lookups)),
        )
        to_build = self.keys_to_build(changed, existing) if self.keys_to_build else changed
        touched = [to_build, *(rows for rows in by_lookup if rows is not None)]
        keys = union([without_comments(each, self.by) for each in touched]).distinct()
        if self.is_followed:
            return self._merge_changes(work, rows, keys, looked_up)
        if len(self.by) == 1:
            [column] = self.by
            values = [value for (value,) in keys.collect()]
            if not values:
                return work.unchanged()
            has_key = sf.col(column).isin(values)
            in_input = self.where_in_input(values) if self.where_in_input else has_key
            built = work.build(rows.where(in_input), *looked_up)
            written = store.overwrite(work.contract, built, self.where(values) if self.where else has_key)
        else:
            built = work.build(rows.join(keys, list(self.by), how="left_semi"), *looked_up)
            written = store.merge_rows(work.contract, built, keys)
        return work.partly_changed(written)

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows of the table."""
        return Replace().rebuilt(work)

    def _merge_changes(self, work: Work, rows: DataFrame, keys: DataFrame, looked_up: list[DataFrame]) -> Outcome:
        """Rebuild the rows of the given keys. Store the rows that changed as a change set, and merge it."""
        if keys.isEmpty():
            return work.unchanged()
        by = list(self.by)
        old = work.store.read(work.contract).join(keys, by, how="left_semi")
        new = work.build(rows.join(keys, by, how="left_semi"), *looked_up)
        return write_change_set(work, new_change_set(work), table_changes(work.contract, old, new))

    def rows_to_keep(self, table: Table, rows: DataFrame, loaded: LoadedBatches, last: str) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that compaction has to keep."""
        return rows.limit(0) if self.keep_rows is None else self.keep_rows(rows)

    def __repr__(self) -> str:
        """Return only the class name and the keys.

        Fingerprints use this text. It must not include functions, whose memory addresses differ in each process.
        """
        return f"TouchedKeys({self.by})"
