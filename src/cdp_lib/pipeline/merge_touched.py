"""Silver tables that are built of other silver tables, row by row, and whose changes others follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import union
from cdp_lib.pipeline.change_sets import (
    hash_of_row,
    new_change_set,
    rewrite,
    rows_that_differ,
    stage_rows,
    write_change_set,
)
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import Outcome, Work
from cdp_lib.quality import check_rows, record_key


@dataclass(frozen=True)
class MergeTouched(Materialization):
    """Build again the rows that changes of the inputs touch, and merge what differs.

    The first input has a row for each row of the table and of its quarantine, of the same key. The others are looked
    up, by the columns of their keys that the first has, too: a row is touched where it has changed, or what it looks up
    has.

    Cost: keys are looked for in the first input; its touched rows are built, compared with the table's, and what
    differs is written. A kill is harmless: what changes is stored before it is merged (`change_sets`).

    Attributes:
        record: The row as received, JSON, of a row that is refused.
    """

    record: Callable[[], Column]

    def refresh(self, work: Work) -> Outcome:
        """Build the touched rows again, or all of them."""
        store, contract, [first, *lookups] = work.store, work.contract, work.table.reads
        changed = {} if work.must_rewrite else {each: work.changed_rows(each) for each in work.table.reads}
        known = {each: rows for each, rows in changed.items() if rows is not None}
        if len(known) <= len(lookups):
            checked = check_rows(work.build(*work.frames()), contract, self.record())
            return rewrite(work, checked.kept, checked.refused, received=work.inputs[first.name].rows)
        state, rows = new_change_set(work), store.read(first)
        keys = known[first].select(*contract.key).distinct()
        if moved := [each for each in lookups if work.has_changed(each)]:
            looking_up = [_rows_that_look_up(rows, each, known[each]).select(*contract.key) for each in moved]
            # To look for them reads the whole first input: once.
            keys = stage_rows(work, state, union([keys, *looking_up]).distinct())
        built = work.build(store.read_keys(first, keys), *map(store.read, lookups))
        checked = check_rows(built, contract, self.record())
        before = store.read_keys(contract, keys)
        waiting = store.read(contract.quarantine).join(keys.select(record_key(contract)), "record_key", how="left_semi")
        return write_change_set(work, state, _differences(contract, before, checked.kept, waiting, checked.refused))

    def __repr__(self) -> str:
        """Its name: part of a fingerprint, so without addresses."""
        return "MergeTouched()"


def _rows_that_look_up(rows: DataFrame, contract: TableContract, changed: DataFrame) -> DataFrame:
    """Return the rows that look up a changed row, by the columns of its key that they have."""
    by = [name for name in contract.key if name in rows.columns]
    return rows.join(changed.select(*by).distinct(), by, how="left_semi")


def _differences(
    contract: TableContract, before: DataFrame, after: DataFrame, waiting: DataFrame, refused: DataFrame
) -> DataFrame:
    """Return what differs, as rows of a change set.

    One pass over each side: both are united and compared by key.

    Args:
        contract: Contract of the table.
        before: Rows of the table, of some keys.
        after: Rows that it is to hold of these keys.
        waiting: Rows of the quarantine of these keys.
        refused: Rows that it is to hold.
    """
    rows = rows_that_differ(before, after, list(contract.key), hash_of_row(contract), "before", "insert", "delete")
    in_quarantine = sf.concat_ws("|", "broken_rules")
    refusals = rows_that_differ(waiting, refused, ["_batch_id", "record"], in_quarantine, "waited", "refuse", "mend")
    return rows.unionByName(refusals, allowMissingColumns=True)
