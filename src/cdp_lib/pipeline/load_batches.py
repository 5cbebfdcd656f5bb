"""Bronze tables: landed batches as they are, with where each row comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.frames import union
from cdp_lib.landing import Manifest
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import LOADED_AT, Outcome, RowCounts, Work

REMEMBERED = timedelta(days=7)
"""Time before the newest batch for which names of batches are kept; an older batch counts as loaded."""

_BATCHES_AT_ONCE = 50
"""Batches in one commit: engines die of a plan with hundreds."""

_FILE_NAME = r"/data/(?:file=)?(.*?)(?:/part-00000)?\.jsonl$"
"""Name of a source's file in `_source_file`, as the notebooks (`file=<name>/part-00000.jsonl`) and Data Factory
(`<name>.jsonl`) land it."""


@dataclass(frozen=True)
class Loaded:
    """The batches that a bronze table holds.

    Attributes:
        batches: Number of the table's version that each batch of the last days was loaded with, by name.
        mark: The newest batch before these days: every batch up to it counts as loaded.
        newest: The newest batch.
        snapshot: The latest snapshot, empty where there is none.
        has_files: Whether batches are whole files of the source.
        complete_since: Since which batch the table has all there were; what is older is in silver alone. Empty: all.
        compacted_to: Up to which batch only rows are left that still count; empty: none.
    """

    batches: Mapping[str, int] = field(default_factory=dict)
    mark: str = ""
    newest: str = ""
    snapshot: str = ""
    has_files: bool = False
    complete_since: str = ""
    compacted_to: str = ""

    @classmethod
    def of(cls, state: TableState) -> Loaded:
        """Read what a state says of a bronze table."""
        return cls(**state.details)

    @property
    def since(self) -> str:
        """How names of the first day begin of which all loaded batches are known; empty before the first batch."""
        return first_day_listed(self.newest)

    def emptied(self) -> Loaded:
        """Return what is left where every landed batch is loaded again."""
        return Loaded(complete_since=self.complete_since, compacted_to=self.compacted_to)

    def holds(self, batch_id: str) -> bool:
        """Return whether a batch is loaded."""
        return batch_id in self.batches or batch_id <= self.mark

    def has_whole(self, batch_id: str) -> bool:
        """Return whether the table has every row that a batch came with."""
        return batch_id >= self.complete_since and (batch_id > self.compacted_to or not self.compacted_to)

    def is_on_top(self, seen: int) -> bool:
        """Return whether what was loaded after a version are increments, or files, newer than all before them."""
        new = [name for name, version in self.batches.items() if version > seen]
        before = [name for name, version in self.batches.items() if version <= seen]
        return bool(new) and self.snapshot not in new and min(new) > max(before, default=self.mark)

    def followed_by(self, batches: list[Manifest], version: int) -> Loaded:
        """Return what the table holds once it holds these batches, too."""
        names = dict(self.batches) | {batch.batch_id: version for batch in batches}
        newest = max(names, default=self.newest)
        oldest = first_day_listed(newest)
        forgotten = [name for name in names if name < oldest]
        return replace(
            self,
            batches={name: number for name, number in sorted(names.items()) if name not in forgotten},
            mark=max([self.mark, *forgotten]),
            newest=newest,
            snapshot=max([self.snapshot, *(batch.batch_id for batch in batches if batch.load == "snapshot")]),
            has_files=self.has_files or any(batch.load == "files" for batch in batches),
        )


def first_day_listed(newest: str) -> str:
    """Return how names of the first day begin in which a batch may land late: seven days before the newest batch's.

    >>> first_day_listed("20260131T235959Z-1")
    '20260124T000000Z'
    """
    try:
        return f"{datetime.strptime(newest[:8], '%Y%m%d') - REMEMBERED:%Y%m%dT%H%M%SZ}"  # noqa: DTZ007
    except (ValueError, OverflowError):
        return ""


@dataclass(frozen=True)
class LoadBatches(Materialization):
    """Append the rows of landed batches that the table does not hold yet.

    Cost: each new batch is read twice, once for its checksum; of the landing, the days are listed from seven before the
    newest loaded batch on. What lands before them is not seen (`complaints_of_late_batches`).

    A kill is harmless: rows carry the number of the version that they were loaded with (`_version`); what a killed run
    left has a number that the table's state never reached, and is replaced.
    """

    def news(self, work: Work) -> str:
        """Return how many batches are new."""
        loaded, contract = Loaded.of(work.state), _contract(work)
        new = work.landing.batch_ids(contract.source, contract.entity, *_to_look_for(work, loaded))
        return f"{len(new)} new {'batch' if len(new) == 1 else 'batches'}" if new else ""

    def refresh(self, work: Work) -> Outcome:
        """Load the new batches, or all that are landed."""
        contract, store, state = _contract(work), work.store, work.next_state()
        before = Loaded.of(work.state)
        loaded = before.emptied() if work.must_rewrite else before
        unexamined = work.landing.batches(contract.source, contract.entity, *_to_look_for(work, loaded))
        manifests = [work.landing.examine(batch) for batch in unexamined]
        frames: dict[str, DataFrame] = work.table.build(store.session, work.landing, manifests, contract)
        replayed = [name for name in frames if loaded.holds(name)]
        is_whole = work.must_rewrite or bool(replayed)
        if is_whole:
            work.announce()
        rows = {
            name: frame.withColumn(LOADED_AT, sf.lit(state.version).cast("bigint")) for name, frame in frames.items()
        }
        rows_before: int | None
        if work.must_rewrite:
            gained, rows_before = self._write_anew(work, list(rows.values()), manifests)
        else:
            gained, rows_before = self._add(work, list(rows.values()), replayed), work.state.rows
        received = sum(batch.rows or 0 for batch in manifests if batch.batch_id in frames)
        if replayed or rows_before is None:
            rows_now = store.count([contract])[contract.name]
        else:
            rows_now = rows_before + received
        details = asdict(loaded.followed_by(manifests, state.version))
        return Outcome(
            replace(
                state, rows=rows_now, rewritten_at=state.version if is_whole else state.rewritten_at, details=details
            ),
            RowCounts(received),
            tuple(gained),
        )

    def _add(self, work: Work, frames: list[DataFrame], replayed: list[str]) -> list[str]:
        """Add rows to the table, in place of those of replayed batches and of those that a killed run left."""
        contract, store = _contract(work), work.store
        gained = [name for rows in frames for name in store.gain_columns(contract, rows)]
        left = sf.col(LOADED_AT) > work.state.version
        for number, rows in enumerate(self._together(work, frames)):
            if number == 0 and (replayed or not store.read(contract).where(left).isEmpty()):
                store.overwrite(contract, rows, left | sf.col("_batch_id").isin(replayed) if replayed else left)
            else:
                store.append(contract, rows)
        return gained

    def _write_anew(self, work: Work, frames: list[DataFrame], landed: list[Manifest]) -> tuple[list[str], int]:
        """Replace the table. Rows of batches that are landed no more stay: compaction has left what counts of them.

        Returns:
            The columns that the table gained, and the number of rows that stayed.
        """
        contract, store, rows_kept = _contract(work), work.store, 0
        if not store.create(contract):
            rows = store.read(contract)
            is_kept = sf.col("_batch_id") < landed[0].batch_id if landed else sf.lit(True)
            kept = rows.where(is_kept).withColumn(LOADED_AT, sf.lit(work.state.version + 1).cast("bigint"))
            rows_kept = kept.count()
            if rows_kept:
                store.rewrite(contract, kept)
            else:
                store.replace(contract, store.frame(contract, []))
        gained = [name for rows in frames for name in store.gain_columns(contract, rows)]
        for rows in self._together(work, frames):
            store.append(contract, rows)
        return gained, rows_kept

    def _together(self, work: Work, frames: list[DataFrame]) -> list[DataFrame]:
        """Return rows of many batches, so many in one frame, in all columns that the table has."""
        contract = _contract(work)
        known = set(contract.column_names)
        others = [each for each in work.store.read(contract).schema if each.name not in known] if frames else []
        aligned = [
            rows.select(
                *contract.column_names,
                *(
                    sf.col(f"`{each.name}`") if each.name in rows.columns
                    # An earlier version of the contract may have promised a text in each row.
                    else sf.lit(None if each.nullable else "").cast(each.dataType).alias(each.name)
                    for each in others
                ),
            )
            for rows in frames
        ]  # fmt: skip
        return [union(aligned[first : first + _BATCHES_AT_ONCE]) for first in range(0, len(aligned), _BATCHES_AT_ONCE)]


def _contract(work: Work) -> BronzeContract:
    if not isinstance(work.contract, BronzeContract):
        raise TypeError(f"{work.contract.name} is no bronze table")
    return work.contract


def _to_look_for(work: Work, loaded: Loaded) -> tuple[str, list[str]]:
    """Return since which day new batches may have landed, and the batches that are none."""
    if work.settings.full_refresh:
        return "", []
    replayed = work.settings.replay_from
    since = min(loaded.since, replayed) if replayed else loaded.since
    return since, [name for name in loaded.batches if not work.settings.is_replayed(name)]


def newest_files(rows: DataFrame) -> DataFrame:
    """Return of each file of a source the rows of the latest batch that it came with."""
    same_file = Window.partitionBy(sf.regexp_extract("_source_file", _FILE_NAME, 1))
    newest = rows.select("*", sf.max("_batch_id").over(same_file).alias("_newest"))
    return newest.where("_batch_id = _newest").drop("_newest")


def repeats_files(rows: DataFrame, seen: int) -> bool:
    """Return whether a file that was loaded after a version of the table had been loaded before."""
    is_new = sf.col(LOADED_AT) > seen
    # The few paths first: names are cut out of one of each, not of that of every row.
    paths = rows.select("_source_file", is_new.alias("is_new"), "_batch_id").distinct()
    files = paths.groupBy(sf.regexp_extract("_source_file", _FILE_NAME, 1)).agg(
        sf.bool_or("is_new").alias("is_new"), sf.countDistinct("_batch_id").alias("batches")
    )
    return not files.where("is_new AND batches > 1").isEmpty()
