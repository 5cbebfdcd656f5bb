"""Materialization of a table of pairs of records: only the pairs of changed records are rebuilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.change_sets import (
    new_change_set,
    replace_followed,
    stage_rows,
    table_changes,
    write_change_set,
)
from cdp_lib.pipeline.table import Materialization, Replace
from cdp_lib.pipeline.work import Outcome, Work


@dataclass(frozen=True)
class MergePairs(Materialization):
    """Rebuild the pairs of changed records, and merge the differences into the table.

    The table has one input, the records. Its builder gets the records and, if only some pairs are rebuilt, a data frame
    with the keys of their records as `touched`. It returns every pair of which at least one record is touched.

    Cost: the values of all records are read, to find the records that share a value with a changed record. The pairs of
    these records are built and compared with the table, and the differences are written. The whole table is rebuilt if
    the records were rewritten, or if the code or a setting changed.

    If a run is killed, the next run merges the same changes again, because they are stored before the merge
    (`change_sets`).

    Attributes:
        is_followed: Downstream tables read the change sets of this table.
        ends: The two columns that hold the keys of the records of a pair.
        find_touched: Function that gets the changed rows of the records, all records and the values of the table's
            settings. It returns the keys of the records whose pairs may have changed, in the key column of the records.
    """

    is_followed: ClassVar[bool] = True

    ends: tuple[str, str]
    find_touched: Callable[..., DataFrame]

    def refresh(self, work: Work) -> Outcome:
        """Rebuild the pairs of changed records, or the whole table."""
        [contract], store = work.table.reads, work.store
        changed = None if work.must_rewrite else work.changed_rows(contract)
        if changed is None:
            return replace_followed(work)
        if changed.isEmpty():
            return work.unchanged()
        state, records, [key] = new_change_set(work), store.read(contract), contract.key
        found = self.find_touched(changed, records, **work.values)
        # The search reads all records, and its result is used several times.
        touched = stage_rows(work, state, found.select(sf.col(key).alias(self.ends[0]))).select(
            sf.col(self.ends[0]).alias(key)
        )
        old, new = self._pairs_of(store.read(work.contract), touched, key), work.build(records, touched=touched)
        changes = table_changes(work.contract, old, new.selectExpr(*work.contract.select_list))
        return write_change_set(work, state, changes)

    def _pairs_of(self, pairs: DataFrame, touched: DataFrame, key: str) -> DataFrame:
        """Return the pairs of which at least one record is touched."""
        first, second = self.ends
        by_first, by_second = (touched.select(sf.col(key).alias(end)) for end in self.ends)
        of_first = pairs.join(by_first, first, how="left_semi")
        of_second = pairs.join(by_second, second, how="left_semi").join(by_first, first, how="left_anti")
        names = pairs.columns
        return of_first.select(*names).unionByName(of_second.select(*names))

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows of the table."""
        return Replace().rebuilt(work)

    def __repr__(self) -> str:
        """Return only the class name and the ends.

        Fingerprints use this text. It must not include functions, whose memory addresses differ in each process.
        """
        return f"MergePairs({self.ends})"
