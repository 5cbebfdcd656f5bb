"""Change sets: what a table that is merged into is about to change, written down before it is changed.

A change set is computed once, from the table as it is, and stored in `<table>_changes`. Then only what is stored is
applied, by key, as often as a killed run makes it necessary; a plan computed again would see the table already changed.
Readers of the table follow the stored change sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import hash_of
from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.work import Outcome, RowCounts, Work
from cdp_lib.quality import is_warned
from cdp_lib.storage import DeltaStore
from cdp_lib.storage.delta import IS_GONE

KEPT = 50
"""Change sets that a table keeps at most: a reader that is further behind builds its whole table."""

_VERSIONS_BETWEEN_REMOVALS = 16
"""Change sets that are no longer kept are removed together: a removal is a commit."""


def new_change_set(work: Work, details: Mapping[str, Any] | None = None) -> TableState:
    """Return the state that the next change set leads to; its token names the change set.

    Of earlier change sets the state keeps those that a reader has not followed yet.

    Args:
        work: The table.
        details: What its materialization keeps; None for what it has.
    """
    state = work.next_state()
    followed = max(min(work.readers, default=state.version), state.version - KEPT)
    if work.store.create(work.contract.changes):
        followed = state.version  # whatever there was before is gone
    kept = {number: token for number, token in work.state.change_sets.items() if number > followed}
    return replace(
        state,
        change_sets=kept | {state.version: state.token},
        details=work.state.details if details is None else details,
    )


def stage_rows(work: Work, state: TableState, rows: DataFrame) -> DataFrame:
    """Store rows beside a change set that is still to come, and return them as they are stored: a plan runs once.

    Args:
        work: The table.
        state: State as `new_change_set` gives it.
        rows: Rows in columns of the table.
    """
    changes = work.contract.changes
    work.store.append(changes, _in_columns(changes, rows.withColumn("_change_type", sf.lit("touched")), state.token))
    stored = work.store.read(changes).where(
        (sf.col("_change_set") == state.token) & (sf.col("_change_type") == "touched")
    )
    return stored.select(*rows.columns)


def write_change_set(work: Work, state: TableState, rows: DataFrame) -> Outcome:
    """Store a change set and its header in one commit, then apply it.

    Args:
        work: The table.
        state: State as `new_change_set` gives it.
        rows: Rows with `_change_type`, and columns of the table and of its quarantine.
    """
    changes = work.contract.changes
    header = {"_change_set": state.token, "_change_type": "header", "_header": state.to_json()}
    header_row = work.store.frame(changes, [header])
    work.store.append(changes, _in_columns(changes, rows, state.token).unionByName(header_row))
    outcome = _apply(work, state, is_repeated=False)
    if state.version % _VERSIONS_BETWEEN_REMOVALS == 0:
        # A run that is killed from here on leaves the state before: what that keeps stays, too.
        kept = {*state.change_sets.values(), *work.state.change_sets.values()}
        forget_change_sets(work.store, work.contract, kept)
    return outcome


def adopt_change_set(work: Work) -> Outcome | None:
    """Apply a change set that a killed run stored and did not finish.

    Returns:
        None where there is none.

    Raises:
        UnknownContentError: One is stored that does not continue the table's state: what the table holds is unknown.
    """
    if not work.state.version or not work.store.exists(work.contract.changes):
        return None
    headers = work.store.read(work.contract.changes).where("_change_type = 'header'").select("_header").collect()
    states = [TableState.from_json(header) for (header,) in headers]
    next_ones = [state for state in states if state.version == work.state.version + 1]
    for state in next_ones:
        if state.base == work.state.token:
            return _apply(work, state, is_repeated=True)
    if next_ones:
        raise UnknownContentError
    return None


class UnknownContentError(Exception):
    """A stored change set does not continue the table's state: the table has to be rewritten."""


def forget_change_sets(store: DeltaStore, contract: TableContract, but: Collection[str] = ()) -> None:
    """Remove the change sets of a table.

    Args:
        store: Tables of the platform.
        contract: Contract of the table.
        but: Tokens of those that stay.
    """
    if store.exists(contract.changes):
        stays = sf.col("_change_set").isin(*but) if but else sf.lit(False)
        store.overwrite(contract.changes, store.read(contract.changes).limit(0), ~stays)


