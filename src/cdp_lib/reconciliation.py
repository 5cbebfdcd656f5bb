"""Counts, in the tables themselves, whether every row of every batch is accounted for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

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


@dataclass(frozen=True)
class Account:
    """What became of a batch's rows: rows_in = rows_out + rows_quarantined + rows_superseded.

    Attributes:
        table_name: The table.
        batch_id: The batch; `WHOLE_TABLE`: rows in are those that the table's changes add up to.
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
        of_batch = "" if self.batch_id == WHOLE_TABLE else f", batch {self.batch_id}"
        return (
            f"{self.table_name}{of_batch}: {self.rows_in} rows in, but {self.rows_out} out"
            f" + {self.rows_quarantined} quarantined + {self.rows_superseded} superseded:"
            f" {abs(self.missing)} {'missing' if self.missing > 0 else 'too many'}"
        )


def reconcile(store: DeltaStore, graph: Graph | None = None, held: Iterable[str] = ()) -> list[Account]:
    """Compare what tables hold with what their changes add up to, and with what their batches came with.

    Args:
        store: Tables of the platform.
        graph: Declarations of the tables; those of the platform if there is none.
        held: Tables that failed in this run, which are passed over.

    Returns:
        Every table, and every batch of every table that rows of batches are merged into.
    """
    states, passed_over = read_states(store), set(held)
    tables = [
        table
        for table in (graph or platform_graph()).tables.values()
        if table.contract.layer in ("bronze", "silver")
        and table.name not in passed_over
        and (state := states.get(table.name))
        and state.version
        and not state.is_rewriting
    ]
    accounts = [*_of_tables(store, states, tables), *_of_batches(store, states, tables)]
    return sorted(accounts, key=lambda each: (each.table_name, each.batch_id))


def _of_tables(store: DeltaStore, states: States, tables: list[Table]) -> list[Account]:
    contracts = [contract for table in tables for contract in table.contract.with_quarantine]
    rows = store.count(contracts)
    return [
        Account(
            table.name,
            WHOLE_TABLE,
            (state.rows or 0) + state.refused,
            rows[table.name],
            rows.get(table.contract.quarantine.name, 0),
        )
        for table in tables
        if (state := states.get(table.name, TableState())).rows is not None
    ]


def _of_batches(store: DeltaStore, states: States, tables: list[Table]) -> list[Account]:
    checked = [table for table in tables if table.contract.rules]
    contracts = dict.fromkeys(
        contract for table in checked for contract in (table.reads[0], *table.contract.with_quarantine)
    )
    counts = [
        store.read(contract)
        .groupBy("_batch_id")
        .agg(sf.count("*").alias("rows"))
        .select(sf.lit(contract.name).alias("name"), "_batch_id", "rows")
        for contract in contracts
    ]
    rows = {(name, batch_id): number for name, batch_id, number in (union(counts).collect() if counts else ())}
    accounts = []
    for table in checked:
        names = table.reads[0].name, table.name, table.contract.quarantine.name
        for batch_id in sorted({batch_id for name, batch_id in rows if name in names}):
            rows_in, rows_out, rows_quarantined = (rows.get((name, batch_id), 0) for name in names)
            if table.reads[0].layer == "bronze" and not Loaded.of(states[table.reads[0].name]).has_whole(batch_id):
                rows_in = max(rows_in, rows_out + rows_quarantined)
            superseded = 0 if table.reads[0].rules else max(0, rows_in - rows_out - rows_quarantined)
            accounts.append(Account(table.name, batch_id, rows_in, rows_out, rows_quarantined, superseded))
    return accounts


def record_reconciliation(store: DeltaStore, accounts: list[Account]) -> list[str]:
    """Keep the accounts in `reconciliation_ops`; where they are what it holds, nothing is written.

    Args:
        store: Tables of the platform.
        accounts: What `reconcile` found.

    Returns:
        Names of the tables that do not add up.
    """
    names = RECONCILIATION_OPS.column_names
    rows = [asdict(account) | {"is_balanced": not account.missing} for account in accounts]
    kept = store.read(RECONCILIATION_OPS).select(*names).collect() if store.exists(RECONCILIATION_OPS) else None
    if kept is None or sorted(map(tuple, kept)) != sorted(tuple(row[name] for name in names) for row in rows):
        store.replace(RECONCILIATION_OPS, store.frame(RECONCILIATION_OPS, rows))
    return sorted({account.table_name for account in accounts if account.missing})


def refuse_imbalance(accounts: list[Account]) -> None:
    """Refuse to go on from tables that do not add up.

    Raises:
        CdpError: One does not: which, and by how much.
    """
    complaints = [account.complaint for account in accounts if account.missing]
    if complaints:
        others = f" (and {len(complaints) - 1} more, in reconciliation_ops)" if len(complaints) > 1 else ""
        raise CdpError(
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
