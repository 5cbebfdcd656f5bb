"""Materialization of tables with a row per group of records: only the groups whose inputs changed are rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import frame_from_arrow, union, without_comments
from cdp_lib.pipeline.change_sets import new_change_set, replace_followed, table_changes, write_change_set
from cdp_lib.pipeline.table import Materialization, Replace
from cdp_lib.pipeline.work import Outcome, Work

_MAX_TOUCHED = 200_000
"""Number of touched groups above which the table is replaced. The keys are sent to the engine in one message."""


@dataclass(frozen=True)
class Reference:
    """How the rows of an input refer to groups.

    Attributes:
        column: Column of the links that the rows refer to. It may be the key of the group itself.
        value: Function that returns an expression over the columns of the input: the value of `column`.
        compared: Columns of the input that the table also has, for an input with one row per group that is rewritten
            whole. Its changed rows are unknown, so these columns are compared with the table. Empty for an input whose
            changed rows are known: if it is rewritten, the table is replaced.
    """

    column: str
    value: Callable[[], Column]
    compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class FollowGroups(Materialization):
    """Rebuild the rows of the groups whose input rows changed, and merge them into the table.

    One of the inputs, the links, has a row per record with the group of the record. A row of any other input belongs to
    one group: directly, or through the link of its record. A group is touched if one of its input rows changed, before
    or after the change. If a record moves, its link changes, which touches both groups.

    Cost: the changed rows, the links, and the columns by which inputs refer to groups are read. The rows of the touched
    groups are built and merged. The whole table is rebuilt if an input without `compared` was rewritten, if the code or
    a setting changed, or if more than `_MAX_TOUCHED` groups are touched.

    If a run is killed, the next run rebuilds the same groups again, or merges the stored change set again. The result
    is the same, because the rows of a group are computed only from the inputs.

    Attributes:
        by: Column with the key of the group, in the links and in the table.
        links: Contract of the links, one of the inputs.
        references: For each input, in the order of `Table.reads`, how its rows refer to groups.
        is_followed: Whether downstream tables read the change sets of this table.
    """

    by: str
    links: TableContract
    references: tuple[Reference, ...]
    is_followed: bool = False

    def refresh(self, work: Work) -> Outcome:
        """Rebuild the touched groups, or the whole table."""
        touched = None if work.must_rewrite else self._touched(work)
        keys = None if touched is None else union(touched).distinct().toArrow() if touched else ()
        if keys is None or len(keys) > _MAX_TOUCHED:
            return replace_followed(work) if self.is_followed else Replace().refresh(work)
        if not len(keys):
            return work.unchanged()
        groups = frame_from_arrow(keys, work.store.read(self.links))
        old = work.store.read(work.contract).join(groups, self.by, how="left_semi")
        new = self._built(work, groups)
        if self.is_followed:
            return write_change_set(work, new_change_set(work), table_changes(work.contract, old, new))
        return work.partly_changed(work.store.merge_rows(work.contract, new, old.select(*work.contract.key)))

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows of the table."""
        return Replace().rebuilt(work)

    def _touched(self, work: Work) -> list[DataFrame] | None:
        """Return the keys of the touched groups, by changed input. None if the changes of an input are unknown."""
        found = []
        for contract, reference in zip(work.table.reads, self.references, strict=True):
            if not work.has_changed(contract):
                continue
            changed = work.changed_rows(contract)
            if changed is None:
                if not reference.compared:
                    return None
                changed = self._differing(work, contract, reference.compared)
            keys = changed.select(reference.value().alias(reference.column)).distinct()
            if reference.column != self.by:
                keys = work.store.read(self.links).join(keys, reference.column, how="left_semi")
            found.append(without_comments(keys, [self.by]))
        return found

    def _differing(self, work: Work, contract: TableContract, names: Sequence[str]) -> DataFrame:
        """Return the groups of the table whose values differ from those of an input. A missing row has only nulls."""
        values = work.rows_of(contract).select(self.by, *(sf.col(name).alias(f"_{name}") for name in names))
        joined = work.store.read(work.contract).select(self.by, *names).join(values, self.by, how="left")
        return joined.where(reduce(or_, (~sf.col(name).eqNullSafe(sf.col(f"_{name}")) for name in names)))

    def _built(self, work: Work, groups: DataFrame) -> DataFrame:
        """Return the rows of the table that belong to the given groups."""
        frames = work.frames()
        links = work.rows_of(self.links).join(groups, self.by, how="left_semi")
        inputs = []
        for rows, reference in zip(frames, self.references, strict=False):
            values = links.select(sf.col(reference.column).alias("_reference")).where("_reference IS NOT NULL")
            owners = groups.select(sf.col(self.by).alias("_reference")) if reference.column == self.by else values
            inputs.append(rows.join(owners, reference.value() == sf.col("_reference"), how="left_semi"))
        return work.build(*inputs, *frames[len(inputs) :])

    def __repr__(self) -> str:
        """Return only the class name and the column.

        Fingerprints use this text. It must not include functions, whose memory addresses differ in each process.
        """
        return f"FollowGroups({self.by})"
