"""Reconciliation: compares row counts to check that every input row is accounted for.

Each input row must be in the table, in the table's quarantine, or superseded.
"""

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
from cdp_lib.pipeline.load_batches import LoadedBatches
from cdp_lib.pipeline.state import States, TableState, read_states
from cdp_lib.pipeline.table import Table
from cdp_lib.storage import DeltaStore

WHOLE_TABLE = "all"
"""Value of `batch_id` in the account of a whole table."""

EARLIER = "earlier batches"
"""Value of `batch_id` in the account of all batches that have no account of their own."""

_SINGLE_BATCHES = 100
"""Number of newest batches for which each table has a separate account."""


@dataclass(frozen=True)
class Account:
    """Row counts of one batch in one table. They balance if in = out + quarantined + superseded.

    Attributes:
        table_name: Name of the table.
        batch_id: Name of the batch; `EARLIER` for all earlier batches together; `WHOLE_TABLE` for all rows of the
            table.
        rows_in: Number of rows of the batch in the table's input. For `WHOLE_TABLE`, the number of rows that the table
            and its quarantine should have together, according to the table's state.
        rows_out: Number of rows of the batch in the table.
        rows_quarantined: Number of rows of the batch in the table's quarantine.
        rows_superseded: Number of rows of the batch that a later version, a tombstone or an equal row replaced.
    """

    table_name: str
    batch_id: str
    rows_in: int = 0
    rows_out: int = 0
    rows_quarantined: int = 0
    rows_superseded: int = 0

    @property
    def missing(self) -> int:
        """Return the number of rows that are not accounted for. It is negative if the table has too many rows."""
        return self.rows_in - self.rows_out - self.rows_quarantined - self.rows_superseded

    @property
    def complaint(self) -> str:
        """Return the imbalance in words."""
        of_batch = {WHOLE_TABLE: "", EARLIER: f", {EARLIER}"}.get(self.batch_id, f", batch {self.batch_id}")
        return (
            f"{self.table_name}{of_batch}: {self.rows_in} rows in, but {self.rows_out} out"
            f" + {self.rows_quarantined} quarantined + {self.rows_superseded} superseded:"
            f" {abs(self.missing)} {'missing' if self.missing > 0 else 'too many'}"
        )


def reconcile(
    store: DeltaStore, graph: Graph | None = None, held: Iterable[str] = (), *, only_changed: bool = False
) -> list[Account]:
    """Count the rows of bronze and silver tables, and compare them with the tables' states and batches.

    Args:
        store: Tables of the platform.
        graph: Graph of the tables. None for the graph of the platform.
        held: Tables that failed or were held in this run. Their rows are not counted.
        only_changed: Whether to count only the tables that changed since their accounts were last recorded.

    Returns:
        Accounts of each counted table:

        - if its state records the number of rows: one account for the whole table;
        - if it has rules: one account for each of its newest batches, and one account for all earlier batches.
    """
    graph, states, skipped = graph or platform_graph(), read_states(store), set(held)
    counted = {row["table_name"]: row["counted_version"] for row in _recorded(store)} if only_changed else {}
    tables = [
        table
        for table in graph.tables.values()
        if table.contract.layer in ("bronze", "silver")
        and table.name not in skipped
        and (state := states.get(table.name))
        and state.version
        and not state.is_rewriting
        and _version_key(state) != counted.get(table.name)
    ]
    rows = _count_by_batch(store, tables, {table.name: _first_single_batch(graph, states, table) for table in tables})
    accounts = [account for table in tables for account in _accounts(states, table, rows)]
    return sorted(accounts, key=lambda each: (each.table_name, each.batch_id))


def _version_key(state: TableState) -> str:
    """Return a string that identifies the version of a table and the versions of its inputs."""
    return " ".join([state.token, *(f"{name}={token}" for name, (_, token) in sorted(state.inputs.items()))])


