"""Counts, in the tables themselves, whether every row of every batch is accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import functions as sf

from cdp_lib.contracts.ops import RECONCILIATION_OPS
from cdp_lib.errors import CdpError
from cdp_lib.frames import union
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.load_batches import Loaded
from cdp_lib.pipeline.merge_by_key import is_behind_bronze, rows_in_force
from cdp_lib.pipeline.state import States, TableState, read_states
from cdp_lib.pipeline.table import Table
from cdp_lib.quality import with_record_key
from cdp_lib.storage import DeltaStore

WHOLE_TABLE = "all"
"""Stands for a batch where a whole table is counted."""

EARLIER = "earlier batches"
"""Stands for all batches that have no account of their own."""

_SINGLE_BATCHES = 100
"""Newest batches of a table that each have an account of their own."""


@dataclass(frozen=True)
class Account:
    """What became of a batch's rows: rows_in = rows_out + rows_quarantined + rows_superseded.

    Attributes:
        table_name: The table.
        batch_id: The batch; `EARLIER`: all that are older than those; `WHOLE_TABLE`: rows in are those that the
            table's changes add up to.
        rows_in: Rows that the batch came with, as the table's input has them.
        rows_out: Rows in the table.
        rows_quarantined: Rows in its quarantine.
        rows_superseded: Rows that a later version, a removal or an equal row replaced.
    """

    table_name: str
    batch_id: str
    rows_in: int = 0
    rows_out: int = 0
    rows_quarantined: int = 0
    rows_superseded: int = 0

    @property
    def missing(self) -> int:
        """Rows that are not accounted for; below 0 for rows that are too many."""
        return self.rows_in - self.rows_out - self.rows_quarantined - self.rows_superseded

    @property
    def complaint(self) -> str:
        """What does not add up, in words."""
        of_batch = {WHOLE_TABLE: "", EARLIER: f", {EARLIER}"}.get(self.batch_id, f", batch {self.batch_id}")
        return (
            f"{self.table_name}{of_batch}: {self.rows_in} rows in, but {self.rows_out} out"
            f" + {self.rows_quarantined} quarantined + {self.rows_superseded} superseded:"
            f" {abs(self.missing)} {'missing' if self.missing > 0 else 'too many'}"
        )


def reconcile(
    store: DeltaStore, graph: Graph | None = None, held: Iterable[str] = (), *, only_changed: bool = False
) -> list[Account]:
    """Compare what tables hold with what their changes add up to, and with what their batches came with.

    Args:
        store: Tables of the platform.
        graph: Declarations of the tables; those of the platform if there is none.
        held: Tables that failed in this run, which are passed over.
        only_changed: Count the tables that have changed since their accounts were last recorded, and no others.

    Returns:
        An account of every table that is counted; of a table that rows of batches are merged into also one of each of
        its newest batches, and one of all earlier batches together.
    """
    graph, states, passed_over = graph or platform_graph(), read_states(store), set(held)
    counted = {row["table_name"]: row["counted_version"] for row in _recorded(store)} if only_changed else {}
    tables = [
        table
        for table in graph.tables.values()
        if table.contract.layer in ("bronze", "silver")
        and table.name not in passed_over
        and (state := states.get(table.name))
        and state.version
        and not state.is_rewriting
        and _version(state) != counted.get(table.name)
    ]
    rows = _count_by_batch(store, tables, {table.name: _first_single_batch(graph, states, table) for table in tables})
    accounts = [account for table in tables for account in _accounts(states, table, rows)]
    return sorted(accounts, key=lambda each: (each.table_name, each.batch_id))


def _version(state: TableState) -> str:
    """Return what tells the versions of a table apart, and those of what it was made from."""
    return " ".join([state.token, *(f"{name}={token}" for name, (_, token) in sorted(state.inputs.items()))])


Counts = dict[str, Counter[str]]
"""Rows of each table by batch; a table that knows no batches has one, of no name."""


def _count_by_batch(store: DeltaStore, tables: list[Table], since: Mapping[str, str]) -> Counts:
    """Count tables, their quarantines and what they are compared with, each once and all in one query."""
    counts = {}
    for table in tables:
        is_single = sf.col("_batch_id") >= since[table.name]
        is_by_batch = table.contract.rules or table.contract.layer == "bronze"
        batch = sf.when(is_single, sf.col("_batch_id")).otherwise(EARLIER) if is_by_batch else sf.lit("")
        for contract in (*table.contract.with_quarantine, *(table.reads[:1] if table.contract.rules else ())):
            by_batch = store.read(contract).groupBy(batch.alias("batch")).agg(sf.count("*").alias("rows"))
            counts[contract.name] = by_batch.select(sf.lit(contract.name).alias("name"), "batch", "rows")
    rows: Counts = {name: Counter() for name in counts}
    for name, batch_id, number in union([*counts.values()]).collect() if counts else ():
        rows[name][batch_id] = number
    return rows


def _first_single_batch(graph: Graph, states: States, table: Table) -> str:
    """Return the oldest batch that has an account of its own: their number does not grow with a warehouse's age."""
    while table.reads:
        table = graph.tables[table.reads[0].name]
    return min(sorted(Loaded.of(states.get(table.name, TableState())).batches)[-_SINGLE_BATCHES:], default="")


