"""Materialization of silver tables that are built row by row from other silver tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import union
from cdp_lib.pipeline.change_sets import (
    diff_rows,
    new_change_set,
    rewrite,
    stage_rows,
    table_changes,
    write_change_set,
)
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import Outcome, Work
from cdp_lib.quality import check_rows, record_key


@dataclass(frozen=True)
class MergeTouched(Materialization):
    """Rebuild the rows that are affected by changed inputs, and merge the differences into the table.

    Each row of the table or its quarantine is built from the row of the first input that has the same key. The other
    inputs are lookup tables. A lookup table is joined on the columns of its key that the first input also has. For
    example, product prices have the key columns `product_id` and `valid_from`, and sales have only `product_id`.
    Therefore, the join column is `product_id`.

    A row is affected in two cases:

    - the row of the first input with the same key changed;
    - a row of a lookup table with the same values in the join columns changed.

    Cost: if a lookup table changed, the whole first input is searched for affected keys. The rows of the affected keys
    are built and compared with the table, and the differences are written.

    If a run is killed, the next run merges the same changes again, because they are stored before the merge
    (`change_sets`).

    Attributes:
        record: Function that returns an expression: the received row as JSON. The JSON is stored for refused rows.
        names: Column of the first input, by key column of a lookup table, for columns whose names differ.
    """

    record: Callable[[], Column]
    names: Mapping[str, str] = field(default_factory=dict, hash=False)

    def refresh(self, work: Work) -> Outcome:
        """Rebuild the affected rows, or all rows if the table must be rewritten."""
        store, contract, [first, *lookups] = work.store, work.contract, work.table.reads
        changes = {} if work.must_rewrite else {each: work.changed_rows(each) for each in work.table.reads}
        known = {each: rows for each, rows in changes.items() if rows is not None}
        if len(known) < len(work.table.reads):
            [(_, kept), (_, refused)] = self.rebuilt(work)
            return rewrite(work, kept, refused, work.inputs[first.name].rows, null_columns=work.null_columns())
        state, rows = new_change_set(work), store.read(first)
        keys = known[first].select(*contract.key).distinct()
        if changed_lookups := [each for each in lookups if work.has_changed(each)]:
            referencing = [
                self._rows_that_reference(rows, each, known[each]).select(*contract.key) for each in changed_lookups
            ]
            # The search reads the whole first input. Store the found keys, so that the search runs only once.
            keys = stage_rows(work, state, union([keys, *referencing]).distinct())
        built = work.build(store.read_keys(first, keys), *map(store.read, lookups))
        checked = check_rows(built, contract, self.record())
        old = store.read_keys(contract, keys)
        quarantine = store.read(contract.quarantine)
        old_refused = quarantine.join(keys.select(record_key(contract)), "record_key", how="left_semi")
        return write_change_set(work, state, _differences(contract, old, checked.kept, old_refused, checked.refused))

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows of the table and of its quarantine."""
        checked = check_rows(work.build(*work.frames()), work.contract, self.record())
        return [(work.contract, checked.kept), (work.contract.quarantine, checked.refused)]

    def _rows_that_reference(self, rows: DataFrame, contract: TableContract, changed: DataFrame) -> DataFrame:
        """Return the rows of the first input whose join columns equal those of a changed row of a lookup table."""
        known, names = set(rows.columns), {name: self.names.get(name, name) for name in contract.key}
        by = {theirs: ours for theirs, ours in names.items() if ours in known}
        keys = changed.select(*(sf.col(theirs).alias(ours) for theirs, ours in by.items())).distinct()
        return rows.join(keys, [*by.values()], how="left_semi")

    def __repr__(self) -> str:
        """Return only the class name.

        Fingerprints use this text. It must not include `record`, whose memory address differs in each process.
        """
        return "MergeTouched()"


def _differences(
    contract: TableContract, old: DataFrame, new: DataFrame, old_refused: DataFrame, new_refused: DataFrame
) -> DataFrame:
    """Return the changes of a table and the changes of its quarantine as rows of a change set.

    Args:
        contract: Contract of the table.
        old: Rows of the table before the refresh, for the affected keys.
        new: Rows of the table after the refresh, for the affected keys.
        old_refused: Rows of the quarantine before the refresh, for the affected keys.
        new_refused: Rows of the quarantine after the refresh, for the affected keys.
    """
    rows = table_changes(contract, old, new)
    key, values = ["_batch_id", "record"], sf.concat_ws("|", "broken_rules")
    refusals = diff_rows(old_refused, new_refused, key, values, replaced="waited", added="refuse", removed="mend")
    return rows.unionByName(refusals, allowMissingColumns=True)
