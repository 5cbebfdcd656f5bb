"""Tables that group their input by keys: what belongs to touched keys is built again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.pipeline.change_sets import (
    forget_change_sets,
    hash_of_row,
    new_change_set,
    rows_that_differ,
    write_change_set,
)
from cdp_lib.pipeline.load_batches import Loaded
from cdp_lib.pipeline.table import Materialization, Replace, Table
from cdp_lib.pipeline.work import Outcome, Work


@dataclass(frozen=True)
class TouchedKeys(Materialization):
    """Build again what belongs to the keys that changes of the first input touch, from the inputs as they are now.

    The other inputs are looked up, and have no say: what they change, they have changed in the first input, too.

    Cost: the first input's rows of these keys are read, and the table's rows of them are written; of a table that is
    partitioned by the key, these partitions alone. The whole table is built where the input was rewritten or the code
    has changed. A kill is harmless: what is built is a function of the input, and keys that are built again give the
    same rows.

    Attributes:
        by: Columns of the input, and of the table, that keys are compared by.
        where: Values of the one column of `by` → which rows of a table that lacks it belong to them.
        touched: Rows of the input that changed and the table → keys to build again; all keys of these rows where None.
        counts: Rows of a bronze table → those that still count, whatever lands later.
        is_followed: Whether a table follows the changes of this one: then they are stored before they are merged
            (`change_sets`), and the quarantine is none.
    """

    by: tuple[str, ...]
    where: Callable[[list[Any]], Column] | None = None
    touched: Callable[[DataFrame, DataFrame], DataFrame] | None = None
    counts: Callable[[DataFrame], DataFrame] | None = None
    is_followed: bool = False

    def refresh(self, work: Work) -> Outcome:
        """Build the touched keys again, or the whole table."""
        [contract, *lookups], store = work.table.reads, work.store
        changed = None if work.must_rewrite else work.changed_rows(contract)
        if changed is None:
            if self.is_followed:
                work.announce()
                forget_change_sets(store, work.contract)
            return Replace().refresh(work)
        there, rows, others = store.read(work.contract), store.read(contract), list(map(store.read, lookups))
        keys = (self.touched(changed, there) if self.touched else changed).select(*self.by).distinct()
        if self.is_followed:
            return self._follow(work, rows, keys, others)
        if len(self.by) == 1:
            [column] = self.by
            values = [value for (value,) in keys.collect()]
            if not values:
                return work.unchanged()
            is_touched = sf.col(column).isin(values)
            there_too = self.where(values) if self.where else is_touched
            written = store.overwrite(work.contract, work.build(rows.where(is_touched), *others), there_too)
        else:
            built = work.build(rows.join(keys, list(self.by), how="left_semi"), *others)
            written = store.merge_rows(work.contract, built, keys)
        return work.moved(written)

    def _follow(self, work: Work, rows: DataFrame, keys: DataFrame, others: list[DataFrame]) -> Outcome:
        """Build the touched keys again, and merge what differs."""
        if keys.isEmpty():
            return work.unchanged()
        by, values = list(self.by), hash_of_row(work.contract)
        before = work.store.read(work.contract).join(keys, by, how="left_semi")
        after = work.build(rows.join(keys, by, how="left_semi"), *others)
        changes = rows_that_differ(before, after, list(work.contract.key), values, "before", "insert", "delete")
        return write_change_set(work, new_change_set(work), changes)

    def needed(self, table: Table, rows: DataFrame, loaded: Loaded) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that still count, whatever lands later."""
        return rows.limit(0) if self.counts is None else self.counts(rows)

    def __repr__(self) -> str:
        """Its name and keys: part of a fingerprint, so without addresses."""
        return f"TouchedKeys({self.by})"