Counts = dict[str, Counter[str]]
"""Number of rows by table name and batch name. If a table is not counted by batch, the only batch name is empty."""


def _count_by_batch(store: DeltaStore, tables: list[Table], since: Mapping[str, str]) -> Counts:
    """Count the rows of tables, their quarantines and their inputs by batch, with a single query."""
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
    """Return the oldest batch that has an account of its own.

    Earlier batches share one account, so that the number of accounts does not grow with the number of batches.
    """
    while table.reads:
        table = graph.tables[table.reads[0].name]
    return min(sorted(LoadedBatches.of(states.get(table.name, TableState())).batches)[-_SINGLE_BATCHES:], default="")


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
            if source.layer == "bronze" and not LoadedBatches.of(states[source.name]).has_whole(oldest):
                rows_in = max(rows_in, present)
            superseded = 0 if source.rules else max(0, rows_in - present)
            accounts.append(Account(table.name, batch_id, rows_in, rows[batch_id], refused[batch_id], superseded))
    return accounts


def record_reconciliation(store: DeltaStore, accounts: list[Account], graph: Graph | None = None) -> list[str]:
    """Store the accounts of tables in `reconciliation_ops`. They replace earlier accounts of these tables.

    Args:
        store: Tables of the platform.
        accounts: Accounts from `reconcile`.
        graph: Graph of the tables. None for the graph of the platform.

    Returns:
        Names of the tables with an imbalance.
    """
    states, counted = read_states(store), {account.table_name for account in accounts}
    unbalanced = {account.table_name for account in accounts if account.missing}
    # Store no `counted_version` for a table with an imbalance, so that the next run counts the table again.
    versions = {name: _version_key(states[name]) for name in counted - unbalanced if name in states}
    rows = [
        asdict(account) | {"is_balanced": not account.missing, "counted_version": versions.get(account.table_name)}
        for account in accounts
    ]
    recorded, known = _recorded(store), (graph or platform_graph()).tables
    rows += [row for row in recorded if row["table_name"] in known and row["table_name"] not in counted]
    if not recorded or {*map(_values, recorded)} != {*map(_values, rows)}:
        store.replace(RECONCILIATION_OPS, store.frame(RECONCILIATION_OPS, rows))
    return sorted(unbalanced)


def _recorded(store: DeltaStore) -> list[dict[str, Any]]:
    """Return the accounts in `reconciliation_ops`; an empty list if that table has columns of an earlier version."""
    if not store.exists(RECONCILIATION_OPS):
        return []
    rows = store.read(RECONCILIATION_OPS)
    return [row.asDict() for row in rows.collect()] if rows.columns == list(RECONCILIATION_OPS.column_names) else []


def _values(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in RECONCILIATION_OPS.column_names)


def has_imbalance(store: DeltaStore) -> bool:
    """Return whether an account in `reconciliation_ops` has an imbalance. If true, a table must be counted again."""
    rows = store.read(RECONCILIATION_OPS) if store.exists(RECONCILIATION_OPS) else None
    return rows is not None and not rows.where("NOT is_balanced").isEmpty()


def raise_on_imbalance(accounts: list[Account]) -> None:
    """Raise an error if an account has an imbalance.

    Raises:
        CdpError: A table has an imbalance. The message names the table and the difference.
    """
    if complaint := describe_imbalance(accounts):
        raise CdpError(complaint)


def describe_imbalance(accounts: list[Account]) -> str:
    """Return a one-line message about the imbalance and what to do. It is empty if all accounts balance."""
    complaints = [account.complaint for account in accounts if account.missing]
    if not complaints:
        return ""
    more = f" (and {len(complaints) - 1} more, in reconciliation_ops)" if len(complaints) > 1 else ""
    return (
        f"{complaints[0]}{more}. Something other than this platform has changed the table:"
        " run `cdp verify --repair`, or in a workspace the job cdp_verify with repair=true. They rebuild exactly the"
        " wrong tables."
    )
