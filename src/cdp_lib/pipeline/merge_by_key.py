"""Silver tables that received rows are merged into: one row per key, the latest version that keeps the rules."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.frames import union, without_comments
from cdp_lib.pipeline.change_sets import new_change_set, rewrite, write_change_set
from cdp_lib.pipeline.load_batches import Loaded, newest_files, repeats_files
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

    The table is a function of the batches so far, in the order of their extraction: an increment on top of all others
    is merged alone. A snapshot, a batch that arrives late and a file that is received again are resolved together with
    everything since the latest snapshot.

    Cost: new rows, and the rows of their keys; after a snapshot all rows since it and the whole table are compared by
    key and hash, and what differs is resolved and written. A kill is harmless: what changes is stored before it is
    merged (`change_sets`).
    """

    def refresh(self, work: Work) -> Outcome:
        """Merge new batches, or resolve all of them again."""
        [bronze], store, contract = work.table.reads, work.store, work.contract
        loaded = Loaded.of(work.inputs[bronze.name])
        new_rows = None if work.must_rewrite else work.changed_rows(bronze)
        if new_rows is None:
            return self._rewrite(work, loaded)
        seen = work.state.inputs[bronze.name][0]
        is_increment = loaded.is_on_top(seen) and not (loaded.has_files and repeats_files(store.read(bronze), seen))
        received = work.build(new_rows if is_increment else rows_in_force(store.read(bronze), loaded))
        there, waiting = store.read(contract), store.read(contract.quarantine)
        if is_increment:
            keys = with_record_key(received, contract).where("record_key IS NOT NULL")
            keys = keys.select(*contract.key, "record_key").distinct()
            there = store.read_keys(contract, keys.drop("record_key"))
            others = candidates_of_quarantine(waiting, keys, contract)
            # Most increments are of new rows: to compare versions takes several times as long as to see that.
            names = list(contract.key)
            all_keys = union([without_comments(rows, names) for rows in (received, there, others)])
            keys_are_unique = all_keys.groupBy(*names).count().where("count > 1").isEmpty()
        else:
            key, unchanged = list(contract.key), unchanged_keys(received, there, waiting, contract)
            received, there = (rows.join(unchanged, key, how="left_anti") for rows in (received, there))
            others = candidates_of_quarantine(waiting.where(is_behind_bronze(loaded)), None, contract)
            keys_are_unique = False
        versions = check_versions(received, contract, keys_are_unique=keys_are_unique)
        candidates = versions if keys_are_unique else union([versions, candidates_of_table(there, contract), others])
        is_rival = sf.lit(True) if is_increment else _is_rival(loaded)
        resolved = resolve_versions(candidates, contract, is_rival=is_rival, keys_are_unique=keys_are_unique)
        changes = resolved.select("*", _change_type().alias("_change_type")).where("_change_type IS NOT NULL")
        # Records as received are for the quarantine; silver has them typed.
        is_refusal = sf.col("_change_type").isin("refuse", "mend")
        changes = changes.withColumn("record", sf.when(is_refusal, sf.col("record")))
        if not is_increment:
            changes = _against(changes, waiting.where(~is_behind_bronze(loaded)))
        return write_change_set(work, new_change_set(work), changes)

    def needed(self, table: Table, rows: DataFrame, loaded: Loaded) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that still count, whatever lands later.

        Of files all of the newest version: a row of another file may take the place of one that a correction removes.
        """
        in_force = rows_in_force(rows, loaded)
        if loaded.has_files:
            return in_force.select("_batch_id", record_hash(table.reads[0]).alias("_record_hash"))
        versions = check_versions(table.build(in_force), table.contract)
        return resolve_versions(versions, table.contract, is_rival=sf.lit(True)).where("_outcome <> 'superseded'")

    def _rewrite(self, work: Work, loaded: Loaded) -> Outcome:
        """Resolve every batch, and replace the table and its quarantine."""
        [bronze], store, contract = work.table.reads, work.store, work.contract
        received = work.build(rows_in_force(store.read(bronze), loaded))
        others = []
        if loaded.complete_since and store.exists(contract):
            behind = is_behind_bronze(loaded)
            others = [
                candidates_of_table(store.read(contract).where(behind), contract),
                candidates_of_quarantine(store.read(contract.quarantine).where(behind), None, contract),
            ]
        keys_are_unique = not others and received.groupBy(*contract.key).count().where("count > 1").isEmpty()
        versions = check_versions(received, contract, keys_are_unique=keys_are_unique)
        resolved = resolve_versions(
            union([versions, *others]), contract, is_rival=sf.lit(True), keys_are_unique=keys_are_unique
        )
        kept = resolved.where("_outcome = 'kept'").selectExpr(*contract.select_list)
        refused = resolved.where("_outcome = 'refused'").selectExpr(*contract.quarantine.select_list)
        return rewrite(work, kept, refused, received=work.inputs[bronze.name].rows)


def rows_in_force(bronze: DataFrame, loaded: Loaded) -> DataFrame:
    """Return the bronze rows that no later snapshot, and no later version of their file, replaces as a whole."""
    rows = bronze.where(sf.col("_batch_id") >= loaded.snapshot) if loaded.snapshot else bronze
    return newest_files(rows) if loaded.has_files else rows


def is_behind_bronze(loaded: Loaded) -> Column:
    """Return whether a row came with a batch from before the mark since which bronze is complete.

    A snapshot that came since is all there is: nothing is behind it.
    """
    return sf.col("_batch_id") < sf.lit("" if loaded.snapshot else loaded.complete_since)


def _is_rival(loaded: Loaded) -> Column:
    """Return whether a candidate competes, where all batches are resolved again.

    A row of the table only stands in for batches that bronze does not have.
    """
    return (sf.col("_origin") == "batch") | is_behind_bronze(loaded)


def _change_type() -> Column:
    """Return what a resolved candidate means for the table: null where it is there and stays."""
    outcome, is_gone = sf.col("_outcome"), sf.col("_is_gone")
    of_table = sf.when(outcome == "superseded", sf.when(is_gone, "delete").otherwise("before"))
    of_batch = sf.when(outcome == "kept", "insert").when(outcome == "refused", "refuse").otherwise("supersede")
    of_quarantine = sf.when(outcome == "superseded", "mend")
    origin = sf.col("_origin")
    return sf.when(origin == "table", of_table).when(origin == "quarantine", of_quarantine).otherwise(of_batch)


def _against(changes: DataFrame, quarantine: DataFrame) -> DataFrame:
    """Return changes without the refusals that stand in quarantine already, and with those that do so no longer."""
    row = ["_batch_id", "record"]
    refused = changes.where("_change_type = 'refuse'").select(*row)
    known = quarantine.select(*row, sf.lit(True).alias("_is_known"))
    entering = changes.join(known, row, how="left").where(
        "NOT (_change_type = 'refuse' AND coalesce(_is_known, false))"
    )
    mended = quarantine.join(refused, row, how="left_anti").withColumn("_change_type", sf.lit("mend"))
    return entering.drop("_is_known").unionByName(mended, allowMissingColumns=True)
