"""Materialization of tables that unite several inputs: only the rows that a changed input row touches are rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pyspark.sql import Column, DataFrame

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import union
from cdp_lib.pipeline.change_sets import (
    new_change_set,
    replace_followed,
    stage_rows,
    table_changes,
    write_change_set,
)
from cdp_lib.pipeline.load_batches import LoadedBatches
from cdp_lib.pipeline.table import Materialization, Replace, Table
from cdp_lib.pipeline.work import Outcome, Work


@dataclass(frozen=True)
class UnionTouched(Materialization):
    """Rebuild the rows whose input rows changed, and merge the differences into the table.

    Each input row belongs to one key. A row of the table is built only from the input rows of its key. The key may
    belong to rows of several inputs, to many rows of an input, and to many rows of the table.

    Cost: each input is searched for the rows of the touched keys. The rows of these keys are built and compared with
    the table, and the differences are written. The whole table is rebuilt if an input was rewritten, or if the code or
    a setting changed.

    If a run is killed, the next run merges the same changes again, because they are stored before the merge
    (`change_sets`).

    Attributes:
        is_followed: Downstream tables read the change sets of this table.
        key_of: Function per input, in the order of `Table.reads`. It returns an expression over the columns of the
            input: the key of the table that a row belongs to. A row without a key belongs to no row of the table.
        is_empty: Function that gets the table's declared settings and returns whether they leave the table empty. Then,
            a change of the inputs costs nothing. None if no setting leaves the table empty.
        by: Column of the table with the key. Empty if it is the only key column of the table.
        keep_rows: Function that gets the rows of a bronze input, and returns the rows that compaction has to keep. None
            if no input is a bronze table.
    """

    is_followed: ClassVar[bool] = True
    key_of: tuple[Callable[[], Column], ...]
    is_empty: Callable[[Mapping[str, Any]], bool] | None = None
    by: str = ""
    keep_rows: Callable[[DataFrame], DataFrame] | None = None

    def refresh(self, work: Work) -> Outcome:
        """Rebuild the touched keys, or the whole table."""
        if self.is_empty and self.is_empty(work.values) and not work.must_rewrite:
            return work.unchanged()
        changes = {} if work.must_rewrite else {each: work.changed_rows(each) for each in work.table.reads}
        known = {each: rows for each, rows in changes.items() if rows is not None}
        if len(known) < len(work.table.reads):
            return replace_followed(work)
        touched = [
            rows.select(key.alias(self._key(work))).where(key.isNotNull()).distinct()
            for (contract, rows), key in zip(known.items(), self._keys(), strict=True)
            if work.has_changed(contract)
        ]
        if not touched:
            return work.unchanged()
        state = new_change_set(work)
        # Store the keys: the rows of each input and of the table are searched for them.
        keys = stage_rows(work, state, union(touched).distinct())
        changed = table_changes(work.contract, self._existing(work, keys), self._built(work, keys))
        return write_change_set(work, state, changed)

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows of the table."""
        return Replace().rebuilt(work)

    def rows_to_keep(self, table: Table, rows: DataFrame, loaded: LoadedBatches, last: str) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that compaction has to keep."""
        return rows.limit(0) if self.keep_rows is None else self.keep_rows(rows)

    def _existing(self, work: Work, keys: DataFrame) -> DataFrame:
        """Return the rows of the table that have one of the given keys."""
        return work.store.read(work.contract).join(keys, self._key(work), how="left_semi")

    def _built(self, work: Work, keys: DataFrame) -> DataFrame:
        """Build the rows of the table that have one of the given keys."""
        frames, column = work.frames(), self._key(work)
        inputs = [
            rows.withColumn(column, key).join(keys, column, how="left_semi").drop(column)
            for rows, key in zip(frames, self._keys(), strict=False)
        ]
        return work.build(*inputs, *frames[len(inputs) :])

    def _keys(self) -> list[Column]:
        return [key() for key in self.key_of]

    def _key(self, work: Work) -> str:
        [column] = [self.by] if self.by else work.contract.key
        return column

    def __repr__(self) -> str:
        """Return only the class name.

        Fingerprints use this text. It must not include functions, whose memory addresses differ in each process.
        """
        return "UnionTouched()"