def _in_columns(changes: TableContract, rows: DataFrame, token: str) -> DataFrame:
    """Return rows in the columns of a table of change sets, null in those that they lack."""
    lacking = {column.name: column.type for column in changes.columns if column.name not in rows.columns}
    values = {name: sf.lit(token if name == "_change_set" else None).cast(type_) for name, type_ in lacking.items()}
    return rows.select("*", *(value.alias(name) for name, value in values.items())).selectExpr(*changes.select_list)


def _apply(work: Work, state: TableState, *, is_repeated: bool) -> Outcome:
    """Merge a stored change set into the table and its quarantine; safe to repeat, if said to be repeated.

    Where no row of the table is touched, rows are appended: nothing has to be looked for.
    """
    store, contract = work.store, work.contract
    rows = store.read(contract.changes).where(sf.col("_change_set") == state.token)
    warned = _number_of_warned(contract)
    counts: Counter[str] = Counter()
    for change_type, number, with_warning in rows.groupBy("_change_type").agg(sf.count("*"), warned).collect():
        counts[change_type] = number
        counts["warned"] += with_warning if change_type == "insert" else 0
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
    entered = counts["insert"] - counts["before"] - counts["delete"]
    return Outcome(
        replace(
            state,
            # Readers are due where the token has changed: a change of no row of the table is none to them.
            token=state.token if counts["insert"] or counts["delete"] else state.base,
            rows=None if work.state.rows is None else work.state.rows + entered,
            refused=work.state.refused + counts["refuse"] - counts["waited"] - counts["mend"],
        ),
        RowCounts(counts["insert"], counts["delete"], counts["refuse"], counts["supersede"], counts["warned"]),
    )


def rewrite(
    work: Work,
    kept: DataFrame,
    refused: DataFrame,
    received: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> Outcome:
    """Replace a table, its quarantine and its change sets: readers build their tables again.

    Args:
        work: The table.
        kept: All rows of the table.
        refused: All rows of its quarantine.
        received: Rows that both come from: where all are kept, none is looked for.
        details: What its materialization keeps.
    """
    store, contract = work.store, work.contract
    work.announce()
    written = store.replace(contract, kept, warned=_number_of_warned(contract))
    rows, quarantined = written["rows"], 0
    is_all_kept = rows == received
    is_new = store.create(contract.quarantine)
    if not (is_all_kept and (is_new or store.read(contract.quarantine).isEmpty())):
        quarantined = store.replace(contract.quarantine, refused)["rows"]
    superseded = max(0, (received or 0) - rows - quarantined)
    forget_change_sets(store, contract)
    outcome = work.rewritten(rows, details=details)
    return replace(
        outcome,
        state=replace(outcome.state, refused=quarantined),
        counts=RowCounts(rows, 0, quarantined, superseded, written["warned"]),
    )


def _number_of_warned(contract: TableContract) -> Column:
    """Return the number of rows that break a rule that warns, as an aggregate."""
    return sf.count(sf.when(is_warned(contract), 1)) if contract.warns else sf.lit(0)


def rows_that_differ(
    old: DataFrame, new: DataFrame, key: list[str], values: Column, replaced: str, entered: str, left: str
) -> DataFrame:
    """Return rows that are on one side only, or differ, with what that means as `_change_type`."""
    was = old.select("*", values.alias("_values"), sf.lit(True).alias("_was"))
    now = new.select("*", values.alias("_values"), sf.lit(False).alias("_was"))
    of_key = Window.partitionBy(*key)
    sides = was.unionByName(now).select(
        "*",
        sf.count("*").over(of_key).alias("_sides"),
        (sf.min("_values").over(of_key) == sf.max("_values").over(of_key)).alias("_is_same"),
    )
    differing = sides.where("NOT (_sides = 2 AND _is_same)")
    change_type = sf.when(~sf.col("_was"), entered).when(sf.col("_sides") == 2, replaced).otherwise(left)
    return differing.withColumn("_change_type", change_type).drop("_values", "_was", "_sides", "_is_same")


def hash_of_row(contract: TableContract) -> Column:
    """Return a hash of all that a row says."""
    return hash_of(
        [
            sf.concat_ws("|", column.name) if column.type.startswith("ARRAY") else sf.col(column.name)
            for column in contract.columns
        ]
    )
