"""Rows that the source no longer has: which versions of a record are past, and since when.

A version of a record ends with the next snapshot or with the next tombstone of the record, whichever comes first. The
versions that end with the same snapshot or tombstone form an era. The versions that have not ended form the current
era. For example, batches 1 and 2 are increments, and batch 3 is a snapshot. The versions in batches 1 and 2 form one
era. The versions in batch 3 form the current era.

A table has one row per key. The row comes from the latest era in which a version breaks no rejecting rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import frame_from_rows
from cdp_lib.quality import ERA_SEPARATOR, check_versions, end_of_era

_END_TYPES = {"_batch_id": "STRING", "_next_snapshot": "STRING", "_covered_from": "STRING"}


@dataclass(frozen=True)
class Snapshot:
    """A loaded snapshot.

    Attributes:
        name: Name of the batch.
        extracted_at: Time of extraction, UTC, as text.
        covers_from: First day that the snapshot covers, ISO 8601. Empty if it covers no day.
    """

    name: str
    extracted_at: str
    covers_from: str = ""

    @property
    def end(self) -> str:
        """Return the name of the era that the snapshot ends, in the format of `end_of_era`."""
        return f"{self.name}{ERA_SEPARATOR}{self.extracted_at}"


def covered_from(snapshots: Sequence[Snapshot]) -> str:
    """Return the earliest day that any of the snapshots covers; empty if they cover no day."""
    return min((each.covers_from for each in snapshots if each.covers_from), default="")


def with_ends(rows: DataFrame, snapshots: Sequence[Snapshot], batches: Sequence[str]) -> DataFrame:
    """Return received rows with `ERA_COLUMNS`, which describe the snapshot or tombstone that ends each row.

    Args:
        rows: Rows that a builder returned.
        snapshots: Snapshots that may end versions, oldest first.
        batches: Names of the batches that the rows come from. Batches without a later snapshot may be left out.
    """
    later = {name: [each for each in snapshots if each.name > name] for name in batches}
    ends = [
        {"_batch_id": name, "_next_snapshot": after[0].end, "_covered_from": covered_from(after) or None}
        for name, after in later.items()
        if after
    ]
    text = sf.lit(None).cast("string")
    if ends:
        ended = rows.join(sf.broadcast(frame_from_rows(ends, _END_TYPES, rows)), "_batch_id", how="left")
    else:
        ended = rows.select("*", text.alias("_next_snapshot"), text.alias("_covered_from"))
    tombstone = sf.when(sf.col("_is_deleted"), end_of_era(sf.col("_batch_id"), sf.col("_ingested_at").cast("string")))
    return ended.select("*", tombstone.alias("_tombstone"), sf.lit(False).alias("_is_past"))


def with_snapshots(candidates: DataFrame, snapshots: Sequence[Snapshot], is_past: Column) -> DataFrame:
    """Return rows of a table or quarantine with `ERA_COLUMNS`, which describe the snapshot that ends each row.

    Args:
        candidates: Rows whose batches are older than all snapshots.
        snapshots: Snapshots that may end the rows, oldest first.
        is_past: Condition that is true for a row that was already past before this refresh.
    """
    first = snapshots[0].end if snapshots else None
    return candidates.select(
        "*",
        sf.lit(first).cast("string").alias("_next_snapshot"),
        sf.lit(covered_from(snapshots) or None).cast("string").alias("_covered_from"),
        sf.lit(None).cast("string").alias("_tombstone"),
        is_past.alias("_is_past"),
    )


def with_first_days(
    snapshots: Sequence[Snapshot], rows: DataFrame, contract: TableContract, column: str
) -> list[Snapshot]:
    """Return snapshots with the first day that each snapshot covers.

    The first day is the smallest date among the rows of the snapshot that break no rejecting rule.

    Args:
        snapshots: Snapshots.
        rows: Rows that a builder returned. Only the rows of the snapshots are used.
        contract: Contract of the rows' table.
        column: Date column. If empty, snapshots cover all rows, and the snapshots are returned unchanged.
    """
    if not (column and snapshots):
        return list(snapshots)
    of_snapshots = rows.where(sf.col("_batch_id").isin([each.name for each in snapshots]))
    valid = check_versions(of_snapshots, contract, keys_are_unique=True).where("_keeps_rules AND NOT _is_deleted")
    days = valid.groupBy("_batch_id").agg(sf.min(column).cast("string")).collect()
    first = {name: day for name, day in days}
    return [replace(each, covers_from=first.get(each.name) or "") for each in snapshots]
