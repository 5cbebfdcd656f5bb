"""Brings a silver table up to date by the bronze batches that are not in it yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import RECEIVED_AS
from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import of_types, worked_out_few
from cdp_lib.quality import (
    candidates_of_quarantine,
    candidates_of_table,
    check_versions,
    settle_versions,
    settled_types,
)
from cdp_lib.refresh.refreshed import Refreshed
from cdp_lib.runs import Account, BatchChange, Change, History, RunLog
from cdp_lib.settings import Settings
from cdp_lib.tables import Tables

Builder = Callable[[DataFrame], DataFrame]


@dataclass(frozen=True)
class _Scope:
    """The versions that a change is worked out from.

    Attributes:
        rows: Rows of the bronze table.
        batch_ids: Batches they came with.
        is_increment: Whether they are what has changed. If not, they are all there is.
    """

    rows: DataFrame
    batch_ids: Sequence[str]
    is_increment: bool


@dataclass(frozen=True)
class _Tally:
    """How many candidates of a batch met a fate.

    Attributes:
        origin: Where they come from: batch, table or quarantine.
        batch_id: Batch they came with.
        fate: `kept`, `refused` or `superseded`.
        is_gone: Whether nothing of their keys is kept.
        rows: How many.
        warned: How many of them have warnings.
    """

    origin: str
    batch_id: str
    fate: str
    is_gone: bool
    rows: int
    warned: int


def refresh_from_batches(
    tables: Tables, runs: RunLog, settings: Settings, contract: TableContract, build: Builder
) -> Refreshed:
    """Merge the bronze batches that a silver table does not hold yet.

    What comes of a batch is a function of the batches so far, in the order of their extraction, and not of the moments
    at which runs came to them: increments are merged into the table; a snapshot, a late batch or a corrected file is
    settled together with everything since the latest snapshot. With `full_refresh` the table is written anew.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.
        settings: Settings of the run.
        contract: Contract of the silver table, one of `RECEIVED_AS`.
        build: Rows of its bronze table → typed rows.

    Raises:
        CdpError: The bronze table does not exist, or another run is writing.
    """
    tables.create_table(contract)
    tables.create_table(contract.quarantine)
    loads = tables.read_loads(RECEIVED_AS[contract])
    history = runs.history(contract.name)
    is_whole = settings.full_refresh or not history.done
    refreshed = Refreshed()
    if history.planned and not is_whole:
        # A killed run left it: the same batches give the same change, whether or not the tables hold it already.
        known = {name: loads[name] for name in loads if name in history.accounts or name in history.planned.batches}
        refreshed += _merge(tables, runs, contract, build, known, history, history.planned)
        history = runs.history(contract.name)
    is_replay = any(map(settings.is_replayed, loads))
    if loads and (is_whole or is_replay or _pending(loads, history)):
        refreshed += _merge(tables, runs, contract, build, loads, history, is_whole=is_whole, is_replay=is_replay)
    return refreshed


def _pending(loads: Mapping[str, tuple[str, int]], history: History) -> list[str]:
    return [batch_id for batch_id in loads if batch_id not in history.accounts]


def _merge(
    tables: Tables,
    runs: RunLog,
    contract: TableContract,
    build: Builder,
    loads: Mapping[str, tuple[str, int]],
    history: History,
    planned: Change | None = None,
    *,
    is_whole: bool = False,
    is_replay: bool = False,
) -> Refreshed:
    """Make one change: plan it, unless it is planned; write quarantine and table; say that it is done."""
    is_whole = planned.is_whole if planned else is_whole
    scope = _scope(tables, contract, loads, [] if is_whole or is_replay else _pending(loads, history))
    received = build(scope.rows)
    are_alone = received.groupBy(*contract.key).count().where("count > 1").isEmpty()
    versions = check_versions(received, contract, are_alone=are_alone)
    keys = versions.where("record_key IS NOT NULL").select(*contract.key, "record_key").distinct()
    # What a killed run has already written to the quarantine of these batches is written again.
    waiting = tables.read_table(contract.quarantine).where(~sf.col("_batch_id").isin(*scope.batch_ids))
    others = (
        []
        if is_whole
        else _others(tables.read_table(contract), waiting, contract, keys if scope.is_increment else None)
    )
    are_alone = are_alone and all(other.isEmpty() for other in others)
    settled = settle_versions(
        reduce(DataFrame.unionByName, [versions, *([] if are_alone else others)]),
        contract,
        is_increment=scope.is_increment,
        are_alone=are_alone,
    )
    there = None
    if scope.is_increment:
        settled, count = worked_out_few(of_types(settled, settled_types(contract)))
        there = None if count is None else settled.where("_origin = 'table' AND _fate = 'superseded'")
    tallies = _tallies(settled, contract)
    change = planned or Change(
        change_id=runs.new_change_id(history),
        batches=_batch_changes(tallies, loads, history, is_increment=scope.is_increment),
        is_whole=is_whole,
    )
    if history.done and not planned:
        runs.plan(contract, change)
    _write_quarantine(tables, contract, settled, tallies, _besides(waiting, keys) if scope.is_increment else None)
    _write_table(tables, contract, settled, tallies, there, is_whole=is_whole)
    runs.finish(contract, change)
    return _refreshed(tallies)


def _others(
    in_table: DataFrame, in_quarantine: DataFrame, contract: TableContract, keys: DataFrame | None
) -> list[DataFrame]:
    """What the table holds, or of some keys what it and its quarantine hold, to be settled with new versions."""
    if keys is None:
        return [candidates_of_table(in_table, contract)]
    of_keys = in_table.join(keys.drop("record_key"), list(contract.key), how="left_semi")
    return [candidates_of_table(of_keys, contract), candidates_of_quarantine(in_quarantine, keys, contract)]


def _scope(
    tables: Tables, contract: TableContract, loads: Mapping[str, tuple[str, int]], pending: Collection[str]
) -> _Scope:
    """The bronze rows to settle: the pending batches alone if they are increments on top of all others."""
    bronze = RECEIVED_AS[contract]
    merged = [batch_id for batch_id in loads if batch_id not in pending]
    snapshot = max((batch_id for batch_id, (load, _) in loads.items() if load == "snapshot"), default="")
    is_of_files = any(load == "files" for load, _ in loads.values())
    if is_of_files:
        is_increment = bool(pending) and not tables.has_newer_files(bronze, pending)
    else:
        is_increment = bool(pending) and snapshot not in pending and min(pending) > max(merged, default="")
    batch_ids = sorted(pending) if is_increment else [batch_id for batch_id in loads if batch_id >= snapshot]
    if is_of_files and not is_increment:
        return _Scope(tables.read_newest_files(bronze, batch_ids), batch_ids, is_increment)
    rows = tables.read_table(bronze).where(sf.col("_batch_id").isin(*batch_ids))
    return _Scope(rows, batch_ids, is_increment)


def _tallies(settled: DataFrame, contract: TableContract) -> list[_Tally]:
    # Of a table that never warns, Sail would look at each row's empty list.
    is_warned = sf.size("_warnings") > 0 if contract.warns else sf.lit(False)
    groups = settled.groupBy("_origin", "_batch_id", "_fate", "_is_gone").agg(
        sf.count("*").alias("rows"), sf.count(sf.when(is_warned, 1)).alias("warned")
    )
    return [_Tally(*row) for row in groups.collect()]


def _batch_changes(
    tallies: Sequence[_Tally], loads: Mapping[str, tuple[str, int]], history: History, *, is_increment: bool
) -> dict[str, BatchChange]:
    """What a change does to the accounts of batches, worked out before it is made."""
    count: Counter[tuple[str, str, str]] = Counter()
    removed: Counter[str] = Counter()
    for tally in tallies:
        count[tally.origin, tally.fate, tally.batch_id] += tally.rows
        if tally.origin == "table" and tally.fate == "superseded" and tally.is_gone:
            removed[tally.batch_id] += tally.rows
    before = history.accounts
    changes = {}
    for batch_id in sorted({*loads, *(tally.batch_id for tally in tallies)}):
        merged = count["batch", "kept", batch_id]
        refused = count["batch", "refused", batch_id]
        stays = count["table", "kept", batch_id]
        received = sum(count["batch", fate, batch_id] for fate in ("kept", "refused", "superseded"))
        old = before.get(batch_id, Account())
        if is_increment and received == 0:
            left = count["table", "superseded", batch_id]
            mended = count["quarantine", "superseded", batch_id]
            account = Account(
                old.rows_in,
                old.rows_out - left,
                old.rows_quarantined - mended,
                old.rows_superseded + left + mended,
            )
        else:
            rows_in = loads[batch_id][1] if batch_id in loads else old.rows_in
            # What an older file or snapshot had is superseded, except for the rows that the table still has of it.
            superseded = rows_in - received + count["batch", "superseded", batch_id] - stays
            if is_increment:
                superseded = count["batch", "superseded", batch_id]
            account = Account(rows_in, merged + stays, refused, superseded)
        if batch_id not in before or account != old or merged or removed[batch_id]:
            changes[batch_id] = BatchChange(account, merged, removed[batch_id])
    return changes


def _besides(waiting: DataFrame, keys: DataFrame) -> DataFrame:
    """What the quarantine holds of other rows."""
    return waiting.join(keys, "record_key", how="left_anti")


def _write_quarantine(
    tables: Tables, contract: TableContract, settled: DataFrame, tallies: Sequence[_Tally], besides: DataFrame | None
) -> None:
    """Replace the quarantine, where it changes.

    Args:
        tables: Tables of the platform.
        contract: Contract of the table.
        settled: Versions and their fates.
        tallies: How many there are.
        besides: What the quarantine holds of rows that the change does not touch; None where it touches all.
    """
    rows = settled.where("_fate = 'refused'").selectExpr(*contract.quarantine.select_list)
    is_refusal = any((t.origin, t.fate) == ("batch", "refused") for t in tallies)
    is_mended = any((t.origin, t.fate) == ("quarantine", "superseded") for t in tallies)
    if besides is not None:
        rows = besides.selectExpr(*contract.quarantine.select_list).unionByName(rows)
        is_changed = is_refusal or is_mended
    else:
        is_changed = is_refusal or not tables.is_empty(contract.quarantine)
    if is_changed:
        tables.replace_table(contract.quarantine, rows)


def _write_table(
    tables: Tables,
    contract: TableContract,
    settled: DataFrame,
    tallies: Sequence[_Tally],
    there: DataFrame | None,
    *,
    is_whole: bool,
) -> None:
    """Make the table hold what is kept.

    Args:
        tables: Tables of the platform.
        contract: Contract of the table.
        settled: Versions and their fates.
        tallies: How many there are.
        there: Rows of the table that others take the place of, or that are removed, where they are in memory.
        is_whole: Whether the table is written anew.
    """
    fates = {(t.origin, t.fate) for t in tallies}
    # Where all is kept, to look for what is would copy it.
    kept = settled if fates == {("batch", "kept")} else settled.where("_origin = 'batch' AND _fate = 'kept'")
    merged = kept.selectExpr(*contract.select_list)
    removed = settled.where("_origin = 'table' AND _fate = 'superseded' AND _is_gone").select(*contract.key)
    if is_whole:
        tables.replace_table(contract, merged)
    elif fates & {("batch", "kept"), ("table", "superseded")}:
        tables.merge_rows(contract, merged, removed, there)


def _refreshed(tallies: Sequence[_Tally]) -> Refreshed:
    def rows(origin: str, fate: str) -> int:
        return sum(tally.rows for tally in tallies if (tally.origin, tally.fate) == (origin, fate))

    return Refreshed(
        rows=rows("batch", "kept"),
        removed=sum(t.rows for t in tallies if t.origin == "table" and t.fate == "superseded" and t.is_gone),
        quarantined=rows("batch", "refused"),
        superseded=rows("batch", "superseded"),
        warned=sum(t.warned for t in tallies if t.origin == "batch" and t.fate == "kept"),
    )
