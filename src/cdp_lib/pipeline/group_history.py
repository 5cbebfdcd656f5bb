"""Materialization of a ledger of the changes of groups of records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import frames_from_arrow
from cdp_lib.pipeline.resolve_touched import IS_RESOLVED
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import Outcome, Work


@dataclass(frozen=True)
class GroupHistory(Materialization):
    """Add the changes of groups to a ledger. The only input is the table that assigns records to groups.

    The builder gets two Arrow tables with the key of each record and the number of its group, before and after the
    change. They have all records of the changed groups. It also gets the version of the input and the start of the run.

    Cost: the change sets of the input and the records of the changed groups are collected. If change sets are missing,
    only groups that are new or gone are recorded: all records are read.

    A run may be killed at any point: if the next run adds the same rows again, they have the same keys, so the merge
    creates no duplicates.

    Attributes:
        group: Column of the input with the number of the group.
        known_groups: Function that gets the rows of the ledger and returns the numbers of the groups that exist
            according to it, in the column `group`.
    """

    group: str
    known_groups: Callable[..., object]

    def refresh(self, work: Work) -> Outcome:
        """Add the rows of all versions of the input since the latest refresh."""
        store, contract, [links] = work.store, work.contract, work.table.reads
        is_new, input_state = store.create(contract), work.inputs[links.name]
        if not input_state.details.get(IS_RESOLVED, False):
            return work.rewritten(0) if not work.state.version else work.unchanged()
        before, after = self._before_and_after(work, links)
        rows = work.build(before, after, version=input_state.version, now=work.settings.run_started_at)
        if not rows.num_rows:
            return work.rewritten(0) if not work.state.version else work.unchanged()
        frames = frames_from_arrow(rows, store.read(links))
        if is_new:
            for frame in frames:
                store.append(contract, frame)
            return work.rewritten(rows.num_rows)
        return work.partly_changed(sum(store.merge_rows(contract, frame) for frame in frames))

    def _before_and_after(self, work: Work, links: TableContract) -> tuple[pa.Table, pa.Table]:
        """Return the key and the group of the records of changed groups, before and after the change."""
        store, [key], names = work.store, links.key, [*links.key, self.group]
        tokens = self._new_change_sets(work, links)
        now = store.read(links).select(*names)
        if tokens is None:
            known = self.known_groups(store.read(work.contract))
            return self._without_records(known.toArrow(), now.toArrow(), key)  # type: ignore[attr-defined]
        order = sf.array_position(sf.array(*map(sf.lit, tokens)), sf.col("_change_set")).alias("order")
        is_old = sf.col("_change_type").isin("before", "delete").alias("is_old")
        changes = store.read(links.changes).where(sf.col("_change_set").isin(tokens))
        changed = changes.where("_change_type IN ('insert', 'before', 'delete')").select(*names, order, is_old)
        groups = changed.select(self.group).distinct()
        after, found = now.join(groups, self.group, how="left_semi").select(*names).toArrow(), changed.toArrow()
        # The first change of a record tells its group before all changes: none, if the record was inserted.
        found = found.sort_by([("order", "ascending"), ("is_old", "descending")])
        first = found.group_by(key, use_threads=False).aggregate([(self.group, "first"), ("is_old", "first")])
        first = first.rename_columns([key, self.group, "is_old"])
        unchanged = after.filter(pc.invert(pc.is_in(after[key], first[key].combine_chunks())))
        moved = first.filter(first["is_old"]).select(names)
        return pa.concat_tables([unchanged.select(names), moved.cast(unchanged.select(names).schema)]), after

    def _new_change_sets(self, work: Work, links: TableContract) -> list[str] | None:
        """Return the tokens of the change sets since the latest refresh, in order. None if some are missing."""
        state, (seen, _) = work.inputs[links.name], work.state.inputs.get(links.name, (0, ""))
        tokens = [state.change_sets.get(number) for number in range(seen + 1, state.version + 1)]
        if not seen or state.rewritten_at > seen or None in tokens or not work.store.exists(links.changes):
            return None
        return [token for token in tokens if token]

    def _without_records(self, known: pa.Table, now: pa.Table, key: str) -> tuple[pa.Table, pa.Table]:
        """Return the groups that only the ledger has, and the records of the groups that only the input has."""
        gone = pc.invert(pc.is_in(known[self.group], now[self.group].combine_chunks()))
        lost = known.filter(gone).select([self.group])
        # Their records are unknown: a name that no record has stands for them.
        names = pc.binary_join_element_wise("?", lost[self.group].cast(pa.string()), "")
        before = pa.table({key: names, self.group: lost[self.group]})
        is_known = pc.is_in(now[self.group], known[self.group].combine_chunks())
        return before, now.filter(pc.invert(is_known))

    def __repr__(self) -> str:
        """Return only the class name and the column.

        Fingerprints use this text. It must not include functions, whose memory addresses differ in each process.
        """
        return f"GroupHistory({self.group})"
