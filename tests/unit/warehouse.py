"""A warehouse that a test fills batch by batch: bronze is written as its notebooks would, silver by the refreshes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    CUSTOMERS_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    PRODUCT_PRICES_SILVER,
    PRODUCTS_SILVER,
    RECEIVED_AS,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.gold import marts
from cdp_lib.gold.marts import Mart
from cdp_lib.published import publish_gold
from cdp_lib.reconciliation import Reconciled, reconcile
from cdp_lib.refresh.batches import refresh_from_batches
from cdp_lib.refresh.marts import refresh_marts
from cdp_lib.refresh.refreshed import Refreshed
from cdp_lib.refresh.sales import refresh_product_prices, refresh_retails
from cdp_lib.runs import RunLog
from cdp_lib.settings import Settings
from cdp_lib.silver.contacts import build_crm_contacts_silver
from cdp_lib.silver.customers import build_customers_silver
from cdp_lib.silver.events import build_events_silver
from cdp_lib.silver.products import build_products_silver
from cdp_lib.silver.rates import build_exchange_rates_silver
from cdp_lib.silver.spend import build_marketing_spend_silver
from cdp_lib.silver.stores import build_stores_silver
from cdp_lib.silver.transactions import build_transactions_silver
from cdp_lib.tables import Tables

BUILDERS: dict[TableContract, Callable[[DataFrame], DataFrame]] = {
    CUSTOMERS_SILVER: build_customers_silver,
    PRODUCTS_SILVER: build_products_silver,
    STORES_SILVER: build_stores_silver,
    TRANSACTIONS_SILVER: build_transactions_silver,
    CRM_CONTACTS_SILVER: build_crm_contacts_silver,
    EVENTS_SILVER: build_events_silver,
    MARKETING_SPEND_SILVER: build_marketing_spend_silver,
    EXCHANGE_RATES_SILVER: build_exchange_rates_silver,
}
MARTS = [mart for mart in vars(marts).values() if isinstance(mart, Mart)]
OF_SALES = (
    CUSTOMERS_SILVER,
    PRODUCTS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
    PRODUCT_PRICES_SILVER,
    RETAILS_SILVER,
)
"""What sales are made from, and they, in the order of the job."""

PARAMETERS = dict.fromkeys(Settings.parameter_names(), "") | {
    "catalog": "cat1",
    "schema": "sales",
    "landing": "/landing",
    "secret_scope": "cdp",
    "api_timeout_seconds": "1",
    "reporting_currency": "EUR",
    "gross_margin": "0.4",
    "annual_discount_rate": "0.1",
    "churn_horizon_days": "90",
    "clv_horizon_months": "12",
}


class Killed(BaseException):
    """The process of a run is gone; nothing of it cleans up."""


def batch_id_of(day: int) -> str:
    """Name of the batch extracted on a day of March 2026."""
    return f"{extracted_at(day):%Y%m%dT%H%M%SZ}-{day}"


def extracted_at(day: int) -> datetime:
    return datetime(2026, 3, day, 5, tzinfo=UTC)


class Warehouse:
    """The tables, and the runs that write them; each refresh is a run of its own."""

    def __init__(self, tables: Tables, frame_of: Callable[..., DataFrame]) -> None:
        self.tables = tables
        self.frame_of = frame_of
        self.runs = 0

    def land(
        self,
        contract: BronzeContract,
        day: int,
        *rows: dict[str, Any],
        load: str = "snapshot",
        gone: Iterable[dict[str, Any]] = (),
    ) -> str:
        """Put a batch into bronze; its name. A row may say what `_source_file` it is of."""
        return self.land_batches(contract, {day: (load, [*rows, *({**key, "_is_deleted": True} for key in gone)])})[0]

    def land_batches(self, contract: BronzeContract, batches: dict[int, tuple[str, list[dict[str, Any]]]]) -> list[str]:
        rows = {
            batch_id_of(day): [bronze_row(contract, day, load, row) for row in rows]
            for day, (load, rows) in batches.items()
        }
        frames = {batch_id: self.frame_of(contract.columns, *of_batch) for batch_id, of_batch in rows.items()}
        written = self.tables.replace_batches(contract, frames)
        self._log(contract.name).finish_batches(
            contract, {batch_id: len(of_batch) for batch_id, of_batch in rows.items()}, written.rows_by_batch
        )
        return list(rows)

    def land_sales(self, day: int, **rows: Iterable[dict[str, Any]]) -> None:
        """Put snapshots of the tables that sales are made from into bronze."""
        for contract in (CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE):
            if name := next((name for name in rows if contract.name.startswith(name)), None):
                self.land(contract, day, *rows.pop(name))
        assert not rows

    def empty(self, *contracts: TableContract) -> None:
        """Take the rows out of tables, and everything out of the log: quicker than new tables."""
        for contract in (*contracts, PIPELINE_RUNS_OPS):
            if self.tables.exists(contract):
                self.tables.replace_table(contract, self.frame_of(contract.columns))

    def refresh(self, *contracts: TableContract, **parameters: str) -> dict[str, Refreshed]:
        """Run the tasks of these silver tables, as their notebooks do; of sales, where none is named."""
        self.runs += 1
        return {contract.name: self._refresh(contract, **parameters) for contract in contracts or OF_SALES}

    def _refresh(self, contract: TableContract, **parameters: str) -> Refreshed:
        runs = self._log(contract.name, **parameters)
        settings = self._settings(**parameters)
        if contract is RETAILS_SILVER:
            return refresh_retails(self.tables, runs, settings)
        if contract is PRODUCT_PRICES_SILVER:
            return refresh_product_prices(self.tables, runs, settings)
        return refresh_from_batches(self.tables, runs, settings, contract, BUILDERS[contract])

    def _settings(self, **parameters: str) -> Settings:
        started_at = datetime(2026, 4, 1, tzinfo=UTC) + timedelta(minutes=self.runs)
        run = {"run_id": str(self.runs), "run_started_at": str(started_at)}
        return Settings.from_parameters(PARAMETERS | run | parameters)

    def _log(self, task: str, **parameters: str) -> RunLog:
        return RunLog(self.tables, self._settings(**parameters), task)

    def refresh_marts(self, marts: Sequence[Mart] = MARTS, **parameters: str) -> int | None:
        """Run a task that writes these marts; how many rows they have, None where it had nothing to do."""
        self.runs += 1
        return refresh_marts(self.tables, self._log("marts", **parameters), self._settings(**parameters), marts)

    def log(self, task: str = "reconciliation") -> RunLog:
        """The log, as a further task reads it."""
        return self._log(task)

    def publish(self, location: Path, **parameters: str) -> int:
        """Run the task that publishes gold; how many rows it has written."""
        self.runs += 1
        settings = self._settings(synapse_location=str(location), **parameters)
        return publish_gold(self.tables, RunLog(self.tables, settings, "synapse_gold"), settings)

    def reconcile(self) -> list[Reconciled]:
        return reconcile(self.tables, self.log())

    def complaints(self) -> list[str]:
        """What does not add up."""
        return [one.complaint for one in self.reconcile() if not one.account.is_balanced]

    def rows(self, contract: TableContract, *columns: str) -> list[tuple[Any, ...]]:
        """Rows of a table, sorted; all that do not say which batch they came with, where no columns are named."""
        names = columns or [name for name in contract.column_names if name != "_batch_id"]
        return sorted((tuple(row) for row in self.tables.read_table(contract).select(*names).collect()), key=repr)

    def contents(self, *contracts: TableContract) -> dict[str, list[tuple[Any, ...]]]:
        """Rows of tables and of their quarantines."""
        quarantines = [contract.quarantine for contract in contracts or OF_SALES if contract in BUILDERS]
        if not contracts or RETAILS_SILVER in contracts:
            quarantines.append(RETAILS_SILVER.quarantine)
        return {contract.name: self.rows(contract) for contract in (*(contracts or OF_SALES), *quarantines)}

    def broken_rules(self, contract: TableContract) -> dict[str | None, list[str]]:
        """Of each key in quarantine, the rules it breaks."""
        return {key: sorted(rules) for key, rules in self.rows(contract.quarantine, "record_key", "broken_rules")}

    def kill_at(self, monkeypatch: pytest.MonkeyPatch, write: int) -> None:
        """Let the process die instead of making its n-th write, counted from 0."""
        left = write

        def dying(verb: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return verb(*arguments, **options)

            return call

        for name in ("replace_table", "replace_partitions", "merge_rows", "append_rows", "publish_table"):
            monkeypatch.setattr(self.tables, name, dying(getattr(self.tables, name)))

    def is_killed_at(self, write: int, *contracts: TableContract, **parameters: str) -> bool:
        """Refresh, and die instead of making the n-th write; whether there was one."""
        return self.dies_at(write, lambda: self.refresh(*contracts, **parameters))

    def dies_at(self, write: int, work: Callable[[], object]) -> bool:
        """Do some work, and die instead of making the n-th write; whether there was one."""
        with pytest.MonkeyPatch.context() as monkeypatch:
            self.kill_at(monkeypatch, write)
            try:
                work()
            except Killed:
                return True
        return False


def bronze_row(contract: BronzeContract, day: int, load: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row with its lineage."""
    received = {column.name: row.get(column.name) for column in contract.received_columns}
    batch_id = batch_id_of(day)
    return {
        **received,
        "_load": load,
        "_is_deleted": row.get("_is_deleted", False),
        "_batch_id": batch_id,
        "_source_file": f"{contract.source}/{batch_id}/data/file={row.get('_source_file', 'f')}/part-00000.jsonl",
        "_ingested_at": extracted_at(day),
    }


def customer(number: int, **values: Any) -> dict[str, Any]:
    name = values.get("full_name", f"Customer {number}")
    given = {"full_name": name, "email": f"c{number}@example.com", "country": "Egypt"}
    return {"customer_id": str(number), **given, "registration_date": "2025-01-31", **values}


def product(number: int, price: str = "10.00", **values: Any) -> dict[str, Any]:
    return {"product_id": number, "product_name": f"P{number}", "category": "C", "price": Decimal(price), **values}


def store(number: int, **values: Any) -> dict[str, Any]:
    return {"store_id": number, "store_name": f"S{number}", "location": "Kuwait", **values}


def sale(number: int, day: date = date(2026, 2, 1), **values: Any) -> dict[str, Any]:
    known = {"customer_id": 1, "product_id": 1, "store_id": 1, "quantity": 2, "transaction_date": day}
    return {"transaction_id": number, **known, **values}


assert set(BUILDERS) == set(RECEIVED_AS)
