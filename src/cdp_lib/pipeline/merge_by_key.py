"""Materialization of silver tables with one row per key.

The row is the latest version of the key that breaks no rejecting rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import INACTIVE_SINCE, IS_ACTIVE, TableContract
from cdp_lib.frames import union, without_comments
from cdp_lib.pipeline.change_sets import Changes, new_change_set, rewrite, write_change_set
from cdp_lib.pipeline.guards import MIN_REFUSED_ROWS, Limits, judge_missing_rows, judge_refused_rows
from cdp_lib.pipeline.history import Snapshot, covered_from, with_ends, with_first_days, with_snapshots
from cdp_lib.pipeline.load_batches import LoadedBatches, newest_files, repeats_files
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.table import Materialization, Table
from cdp_lib.pipeline.work import SET_ASIDE, Outcome, Work
from cdp_lib.quality import (
    ERA_COLUMNS,
    as_active,
    candidates_of_quarantine,
    candidates_of_table,
    check_versions,
    record_hash,
    resolve_versions,
    unchanged_keys,
    with_eras,
    with_record_key,
)


@dataclass(frozen=True)
class MergeByKey(Materialization):
    """Merge the rows of new batches by key.

    The content of the table depends on all batches and on the order in which they were extracted. It does not depend on
    the order in which they are loaded. A refresh works in one of three ways:

    - Merge: only the rows of the new batches are merged. This is possible if the new batches are newer than all earlier
      loaded batches, include no snapshot, and share no source file with another batch. Cost: the new rows and the
      stored rows with the same keys are read.
    - Compare: the rows of the latest snapshot and of all later batches are compared with the whole table, by key and
      hash. If the table keeps past rows, only the rows of the new batches are compared. Cost: these rows and the whole
      table are read. Only rows that differ are resolved (`resolve_versions`) and written.
    - Rewrite: the rows of all batches are resolved, and the table is replaced.

    If a run is killed, the next run merges the same changes again, because they are stored before the merge
    (`change_sets`).

    Guards refuse a batch with too many refused rows, and a snapshot that lacks too many rows of the table. They decide
    before a row of the table changes (`guards`).

    By default, a row is removed from the table if a snapshot lacks it. If one of the two attributes is set, the table
    keeps past rows: rows that the source no longer has. A table with past rows is rewritten if a new batch is older
    than a loaded batch.

    Attributes:
        keeps_absent: Whether a row stays in the table in three cases: a snapshot lacks the row, a tombstone deletes the
            row, or all its versions since the latest snapshot break rules. The columns `is_active` and
            `inactive_since` mark these rows.
        covers_from: Date column. If given, the smallest date in a snapshot is the first day that the snapshot covers.
            Rows of earlier days stay in the table even if the snapshot lacks them.
    """

    keeps_absent: bool = False
    covers_from: str = ""

    @property
    def has_history(self) -> bool:
        """Return whether the table may have rows that the latest snapshot lacks."""
        return self.keeps_absent or bool(self.covers_from)

    def refresh(self, work: Work) -> Outcome:
        """Merge the rows of the new batches, or determine the current rows again from all batches."""
        [bronze], store, contract = work.table.reads, work.store, work.contract
        loaded = LoadedBatches.of(work.inputs[bronze.name])
        new_rows = None if work.must_rewrite else work.changed_rows(bronze)
        if new_rows is None:
            return self._rewrite(work, loaded)
        seen, details = work.state.inputs[bronze.name][0], work.state.details
        new = loaded.newer_batches(seen, details.get("newest"))
        if self.has_history:
            if not new:
                return self._rewrite(work, loaded)
            received = work.build(new_rows)
            new = [name for name in new if name not in work.batches_set_aside]
            snapshots = [Snapshot(name, at) for name, at in loaded.snapshots.items() if name in new]
            snapshots = with_first_days(snapshots, received, contract, self.covers_from)
            received = self._with_ends(received, snapshots, new)
            is_increment = not snapshots
        else:
            snapshots = []
            is_increment = bool(new and loaded.snapshot not in new) and not (
                loaded.has_files and repeats_files(work.rows_of(bronze), seen)
            )
            received = work.build(
                new_rows if is_increment else work.map_input(bronze, current_bronze_rows(work.rows_of(bronze), loaded))
            )
        existing, quarantine = store.read(contract), store.read(contract.quarantine)
        is_past, older = self.is_past(details), is_older_than_bronze(loaded)
        if is_increment:
            keys = with_record_key(received, contract).where("record_key IS NOT NULL")
            keys = keys.select(*contract.key, "record_key").distinct()
            existing = store.read_keys(contract, keys.drop("record_key"))
            refused = candidates_of_quarantine(quarantine, keys, contract)
            # Most increments add only new keys. Test for this case first, because the test is several times faster than
            # a comparison of versions.
            names = list(contract.key)
            all_keys = union([without_comments(rows, names) for rows in (received, existing, refused)])
            keys_are_unique = all_keys.groupBy(*names).count().where("count > 1").isEmpty()
        else:
            is_current = sf.col("_batch_id") >= snapshots[-1].name if snapshots else None
            is_settled = self._is_settled(snapshots) if snapshots else None
            key = list(contract.key)
            unchanged = unchanged_keys(
                received, existing, quarantine, contract, is_current=is_current, is_settled=is_settled
            )
            received, existing = (rows.join(unchanged, key, how="left_anti") for rows in (received, existing))
            # If the table keeps past rows, the new snapshot ends all versions in quarantine: none of them is needed.
            is_kept = sf.lit(False) if self.has_history else older
            refused = candidates_of_quarantine(quarantine.where(is_kept), None, contract)
            keys_are_unique = False
        versions = self._check(received, contract, keys_are_unique=keys_are_unique)
        if keys_are_unique:
            candidates = versions
        elif self.has_history:
            stored = [
                with_snapshots(candidates_of_table(existing, contract, origin), snapshots, is_past)
                for origin in ("table", "carried")
            ]
            refused = with_snapshots(refused, snapshots, sf.lit(False))
            candidates = with_eras(union([versions, *stored, refused]), contract, self.covers_from)
        else:
            candidates = union([versions, candidates_of_table(existing, contract), refused])
        competes = sf.lit(True) if is_increment or self.has_history else _competes(loaded)
        resolved = resolve_versions(
            candidates,
            contract,
            competes=competes,
            keys_are_unique=keys_are_unique,
            has_eras=self.has_history and not keys_are_unique,
        )
        changes = resolved.select("*", _change_type().alias("_change_type")).where("_change_type IS NOT NULL")
        # Only the quarantine stores the received record: the silver table has typed columns instead.
        is_refusal = sf.col("_change_type").isin("refuse", "mend")
        changes = changes.withColumn("record", sf.when(is_refusal, sf.col("record")))
        if not is_increment:
            compared = quarantine if self.has_history else quarantine.where(~older)
            changes = _compare_with_quarantine(changes, compared)
        latest = Snapshot(loaded.snapshot, "")
        if self.has_history:
            seen_latest = Snapshot(details.get("snapshot", ""), "", details.get("covers_from", ""))
            latest = snapshots[-1] if snapshots else seen_latest
        next_details = _details(work, loaded, latest, Limits.of(work), list(details.get("accepted", [])))
        return write_change_set(work, new_change_set(work, next_details), changes)

    def judge(self, work: Work, state: TableState, changes: Changes, rows: DataFrame) -> TableState:
        """Refuse a change set with too many refused rows, or with a snapshot that lacks too many rows of the table."""
        details = state.details
        if "limits" not in details:
            return state  # an earlier version of the platform, which had no guards, stored the change set
        limits = Limits(**details["limits"])
        refused = rows.where("_change_type = 'refuse'")
        accepted = judge_refused_rows(work, changes.refused, refused, limits, details["accepted"])
        if details["snapshot"] != work.state.details.get("snapshot", ""):
            missing = changes.counts["inactive" if self.keeps_absent else "delete"]
            has_to_be_there = self._has_to_be_in(details["covers_from"])
            judge_missing_rows(work, missing, lambda: _rows_before(work, rows, has_to_be_there), limits)
        return replace(state, details={**details, "accepted": accepted})

    def rows_to_keep(self, table: Table, rows: DataFrame, loaded: LoadedBatches, last: str) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that compaction has to keep.

        If batches are whole files, all rows in the newest version of each file are kept, because a superseded row may
        become current again. For example, two files have the same record. If a later version of one file does not have
        the record, the record in the other file becomes the current version.

        If the table keeps past rows, the rows of all batches up to `last` are resolved. The rows that belong in the
        table or in its quarantine are kept. No other row is needed, because all batches that land later are newer.
        """
        [bronze], contract = table.reads, table.contract
        if self.has_history:
            old = rows.where(sf.col("_batch_id") <= last)
            resolved = self._resolve_all(table, old, loaded).rows
            return resolved.where("_outcome <> 'superseded'").select("_batch_id", "_record_hash")
        current = current_bronze_rows(rows, loaded)
        if loaded.has_files:
            return current.select("_batch_id", record_hash(bronze).alias("_record_hash"))
        versions = check_versions(table.build(current), contract)
        return resolve_versions(versions, contract, competes=sf.lit(True)).where("_outcome <> 'superseded'")

    def ends_to_keep(
        self, table: Table, rows: DataFrame, loaded: LoadedBatches, last: str
    ) -> tuple[DataFrame, Snapshot | None] | None:
        """Return the time since which each inactive row is inactive, and the latest snapshot."""
        if not self.has_history:
            return None
        resolution = self._resolve_all(table, rows.where(sf.col("_batch_id") <= last), loaded)
        since = sf.col(INACTIVE_SINCE.name) if self.keeps_absent else sf.lit(None).cast("timestamp")
        inactive = resolution.rows.where("_outcome = 'kept'").select(
            "_batch_id", "_record_hash", since.alias("_ended_at")
        )
        latest = resolution.snapshots[-1] if resolution.snapshots else None
        return inactive.where("_ended_at IS NOT NULL"), latest

    def _rewrite(self, work: Work, loaded: LoadedBatches) -> Outcome:
        """Resolve the rows of all batches, and replace the table and its quarantine."""
        [bronze], contract, stored = work.table.reads, work.contract, self._stored_rows(work)
        older = self._older_rows(work, loaded, stored)
        resolution = self._resolve_batches(work, loaded, older)
        kept, refused = resolution.kept(contract), resolution.refused(contract)
        limits, accepted = Limits.of(work), list(work.state.details.get("accepted", []))
        refused_rows = _count_refused(resolution.versions, refused) if resolution.has_many_broken else {}
        accepted = judge_refused_rows(work, refused_rows, refused, limits, accepted)
        latest = resolution.snapshots[-1] if resolution.snapshots else Snapshot("", "")
        latest = latest if self.has_history else Snapshot(loaded.snapshot, "")
        if stored and latest.name != work.state.details.get("snapshot", ""):
            key, has_to_be_there = list(contract.key), self._has_to_be_in(latest.covers_from)
            existing = stored.where(has_to_be_there)
            present = kept.where(IS_ACTIVE.name) if self.keeps_absent else kept
            missing = existing.select(*key).join(present.select(*key), key, how="left_anti").count()
            judge_missing_rows(work, missing, existing.count, limits)
        new_details = _details(work, loaded, latest, limits, accepted)
        if older:
            return rewrite(work, kept, refused, details=new_details)
        return rewrite(work, kept, refused, work.inputs[bronze.name].rows, new_details, work.null_columns())

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows of the table and of its quarantine.

        If bronze lacks the rows of old batches (`complete_since`), these rows are taken from the table itself.
        """
        [bronze], contract = work.table.reads, work.contract
        loaded = LoadedBatches.of(work.inputs[bronze.name])
        resolution = self._resolve_batches(work, loaded, self._older_rows(work, loaded, self._stored_rows(work)))
        return [(contract, resolution.kept(contract)), (contract.quarantine, resolution.refused(contract))]

    def _older_rows(
        self, work: Work, loaded: LoadedBatches, stored: DataFrame | None
    ) -> tuple[DataFrame, DataFrame] | None:
        """Return the rows of the table and of its quarantine that are in silver only. None if there are none."""
        if not loaded.complete_since or stored is None:
            return None
        is_older = (
            sf.col("_batch_id") < sf.lit(loaded.complete_since) if self.has_history else is_older_than_bronze(loaded)
        )
        return stored.where(is_older), work.store.read(work.contract.quarantine).where(is_older)

    def _resolve_batches(
        self, work: Work, loaded: LoadedBatches, older: tuple[DataFrame, DataFrame] | None
    ) -> _Resolution:
        """Resolve the bronze rows of all batches, and the rows that are in silver only."""
        [bronze] = work.table.reads
        map_input = partial(work.map_input, bronze)
        return self._resolve_all(work.table, work.filled_rows_of(bronze), loaded, map_input, older, work.state.details)

    def _resolve_all(
        self,
        table: Table,
        rows: DataFrame,
        loaded: LoadedBatches,
        map_input: Callable[[DataFrame], DataFrame] | None = None,
        older: tuple[DataFrame, DataFrame] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> _Resolution:
        """Resolve the rows of all batches.

        Args:
            table: Declaration of the table.
            rows: Rows of the bronze table.
            loaded: Batches that the bronze table holds.
            map_input: Function that maps rows of the bronze table. None if the rows are mapped already.
            older: Rows of the table and of its quarantine that are in silver only. None if there are none.
            details: `details` of the table's state. Needed only with `older`.
        """
        contract, key = table.contract, list(table.contract.key)

        def build(of_bronze: DataFrame) -> DataFrame:
            built: DataFrame = table.build(map_input(of_bronze) if map_input else of_bronze)
            return built

        timeline = _Timeline.of(rows) if self.has_history else _Timeline()
        snapshots = timeline.snapshots
        first = snapshots[-1].name if snapshots else ""
        earlier = [name for name in timeline.batches if name < first]
        if earlier:
            current = rows.where(sf.col("_batch_id") >= first)
        else:
            current = rows if self.has_history else current_bronze_rows(rows, loaded)
        if earlier or older:
            snapshots = with_first_days(snapshots, build(rows), contract, self.covers_from)
        received = self._with_ends(build(current), snapshots, [])
        # One query finds out whether keys repeat, and counts the rows that break rules other than `key_is_unique`.
        by_key = check_versions(received, contract, keys_are_unique=True).groupBy(*key)
        is_broken = sf.when(~sf.col("_keeps_rules"), 1)
        counted = by_key.agg(sf.count("*").alias("rows"), sf.count(is_broken).alias("broken"))
        [(most_versions, broken)] = counted.agg(sf.max("rows"), sf.sum("broken")).collect()
        keys_are_unique = not (earlier or older) and (most_versions or 0) <= 1
        versions = self._check(received, contract, keys_are_unique=keys_are_unique)
        if earlier:
            # Versions before the latest snapshot matter only for keys without a valid version since this snapshot.
            valid = versions.where("_keeps_rules AND NOT _is_deleted").select(*key).distinct()
            past = self._with_ends(build(rows.where(sf.col("_batch_id") < first)), snapshots, earlier)
            versions = union([versions, self._check(past.join(valid, key, how="left_anti"), contract)])
        candidates = versions
        if older:
            of_table = candidates_of_table(older[0], contract, "carried" if self.has_history else "table")
            of_quarantine = candidates_of_quarantine(older[1], None, contract)
            if self.has_history:
                of_table = with_snapshots(of_table, snapshots, self.is_past(details or {}))
                of_quarantine = with_snapshots(of_quarantine, snapshots, sf.lit(False))
            candidates = union([versions, of_table, of_quarantine])
        has_eras = self.has_history and not keys_are_unique
        if has_eras:
            candidates = with_eras(candidates, contract, self.covers_from, has_tombstones=timeline.has_tombstones)
        resolved = resolve_versions(
            candidates, contract, competes=sf.lit(True), keys_are_unique=keys_are_unique, has_eras=has_eras
        )
        has_many_broken = not keys_are_unique or (broken or 0) >= MIN_REFUSED_ROWS
        return _Resolution(resolved, versions, snapshots, has_many_broken=has_many_broken)

    def _with_ends(self, received: DataFrame, snapshots: Sequence[Snapshot], batches: Sequence[str]) -> DataFrame:
        """Return rows of a builder. If the table keeps past rows, add `ERA_COLUMNS`."""
        return with_ends(received, snapshots, batches) if self.has_history else received

    def _check(self, received: DataFrame, contract: TableContract, *, keys_are_unique: bool = False) -> DataFrame:
        extra = ERA_COLUMNS if self.has_history else ()
        return check_versions(received, contract, keys_are_unique=keys_are_unique, extra_columns=extra)

    def _stored_rows(self, work: Work) -> DataFrame | None:
        """Return the rows of the table. None if it does not exist yet."""
        if not work.store.exists(work.contract):
            return None
        rows = work.store.read(work.contract)
        # An earlier version of the platform wrote tables without the columns of inactive rows.
        return as_active(rows) if self.keeps_absent and IS_ACTIVE.name not in rows.columns else rows

    def is_past(self, details: Mapping[str, Any]) -> Column:
        """Return a condition that is true for the rows of the table that are past.

        Args:
            details: `details` of the table's state.
        """
        if self.keeps_absent:
            return ~sf.col(IS_ACTIVE.name)
        if not (self.covers_from and details.get("snapshot")):
            return sf.lit(False)
        is_earlier = sf.col("_batch_id") < sf.lit(details["snapshot"])
        return is_earlier & (sf.col(self.covers_from) < sf.lit(details["covers_from"] or "9999-12-31").cast("date"))

    def _is_settled(self, snapshots: Sequence[Snapshot]) -> Column:
        """Return a condition that is true for rows of the table that the snapshots may lack.

        Such a row is inactive already, or its date is before all days that the snapshots cover.
        """
        if self.keeps_absent:
            return ~sf.col(IS_ACTIVE.name)
        first = covered_from(snapshots)
        return sf.col(self.covers_from) < sf.lit(first).cast("date") if first else sf.lit(True)

    def _has_to_be_in(self, covers_from: str) -> Column:
        """Return a condition that is true for rows of the table that a complete snapshot has to contain."""
        if self.keeps_absent:
            return sf.col(IS_ACTIVE.name)
        return sf.col(self.covers_from) >= sf.lit(covers_from).cast("date") if covers_from else sf.lit(True)


@dataclass(frozen=True)
class _Timeline:
    """Batches of a bronze table.

    Attributes:
        batches: Names of the batches.
        snapshots: The snapshots among them, oldest first.
        has_tombstones: Whether one of the batches has tombstones.
    """

    batches: Sequence[str] = ()
    snapshots: Sequence[Snapshot] = ()
    has_tombstones: bool = False

    @classmethod
    def of(cls, rows: DataFrame) -> _Timeline:
        """Return the batches of bronze rows. Cost: three columns of all rows are read."""
        is_deleted = sf.coalesce("_is_deleted", sf.lit(False))
        # Take the time of a batch from its records, if it has any. Tombstones that compaction wrote have other times.
        batches = rows.groupBy("_batch_id").agg(
            sf.bool_or(sf.coalesce("_load", sf.lit("snapshot")) == "snapshot").alias("is_snapshot"),
            sf.coalesce(sf.max(sf.when(~is_deleted, sf.col("_ingested_at"))), sf.max("_ingested_at"))
            .cast("string")
            .alias("extracted_at"),
            sf.bool_or(is_deleted).alias("has_tombstones"),
        )
        found = sorted(batches.collect(), key=lambda row: row["_batch_id"])
        return cls(
            [row["_batch_id"] for row in found],
            [Snapshot(row["_batch_id"], row["extracted_at"]) for row in found if row["is_snapshot"]],
            any(row["has_tombstones"] for row in found),
        )


@dataclass(frozen=True)
class _Resolution:
    """Result of `_resolve_all`.

    Attributes:
        rows: Candidates with their outcome, as `resolve_versions` returns them.
        versions: Received versions, as `check_versions` returns them.
        snapshots: Snapshots, oldest first. Empty if the table does not keep past rows.
        has_many_broken: Whether a batch may have many rows that break rules, so that a guard has to judge it.
    """

    rows: DataFrame
    versions: DataFrame
    snapshots: Sequence[Snapshot]
    has_many_broken: bool

    def kept(self, contract: TableContract) -> DataFrame:
        """Return the rows that belong in the table."""
        return self.rows.where("_outcome = 'kept'").selectExpr(*contract.select_list)

    def refused(self, contract: TableContract) -> DataFrame:
        """Return the rows that belong in the quarantine of the table."""
        return self.rows.where("_outcome = 'refused'").selectExpr(*contract.quarantine.select_list)


def _count_refused(versions: DataFrame, refused: DataFrame) -> Mapping[str, int]:
    """Return the number of refused rows by batch. A batch with few refused rows may be missing in the result.

    Rows that break rules are counted first, because this is cheaper than the resolution of versions.
    """
    broken = versions.where("NOT _keeps_rules").groupBy("_batch_id").count()
    many = [name for name, rows in broken.collect() if rows >= MIN_REFUSED_ROWS]
    if not many:
        return {}
    counted = refused.where(sf.col("_batch_id").isin(many)).groupBy("_batch_id").count().collect()
    return {name: rows for name, rows in counted}


def _rows_before(work: Work, changes: DataFrame, condition: Column) -> int:
    """Return the number of rows that the table had before a change set.

    Rows that the change set changes or deletes are counted in the change set, which stores them as they were before.
    All other rows are counted in the table. The table alone is not enough, because a killed run may already have
    applied the change set.

    Args:
        work: Table to refresh.
        changes: Rows of the change set.
        condition: Condition that is true for the rows to count.
    """
    before = changes.where("_change_type IN ('before', 'delete')").where(condition)
    changed = changes.where("_change_type IN ('insert', 'delete')").select(*work.contract.key)
    rows = work.store.read(work.contract).where(condition)
    return before.count() + rows.join(changed, list(work.contract.key), how="left_anti").count()


def _details(
    work: Work, loaded: LoadedBatches, latest: Snapshot, limits: Limits, accepted: list[str]
) -> dict[str, Any]:
    """Return the `details` of the table's state.

    - `newest`: newest batch that the table is built from;
    - `snapshot`: latest snapshot that the table is built from; empty if there is none;
    - `covers_from`: first day that this snapshot covers. It is empty in two cases: the snapshot covers no day, or the
      table was rebuilt and no batch was older than the snapshot;
    - `limits`: limits by which the latest changes were judged;
    - `accepted`: batches that a person has accepted although they exceed a limit;
    - `set_aside`: refused batches that are ignored, because a later snapshot took their place.
    """
    return {
        "newest": loaded.newest,
        "snapshot": latest.name,
        "covers_from": latest.covers_from,
        "limits": asdict(limits),
        "accepted": accepted,
        SET_ASIDE: [name for name in work.batches_set_aside if loaded.has_whole(name)],
    }


def current_bronze_rows(bronze: DataFrame, loaded: LoadedBatches) -> DataFrame:
    """Return the bronze rows of the latest snapshot and of all later batches. Return all rows if no snapshot is loaded.

    If batches are whole files, return only the rows of the newest version of each file.
    """
    rows = bronze.where(sf.col("_batch_id") >= loaded.snapshot) if loaded.snapshot else bronze
    return newest_files(rows) if loaded.has_files else rows


def is_older_than_bronze(loaded: LoadedBatches) -> Column:
    """Return a condition that is true for rows of batches before `complete_since`. Bronze may lack these rows.

    Once a snapshot is loaded, the condition is false for every row, because bronze then has all records.
    """
    return sf.col("_batch_id") < sf.lit("" if loaded.snapshot else loaded.complete_since)


def _competes(loaded: LoadedBatches) -> Column:
    """Return the condition `competes` of `resolve_versions`. It is false for candidates that are left out.

    For a received row, the condition is true. For a row of the table or of its quarantine, the condition is true only
    if bronze may lack the row (`is_older_than_bronze`).
    """
    return (sf.col("_origin") == "batch") | is_older_than_bronze(loaded)


def _change_type() -> Column:
    """Return the change type of a resolved candidate.

    The change type is null if the candidate is already in the table or in quarantine, and stays there.
    """
    outcome, is_gone = sf.col("_outcome"), sf.col("_is_gone")
    of_table = sf.when(outcome == "superseded", sf.when(is_gone, "delete").otherwise("before"))
    of_batch = sf.when(outcome == "kept", "insert").when(outcome == "refused", "refuse").otherwise("supersede")
    of_quarantine = sf.when(outcome == "superseded", "mend")
    of_carried = sf.when(outcome == "kept", "insert")
    origin = sf.col("_origin")
    return (
        sf.when(origin == "table", of_table)
        .when(origin == "quarantine", of_quarantine)
        .when(origin == "carried", of_carried)
        .otherwise(of_batch)
    )


def _compare_with_quarantine(changes: DataFrame, quarantine: DataFrame) -> DataFrame:
    """Compare the refused rows of a change set with the quarantine, and keep only the differences.

    - A `refuse` change adds a row to the quarantine. If the row is already in quarantine, the change is dropped.
    - A `mend` change removes a row from the quarantine. If the change set no longer refuses a quarantined row, a `mend`
      change is added for the row.
    """
    row = ["_batch_id", "record"]
    refused = changes.where("_change_type = 'refuse'").select(*row)
    known = quarantine.select(*row, sf.lit(True).alias("_is_known"))
    new_changes = changes.join(known, row, how="left").where(
        "NOT (_change_type = 'refuse' AND coalesce(_is_known, false))"
    )
    mended = quarantine.join(refused, row, how="left_anti").withColumn("_change_type", sf.lit("mend"))
    return new_changes.drop("_is_known").unionByName(mended, allowMissingColumns=True)