def _accounts(states: States, table: Table, counts: Counts) -> list[Account]:
    state, names = states[table.name], (table.name, table.contract.quarantine.name)
    rows, refused = (counts.get(name, Counter()) for name in names)
    accounts = []
    if state.rows is not None:
        expected = state.rows + state.refused
        accounts = [Account(table.name, WHOLE_TABLE, expected, rows.total(), refused.total())]
    if table.contract.rules:
        [source, *_] = table.reads
        received = counts[source.name]
        for batch_id in sorted({*received, *rows, *refused}):
            rows_in, present = received[batch_id], rows[batch_id] + refused[batch_id]
            oldest = "" if batch_id == EARLIER else batch_id
            if source.layer == "bronze" and not Loaded.of(states[source.name]).has_whole(oldest):
                rows_in = max(rows_in, present)
            superseded = 0 if source.rules else max(0, rows_in - present)
            accounts.append(Account(table.name, batch_id, rows_in, rows[batch_id], refused[batch_id], superseded))
    return accounts


def record_reconciliation(store: DeltaStore, accounts: list[Account], graph: Graph | None = None) -> list[str]:
    """Keep the accounts in `reconciliation_ops`, in place of earlier ones of the same tables.

    Args:
        store: Tables of the platform.
        accounts: What `reconcile` found.
        graph: Declarations of the tables; those of the platform if there is none.

    Returns:
        Names of the tables that do not add up.
    """
    states, counted = read_states(store), {account.table_name for account in accounts}
    unbalanced = {account.table_name for account in accounts if account.missing}
    # What does not add up is counted again by the next run.
    versions = {name: _version(states[name]) for name in counted - unbalanced if name in states}
    rows = [
        asdict(account) | {"is_balanced": not account.missing, "counted_version": versions.get(account.table_name)}
        for account in accounts
    ]
    kept, known = _recorded(store), (graph or platform_graph()).tables
    rows += [row for row in kept if row["table_name"] in known and row["table_name"] not in counted]
    if not kept or {*map(_values, kept)} != {*map(_values, rows)}:
        store.replace(RECONCILIATION_OPS, store.frame(RECONCILIATION_OPS, rows))
    return sorted(unbalanced)


def _recorded(store: DeltaStore) -> list[dict[str, Any]]:
    """Return the rows of the last accounts; none where an earlier version of the platform recorded them."""
    if not store.exists(RECONCILIATION_OPS):
        return []
    rows = store.read(RECONCILIATION_OPS)
    return [row.asDict() for row in rows.collect()] if rows.columns == list(RECONCILIATION_OPS.column_names) else []


def _values(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in RECONCILIATION_OPS.column_names)


def has_imbalance(store: DeltaStore) -> bool:
    """Return whether a table did not add up when it was last counted: it is counted again until it does."""
    rows = store.read(RECONCILIATION_OPS) if store.exists(RECONCILIATION_OPS) else None
    return rows is not None and not rows.where("NOT is_balanced").isEmpty()


def refuse_imbalance(accounts: list[Account]) -> None:
    """Refuse to go on from tables that do not add up.

    Raises:
        CdpError: One does not: which, and by how much.
    """
    if complaint := complaint_about(accounts):
        raise CdpError(complaint)


def complaint_about(accounts: list[Account]) -> str:
    """Return what does not add up and what to do, in a line; empty where everything does."""
    complaints = [account.complaint for account in accounts if account.missing]
    if not complaints:
        return ""
    others = f" (and {len(complaints) - 1} more, in reconciliation_ops)" if len(complaints) > 1 else ""
    return (
        f"{complaints[0]}{others}. Something besides this platform has changed the table:"
        " run again with full_refresh=true to rebuild it from what has landed."
    )


@dataclass(frozen=True)
class Finding:
    """Rows of a table that are not where they have to be.

    Attributes:
        table_name: The table.
        missing: Keys of its input that are neither in the table nor in its quarantine.
        surplus: Keys of the table that its input does not have.
    """

    table_name: str
    missing: int
    surplus: int

    def __str__(self) -> str:
        """The finding in a line."""
        return f"{self.table_name}: {self.missing:,} keys missing, {self.surplus:,} too many"


def verify(store: DeltaStore, graph: Graph | None = None) -> list[Finding]:
    """Prove, key by key, that every current row of an input is in its table or in quarantine, and that no other is.

    Cost: an anti-join over each table that rows are merged into, in both directions.

    Args:
        store: Tables of the platform.
        graph: Declarations of the tables; those of the platform if there is none.

    Returns:
        One finding per table, also where nothing is wrong.
    """
    states = read_states(store)
    return [
        _verify(store, states, table)
        for table in (graph or platform_graph()).tables.values()
        if table.contract.rules and states.get(table.name, TableState()).version
    ]


def _verify(store: DeltaStore, states: States, table: Table) -> Finding:
    contract, [source, *_] = table.contract, table.reads
    rows, is_behind = store.read(source), sf.lit(False)
    if source.layer == "bronze":
        loaded = Loaded.of(states[source.name])
        is_behind = is_behind_bronze(loaded)
        # Of a record and its removal in one batch, the removal is later.
        alive_in, removed_in = (
            sf.max(sf.when(sf.col("_is_deleted") == gone, sf.col("_batch_id"))) for gone in (False, True)
        )
        versions = with_record_key(table.build(rows_in_force(rows, loaded)), contract).groupBy("record_key")
        batches = versions.agg(alive_in.alias("alive_in"), removed_in.alias("removed_in"))
        wanted = batches.where("record_key IS NOT NULL AND alive_in > coalesce(removed_in, '')").select("record_key")
    else:
        wanted = with_record_key(rows, contract).select("record_key")
    held = with_record_key(store.read(contract), contract).select("record_key", is_behind.alias("is_behind"))
    waiting = store.read(contract.quarantine).where("record_key IS NOT NULL")
    present = held.unionByName(waiting.select("record_key", is_behind.alias("is_behind")))
    missing = wanted.join(present, "record_key", how="left_anti")
    surplus = present.where("NOT is_behind").join(wanted, "record_key", how="left_anti")
    return Finding(table.name, missing.count(), surplus.count())
