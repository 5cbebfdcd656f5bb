"""Materialization of the table that links records to persons: only touched components are resolved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import ARROW_TYPES, frame_from_arrow, frames_from_arrow, nulls, union, without_comments
from cdp_lib.pipeline.change_sets import append_changes, delete_change_sets, new_change_set, write_change_set
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import Outcome, Work

NEXT_ID = "next_id"
"""Name in the `details` of the state: the next number that no group has had."""

_MAX_TOUCHED = 500_000
"""Number of touched records above which all records are resolved. The keys are sent to the engine in one message."""

IS_RESOLVED = "is_resolved"
"""Name in the `details` of the state: whether the rows come from the resolution of records."""


@dataclass(frozen=True)
class ResolveTouched(Materialization):
    """Resolve the components of changed records, and merge the differences into the table.

    A component is a set of records that edges connect. The first three inputs are the records, the edges between them,
    and the decisions of people about pairs. A record is touched if it changed, if one of its edges changed, or if
    decisions changed and one names it. All records of the components of touched records are collected on the driver,
    with their edges, the decisions, and their present rows of the table. The builder gets these four Arrow tables and
    the next free number, and returns the new rows and the next free number. All other records keep their rows.

    Groups keep their numbers from one refresh to the next. Therefore, the table is never built anew: a full refresh
    resolves all components, starting from the present rows.

    Cost: the touched components are collected. To find them, the keys and components of the table are read. The
    differences are written.

    If a run is killed, the next run merges the same changes again, because they are stored before the merge
    (`change_sets`).

    Attributes:
        is_followed: Downstream tables read the change sets of this table.
        group: Column with the number of the group.
        ends: The two columns of an edge, and of a decision, that hold the keys of its records.
        is_on: Function that gets the values of the table's settings and returns whether records are resolved.
        otherwise: Builder of the rows if records are not resolved. It gets the further inputs.
    """

    is_followed: ClassVar[bool] = True

    group: str
    ends: tuple[str, str]
    is_on: Callable[..., bool]
    otherwise: Callable[..., DataFrame]

    def refresh(self, work: Work) -> Outcome:
        """Resolve the touched components, or all components."""
        if not self.is_on(**work.values):
            return self._replace(work, [self._unresolved(work)], self._next_id(work), is_resolved=False)
        touched = None if work.must_rewrite or not work.store.exists(work.contract) else self._touched(work)
        if touched is not None and not touched.num_rows:
            return work.unchanged()
        previous, rows, next_id = self._resolve(work, touched)
        if touched is None and not previous.num_rows:
            return self._replace(work, self._frames(work, rows), next_id, is_resolved=True)
        details, changes = {IS_RESOLVED: True, NEXT_ID: next_id}, differences(previous, rows, work.contract.key[0])
        if not changes.num_rows:
            outcome = work.unchanged()
            return replace(outcome, state=replace(outcome.state, details=details))
        state, [*firsts, last] = new_change_set(work, details), self._frames(work, changes)
        for frame in firsts:
            append_changes(work, state, frame)
        return write_change_set(work, state, last)

    def _replace(self, work: Work, frames: Sequence[DataFrame], next_id: int, *, is_resolved: bool) -> Outcome:
        """Replace all rows. No number of the replaced rows, or of the new rows, is given to another group later.

        If a run is killed between two frames, the next run resolves all records, starting from the rows that exist.
        """
        store, contract, highest = work.store, work.contract, sf.max(self.group)
        work.mark_rewriting()
        delete_change_sets(store, contract)
        first, *others = frames or [store.read(work.table.reads[0]).select(*nulls(contract.types)).limit(0)]
        written = store.replace(contract, first.selectExpr(*contract.select_list), highest=highest)
        for frame in others:
            store.append(contract, frame.selectExpr(*contract.select_list))
        if others:
            [(rows, top)] = store.read(contract).agg(sf.count("*"), highest).collect()
            written = {"rows": rows, "highest": top}
        next_id = max(next_id, (written["highest"] or 0) + 1)
        return work.rewritten(written["rows"], details={IS_RESOLVED: is_resolved, NEXT_ID: next_id})

    def _unresolved(self, work: Work) -> DataFrame:
        return self.otherwise(*map(work.rows_of, work.table.reads[3:]))

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows, resolved from the present rows: groups that did not change keep their numbers."""
        if not self.is_on(**work.values):
            return [(work.contract, self._unresolved(work))]
        previous, rows, _ = self._resolve(work, None)
        present, [key] = work.store.read(work.contract), work.contract.key
        changes = differences(previous, rows, key)
        # Send only the rows that differ to the engine: usually none.
        for frame in self._frames(work, changes):
            present = present.join(frame.select(key).distinct(), key, how="left_anti").select(*present.columns)
        added = self._frames(work, changes.filter(pc.equal(changes["_change_type"], "insert")))
        names = work.contract.column_names
        return [(work.contract, union([without_comments(each, names) for each in (present, *added)]))]

    def _touched(self, work: Work) -> pa.Table | None:
        """Return the keys of the touched records, and of all records of their components; None for all records.

        The keys are collected, because three queries need them. If there are many, all records are resolved.
        """
        records, edges, decisions = work.table.reads[:3]
        [key] = records.key
        changed, changed_edges = work.changed_rows(records), work.changed_rows(edges)
        if changed is None or changed_edges is None:
            return None
        pairs = [changed_edges, *([work.store.read(decisions)] if work.has_changed(decisions) else [])]
        keys = [changed.select(key), *(rows.select(sf.col(end).alias(key)) for rows in pairs for end in self.ends)]
        touched = union([without_comments(each, [key]) for each in keys]).distinct()
        links = work.store.read(work.contract)
        components = links.join(touched, key, how="left_semi").select("component").distinct()
        members = links.join(components, "component", how="left_semi").select(key)
        keys_of_components = union([without_comments(members, [key]), touched]).distinct().toArrow()
        return keys_of_components if keys_of_components.num_rows <= _MAX_TOUCHED else None

    def _resolve(self, work: Work, keys: pa.Table | None) -> tuple[pa.Table, pa.Table, int]:
        """Return the present rows, the new rows and the next free number. None for all records."""
        records, edges, decisions = work.table.reads[:3]
        store, [key] = work.store, records.key
        frames = [store.read(records), store.read(edges)]
        touched = None if keys is None else frame_from_arrow(keys, frames[0])
        if touched is not None:
            # Every edge of a record is in the record's component, so one end decides.
            by_edge = touched.select(sf.col(key).alias(self.ends[0]))
            frames = [
                frames[0].join(touched, key, how="left_semi"),
                frames[1].join(by_edge, self.ends[0], how="left_semi"),
            ]
        tables = [
            frame.selectExpr(*each.select_list).toArrow() for frame, each in zip(frames, (records, edges), strict=True)
        ]
        previous = self._present_rows(work, touched)
        decided = store.read(decisions).selectExpr(*decisions.select_list).toArrow()
        now, next_id = work.settings.run_started_at, self._next_id(work)
        built: Any = work.build(*tables, decided, previous, next_id=next_id, now=now)
        return previous, *built

    def _present_rows(self, work: Work, touched: DataFrame | None) -> pa.Table:
        """Return the present rows of touched records. No row if their numbers are of records that were not resolved."""
        store, contract = work.store, work.contract
        if not store.exists(contract) or not work.state.details.get(IS_RESOLVED, True):
            return pa.schema([(name, ARROW_TYPES[type_]) for name, type_ in contract.types.items()]).empty_table()
        rows = store.read(contract)
        kept = rows if touched is None else rows.join(touched, contract.key[0], how="left_semi")
        return kept.selectExpr(*contract.select_list).toArrow()

    def _next_id(self, work: Work) -> int:
        """Return the next number that no group has had."""
        if NEXT_ID in work.state.details:
            return int(work.state.details[NEXT_ID])
        if not work.store.exists(work.contract):
            return 1
        [(highest,)] = work.store.read(work.contract).agg(sf.max(self.group)).collect()
        return (highest or 0) + 1

    def _frames(self, work: Work, rows: pa.Table) -> list[DataFrame]:
        return frames_from_arrow(rows, work.store.read(work.table.reads[0]))

    def __repr__(self) -> str:
        """Return only the class name and the columns.

        Fingerprints use this text. It must not include functions, whose memory addresses differ in each process.
        """
        return f"ResolveTouched({self.group}, {self.ends})"


