"""A warehouse for tests: a test lands batches, and the runner loads them into tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.landing import Landing, Load
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.run import Runner, TableRun
from cdp_lib.pipeline.state import read_states, write_states
from cdp_lib.pipeline.work import RowCounts
from cdp_lib.published import Copies, publish_gold
from cdp_lib.reconciliation import Account, reconcile
from cdp_lib.settings import Settings
from cdp_lib.storage import DeltaStore, open_store
from cdp_lib.verification import VerifiedTable, verify
from cdp_local.workspace import PROJECT

OF_SALES = tuple(
    platform_graph().tables[name].contract
    for name in platform_graph().tables
    if name in platform_graph().upstream(["retails_silver"]) and name.endswith("_silver")
)
"""Contracts of the tables of sales and of their silver inputs, in the order of the graph."""

MARTS = tuple(
    table.contract
    for table in platform_graph().tables.values()
    if table.contract.layer == "gold" and "retails_silver" in platform_graph().upstream([table.name])
    and {*table.settings} <= {"as_of", "price_bands"} and table.name != "segment_movements_gold"
)  # fmt: skip
"""Contracts of the sales marts."""

PARAMETERS = dict.fromkeys(Settings.parameter_names(), "") | {
    "catalog": "cat1",
    "serving_schema": "",
    "schema": "sales",
    "landing": "/landing",
    "secret_scope": "cdp",
    "sources_file": str(PROJECT / "sources.yml"),
    "api_timeout_seconds": "1",
    "reporting_currency": "EUR",
    "gross_margin": "0.4",
    "annual_discount_rate": "0.1",
    "churn_horizon_days": "90",
    "clv_horizon_months": "12",
    "minimum_scored_buyers": "5",
    "minimum_segment_size": "30",
    "refit_new_buyers": "0.1",
    "refit_months": "1",
    "price_bands": "500,1500",
    "refused_share_limit": "0.2",
    "shrink_limit": "0.5",
    "minimum_cell_size": "5",
}


class Killed(BaseException):
    """Simulated kill of a process. It is a `BaseException`, so that no `except Exception` catches it."""


def batch_id_of(day: int) -> str:
    """Return the name of the batch that is extracted on this day of March 2026."""
    return f"{extracted_at(day):%Y%m%dT%H%M%SZ}-{day}"


def extracted_at(day: int) -> datetime:
    return datetime(2026, 3, day, 5, tzinfo=UTC)


class Warehouse:
    """The tables and the landing of a test. Each refresh is a separate run."""

    def __init__(self, store: DeltaStore, folder: Path, graph: Graph | None = None) -> None:
        self.store = store
        self.folder = folder
        self.landing = Landing(str(folder))
        self.graph = graph or platform_graph()
        self.runs = 0

    def land(
        self,
        contract: BronzeContract,
        day: int,
        *rows: dict[str, Any],
        load: Load = "snapshot",
        gone: Iterable[dict[str, Any]] = (),
        columns: Collection[str] = (),
        lacks: Collection[str] = (),
    ) -> str:
        """Land a batch and return its name. A row may have a `_source_file`.

        The rows have the columns of the contract, or `columns` if the source has other columns. `lacks` names columns
        to leave out.
        """
        batch_id, at = batch_id_of(day), extracted_at(day)
        files: dict[str, list[dict[str, Any]]] = {}
        for row in (*rows, *({**key, "_is_deleted": True} for key in gone)):
            name = f"file={row.get('_source_file', 'f')}/part-00000.jsonl" if load == "files" else "part-00000.jsonl"
            files.setdefault("removed-00000.jsonl" if row.get("_is_deleted") else name, []).append(row)
        folder = self.folder_of(contract, day)
        data = []
        for name, of_file in files.items():
            path = folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            records = [row if columns else _received(contract, row) for row in of_file]
            lines = [json.dumps({k: v for k, v in record.items() if k not in lacks}) for record in records]
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            data.append({"name": f"data/{name}", "deletions": name.startswith("removed")})
        manifest = {
            "source": contract.source,
            "entity": contract.entity,
            "batch_id": batch_id,
            "load": load,
            "extracted_at": at.isoformat(),
            "format": "jsonl",
            "files": data,
            "extractor_version": "test",
            "columns": [*(columns or (c.name for c in contract.received_columns if c.name not in lacks))],
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return batch_id

    def folder_of(self, contract: BronzeContract, day: int) -> Path:
        """Return the folder of the batch that is extracted on this day of March 2026."""
        return self.folder / contract.source / contract.entity / f"{extracted_at(day):%Y-%m-%d}" / batch_id_of(day)

    def land_sales(self, day: int, **rows: Iterable[dict[str, Any]]) -> None:
        """Land snapshots of transactions, customers, products and stores."""
        for contract in (CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE):
            if name := next((name for name in rows if contract.name.startswith(name)), None):
                self.land(contract, day, *rows.pop(name))
        assert not rows

    def empty(self) -> None:
        """Delete every row and batch. This is faster than creating new tables."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for contract in TABLES.values():
            if self.store.exists(contract):
                self.store.overwrite(contract, self.store.read(contract).limit(0))

    def restore(self, kept: Path) -> None:
        """Restore the tables from a copy of their folder."""
        session, catalog, schema = self.store.session, *self.store.name_of("").split("`")[1:4:2]
        tables = self.tables_folder
        for row in session.sql(f"SHOW TABLES IN {catalog}.{schema}").collect():
            # The list also has temporary views, which other tests may have created.
            if not row["isTemporary"] and not (kept / row["tableName"]).exists():
                session.sql(f"DROP TABLE {self.store.name_of(row['tableName'])}").collect()
        shutil.rmtree(tables)
        shutil.copytree(kept, tables)
        self.store = open_store(session, catalog, schema)

    def reopen(self) -> None:
        """Register the tables by their folders, as a new process does. The catalog then holds only their locations."""
        session, catalog, schema = self.store.session, *self.store.name_of("").split("`")[1:4:2]
        folder, kept = self.tables_folder, self.tables_folder.with_suffix(".kept")
        shutil.copytree(folder, kept)
        for table in kept.iterdir():
            session.sql(f"DROP TABLE {self.store.name_of(table.name)}").collect()
        shutil.rmtree(folder, ignore_errors=True)
        kept.rename(folder)
        for table in folder.iterdir():
            session.sql(f"CREATE TABLE {self.store.name_of(table.name)} USING delta LOCATION '{table}'").collect()
        self.store = open_store(session, catalog, schema)

    @property
    def tables_folder(self) -> Path:
        """Return the local folder of the tables."""
        return self.folder.parent / self.store.name_of("").split("`")[3]

    def runner(self, **parameters: str) -> Runner:
        """Return the runner of a new run."""
        self.runs += 1
        started_at = datetime(2026, 4, 1, tzinfo=UTC) + timedelta(minutes=self.runs)
        run = {"run_id": str(self.runs), "run_started_at": str(started_at)}
        return Runner(self.store, self.landing, Settings.from_parameters(PARAMETERS | run | parameters), self.graph)

    def refresh(self, *contracts: TableContract, **parameters: str) -> dict[str, RowCounts]:
        """Refresh tables and the bronze tables upstream of them. Return the row counts of each table.

        The default tables are sales and their silver inputs.
        """
        names = [contract.name for contract in contracts or OF_SALES]
        bronze = [name for name in self.graph.upstream(names) if name.endswith("_bronze")]
        runs = self.run(*bronze, *names, **parameters)
        return {run.table: run.counts for run in runs if run.table in names}

    def run(self, *selection: str, **parameters: str) -> list[TableRun]:
        """Refresh the selected tables.

        Raises:
            AssertionError: A table failed.
        """
        runs = self.runner(**parameters).refresh(selection)
        failed = [f"{run.table}: {run.error}" for run in runs if run.state == "failed"]
        assert not failed, failed
        return runs

    def refreshed(self, *selection: str, **parameters: str) -> list[str]:
        """Refresh the selected tables. Return the names of the tables that were due."""
        return [run.table for run in self.run(*selection, **parameters) if run.state == "refreshed"]

    def publish(
        self, location: Path, minimum_cell_size: int = 1, *, has_customers: bool = True, **parameters: bool
    ) -> int:
        """Copy the gold tables to a folder. Return the number of rows of the copied tables."""
        return publish_gold(self.store, Copies(str(location), minimum_cell_size, has_customers), **parameters)

    def reconcile(self) -> list[Account]:
        return reconcile(self.store, self.graph)

    def complaints(self) -> list[str]:
        """Reconcile all tables. Return a message for each batch or table that does not balance."""
        return [account.complaint for account in self.reconcile() if account.missing]

    def verify(self, *selection: str, repair: bool = False, **parameters: str) -> list[VerifiedTable]:
        """Compare the selected tables, or all tables, with a rebuild."""
        return verify(self.runner(**parameters), selection, repair=repair)

    def differences(self, *selection: str) -> list[str]:
        """Compare the selected tables, or all tables, with a rebuild. Return a message for each table that differs."""
        return [each.complaint for each in self.verify(*selection) if each.is_different]

    def mark_for_rewrite(self, name: str) -> None:
        """Mark a table in its state in the way in which a run does before it rewrites the table."""
        states = read_states(self.store)
        write_states(self.store, states | {name: replace(states[name], is_rewriting=True)})

    def rows(self, contract: TableContract, *columns: str) -> list[tuple[Any, ...]]:
        """Return the sorted rows of a table, with the given columns. The default is all columns except `_batch_id`."""
        names = columns or [name for name in contract.column_names if name != "_batch_id"]
        return sorted((tuple(row) for row in self.store.read(contract).select(*names).collect()), key=repr)

    def contents(self, *contracts: TableContract) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows of each table and of its quarantine, by table name."""
        held = (each for contract in contracts or OF_SALES for each in contract.with_quarantine)
        return {contract.name: self.rows(contract) for contract in held}

    def broken_rules(self, contract: TableContract) -> dict[str | None, list[str]]:
        """Return the broken rules of each record in quarantine, by its key."""
        return {key: sorted(rules) for key, rules in self.rows(contract.quarantine, "record_key", "broken_rules")}

    def dies_at(self, commit: int, work: Callable[[], object]) -> bool:
        """Call `work` and simulate a kill before commit `commit`, counted from 0. Return whether the kill happened."""
        left = commit
        real: Callable[..., Any] = DeltaStore._commit

        def dying(store: DeltaStore, contract: TableContract) -> Any:
            nonlocal left
            if left <= 0:
                left = -1
                raise Killed
            left -= 1
            return real(store, contract)

        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(DeltaStore, "_commit", dying)
            try:
                work()
            except Killed:
                return True
        return left < 0

    def is_killed_at(self, commit: int, *contracts: TableContract, **parameters: str) -> bool:
        """Refresh, and simulate a kill before commit `commit`, counted from 0. Return whether the kill happened."""
        return self.dies_at(commit, lambda: self.refresh(*contracts, **parameters))


def _received(contract: BronzeContract, row: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a row in the form in which its source writes them."""
    values = {column.name: row.get(column.name) for column in contract.received_columns}
    return {name: str(value) if isinstance(value, date | Decimal) else value for name, value in values.items()}


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
