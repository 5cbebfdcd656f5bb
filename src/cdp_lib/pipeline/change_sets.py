"""Change sets: the row changes of one refresh, stored before they are merged into the table.

A change set is computed once, from the table before the refresh, and stored in `<table>_changes`. The stored rows are
then merged by key. If a run is killed, the next run merges the same stored rows again. The next run must not compute
the rows again, because the killed run may have changed the table. Downstream tables read the stored change sets to find
the changed rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import hash_of
from cdp_lib.contracts.table import IS_ACTIVE, TableContract
from cdp_lib.pipeline.guards import RefusedBatchError
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.sums import picked_sums, sum_columns
from cdp_lib.pipeline.table import Replace
from cdp_lib.pipeline.work import Outcome, RowCounts, Work
from cdp_lib.quality import hashable, is_warned
from cdp_lib.storage import DeltaStore
from cdp_lib.storage.delta import IS_GONE

MAX_CHANGE_SETS = 50
"""Maximum number of change sets that a table keeps. A downstream table that needs older change sets is rebuilt."""

_VERSIONS_BETWEEN_REMOVALS = 16
"""Number of table versions after which expired change sets are deleted. Each deletion is one commit, so several change
sets are deleted together."""


def new_change_set(work: Work, details: Mapping[str, Any] | None = None) -> TableState:
    """Return the state that the table will have after the next change set. The state's token identifies the change set.

    The state also lists the earlier change sets that a downstream table has not read yet.

    Args:
        work: Table to refresh.
        details: New value of the state's `details`. None to keep the current value.
    """
    state = work.next_state()
    followed = max(min(work.readers, default=state.version), state.version - MAX_CHANGE_SETS)
    if work.store.create(work.contract.changes):
        followed = state.version  # the change set table is new, so it has no earlier change sets
    kept = {number: token for number, token in work.state.change_sets.items() if number > followed}
    return replace(
        state,
        change_sets=kept | {state.version: state.token},
        details=work.state.details if details is None else details,
    )


def stage_rows(work: Work, state: TableState, rows: DataFrame) -> DataFrame:
    """Store intermediate rows of a change set, and return the stored rows.

    Without this step, the query plan of `rows` would run each time that the rows are used.

    Args:
        work: Table to refresh.
        state: State from `new_change_set`.
        rows: Rows with some of the table's columns.
    """
    changes = work.contract.changes
    work.store.append(changes, _align_columns(changes, rows.withColumn("_change_type", sf.lit("touched")), state.token))
    stored = work.store.read(changes).where(
        (sf.col("_change_set") == state.token) & (sf.col("_change_type") == "touched")
    )
    return stored.select(*rows.columns)


def append_changes(work: Work, state: TableState, rows: DataFrame) -> None:
    """Store rows of a change set that is too large for one commit. `write_change_set` stores the last rows.

    Until then, the change set has no header. If the run is killed, its rows are never applied.

    Args:
        work: Table to refresh.
        state: State from `new_change_set`.
        rows: Rows as in `write_change_set`.
    """
    changes = work.contract.changes
    work.store.append(changes, _align_columns(changes, rows, state.token))


def write_change_set(work: Work, state: TableState, rows: DataFrame) -> Outcome:
    """Store a change set and its header row in one commit, then apply the change set.

    Args:
        work: Table to refresh.
        state: State from `new_change_set`.
        rows: Changed rows with the column `_change_type`, and with columns of the table and of its quarantine.

    Raises:
        RefusedBatchError: A guard refuses the change set. It is deleted.
    """
    changes = work.contract.changes
    header = {"_change_set": state.token, "_change_type": "header", "_header": state.to_json()}
    header_row = work.store.frame(changes, [header])
    work.store.append(changes, _align_columns(changes, rows, state.token).unionByName(header_row))
    try:
        outcome = _apply(work, state, is_repeated=False)
    except RefusedBatchError:
        delete_change_sets(work.store, work.contract, work.state.change_sets.values())
        raise
    if state.version % _VERSIONS_BETWEEN_REMOVALS == 0:
        # If the run is killed now, the next run starts from the previous state. Therefore, also keep the change sets of
        # the previous state.
        kept = {*state.change_sets.values(), *work.state.change_sets.values()}
        delete_change_sets(work.store, work.contract, kept)
    return outcome


def finish_change_set(work: Work) -> Outcome | None:
    """Apply a change set that a killed run stored but did not apply completely.

    Returns:
        Outcome of the refresh. None if no such change set is stored. Also None if a guard refuses the change set: it is
        then deleted, and none of its rows is applied.

    Raises:
        UnknownContentError: The stored change set for the table's next version was not computed from the content that
            the table's state records.
    """
    if not work.state.version or not work.store.exists(work.contract.changes):
        return None
    headers = work.store.read(work.contract.changes).where("_change_type = 'header'").select("_header").collect()
    states = [TableState.from_json(header) for (header,) in headers]
    next_states = [state for state in states if state.version == work.state.version + 1]
    for state in next_states:
        if state.base == work.state.token:
            try:
                return _apply(work, state, is_repeated=True)
            except RefusedBatchError:
                delete_change_sets(work.store, work.contract, work.state.change_sets.values())
                return None
    if next_states:
        raise UnknownContentError
    return None


class UnknownContentError(Exception):
    """Error for a stored change set that was not computed from the content that the table's state records.

    The `base` of the change set is not the `token` of the state. A killed run may have merged the change set, so the
    content of the table is unknown.
    """


def replace_followed(work: Work) -> Outcome:
    """Build the whole table and replace it, as `Replace` does. The earlier change sets become invalid."""
    work.mark_rewriting()
    delete_change_sets(work.store, work.contract)
    return Replace().refresh(work)


def delete_change_sets(store: DeltaStore, contract: TableContract, keep: Collection[str] = ()) -> None:
    """Delete the change sets of a table.

    Args:
        store: Tables of the platform.
        contract: Contract of the table.
        keep: Tokens of the change sets to keep.
    """
    if store.exists(contract.changes):
        is_kept = sf.col("_change_set").isin(*keep) if keep else sf.lit(False)
        store.overwrite(contract.changes, store.read(contract.changes).limit(0), ~is_kept)


def _align_columns(changes: TableContract, rows: DataFrame, token: str) -> DataFrame:
    """Return rows with all columns of a change set table.

    If `_change_set` is missing, it is filled with the token. All other missing columns are null.
    """
    missing = {column.name: column.type for column in changes.columns if column.name not in rows.columns}
    values = {name: sf.lit(token if name == "_change_set" else None).cast(type_) for name, type_ in missing.items()}
    return rows.select("*", *(value.alias(name) for name, value in values.items())).selectExpr(*changes.select_list)


def _apply(work: Work, state: TableState, *, is_repeated: bool) -> Outcome:
    """Merge a stored change set into the table and its quarantine.

    A change set that only adds rows is appended, because an append is cheaper than a merge.

    Args:
        work: Table to refresh.
        state: State of the table after the change set is applied.
        is_repeated: Whether an earlier run may have merged the change set already. If true, the change set is never
            appended, because an append would duplicate its rows.
    """
    store, contract = work.store, work.contract
    rows = store.read(contract.changes).where(sf.col("_change_set") == state.token)
    changes = _count_changes(contract, rows)
    state, counts = work.table.materialization.judge(work, state, changes, rows), changes.counts
    if counts["insert"] and not (counts["before"] or counts["delete"] or is_repeated):
        store.append(contract, rows.where("_change_type = 'insert'").selectExpr(*contract.select_list))
    elif counts["insert"] or counts["delete"]:
        merged = rows.where("_change_type IN ('insert', 'delete')")
        store.merge(
            contract, merged.select(*contract.column_names, (sf.col("_change_type") == "delete").alias(IS_GONE))
        )
    if counts["refuse"] or counts["mend"]:
        refused = rows.where("_change_type IN ('refuse', 'mend')").select(
            "*", (sf.col("_change_type") == "mend").alias(IS_GONE)
        )
        store.create(contract.quarantine)
        store.merge(contract.quarantine, refused.select(*contract.quarantine.column_names, IS_GONE))
    rows_added = counts["insert"] - counts["before"] - counts["delete"]
    # A new token makes downstream tables due. Keep the previous token if no row of the table changed.
    token, before = state.token if counts["insert"] or counts["delete"] else state.base, work.state.known_sums
    return Outcome(
        replace(
            state,
            token=token,
            sums={name: str(Decimal(text) + changes.sums.get(name, 0)) for name, text in before.items()},
            summed_token=token,
            rows=None if work.state.rows is None else work.state.rows + rows_added,
            refused=work.state.refused + counts["refuse"] - counts["waited"] - counts["mend"],
        ),
        RowCounts(counts["insert"], counts["delete"], counts["refuse"], counts["supersede"], counts["warned"]),
    )


@dataclass(frozen=True)
class Changes:
    """Row counts of a change set.

    Attributes:
        counts: Number of rows by change type. Two more counts are about inserted rows: `warned` is the number of rows
            that break a warning rule, and `inactive` is the number of inactive rows.
        refused: Number of refused rows by batch.
        sums: For each measure of the table, the change of its sum.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    sums: dict[str, Decimal] = field(default_factory=dict)


