"""Takes over a warehouse of the version before the graph, whose log said which batch is in which table."""

from __future__ import annotations

from dataclasses import asdict

from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import BRONZE_TABLES, PRODUCTS_BRONZE
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, TABLE_STATE_OPS
from cdp_lib.contracts.silver import PRODUCT_PRICES_SILVER, PRODUCTS_SILVER
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import Landing
from cdp_lib.pipeline.load_batches import Loaded
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.storage import DeltaStore

_LOG = PIPELINE_RUNS_OPS.name


def adopt_warehouse(store: DeltaStore, landing: Landing) -> str:
    """Prepare a warehouse of the earlier version for its first run, where there is one.

    Where all batches are still landed, every table is rebuilt from them. Of an entity whose older batches are gone,
    bronze is marked complete since its oldest landed batch: what silver has of older ones stays as it is. Only gold is
    rebuilt from that. Prices of products that older batches gave are put back into bronze.

    Args:
        store: Tables of the platform.
        landing: Where batches are landed.

    Returns:
        What was done, in a line; empty where there is nothing to take over.
    """
    is_done = store.exists(TABLE_STATE_OPS) and _LOG not in read_states(store)
    if is_done or not store.exists(PIPELINE_RUNS_OPS) or "change_id" not in store.read(PIPELINE_RUNS_OPS).columns:
        return ""
    marks: States = {}
    for contract in BRONZE_TABLES:
        landed = landing.batch_ids(contract.source, contract.entity)
        if gone := _gone(store, contract, set(landed)):
            since = landed[0] if landed else f"{max(gone)}~"
            marks[contract.name] = TableState(details=asdict(Loaded(complete_since=since)))
            if contract is PRODUCTS_BRONZE:
                _put_back_prices(store, since)
    # A kill before the log is rewritten leaves this mark: the next run goes on from here.
    write_states(store, marks | {_LOG: TableState(is_rewriting=True)})
    _rewrite_log(store)
    write_states(store, marks)
    if not marks:
        return "A warehouse of an earlier version was taken over: every table is rebuilt from what has landed."
    kept = ", ".join(f"{name} since {Loaded.of(state).complete_since}" for name, state in marks.items())
    return f"A warehouse of an earlier version was taken over: what older batches gave silver stays; bronze: {kept}."


def _gone(store: DeltaStore, contract: BronzeContract, landed: set[str]) -> set[str]:
    """Return the batches that the log knows, and neither landing nor bronze has any more."""
    log = store.read(PIPELINE_RUNS_OPS).where(f"table_name = '{contract.name}' AND state = 'done'")
    known = {name for (name,) in log.select("batch_id").distinct().collect() if name}
    missing = known - landed
    if missing and store.exists(contract):
        held = store.read(contract).select("_batch_id").distinct().collect()
        missing -= {name for (name,) in held}
    return missing


def _put_back_prices(store: DeltaStore, since: str) -> None:
    """Add to bronze what older batches said of prices: a sale keeps the price of its day."""
    if not (store.exists(PRODUCT_PRICES_SILVER) and store.exists(PRODUCTS_SILVER) and store.exists(PRODUCTS_BRONZE)):
        return
    names = store.read(PRODUCTS_SILVER).select("product_id", "product_name", "category")
    prices = store.read(PRODUCT_PRICES_SILVER).where(sf.col("_batch_id") < since)
    extracted_at = sf.to_timestamp(sf.substring("_batch_id", 1, 15), "yyyyMMdd'T'HHmmss")
    values = {
        "product_id": sf.col("product_id"),
        "product_name": sf.coalesce("product_name", sf.lit("unknown")),
        "category": sf.coalesce("category", sf.lit("unknown")),
        "price": sf.col("price"),
        "updated_at": sf.col("valid_from").cast("string"),
        "_load": sf.lit("snapshot"),
        "_is_deleted": sf.lit(False),
        "_batch_id": sf.col("_batch_id"),
        "_source_file": sf.lit("taken over from product_prices_silver"),
        "_ingested_at": extracted_at,
    }
    bronze = store.read(PRODUCTS_BRONZE)
    columns = [values.get(name, sf.lit(None)).cast(type_).alias(name) for name, type_ in bronze.dtypes]
    store.append(PRODUCTS_BRONZE, prices.join(names, "product_id", how="left").select(*columns))


def _rewrite_log(store: DeltaStore) -> None:
    """Give the log the columns of today."""
    values = {
        "run_id": sf.col("run_id"),
        "table_name": sf.col("table_name"),
        "state": sf.lit("refreshed"),
        "latest_batch": sf.col("batch_id"),
        "rows": sf.col("rows_merged"),
        "rows_removed": sf.col("rows_removed"),
        "rows_quarantined": sf.col("rows_quarantined"),
        "rows_superseded": sf.col("rows_superseded"),
        "started_at": sf.col("started_at"),
        "seconds": sf.col("seconds"),
        "engine": sf.concat_ws(" ", "engine", "engine_version"),
        "code_version": sf.col("code_version"),
    }
    done = store.read(PIPELINE_RUNS_OPS).where("state = 'done'")
    columns = [values.get(c.name, sf.lit(None)).cast(c.type).alias(c.name) for c in PIPELINE_RUNS_OPS.columns]
    store.rewrite(PIPELINE_RUNS_OPS, done.select(*columns))
