"""Upgrade of the tables that an earlier version of the platform wrote.

The earlier version recorded in its log which batches each table had loaded.
"""

from __future__ import annotations

from dataclasses import asdict

from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import BRONZE_TABLES, PRODUCTS_BRONZE
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, TABLE_STATE_OPS
from cdp_lib.contracts.silver import PRODUCT_PRICES_SILVER, PRODUCTS_SILVER
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import Landing
from cdp_lib.pipeline.load_batches import LoadedBatches
from cdp_lib.pipeline.state import States, TableState, read_states, write_states
from cdp_lib.storage import DeltaStore

_LOG = PIPELINE_RUNS_OPS.name


def adopt_warehouse(store: DeltaStore, landing: Landing) -> str:
    """Upgrade the tables of an earlier version of the platform, before this version refreshes them for the first time.

    If all loaded batches are still landed, every table is rebuilt from these batches.

    If older batches of an entity were removed:

    - the entity's bronze table gets only the landed batches. In its state, `complete_since` says that the rows of
      earlier batches are missing;
    - silver keeps the rows of the removed batches, and gold is rebuilt from silver;
    - product prices of removed batches are copied from silver to bronze.

    Args:
        store: Tables of the platform.
        landing: Landed batches.

    Returns:
        One line that describes the upgrade. It is empty if no earlier version wrote the tables, or if the tables are
        already upgraded.
    """
    is_done = store.exists(TABLE_STATE_OPS) and _LOG not in read_states(store)
    if is_done or not store.exists(PIPELINE_RUNS_OPS) or "change_id" not in store.read(PIPELINE_RUNS_OPS).columns:
        return ""
    marks: States = {}
    for contract in BRONZE_TABLES:
        landed = landing.batch_ids(contract.source, contract.entity)
        if removed := _removed_batches(store, contract, set(landed)):
            since = landed[0] if landed else f"{max(removed)}~"
            marks[contract.name] = TableState(details=asdict(LoadedBatches(complete_since=since)))
            if contract is PRODUCTS_BRONZE:
                _restore_prices(store, since)
    # While the log has a state, the upgrade is unfinished. If the run is killed before the log is rewritten, the next
    # run finds this state and repeats the upgrade.
    write_states(store, marks | {_LOG: TableState(is_rewriting=True)})
    _rewrite_log(store)
    write_states(store, marks)
    if not marks:
        return "The tables are from an earlier version of the platform: every table is rebuilt from the landed batches."
    complete = ", ".join(f"{name} since {LoadedBatches.of(state).complete_since}" for name, state in marks.items())
    return (
        "The tables are from an earlier version of the platform: silver keeps the rows of removed batches, and bronze"
        f" is complete only since a later batch ({complete})."
    )


def _removed_batches(store: DeltaStore, contract: BronzeContract, landed: set[str]) -> set[str]:
    """Return the batches that the log lists as loaded, but that are neither landed nor in the bronze table."""
    log = store.read(PIPELINE_RUNS_OPS).where(f"table_name = '{contract.name}' AND state = 'done'")
    logged = {name for (name,) in log.select("batch_id").distinct().collect() if name}
    removed = logged - landed
    if removed and store.exists(contract):
        in_bronze = store.read(contract).select("_batch_id").distinct().collect()
        removed -= {name for (name,) in in_bronze}
    return removed


def _restore_prices(store: DeltaStore, since: str) -> None:
    """Append the product prices of removed batches to bronze.

    `product_prices_silver` is rebuilt from bronze. Without the old prices, old sales could not be matched to the
    price of their day.
    """
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
    """Rewrite the log of the earlier version with the columns of the current contract."""
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
