"""Materialization of bronze tables: load the rows of landed batches unchanged.

Each row also gets the batch and the file that it comes from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.erasure.names import NAMING_COLUMNS
from cdp_lib.erasure.scrub import find_edits, scrub_batch
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.json_text import EXTRA
from cdp_lib.landing import Landing, Manifest
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.table import Materialization
from cdp_lib.pipeline.work import LOADED_IN_VERSION, Outcome, RowCounts, Work

MAX_LATENESS = timedelta(days=7)
"""Maximum time by which a batch may be older than the newest loaded batch. Batches of earlier days are treated as
already loaded."""

MAX_OWN_COLUMNS = 200
"""Maximum number of columns that a bronze table has in addition to the columns of its contract. The fields of further
names are in `_extra`, because every column makes every query on the table slower."""

_BATCHES_AT_ONCE = 50
"""Maximum number of batches per commit. Engines fail on query plans that read hundreds of batches."""

_FILE_NAME = r"/data/(?:file=)?(.*?)(?:/part-00000)?\.jsonl$"
"""Pattern of the values in `_source_file`. The group of the pattern is the name of the source file. Notebooks land a
source file as `file=<name>/part-00000.jsonl`, and Data Factory lands it as `<name>.jsonl`."""


@dataclass(frozen=True)
class LoadedBatches:
    """The batches that a bronze table has loaded. They are stored in the `details` of the table's state.

    Attributes:
        batches: Loaded batches of recent days (`MAX_LATENESS`), each with the table version that loaded the batch.
        mark: Name of the newest batch that is no longer in `batches`, because its day is not recent any more. Every
            batch up to this name is treated as loaded. Empty if all loaded batches are in `batches`.
        newest: Name of the newest loaded batch.
        snapshot: Name of the latest loaded snapshot. Empty if no snapshot was loaded.
        snapshots: The snapshots among `batches`, each with its time of extraction, UTC. Snapshots without loaded rows
            are left out.
        has_files: Whether a loaded batch consists of whole files of the source.
        complete_since: Name of a batch. Rows of earlier batches are only in silver, because an earlier version of the
            platform removed these batches (`adopt_warehouse`). Empty if no rows are only in silver.
        compacted_to: Name of the last compacted batch. The table has only the needed rows of this batch and of all
            earlier batches. Empty if no batch was compacted.
    """

    batches: Mapping[str, int] = field(default_factory=dict)
    mark: str = ""
    newest: str = ""
    snapshot: str = ""
    snapshots: Mapping[str, str] = field(default_factory=dict)
    has_files: bool = False
    complete_since: str = ""
    compacted_to: str = ""

    @classmethod
    def of(cls, state: TableState) -> LoadedBatches:
        """Return the loaded batches from the state of a bronze table.

        Raises:
            CdpError: A later version of the platform wrote the state.
        """
        try:
            return cls(**state.details)
        except TypeError as error:
            raise CdpError(
                f"A later version of the platform wrote the state of a bronze table ({error}): run that version, or"
                " drop table_state_ops, so that the next run builds every table again."
            ) from None

    @property
    def listed_from(self) -> str:
        """Start of the first day whose folder a load lists, in the format of batch names.

        Empty if no batch is loaded.
        """
        return first_day_listed(self.newest)

    def reset(self) -> LoadedBatches:
        """Return a copy in which no batch counts as loaded, for a reload of all landed batches."""
        return LoadedBatches(complete_since=self.complete_since, compacted_to=self.compacted_to)

    def holds(self, batch_id: str) -> bool:
        """Return whether a batch is treated as loaded."""
        return batch_id in self.batches or batch_id <= self.mark

    def up_to(self, version: int, newest: str, snapshot: str) -> LoadedBatches:
        """Return a copy without the batches that were loaded after a version of the table.

        Args:
            version: Number of the version.
            newest: Newest batch that was loaded up to this version.
            snapshot: Latest snapshot that was loaded up to this version. Empty if there is none.
        """
        batches = {name: number for name, number in self.batches.items() if number <= version}
        snapshots = {name: at for name, at in self.snapshots.items() if name in batches}
        return replace(self, batches=batches, newest=newest, snapshot=snapshot, snapshots=snapshots)

    def has_whole(self, batch_id: str) -> bool:
        """Return whether the table still has every row of a batch."""
        return batch_id >= self.complete_since and (batch_id > self.compacted_to or not self.compacted_to)

    def newer_batches(self, seen: int, newest: str | None) -> list[str]:
        """Return the new batches, if they can be merged without the earlier batches.

        A batch is new if it was loaded after table version `seen`. The new batches can be merged if two conditions are
        true:

        - each new batch is newer than every batch that was loaded up to version `seen`;
        - `batches` still lists all new batches.

        Args:
            seen: Version of the bronze table.
            newest: Name of the newest batch that was loaded up to this version. None if unknown.

        Returns:
            The names of the new batches, oldest first. Empty if no batch is new, or if the new batches can't be merged
            without the earlier batches.
        """
        new = sorted(name for name, version in self.batches.items() if version > seen)
        earlier = [name for name, version in self.batches.items() if version <= seen]
        newest = max(earlier, default=self.mark) if newest is None else newest
        return new if new and new[0] > newest and self.mark <= newest else []

    def with_batches(
        self, batches: list[Manifest], version: int, with_rows: Collection[str], unreadable: Collection[str] = ()
    ) -> LoadedBatches:
        """Return a copy that also includes `batches`.

        Args:
            batches: Manifests of the batches.
            version: Version of the table that loaded the batches.
            with_rows: Names of the batches whose rows were loaded. Every other batch is empty, or `build_batches` has
                skipped it.
            unreadable: Names of batches that can't be read, and whose place a later snapshot has taken.
        """
        names = dict(self.batches) | dict.fromkeys([*(batch.batch_id for batch in batches), *unreadable], version)
        newest = max(names, default=self.newest)
        listed_from = first_day_listed(newest)
        forgotten = [name for name in names if name < listed_from]
        snapshots = dict(self.snapshots) | {
            batch.batch_id: batch.extracted_at
            for batch in batches
            if batch.load == "snapshot" and batch.batch_id in with_rows
        }
        return replace(
            self,
            batches={name: number for name, number in sorted(names.items()) if name not in forgotten},
            mark=max([self.mark, *forgotten]),
            newest=newest,
            snapshot=max([self.snapshot, *(batch.batch_id for batch in batches if batch.load == "snapshot")]),
            snapshots={name: at for name, at in sorted(snapshots.items()) if name not in forgotten},
            has_files=self.has_files or any(batch.load == "files" for batch in batches),
        )


def first_day_listed(newest: str) -> str:
    """Return the start of the first day that a load lists, in the format of batch names.

    This day is `MAX_LATENESS` before the day of the batch `newest`. Batches of earlier days are not loaded. Return
    an empty string if the name of the batch does not begin with a date.

    >>> first_day_listed("20260131T235959Z-1")
    '20260124T000000Z'
    """
    try:
        return f"{datetime.strptime(newest[:8], '%Y%m%d') - MAX_LATENESS:%Y%m%dT%H%M%SZ}"  # noqa: DTZ007
    except (ValueError, OverflowError):
        return ""


@dataclass(frozen=True)
class LoadBatches(Materialization):
    """Append the rows of landed batches that the table does not hold yet.

    Cost: each new batch is read twice, to verify its checksum and to load its rows. The listing of the landing starts
    seven days before the newest loaded batch. A batch in an earlier day folder is not loaded (`late_batch_messages`).

    If a run is killed, the next run corrects the table. Each row stores the table version that loaded it (`_version`).
    Rows of a killed run have a higher version than the table's state, so the next run replaces these rows.
    """

    def describe_new_input(self, work: Work) -> str:
        """Return the number of new batches as text, such as `2 new batches`. Return "" if no batch is new."""
        loaded, contract = LoadedBatches.of(work.state), _contract(work)
        new = work.landing.batch_ids(contract.source, contract.entity, *_listing_arguments(work, loaded))
        return f"{len(new)} new {'batch' if len(new) == 1 else 'batches'}" if new else ""

    def refresh(self, work: Work) -> Outcome:
        """Load the new batches, or all landed batches if the table must be rewritten."""
        contract, store, state = _contract(work), work.store, work.next_state()
        loaded = LoadedBatches.of(work.state)
        if work.is_rebuild:
            _require_landed(work)
        if work.must_rewrite:
            loaded = loaded.reset()
        names = work.landing.batch_ids(contract.source, contract.entity, *_listing_arguments(work, loaded))
        manifests, unreadable = _examine(work.landing, contract, names)
        own_columns = set[str]()
        if work.state.version and not work.must_rewrite:
            own_columns = {*store.read(contract).columns} - {*contract.column_names}
        frames = _build(work, manifests, own_columns)
        if scrubbed := _scrub(work, manifests, frames):
            manifests = [scrubbed.get(batch.batch_id, batch) for batch in manifests]
            frames = _build(work, manifests, own_columns)
        replayed = [name for name in frames if loaded.holds(name)]
        is_whole = work.must_rewrite or bool(replayed)
        if is_whole:
            work.mark_rewriting()
        version = sf.lit(state.version).cast("bigint")
        rows = [frame.withColumn(LOADED_IN_VERSION, version) for frame in frames.values()]
        rows_before: int | None
        if work.must_rewrite:
            new_columns, rows_before = self._rewrite(work, rows, manifests)
        else:
            new_columns, rows_before = self._append(work, rows, replayed), work.state.rows
        received = sum(batch.rows or 0 for batch in manifests if batch.batch_id in frames)
        if replayed or rows_before is None:
            rows_now = store.count([contract])[contract.name]
        else:
            rows_now = rows_before + received
        skipped = [*unreadable, *(batch.batch_id for batch in manifests if batch.rows and batch.batch_id not in frames)]
        details = asdict(loaded.with_batches(manifests, state.version, frames, unreadable))
        is_full = len(own_columns) + len(new_columns) >= MAX_OWN_COLUMNS
        return Outcome(
            replace(
                state, rows=rows_now, rewritten_at=state.version if is_whole else state.rewritten_at, details=details
            ),
            RowCounts(received),
            tuple(_notes(contract, new_columns, skipped, is_full=is_full)),
        )

    def _append(self, work: Work, frames: list[DataFrame], replayed: list[str]) -> list[str]:
        """Append rows, and return the names of the columns that are added to the table.

        The rows of replayed batches and the rows of a killed run are replaced.
        """
        contract, store = _contract(work), work.store
        new_columns = [name for rows in frames for name in store.add_columns(contract, rows)]
        is_leftover = sf.col(LOADED_IN_VERSION) > work.state.version
        is_replaced = is_leftover | sf.col("_batch_id").isin(replayed) if replayed else is_leftover
        for number, rows in enumerate(self._combine(work, frames)):
            if number == 0 and (replayed or not store.read(contract).where(is_leftover).isEmpty()):
                store.overwrite(contract, rows, is_replaced)
            else:
                store.append(contract, rows)
        return new_columns

    def _rewrite(self, work: Work, frames: list[DataFrame], landed: list[Manifest]) -> tuple[list[str], int]:
        """Replace the rows of all landed batches.

        Compaction removes landed batches but keeps their needed rows in the table. This function also keeps those rows.

        Returns:
            Two values: the names of the columns that are added to the table, and the number of rows that were kept.
        """
        contract, store, rows_kept = _contract(work), work.store, 0
        if not store.create(contract):
            rows = store.read(contract)
            is_kept = sf.col("_batch_id") < landed[0].batch_id if landed else sf.lit(True)
            kept = rows.where(is_kept).withColumn(LOADED_IN_VERSION, sf.lit(work.state.version + 1).cast("bigint"))
            rows_kept = kept.count()
            if rows_kept:
                store.rewrite(contract, kept)
            else:
                store.replace(contract, store.frame(contract, []))
        new_columns = [name for rows in frames for name in store.add_columns(contract, rows)]
        for rows in self._combine(work, frames):
            store.append(contract, rows)
        return new_columns, rows_kept

    def _combine(self, work: Work, frames: list[DataFrame]) -> list[DataFrame]:
        """Combine the data frames of batches into fewer data frames that have all columns of the table."""
        contract = _contract(work)
        known = set(contract.column_names)
        unknown = [each for each in work.store.read(contract).schema if each.name not in known] if frames else []
        aligned = [
            rows.select(
                *contract.column_names,
                *(
                    sf.col(f"`{each.name}`") if each.name in rows.columns
                    # An earlier version of the contract may have declared the column as NOT NULL.
                    else sf.lit(None if each.nullable else "").cast(each.dataType).alias(each.name)
                    for each in unknown
                ),
            )
            for rows in frames
        ]  # fmt: skip
        return [union(aligned[first : first + _BATCHES_AT_ONCE]) for first in range(0, len(aligned), _BATCHES_AT_ONCE)]


def _examine(landing: Landing, contract: BronzeContract, names: list[str]) -> tuple[list[Manifest], list[str]]:
    """Examine landed batches. A batch that can't be read is left out if a later snapshot takes its place.

    Returns:
        The examined manifests, oldest first, and the names of the batches that are left out.

    Raises:
        CdpError: A batch can't be read, and no later snapshot that can be read is landed.
    """
    examined, unreadable = list[Manifest](), list[str]()
    has_later_snapshot = False
    for name in reversed(names):
        try:
            batch = landing.examine(landing.read_batch(contract.source, contract.entity, name))
        except CdpError:
            if not has_later_snapshot:
                raise
            unreadable.append(name)
        else:
            examined.append(batch)
            has_later_snapshot |= batch.load == "snapshot" and bool(batch.rows)
    return examined[::-1], unreadable[::-1]


def _build(work: Work, batches: list[Manifest], own_columns: Collection[str]) -> dict[str, DataFrame]:
    """Return the rows of batches, by name of the batch."""
    contract = _contract(work)
    built: dict[str, DataFrame] = work.table.build(
        work.store.session, work.landing, batches, contract, work.mapping_of(contract), own_columns
    )
    return built


def _scrub(work: Work, batches: list[Manifest], frames: Mapping[str, DataFrame]) -> dict[str, Manifest]:
    """Remove erased persons from landed batches: their sources still send them.

    Cost: one query per batch, and a second one for a batch that has to change. No query if nobody was ever erased.

    Returns:
        The manifests of the changed batches, by name.
    """
    contract = _contract(work)
    suppressions = work.find_suppressions() if contract in NAMING_COLUMNS and frames else None
    changed, mapping = dict[str, Manifest](), work.mapping_of(contract)
    for batch in batches if suppressions else ():
        rows = frames.get(batch.batch_id)
        if rows and suppressions and (names := suppressions.names_in(rows, contract, mapping)):
            for files in find_edits(rows, contract, mapping, names).values():
                scrubbed = scrub_batch(work.landing, batch, files, work.settings.run_started_at.isoformat())
                changed[batch.batch_id] = work.landing.examine(scrubbed)
    return changed


def _notes(contract: BronzeContract, new_columns: list[str], skipped: list[str], *, is_full: bool) -> list[str]:
    """Return what a person should know about the loaded batches, one sentence each."""
    notes = []
    if new_columns:
        notes.append(f"New columns in the source, added to {contract.name}: {', '.join(new_columns)}")
    if is_full and new_columns:
        notes.append(
            f"{contract.name} has {MAX_OWN_COLUMNS} columns that are not in its contract, and gets no more: fields of"
            f" further names are in its column {EXTRA}. Check what the source sends."
        )
    if skipped:
        notes.append(
            f"Batches of {contract.name} that can't be loaded were skipped, because a later snapshot takes their place:"
            f" {', '.join(skipped)}"
        )
    return notes


def _contract(work: Work) -> BronzeContract:
    if not isinstance(work.contract, BronzeContract):
        raise TypeError(f"{work.contract.name} is not a bronze table")
    return work.contract


def _require_landed(work: Work) -> None:
    """Raise an error if the table has rows that a rebuild from the landed batches would lose.

    Raises:
        CdpError: A batch of the table is no longer landed.
    """
    contract = _contract(work)
    landed = work.landing.batch_ids(contract.source, contract.entity)
    if not landed:
        return
    stored = work.store.read(contract).where(sf.col("_batch_id") >= landed[0]).select("_batch_id").distinct()
    if lost := sorted({name for (name,) in stored.collect()} - {*landed}):
        raise CdpError(
            f"Batch {lost[0]} of {contract.name} is no longer landed, so a rebuild would lose its rows: restore the"
            f" folder of the batch, or {contract.name}, from a backup."
        )


def _listing_arguments(work: Work, loaded: LoadedBatches) -> tuple[str, list[str]]:
    """Return `since` and `exclude` for `Landing.batch_ids`. Batches to replay are not excluded."""
    if work.is_rebuild:
        known, contract = LoadedBatches.of(work.state), _contract(work)
        landed = work.landing.batch_ids(contract.source, contract.entity)
        return "", [name for name in landed if not known.holds(name)]
    if work.settings.full_refresh:
        return "", []
    replayed = work.settings.replay_from
    since = min(loaded.listed_from, replayed) if replayed else loaded.listed_from
    return since, [name for name in loaded.batches if not work.settings.is_replayed(name)]


def newest_files(rows: DataFrame) -> DataFrame:
    """Return the rows of the newest version of each source file.

    The newest version is in the latest batch that contains the file.
    """
    same_file = Window.partitionBy(sf.regexp_extract("_source_file", _FILE_NAME, 1))
    newest = rows.select("*", sf.max("_batch_id").over(same_file).alias("_newest"))
    return newest.where("_batch_id = _newest").drop("_newest")


def repeats_files(rows: DataFrame, seen: int) -> bool:
    """Return whether a new batch has a source file that another batch has, too.

    A batch is new if it was loaded after table version `seen`.
    """
    is_new = sf.col(LOADED_IN_VERSION) > seen
    # Extract file names from the few distinct paths, not from every row.
    paths = rows.select("_source_file", is_new.alias("is_new"), "_batch_id").distinct()
    files = paths.groupBy(sf.regexp_extract("_source_file", _FILE_NAME, 1)).agg(
        sf.bool_or("is_new").alias("is_new"), sf.countDistinct("_batch_id").alias("batches")
    )
    return not files.where("is_new AND batches > 1").isEmpty()
