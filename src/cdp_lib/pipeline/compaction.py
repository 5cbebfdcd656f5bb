"""Makes old landed batches removable: what counts of them stays in bronze, the rest goes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from pyspark.sql import functions as sf

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.frames import union
from cdp_lib.landing import Landing
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.load_batches import REMEMBERED, Loaded
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.pipeline.table import Table
from cdp_lib.quality import record_hash
from cdp_lib.storage import DeltaStore


@dataclass(frozen=True)
class Compacted:
    """What became of one bronze table.

    Attributes:
        table_name: The table.
        batches: Landed batches that were removed.
        rows_before: Rows of the table before.
        rows_after: Rows afterwards.
        left_because: Why the table was left as it is; empty where it was not.
    """

    table_name: str
    batches: int = 0
    rows_before: int = 0
    rows_after: int = 0
    left_because: str = ""

    def __str__(self) -> str:
        """The result in a line."""
        if self.left_because:
            return f"{self.table_name}: left as it is: {self.left_because}"
        return f"{self.table_name}: {self.batches:,} batches removed, {self.rows_before:,} → {self.rows_after:,} rows"


def remove_old_batches(
    store: DeltaStore, landing: Landing, keep_days: int, now: datetime, graph: Graph | None = None
) -> list[Compacted]:
    """Compact bronze rows of batches that are older than a number of days, and remove these batches from the landing.

    Of old batches a bronze table keeps the rows that its readers would still take: the latest good version of each key,
    a later refused one, all of a file's newest version, every change of a price. Whatever lands later, tables come out
    the same. The newest batch of an entity stays, since the next extraction goes on from it.

    A kill is harmless: rows are replaced in one commit, before a batch is removed.

    Args:
        store: Tables of the platform.
        landing: Where batches are landed.
        keep_days: Days for which batches stay.
        now: Start of the run, UTC.
        graph: Declarations of the tables; those of the platform if there is none.
    """
    graph = graph or platform_graph()
    before = f"{now - max(timedelta(days=keep_days), REMEMBERED):%Y%m%dT%H%M%SZ}"
    states, late = read_states(store), complaints_of_late_batches(store, landing, graph)
    compacted = []
    for table in graph.tables.values():
        if isinstance(table.contract, BronzeContract) and table.name in states:
            landed = landing.batch_ids(table.contract.source, table.contract.entity)
            old = [name for name in landed[:-1] if name < before and Loaded.of(states[table.name]).holds(name)]
            if table.name in late:
                compacted.append(Compacted(table.name, left_because=late[table.name]))
            elif old:
                readers = [graph.tables[name] for name in graph.readers(table.name)]
                compacted.append(_compact(store, states, table, readers, old[-1]))
                if not compacted[-1].left_because:
                    landing.remove_batches(table.contract.source, table.contract.entity, old)
                    compacted[-1] = replace(compacted[-1], batches=len(old))
    return compacted


def complaints_of_late_batches(store: DeltaStore, landing: Landing, graph: Graph | None = None) -> dict[str, str]:
    """Say by table which batches landed too late to be seen: older than the days that are listed, and not in bronze.

    Cost: the names of all landed batches, the manifests of those before these days, and the names in bronze.

    Args:
        store: Tables of the platform.
        landing: Where batches are landed.
        graph: Declarations of the tables; those of the platform if there is none.
    """
    states, complaints = read_states(store), {}
    for table in (graph or platform_graph()).tables.values():
        if isinstance(table.contract, BronzeContract) and table.name in states:
            loaded, source, entity = Loaded.of(states[table.name]), table.contract.source, table.contract.entity
            names = [name for name in landing.batch_ids(source, entity) if loaded.compacted_to < name < loaded.since]
            if names:
                rows = store.read(table.contract).where(sf.col("_batch_id") < sf.lit(loaded.since))
                held = {name for (name,) in rows.select("_batch_id").distinct().collect()}
                batches = [landing.find_batch(source, entity, name) for name in names if name not in held]
                if late := [batch.batch_id for batch in batches if batch and batch.rows != 0]:
                    complaints[table.name] = _advice_about(late)
    return complaints


def _advice_about(late: list[str]) -> str:
    others = f" and {len(late) - 1} more" if late[1:] else ""
    return (
        f"batch {late[0]}{others} landed more than {REMEMBERED.days} days late and is not loaded: run with"
        f" replay_from={late[0]}, or delete its folder"
    )


def _compact(store: DeltaStore, states: States, table: Table, readers: list[Table], last: str) -> Compacted:
    """Keep of the batches up to the last old one what readers still take."""
    contract, state = table.contract, states[table.name]
    if any(
        states.get(each.name, TableState()).inputs.get(table.name) != (state.version, state.token) for each in readers
    ):
        return Compacted(table.name, left_because="a table has not taken in its newest rows: refresh first")
    rows = store.read(contract)
    is_old = sf.col("_batch_id") <= sf.lit(last)
    key = ["_batch_id", "_record_hash"]
    needed = union([each.materialization.needed(each, rows, Loaded.of(state)).select(*key) for each in readers])
    hashed = rows.where(is_old).withColumn("_record_hash", record_hash(contract))
    base = hashed.join(needed.distinct(), key, how="left_semi").drop("_record_hash")
    # A kill from here on leaves a table whose number of rows is not known.
    states[table.name] = replace(state, rows=None, details=asdict(replace(Loaded.of(state), compacted_to=last)))
    write_states(store, states)
    store.overwrite(contract, base, is_old)
    rows_after = store.count([contract])[contract.name]
    states[table.name] = replace(states[table.name], rows=rows_after)
    write_states(store, states)
    return Compacted(table.name, 0, state.rows or 0, rows_after)
