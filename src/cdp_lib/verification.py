"""Verification: compares the rows of every table with the rows that a rebuild gives, and rebuilds wrong tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import hash_of
from cdp_lib.contracts.table import BATCH_ID, BronzeContract, TableContract
from cdp_lib.frames import union, without_comments
from cdp_lib.pipeline.run import Runner, one_line
from cdp_lib.pipeline.state import TableState
from cdp_lib.pipeline.sums import read_sums
from cdp_lib.pipeline.table import Append
from cdp_lib.published import forget_copies
from cdp_lib.quality import hashable
from cdp_lib.reconciliation import reconcile

_TOLERANCE = 1e-6
"""Relative difference up to which two values of a DOUBLE column are equal. Engines add numbers in different orders."""

_REASON = "cdp verify found a difference"
_RECEIVED = "its rows are as received: only their number is known"
_LEDGER = "it is a ledger, whose earlier rows can't be computed again"


@dataclass(frozen=True)
class RowDifference:
    """Number of rows in which a table, or its quarantine, differs from a rebuild.

    Attributes:
        missing: Number of rows that only the rebuild has.
        surplus: Number of rows that only the table has.
        changed: Number of keys whose row has other values in the table.
    """

    missing: int = 0
    surplus: int = 0
    changed: int = 0

    def __add__(self, other: RowDifference) -> RowDifference:
        """Return the sum of both differences."""
        return RowDifference(self.missing + other.missing, self.surplus + other.surplus, self.changed + other.changed)

    def __str__(self) -> str:
        """Return the difference in words."""
        rows = "row" if self.missing == 1 else "rows"
        return f"{self.missing:,} {rows} missing, {self.surplus:,} too many, {self.changed:,} changed"


@dataclass(frozen=True)
class VerifiedTable:
    """Result of the verification of one table.

    Attributes:
        table_name: Name of the table.
        difference: Difference between the table with its quarantine, and a rebuild.
        problems: What is wrong besides or instead of rows, in words: numbers of rows, sums, or an unreadable table.
        skip_reason: Why the rows were not compared with a rebuild. Empty if they were compared.
        is_due: Whether the rows were not compared because the table has to be refreshed first.
        is_repaired: Whether the table was wrong, and has been rebuilt.
        repair_error: Why the table could not be rebuilt. Empty if no rebuild failed.
    """

    table_name: str
    difference: RowDifference = RowDifference()
    problems: tuple[str, ...] = ()
    skip_reason: str = ""
    is_due: bool = False
    is_repaired: bool = False
    repair_error: str = ""

    @property
    def is_different(self) -> bool:
        """Return whether something was wrong, repaired or not."""
        return self.difference != RowDifference() or bool(self.problems)

    @property
    def is_wrong(self) -> bool:
        """Return whether the table is still wrong."""
        return self.is_different and not self.is_repaired

    @property
    def complaint(self) -> str:
        """Return in one line what is wrong. Empty if nothing is wrong."""
        if not self.is_different:
            return ""
        rows = [f"{self.table_name}: {self.difference}"] if self.difference != RowDifference() else []
        found = "; ".join([*rows, *self.problems])
        return f"{found}. It was not rebuilt: {self.repair_error}" if self.repair_error else found


def verify(runner: Runner, selection: Iterable[str] = (), *, repair: bool = False) -> list[VerifiedTable]:
    """Compare the selected tables and their quarantines with the rows that a rebuild gives, in the order of the graph.

    Three kinds of tables are not compared: bronze tables and ledgers, of which only the rows are counted; tables that
    are due; and tables downstream of a wrong table.

    Cost: as much as a full refresh without its writes.

    Args:
        runner: Runner with the settings of the job.
        selection: Names of tables or layers, as in `Graph.select`. Empty for all tables.
        repair: Whether to rebuild a table that differs, at once. Tables downstream of it are compared afterwards, and
            rebuilt only if they differ, too. All other tables stay unchanged.

    Returns:
        One result per table that exists.
    """
    verified: list[VerifiedTable] = []
    wrong, selected = set[str](), runner.graph.select(selection)
    for name in runner.graph.tables:
        if name not in selected or not runner.states.get(name, TableState()).version:
            continue
        if upstream := wrong & runner.graph.upstream([name]):
            verified.append(VerifiedTable(name, skip_reason=f"{min(upstream)} is wrong"))
            continue
        result = _verify(runner, name)
        if result.is_different and repair:
            result = _repaired(runner, result)
        wrong |= {name} if result.is_wrong else set()
        verified.append(result)
    if repaired := [each.table_name for each in verified if each.is_repaired]:
        forget_copies(runner.store, repaired)
    return verified


def _repaired(runner: Runner, found: VerifiedTable) -> VerifiedTable:
    """Rebuild a wrong table. Return the result with the outcome."""
    if found.skip_reason == _LEDGER:
        return replace(found, repair_error="restore it from a backup")
    run = runner.rebuild(found.table_name, _REASON)
    return replace(found, is_repaired=not run.error, repair_error=run.error)


def _verify(runner: Runner, name: str) -> VerifiedTable:
    store, table, state = runner.store, runner.graph.tables[name], runner.states[name]
    problems: list[str] = []
    try:
        if table.contract.layer != "gold":
            # Count one table at a time: a table that can't be read must not hide the others.
            accounts = reconcile(store, runner.graph, held=set(runner.graph.tables) - {name})
            problems += [account.complaint for account in accounts if account.missing][:1]
        work = runner.work_of_current_version(name)
        if work is None:
            reasons = "; ".join(runner.due(name).reasons)
            if not reasons and isinstance(table.materialization, Append):
                return VerifiedTable(name, problems=tuple(problems), skip_reason=_LEDGER)
            reason = reasons or "an input has changed since its last refresh"
            return VerifiedTable(name, problems=tuple(problems), skip_reason=f"it is due: {reason}", is_due=True)
        rebuilt = table.materialization.rebuilt(work)
        differences = [_compare(contract, store.read(contract), rows) for contract, rows in rebuilt]
        difference = sum(differences, RowDifference())
        if state.known_sums and difference == RowDifference():
            sums = read_sums(store.read(table.contract), table.contract)
            problems += [
                f"{name}: its {measure} is {found}, but its state says {state.known_sums[measure]}"
                for measure, found in sums.items()
                if Decimal(state.known_sums.get(measure, found)) != Decimal(found)
            ][:1]
    except Exception as error:  # an unreadable file raises the engine's own errors
        problems.append(f"{name} can't be compared: {one_line(error)}")
        return VerifiedTable(name, problems=tuple(problems))
    reason = "" if rebuilt else _RECEIVED if isinstance(table.contract, BronzeContract) else _LEDGER
    return VerifiedTable(name, difference, tuple(problems), reason)


def _compare(contract: TableContract, stored: DataFrame, rebuilt: DataFrame) -> RowDifference:
    """Compare the rows of a table with the rows of its rebuild, with one query.

    `_batch_id` is not compared. If an unchanged record is received in several batches, its `_batch_id` depends on when
    the runs took place.
    """
    key = [name for name in contract.key if name != BATCH_ID.name]
    compared = [column for column in contract.columns if column.name != BATCH_ID.name]
    doubles = [column.name for column in compared if column.type == "DOUBLE"]
    values = hash_of([hashable(column) for column in compared if column.type != "DOUBLE"]).alias("_values")
    of_table, of_rebuild = (
        without_comments(
            rows.selectExpr(*contract.select_list).select(*key, values, *doubles), [*key, "_values", *doubles]
        )
        for rows in (stored, rebuilt)
    )
    is_same = sf.min("_values") == sf.max("_values")
    for name in doubles:
        is_same &= _is_close(name)
    by_key = (
        union([of_table.withColumn("_is_stored", sf.lit(True)), of_rebuild.withColumn("_is_stored", sf.lit(False))])
        .groupBy(*key)
        .agg(
            sf.count(sf.when(sf.col("_is_stored"), 1)).alias("stored"),
            sf.count(sf.when(~sf.col("_is_stored"), 1)).alias("rebuilt"),
            is_same.alias("is_same"),
        )
    )
    in_both = (sf.col("stored") > 0) & (sf.col("rebuilt") > 0)
    more = sf.col("rebuilt") - sf.col("stored")
    [(missing, surplus, changed)] = by_key.agg(
        sf.sum(sf.greatest(more, sf.lit(0))),
        sf.sum(sf.greatest(-more, sf.lit(0))),
        sf.count(sf.when(in_both & ~sf.col("is_same"), 1)),
    ).collect()
    return RowDifference(missing or 0, surplus or 0, changed)


def _is_close(name: str) -> Column:
    """Return an aggregate: whether all values of a DOUBLE column are null, or all are nearly equal."""
    least, greatest = sf.min(name), sf.max(name)
    is_near = greatest - least <= sf.lit(_TOLERANCE) * sf.greatest(sf.abs(greatest), sf.abs(least))
    return (sf.count(name) == 0) | ((sf.count(name) == sf.count("*")) & is_near)
