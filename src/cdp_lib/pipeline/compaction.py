"""Compaction of old landed batches: the batches are removed, and bronze keeps the needed rows of these batches."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.frames import union, without_comments
from cdp_lib.landing import Landing
from cdp_lib.mapping import NO_MAPPING
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.history import Snapshot
from cdp_lib.pipeline.load_batches import MAX_LATENESS, LoadedBatches
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.work import LOADED_IN_VERSION, SET_ASIDE, map_stored_rows, mapping_of, without_batches
from cdp_lib.quality import record_hash
from cdp_lib.storage import DeltaStore


@dataclass(frozen=True)
class CompactedTable:
    """Result of compacting one bronze table.

    Attributes:
        table_name: Name of the table.
        batches: Number of landed batches that were removed.
        rows_before: Number of rows of the table before the compaction.
        rows_after: Number of rows of the table after the compaction.
        skip_reason: Why the table was not compacted. Empty if the table was compacted.
    """

    table_name: str
    batches: int = 0
    rows_before: int = 0
    rows_after: int = 0
    skip_reason: str = ""

    def __str__(self) -> str:
        """Return the result in one line."""
        if self.skip_reason:
            return f"{self.table_name}: not compacted: {self.skip_reason}"
        return f"{self.table_name}: {self.batches:,} batches removed, {self.rows_before:,} → {self.rows_after:,} rows"


def remove_old_batches(
    store: DeltaStore, landing: Landing, keep_days: int, now: datetime, graph: Graph | None = None
) -> list[CompactedTable]:
    """Compact the bronze rows of batches that are older than `keep_days`, and remove these batches from the landing.

    A bronze table keeps only those rows of old batches that downstream tables may still need:

    - for each key, the latest version that breaks no rejecting rule;
    - for each key whose latest version breaks a rejecting rule, also this version;
    - for each inactive row, a tombstone whose time says since when the row is inactive;
    - for entities that are landed as whole files, all rows of the newest version of each file;
    - every change of a product price.

    Therefore, downstream tables have the same rows as without compaction, even if late batches land afterwards.

    The newest batch of each entity is not removed, because the next extraction starts from its watermark.

    If the run is killed, no row is lost: bronze is rewritten in one commit, before the first batch is removed.

    Args:
        store: Tables of the platform.
        landing: Landed batches.
        keep_days: Number of days for which landed batches are kept. The minimum is `MAX_LATENESS`.
        now: Start of the run, UTC.
        graph: Graph of the tables. None for the graph of the platform.

    Returns:
        One result per bronze table that was compacted or skipped.
    """
    graph = graph or platform_graph()
    kept_from = f"{now - max(timedelta(days=keep_days), MAX_LATENESS):%Y%m%dT%H%M%SZ}"
    states = read_states(store)
    compacted = []
    for table in graph.tables.values():
        if isinstance(table.contract, BronzeContract) and table.name in states:
            landed = landing.batch_ids(table.contract.source, table.contract.entity)
            loaded = LoadedBatches.of(states[table.name])
            old = [name for name in landed[:-1] if name < kept_from and loaded.holds(name)]
            if message := _late_batch_message(store, landing, table.contract, loaded, landed):
                compacted.append(CompactedTable(table.name, skip_reason=message))
            elif old:
                readers = [
                    each
                    for each in map(graph.tables.__getitem__, graph.readers(table.name))
                    if each.materialization.needs_bronze_rows
                ]
                compacted.append(_compact(store, states, table.contract, readers, old[-1]))
                if not compacted[-1].skip_reason:
                    landing.remove_batches(table.contract.source, table.contract.entity, old)
                    compacted[-1] = replace(compacted[-1], batches=len(old))
    return compacted


def late_batch_messages(store: DeltaStore, landing: Landing, graph: Graph | None = None) -> dict[str, str]:
    """Return messages about batches that landed too late to be loaded, by name of the bronze table.

    A load lists only the folders of recent days. A batch in the folder of an older day is not loaded. A table without
    such batches has no message.

    Cost: all landed batches are listed. The names of batches of older days are compared with the batch names in bronze.
    If a batch is not in bronze, its manifest is read.

    Args:
        store: Tables of the platform.
        landing: Landed batches.
        graph: Graph of the tables. None for the graph of the platform.
    """
    states, messages = read_states(store), {}
    for table in (graph or platform_graph()).tables.values():
        if isinstance(table.contract, BronzeContract) and table.name in states:
            loaded = LoadedBatches.of(states[table.name])
            landed = landing.batch_ids(table.contract.source, table.contract.entity)
            if message := _late_batch_message(store, landing, table.contract, loaded, landed):
                messages[table.name] = message
    return messages


def _late_batch_message(
    store: DeltaStore, landing: Landing, contract: BronzeContract, loaded: LoadedBatches, landed: list[str]
) -> str:
    """Return a message if some of the landed batches landed too late to be loaded. Return an empty string otherwise."""
    unlisted = [name for name in landed if loaded.compacted_to < name < loaded.listed_from]
    if not unlisted:
        return ""
    rows = store.read(contract).where(sf.col("_batch_id") < sf.lit(loaded.listed_from))
    in_bronze = {name for (name,) in rows.select("_batch_id").distinct().collect()}
    missing = [name for name in unlisted if name not in in_bronze]
    batches = [landing.find_batch(contract.source, contract.entity, name) for name in missing]
    late = [batch.batch_id for batch in batches if batch and batch.rows != 0]
    if not late:
        return ""
    more = f" (and {len(late) - 1} more)" if late[1:] else ""
    return (
        f"batch {late[0]}{more} landed more than {MAX_LATENESS.days} days late and is not loaded: run with"
        f" replay_from={late[0]}, or delete the folders of the late batches"
    )


def _compact(
    store: DeltaStore, states: States, contract: BronzeContract, readers: list[Table], last: str
) -> CompactedTable:
    """Delete unneeded rows of all batches up to `last`: rows that no downstream table needs any more."""
    state = states[contract.name]
    if any(
        states.get(each.name, TableState()).inputs.get(contract.name) != (state.version, state.token)
        for each in readers
    ):
        return CompactedTable(
            contract.name,
            skip_reason="a downstream table has not read the newest rows: refresh the downstream tables first",
        )
    rows = store.read(contract)
    whole_row = sf.struct(*(sf.col(f"`{name}`") for name in rows.columns)).alias("_bronze_row")
    set_aside = {name for each in readers for name in states[each.name].details.get(SET_ASIDE, [])}
    read = without_batches(rows, set_aside)
    mapping = next(filter(None, (mapping_of(states[each.name]) for each in readers)), NO_MAPPING)
    mapped = map_stored_rows(store, read.select("*", whole_row), contract, mapping)
    is_old = sf.col("_batch_id") <= sf.lit(last)
    key = ["_batch_id", "_record_hash"]
    loaded = LoadedBatches.of(state)
    needed = union([each.materialization.rows_to_keep(each, mapped, loaded, last).select(*key) for each in readers])
    # Old tombstones are not kept: `_tombstones` writes new ones for inactive rows.
    is_record = is_old & ~sf.coalesce("_is_deleted", sf.lit(False))
    hashed = mapped.where(is_record).withColumn("_record_hash", record_hash(contract))
    kept = hashed.join(needed.distinct(), key, how="left_semi").select(
        *(sf.col("_bronze_row")[name].alias(name) for name in rows.columns)
    )
    for reader in readers:
        if ends := reader.materialization.ends_to_keep(reader, mapped, loaded, last):
            kept = union([without_comments(each, rows.columns) for each in (kept, *_tombstones(rows, hashed, *ends))])
    # Set the row count to unknown first: the old count would be wrong if the run is killed after the overwrite.
    states[contract.name] = replace(state, rows=None, details=asdict(replace(loaded, compacted_to=last)))
    write_states(store, states)
    store.overwrite(contract, kept, is_old)
    rows_after = store.count([contract])[contract.name]
    states[contract.name] = replace(states[contract.name], rows=rows_after)
    write_states(store, states)
    return CompactedTable(contract.name, 0, state.rows or 0, rows_after)


def _tombstones(rows: DataFrame, hashed: DataFrame, inactive: DataFrame, latest: Snapshot | None) -> list[DataFrame]:
    """Return the tombstones that take the place of removed snapshots.

    - Each inactive row gets a tombstone in the batch of the row. The tombstone therefore does not end versions in later
      batches. The time of the tombstone says since when the row is inactive.
    - The latest snapshot gets a tombstone without a key. Bronze then has a row of the snapshot, even if all records
      of the snapshot are deleted. Without any row, the snapshot would no longer end the versions before it.

    Args:
        rows: Rows of the bronze table.
        hashed: Rows of compacted batches, with `_bronze_row` and `_record_hash`.
        inactive: `_batch_id`, `_record_hash` and `_ended_at` of the inactive rows.
        latest: Latest compacted snapshot. None if there is none.
    """
    tombstone = {"_is_deleted": sf.lit(True), "_source_file": sf.lit("compaction")}
    copied = {name: sf.col("_bronze_row")[name] for name in rows.columns}
    of_rows = copied | tombstone | {"_load": sf.lit("increment"), "_ingested_at": sf.col("_ended_at")}
    # Without the offset, some engines check NOT NULL of `_ingested_at` before they filter the inactive rows.
    ended = hashed.join(inactive.distinct(), ["_batch_id", "_record_hash"], how="inner").offset(0)
    found = [ended.select(*(of_rows[name].cast(type_).alias(name) for name, type_ in rows.dtypes))]
    if latest:
        snapshot = {"_load": sf.lit("snapshot"), "_batch_id": sf.lit(latest.name)}
        snapshot |= {"_ingested_at": sf.lit(latest.extracted_at), LOADED_IN_VERSION: sf.lit(0)}
        values = dict.fromkeys(rows.columns, sf.lit(None)) | tombstone | snapshot
        found.append(rows.limit(1).select(*(values[name].cast(type_).alias(name) for name, type_ in rows.dtypes)))
    return found