def differences(before: pa.Table, after: pa.Table, key: str) -> pa.Table:
    """Return the rows that differ between two tables, with the kind of difference in the column `_change_type`.

    Args:
        before: Rows before the change, one row per key.
        after: Rows after the change, one row per key, with the same columns.
        key: Key column.

    Returns:
        `insert` for a new row and for a row with new values, `before` for a row with new values as it was before, and
        `delete` for a row whose key is gone.
    """
    after = after.select(before.column_names).cast(before.schema)
    places = pc.index_in(after[key], before[key].combine_chunks())
    old = before.take(places)  # null for a new key
    is_same = pc.is_valid(places)
    for name in before.column_names:
        both_null = pc.and_(pc.is_null(old[name]), pc.is_null(after[name]))
        is_same = pc.and_(is_same, pc.or_(both_null, pc.fill_null(pc.equal(old[name], after[name]), False)))
    changed = pc.invert(is_same)
    is_gone = pc.invert(pc.is_in(before[key], after[key].combine_chunks()))
    parts = {
        "insert": after.filter(changed),
        "before": old.filter(pc.and_(changed, pc.is_valid(places))),
        "delete": before.filter(is_gone),
    }
    return pa.concat_tables(
        part.append_column("_change_type", pa.array([kind] * part.num_rows, pa.string()))
        for kind, part in parts.items()
    )
