"""Brings sales and prices up to date by the rows of other silver tables that have changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    PRODUCT_PRICES_SILVER,
    PRODUCTS_SILVER,
    RETAILS_CHANGES_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import of_types, union, worked_out_few
from cdp_lib.quality import check_rows, check_versions, is_warned
from cdp_lib.refresh.refreshed import Refreshed
from cdp_lib.runs import Account, BatchChange, Change, RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.prices import build_product_prices_silver
from cdp_lib.silver.products import build_products_silver
from cdp_lib.silver.retails import build_retails_changes_silver, build_retails_silver, sale_as_received
from cdp_lib.tables import Tables

_KEY = RETAILS_SILVER.key[0]

_CHANGES_KEPT = 50
"""Changes of sales that stay in their log, at least: a mart that has missed more of them is made anew."""

_SALES_NAME: dict[TableContract, str] = {
    CUSTOMERS_SILVER: "customer_id",
    PRODUCTS_SILVER: "product_id",
    PRODUCT_PRICES_SILVER: "product_id",
    STORES_SILVER: "store_id",
}
"""What sales are joined with, and by which of their columns."""


def refresh_retails(tables: Tables, runs: RunLog, settings: Settings) -> Refreshed:
    """Bring `retails_silver`, its quarantine and the log of its changes up to date.

    Looked at again are sales that have changed, and those whose customer, product, price or store has: a sale that
    waited in quarantine for one of them comes out. What a killed run has left is made anew, whole: its changes may be
    in the log and not in the table, or in both.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.
        settings: Settings of the run.

    Raises:
        CdpError: A table that sales are made from does not exist, or another run is writing.
    """
    for contract in (RETAILS_SILVER, RETAILS_SILVER.quarantine, RETAILS_CHANGES_SILVER):
        tables.create_table(contract)
    sources = (TRANSACTIONS_SILVER, *_SALES_NAME)
    histories = runs.histories(contract.name for contract in (RETAILS_SILVER, *sources))
    history = histories[RETAILS_SILVER.name]
    inputs = {contract.name: histories[contract.name].latest for contract in sources}
    last = dict(history.done[-1].inputs) if history.done else {}
    is_anew = settings.full_refresh or history.planned is not None
    if last == inputs and not is_anew:
        return Refreshed()
    changes = {contract: histories[contract.name].since(last.get(contract.name, "")) for contract in sources}
    is_whole = is_anew or not last or any(c.is_whole for since in changes.values() for c in since)
    change = Change(runs.new_change_id(history), is_whole=is_whole, inputs=inputs)
    if history.done:
        runs.plan(RETAILS_SILVER, change)
    entered = _write_anew(tables) if is_whole else _write_changes(tables, change.change_id, changes)
    # A batch of which no sale is left has an account, too: that of nothing.
    accounts = dict.fromkeys(history.accounts, Account()) | _accounts(tables)
    batches = {
        batch_id: BatchChange(account, entered.merged[batch_id], entered.removed[batch_id])
        for batch_id, account in accounts.items()
        if entered.merged[batch_id] or entered.removed[batch_id] or account != history.accounts.get(batch_id)
    }
    runs.finish(RETAILS_SILVER, replace(change, batches=batches))
    return Refreshed(entered.merged.total(), entered.removed.total(), entered.refused, 0, entered.warned)


@dataclass(frozen=True)
class _Entered:
    """What a change has done.

    Attributes:
        merged: Sales that entered the table or differ from what they were, by batch.
        removed: Sales that left it, by batch.
        refused: Sales that were refused.
        warned: Sales that were kept with a warning.
    """

    merged: Counter[str]
    removed: Counter[str]
    refused: int
    warned: int


def _write_anew(tables: Tables) -> _Entered:
    """Make the tables from all sales. Marts are made anew, too, and need nothing that came before."""
    sources = [tables.read_table(contract) for contract in (TRANSACTIONS_SILVER, *_SALES_NAME)]
    checked = check_rows(build_retails_silver(*sources), RETAILS_SILVER, sale_as_received())
    tables.replace_table(RETAILS_SILVER, checked.kept)
    _forget_changes(tables, but=0)
    # To count what is written costs a fraction of the joins that it is made by.
    kept = (
        tables.read_table(RETAILS_SILVER)
        .groupBy("_batch_id")
        .agg(sf.count("*").alias("kept"), sf.count(sf.when(is_warned(RETAILS_SILVER), 1)).alias("warned"))
    )
    counts = kept.collect()
    merged = Counter({row["_batch_id"]: row["kept"] for row in counts})
    refused = tables.count_rows([TRANSACTIONS_SILVER]) - merged.total()
    if refused or not tables.is_empty(RETAILS_SILVER.quarantine):
        tables.replace_table(RETAILS_SILVER.quarantine, checked.refused)
    return _Entered(merged, Counter(), refused, sum(row["warned"] for row in counts))


def _write_changes(tables: Tables, change_id: str, changes: Mapping[TableContract, tuple[Change, ...]]) -> _Entered:
    """Look at the touched sales alone: write to the log what is other than it was, then what the log says."""
    touched, _ = worked_out_few(of_types(_touched_sales(tables, changes), {_KEY: RETAILS_SILVER.types[_KEY]}))
    rows = build_retails_silver(
        tables.read_rows(TRANSACTIONS_SILVER, touched), *(tables.read_table(contract) for contract in _SALES_NAME)
    )
    checked = check_rows(worked_out_few(rows)[0], RETAILS_SILVER, sale_as_received())
    counts = checked.counts.collect()  # one query: to plan it takes longer than to run it
    refused = sum(row["refused"] for row in counts)
    before, _ = worked_out_few(of_types(tables.read_rows(RETAILS_SILVER, touched), RETAILS_SILVER.types))
    _forget_changes(tables, but=_CHANGES_KEPT)
    tables.replace_partitions(
        RETAILS_CHANGES_SILVER, [change_id], build_retails_changes_silver(before, checked.kept, change_id)
    )
    quarantine = RETAILS_SILVER.quarantine
    if refused or not tables.is_empty(quarantine):
        keys = touched.select(sf.col(_KEY).cast("string").alias("record_key"))
        others = tables.read_table(quarantine).join(keys, "record_key", how="left_anti")
        tables.replace_table(quarantine, others.selectExpr(*quarantine.select_list).unionByName(checked.refused))
    # From here on, many touched sales would be others than they were: what they were looked for in is written.
    log = tables.read_table(RETAILS_CHANGES_SILVER).where(sf.col("_change_id") == change_id)
    log, _ = worked_out_few(of_types(log, RETAILS_CHANGES_SILVER.types))
    inserts = log.where("_change_type = 'insert'").select(*RETAILS_SILVER.column_names)
    there = log.where("_change_type = 'delete'")
    deletes = there.join(inserts, _KEY, how="left_anti").select(_KEY, "_batch_id")
    merged, removed = _count_by_batch(inserts), _count_by_batch(deletes)
    if merged or removed:
        tables.merge_rows(RETAILS_SILVER, inserts, deletes, there)
    return _Entered(merged, removed, refused, sum(row["warned"] for row in counts))


def _forget_changes(tables: Tables, but: int) -> None:
    """Delete all changes from the log but the latest: a mart that wants older ones is made anew."""
    known = sorted(tables.read_partitions(RETAILS_CHANGES_SILVER))
    if len(known) > but + _CHANGES_KEPT or not but:
        old = known[: len(known) - but]
        tables.replace_partitions(RETAILS_CHANGES_SILVER, old, tables.read_table(RETAILS_CHANGES_SILVER).limit(0))


def _touched_sales(tables: Tables, changes: Mapping[TableContract, tuple[Change, ...]]) -> DataFrame:
    """The ids of the sales that may be other than they were, once each."""
    sales, retails = tables.read_table(TRANSACTIONS_SILVER), tables.read_table(RETAILS_SILVER)
    ids = []
    for contract, since in changes.items():
        name = _SALES_NAME.get(contract, _KEY)
        rows = tables.read_table(contract)
        batch_ids = {batch_id for change in since for batch_id, batch in change.batches.items() if batch.merged}
        if batch_ids:
            changed = rows.where(sf.col("_batch_id").isin(*batch_ids)).select(name).distinct()
            ids.append(changed if name == _KEY else sales.join(changed, name, how="left_semi").select(_KEY))
        if any(batch.removed for change in since for batch in change.batches.values()):
            ids.append(retails.join(rows, name, how="left_anti").select(_KEY))
            # Concatenated, it is no column with a comment: Sail can't unite columns whose comments differ.
            waiting = sf.concat("record_key", sf.lit("")).cast("int").alias(_KEY)
            ids.append(tables.read_table(RETAILS_SILVER.quarantine).select(waiting))
    return union(ids or [retails.select(_KEY).limit(0)]).distinct()


def _accounts(tables: Tables) -> dict[str, Account]:
    """What has become of the sales of each batch: each is either in the table or in its quarantine."""
    names = (TRANSACTIONS_SILVER, RETAILS_SILVER, RETAILS_SILVER.quarantine)
    rows = tables.count_by_batch(names)
    return {
        batch_id: Account(*(rows.get((contract.name, batch_id), 0) for contract in names))
        for batch_id in sorted({batch_id for _, batch_id in rows})
    }


def _count_by_batch(rows: DataFrame) -> Counter[str]:
    return Counter({batch_id: count for batch_id, count in rows.groupBy("_batch_id").agg(sf.count("*")).collect()})


def refresh_product_prices(tables: Tables, runs: RunLog, settings: Settings) -> Refreshed:
    """Bring `product_prices_silver` up to date.

    Of a new batch only the products are looked at whose price is not the one that is known; their periods are worked
    out again from all batches.

    Args:
        tables: Tables of the platform.
        runs: Log of the run.
        settings: Settings of the run.

    Raises:
        CdpError: `products_bronze` does not exist, or another run is writing.
    """
    tables.create_table(PRODUCT_PRICES_SILVER)
    loads = tables.read_loads(PRODUCTS_BRONZE)
    history = runs.history(PRODUCT_PRICES_SILVER.name)
    pending = [batch_id for batch_id in loads if batch_id not in history.accounts or settings.is_replayed(batch_id)]
    if not pending:
        return Refreshed()
    sightings = _sightings(tables)
    known = tables.read_table(PRODUCT_PRICES_SILVER)
    is_whole = settings.full_refresh or bool(settings.replay_from) or not history.done
    if is_whole:
        prices = build_product_prices_silver(sightings)
    else:
        new = sightings.where(sf.col("_batch_id").isin(*pending))
        if min(pending) > max(history.accounts):
            is_known = (known.product_id == new.product_id) & known.valid_to.isNull() & (known.price == new.price)
            new = new.join(known, is_known, how="left_anti")
        changed = new.select("product_id").distinct()
        history_of_changed = sightings.join(changed, "product_id", how="left_semi")
        rebuilt = build_product_prices_silver(history_of_changed)
        others = known.join(changed, "product_id", how="left_anti")
        prices = others.select(*PRODUCT_PRICES_SILVER.column_names).unionByName(rebuilt)
    entered = _new_periods(prices, None if is_whole else known)
    merged = _count_by_batch(entered)
    if merged or is_whole:
        tables.replace_table(PRODUCT_PRICES_SILVER, prices)
    batches = {batch_id: BatchChange(Account(), merged.get(batch_id, 0)) for batch_id in {*pending, *merged}}
    runs.finish(PRODUCT_PRICES_SILVER, Change(runs.new_change_id(history), batches, is_whole))
    return Refreshed(rows=sum(merged.values()))


def _sightings(tables: Tables) -> DataFrame:
    """The prices that good rows of all batches give."""
    bronze = tables.read_table(PRODUCTS_BRONZE)
    extracted_at = bronze.groupBy("_batch_id").agg(sf.max("_ingested_at").alias("extracted_at"))
    versions = check_versions(build_products_silver(bronze), PRODUCTS_SILVER)
    good = versions.where(sf.col("_keeps_rules") & ~sf.col("_is_deleted"))
    return good.select("product_id", "price", "updated_at", "_batch_id").join(extracted_at, "_batch_id", how="inner")


def _new_periods(prices: DataFrame, known: DataFrame | None) -> DataFrame:
    if known is None:
        return prices
    same_start = prices.valid_from.eqNullSafe(known.valid_from)
    is_known = (prices.product_id == known.product_id) & same_start & (prices.price == known.price)
    return prices.join(known, is_known, how="left_anti")
