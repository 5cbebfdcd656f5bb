"""Materialization of silver tables with one row per key.

The row is the latest version of the key that breaks no rejecting rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.frames import union, without_comments
from cdp_lib.pipeline.change_sets import Changes, new_change_set, rewrite, write_change_set
from cdp_lib.pipeline.guards import MIN_REFUSED_ROWS, Limits, judge_missing_rows, judge_refused_rows
from cdp_lib.pipeline.load_batches import LoadedBatches, newest_files, repeats_files
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.table import Materialization, Table
from cdp_lib.pipeline.work import Outcome, Work
from cdp_lib.quality import (
    candidates_of_quarantine,
    candidates_of_table,
    check_versions,
    record_hash,
    resolve_versions,
    unchanged_keys,
    with_record_key,
)


@dataclass(frozen=True)
class MergeByKey(Materialization):
    """Merge the rows of new batches by key.

    The content of the table depends on all batches and on the order in which they were extracted. It does not depend on
    the order in which they are loaded. A refresh works in one of two ways:

    - Merge: only the rows of the new batches are merged. This is possible if the new batches are newer than all earlier
      loaded batches, include no snapshot, and share no source file with another batch. Cost: the new rows and the
      stored rows with the same keys are read.
    - Resolve again: all rows since the latest snapshot are compared with the whole table by key and hash. Cost: all
      these rows and the whole table are read, but only the differences are resolved and written.

    If a run is killed, the next run merges the same changes again, because they are stored before the merge
    (`change_sets`).

    A batch with too many refused rows, and a snapshot that lacks too many rows of the table, are refused before a row
    changes (`guards`).
    """

    def refresh(self, work: Work) -> Outcome:
        """Merge the rows of the new batches, or determine the current rows again from all batches."""
        [bronze], store, contract = work.table.reads, work.store, work.contract
        loaded = LoadedBatches.of(work.inputs[bronze.name])
        new_rows = None if work.must_rewrite else work.changed_rows(bronze)
        if new_rows is None:
            return self._rewrite(work, loaded)
        seen = work.state.inputs[bronze.name][0]
        is_increment = loaded.adds_newer_batches_only(seen) and not (
            loaded.has_files and repeats_files(store.read(bronze), seen)
        )
        received = work.build(
            new_rows if is_increment else work.map_input(bronze, current_bronze_rows(store.read(bronze), loaded))
        )
        existing, quarantine = store.read(contract), store.read(contract.quarantine)
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
            key, unchanged = list(contract.key), unchanged_keys(received, existing, quarantine, contract)
            received, existing = (rows.join(unchanged, key, how="left_anti") for rows in (received, existing))
            refused = candidates_of_quarantine(quarantine.where(is_older_than_bronze(loaded)), None, contract)
            keys_are_unique = False
        versions = check_versions(received, contract, keys_are_unique=keys_are_unique)
        candidates = (
            versions if keys_are_unique else union([versions, candidates_of_table(existing, contract), refused])
        )
        competes = sf.lit(True) if is_increment else _competes(loaded)
        resolved = resolve_versions(candidates, contract, competes=competes, keys_are_unique=keys_are_unique)
        changes = resolved.select("*", _change_type().alias("_change_type")).where("_change_type IS NOT NULL")
        # Only the quarantine stores the received record: the silver table has typed columns instead.
        is_refusal = sf.col("_change_type").isin("refuse", "mend")
        changes = changes.withColumn("record", sf.when(is_refusal, sf.col("record")))
        if not is_increment:
            changes = _compare_with_quarantine(changes, quarantine.where(~is_older_than_bronze(loaded)))
        details = _details(loaded, Limits.of(work), work.state.details.get("accepted", []))
        return write_change_set(work, new_change_set(work, details), changes)

    def judge(self, work: Work, state: TableState, changes: Changes, rows: DataFrame) -> TableState:
        """Refuse a change set with too many refused rows, or with a snapshot that lacks too many rows of the table."""
        if "limits" not in state.details:
            return state  # an earlier version of the platform, which had no guards, stored the change set
        limits = Limits(**state.details["limits"])
        refused = rows.where("_change_type = 'refuse'")
        accepted = judge_refused_rows(work, changes.refused, refused, limits, state.details["accepted"])
        if state.details["snapshot"] != work.state.details.get("snapshot"):
            missing = changes.counts["delete"]
            judge_missing_rows(work, missing, lambda: self._rows_before(work, rows), limits)
        return replace(state, details={**state.details, "accepted": accepted})

    def _rows_before(self, work: Work, changes: DataFrame) -> int:
        """Return the number of rows of the table before a stored change set was applied.

        A killed run may have applied the change set. Therefore, rows with changed keys are counted in the change set.
        """
        key = list(work.contract.key)
        before = changes.where("_change_type IN ('before', 'delete')")
        changed = changes.where("_change_type IN ('insert', 'delete')").select(*key)
        unchanged = work.store.read(work.contract).join(changed, key, how="left_anti")
        return before.count() + unchanged.count()

    def rows_to_keep(self, table: Table, rows: DataFrame, loaded: LoadedBatches) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that compaction has to keep.

        If batches are whole files, all rows in the newest version of each file are kept, because a superseded row may
        become current again. For example, two files have the same record. If a later version of one file does not have
        the record, the record in the other file becomes the current version.
        """
        current = current_bronze_rows(rows, loaded)
        if loaded.has_files:
            return current.select("_batch_id", record_hash(table.reads[0]).alias("_record_hash"))
        versions = check_versions(table.build(current), table.contract)
        return resolve_versions(versions, table.contract, competes=sf.lit(True)).where("_outcome <> 'superseded'")

    def _rewrite(self, work: Work, loaded: LoadedBatches) -> Outcome:
        """Resolve the rows of all batches, and replace the table and its quarantine."""
        [bronze], store, contract = work.table.reads, work.store, work.contract
        received = work.build(work.map_input(bronze, current_bronze_rows(store.read(bronze), loaded)))
        older = []
        if loaded.complete_since and store.exists(contract):
            is_older = is_older_than_bronze(loaded)
            older = [
                candidates_of_table(store.read(contract).where(is_older), contract),
                candidates_of_quarantine(store.read(contract.quarantine).where(is_older), None, contract),
            ]
        # One query finds out whether keys repeat, and counts the rows that break rules other than `key_is_unique`.
        by_key = check_versions(received, contract, keys_are_unique=True).groupBy(*contract.key)
        is_broken = sf.when(~sf.col("_keeps_rules"), 1)
        counted = by_key.agg(sf.count("*").alias("rows"), sf.count(is_broken).alias("broken"))
        [(most_versions, broken)] = counted.agg(sf.max("rows"), sf.sum("broken")).collect()
        keys_are_unique = not older and (most_versions or 0) <= 1
        versions = check_versions(received, contract, keys_are_unique=keys_are_unique)
        resolved = resolve_versions(
            union([versions, *older]), contract, competes=sf.lit(True), keys_are_unique=keys_are_unique
        )
        kept = resolved.where("_outcome = 'kept'").selectExpr(*contract.select_list)
        refused = resolved.where("_outcome = 'refused'").selectExpr(*contract.quarantine.select_list)
        limits, accepted = Limits.of(work), list(work.state.details.get("accepted", []))
        is_judged = not keys_are_unique or (broken or 0) >= MIN_REFUSED_ROWS
        refused_rows = self._count_refused(versions, refused) if is_judged else {}
        accepted = judge_refused_rows(work, refused_rows, refused, limits, accepted)
        if store.exists(contract) and loaded.snapshot != work.state.details.get("snapshot", ""):
            existing, key = store.read(contract), list(contract.key)
            missing = existing.select(*key).join(kept.select(*key), key, how="left_anti").count()
            judge_missing_rows(work, missing, existing.count, limits)
        details = _details(loaded, limits, accepted)
        return rewrite(work, kept, refused, received=work.inputs[bronze.name].rows, details=details)

    def _count_refused(self, versions: DataFrame, refused: DataFrame) -> Mapping[str, int]:
        """Return the number of refused rows by batch. A batch with few refused rows may be missing in the result.

        Rows that break rules are counted first, because this is cheaper than the resolution of versions.
        """
        broken = versions.where("NOT _keeps_rules").groupBy("_batch_id").count()
        many = [name for name, rows in broken.collect() if rows >= MIN_REFUSED_ROWS]
        if not many:
            return {}
        counted = refused.where(sf.col("_batch_id").isin(many)).groupBy("_batch_id").count().collect()
        return {name: rows for name, rows in counted}


