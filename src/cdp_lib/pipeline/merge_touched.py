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
        store, contract, reads = work.store, work.contract, work.table.reads
        changed = {} if work.must_rewrite else {each: work.changed_rows(each) for each in reads}
        touched = _touched(work, {each: rows for each, rows in changed.items() if rows is not None})
        if len(changed) < len(reads) or any(rows is None for rows in changed.values()):
            checked = check_rows(work.build(*work.frames()), contract, self.record())
            return rewrite(work, checked.kept, checked.refused, received=work.inputs[reads[0].name].rows)
        state = new_change_set(work)
        keys = stage_rows(work, state, touched)
        checked = check_rows(
            work.build(store.read_keys(reads[0], keys), *map(store.read, reads[1:])), contract, self.record()
        )
        before = store.read_keys(contract, keys)
        waiting = store.read(contract.quarantine).join(keys.select(record_key(contract)), "record_key", how="left_semi")
        return write_change_set(work, state, _differences(contract, before, checked.kept, waiting, checked.refused))

    def __repr__(self) -> str:
        """Its name: part of a fingerprint, so without addresses."""
        return "MergeTouched()"


def _touched(work: Work, changed: dict[TableContract, DataFrame]) -> DataFrame:
    """Return the keys of the rows that may differ from what they were, one row per key."""
    first, *lookups = work.table.reads
    key = list(work.contract.key)
    rows = work.store.read(first)
    keys = [changed[first].select(*key)] if first in changed else []
    for contract in lookups:
        by = [name for name in contract.key if name in rows.columns]
        if contract in changed:
            keys.append(rows.join(changed[contract].select(*by).distinct(), by, how="left_semi").select(*key))
    return union(keys or [rows.select(*key).limit(0)]).distinct()


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