_SIGNS = {"insert": 1, "before": -1, "delete": -1}
"""Sign by which the rows of a change type change the sums of a table. Other rows do not change the sums."""


def _count_changes(contract: TableContract, rows: DataFrame) -> Changes:
    """Count the rows of a stored change set with one query."""
    sums = sum_columns(contract)
    changes, warned = Changes(sums=dict.fromkeys(sums, Decimal(0))), _number_of_warned(contract)
    refused_in = sf.when(sf.col("_change_type") == "refuse", sf.col("_batch_id")).alias("batch")
    inactive = sf.count(sf.when(~sf.col(IS_ACTIVE.name), 1)) if IS_ACTIVE in contract.columns else sf.lit(0)
    grouped = rows.groupBy("_change_type", refused_in).agg(sf.count("*"), warned, inactive, *sums.values())
    for change_type, batch, number, with_warning, without_record, *sums_of_type in grouped.collect():
        for name, text in zip(sums, sums_of_type, strict=True):
            changes.sums[name] += _SIGNS.get(change_type, 0) * Decimal(text or 0)
        changes.counts[change_type] += number
        changes.counts["inactive"] += without_record if change_type == "insert" else 0
        changes.counts["warned"] += with_warning if change_type == "insert" else 0
        if batch:
            changes.refused[batch] = number
    return changes