def _details(loaded: LoadedBatches, limits: Limits, accepted: list[str]) -> dict[str, Any]:
    """Return the `details` of the table's state.

    - `snapshot`: latest snapshot that the table is built from; empty if there is none;
    - `limits`: limits by which the latest changes were judged;
    - `accepted`: batches that a person has accepted although they exceed a limit.
    """
    return {"snapshot": loaded.snapshot, "limits": asdict(limits), "accepted": accepted}


def current_bronze_rows(bronze: DataFrame, loaded: LoadedBatches) -> DataFrame:
    """Return the bronze rows since the latest snapshot.

    If batches are whole files, return only the newest version of each file.
    """
    rows = bronze.where(sf.col("_batch_id") >= loaded.snapshot) if loaded.snapshot else bronze
    return newest_files(rows) if loaded.has_files else rows


def is_older_than_bronze(loaded: LoadedBatches) -> Column:
    """Return a condition: the row's batch is older than `complete_since`, so the row may be in silver only.

    Once a snapshot is loaded, the condition is false for every row, because a snapshot holds all records.
    """
    return sf.col("_batch_id") < sf.lit("" if loaded.snapshot else loaded.complete_since)


def _competes(loaded: LoadedBatches) -> Column:
    """Return the condition `competes` of `resolve_versions`, for a refresh that resolves all rows again.

    Every received row competes. A row of the table or of its quarantine competes only if it may be in silver only
    (`is_older_than_bronze`).
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
    origin = sf.col("_origin")
    return sf.when(origin == "table", of_table).when(origin == "quarantine", of_quarantine).otherwise(of_batch)


def _compare_with_quarantine(changes: DataFrame, quarantine: DataFrame) -> DataFrame:
    """Compare the refused rows of a change set with the quarantine, and keep only the differences.

    A `refuse` change adds a row to the quarantine. It is dropped if the row is already in quarantine. A `mend` change
    removes a row from the quarantine. It is added for each quarantined row that is no longer refused.
    """
    row = ["_batch_id", "record"]
    refused = changes.where("_change_type = 'refuse'").select(*row)
    known = quarantine.select(*row, sf.lit(True).alias("_is_known"))
    new_changes = changes.join(known, row, how="left").where(
        "NOT (_change_type = 'refuse' AND coalesce(_is_known, false))"
    )
    mended = quarantine.join(refused, row, how="left_anti").withColumn("_change_type", sf.lit("mend"))
    return new_changes.drop("_is_known").unionByName(mended, allowMissingColumns=True)