def rewrite(
    work: Work,
    kept: DataFrame,
    refused: DataFrame,
    received: int | None = None,
    details: Mapping[str, Any] | None = None,
    null_columns: Collection[str] = (),
) -> Outcome:
    """Replace a table and its quarantine, and delete the table's change sets.

    Without change sets, downstream tables must be rebuilt.

    Args:
        work: Table to refresh.
        kept: All rows of the table.
        refused: All rows of the quarantine.
        received: Number of input rows. None if unknown. If `kept` has as many rows and the stored quarantine is empty,
            `refused` is not computed, because no row is refused.
        details: New value of the state's `details`. None for an empty value.
        null_columns: Columns in which no row of `kept` has a value.
    """
    store, contract = work.store, work.contract
    work.mark_rewriting()
    counts = {"warned": _number_of_warned(contract), **sum_columns(contract)}
    written = store.replace(contract, kept, null_columns, **counts)
    rows, quarantined = written["rows"], 0
    is_all_kept = rows == received
    is_new = store.create(contract.quarantine)
    if not (is_all_kept and (is_new or store.read(contract.quarantine).isEmpty())):
        quarantined = store.replace(contract.quarantine, refused)["rows"]
    superseded = max(0, (received or 0) - rows - quarantined)
    delete_change_sets(store, contract)
    outcome = work.rewritten(rows, details=details, sums=picked_sums(contract, written))
    return replace(
        outcome,
        state=replace(outcome.state, refused=quarantined),
        counts=RowCounts(rows, 0, quarantined, superseded, written["warned"]),
    )


def _number_of_warned(contract: TableContract) -> Column:
    """Return an aggregate expression: the number of rows that break a warning rule."""
    return sf.count(sf.when(is_warned(contract), 1)) if contract.has_warning_rules else sf.lit(0)


def diff_rows(
    old: DataFrame, new: DataFrame, key: list[str], values: Column, *, replaced: str, added: str, removed: str
) -> DataFrame:
    """Return the rows that differ between two data frames, with the kind of difference in the column `_change_type`.

    If a key has different values in `old` and `new`, both rows are returned.

    Args:
        old: Rows before the change, one row per key.
        new: Rows after the change, one row per key.
        key: Key columns.
        values: Expression that computes a hash of the values to compare.
        replaced: `_change_type` of a row of `old`, if `new` has other values for the key.
        added: `_change_type` of a row of `new`, if `old` has other values for the key, or does not have the key.
        removed: `_change_type` of a row of `old`, if `new` does not have the key.
    """
    before = old.select("*", values.alias("_values"), sf.lit(True).alias("_is_old"))
    after = new.select("*", values.alias("_values"), sf.lit(False).alias("_is_old"))
    same_key = Window.partitionBy(*key)
    compared = before.unionByName(after).select(
        "*",
        sf.count("*").over(same_key).alias("_versions"),
        (sf.min("_values").over(same_key) == sf.max("_values").over(same_key)).alias("_is_same"),
    )
    differing = compared.where("NOT (_versions = 2 AND _is_same)")
    change_type = sf.when(~sf.col("_is_old"), added).when(sf.col("_versions") == 2, replaced).otherwise(removed)
    return differing.withColumn("_change_type", change_type).drop("_values", "_is_old", "_versions", "_is_same")


def table_changes(contract: TableContract, old: DataFrame, new: DataFrame) -> DataFrame:
    """Return the rows of a table that differ before and after a refresh, as rows of a change set.

    Args:
        contract: Contract of the table.
        old: Rows before the refresh, for some keys.
        new: Rows after the refresh, for the same keys.
    """
    return diff_rows(
        old, new, list(contract.key), row_hash(contract), replaced="before", added="insert", removed="delete"
    )


def row_hash(contract: TableContract) -> Column:
    """Return an expression: a hash of all columns of a row."""
    return hash_of([hashable(column) for column in contract.columns])
