"""Measure the resolution of a million records into persons, and of 1 % new records.

    .venv/bin/python benchmarks/identity.py                                # 1 million records, Sail
    .venv/bin/python benchmarks/identity.py --engine spark --records 200000
    .venv/bin/python benchmarks/identity.py --model retail --shop FOLDER   # keeps the generated shop in FOLDER

The script lands the data of an invented shop (`tests/identity_shop.py`) without 1 % of its customers, contacts and
events, and loads the silver tables. Then it refreshes the tables of identity resolution. After that, it lands the rest
and refreshes again. It prints seconds and rows of each table, and the peak of the resident memory of all processes
of the run, the engine included. At the end, it compares the persons with the truth.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from contestants import resident_megabytes

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE, CUSTOMERS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.landing import Landing, Load
from cdp_local.runner import open_runner
from cdp_local.workspace import PROJECT, LocalWorkspace, open_workspace

sys.path.insert(0, str(PROJECT / "tests"))

from identity_metrics import measure  # noqa: E402
from identity_shop import make_shop  # noqa: E402

SILVER = (CUSTOMERS_SILVER, CRM_CONTACTS_SILVER, EVENTS_SILVER)
TABLES = (
    "identity_records_silver",
    "identity_edges_silver",
    "identity_overrides_silver",
    "person_links_silver",
    "person_history_silver",
)
PERSONS = ("persons_silver",)
SOURCES = ("customers", "crm_contacts", "events", "consents")
LOADED = tuple(f"{name}_{layer}" for layer in ("bronze", "silver") for name in SOURCES)
PERSONS_PER_RECORD = 0.41
"""Persons of the shop per record, event identities included."""
NEW = 0.01
"""Share of the rows that come later."""


@dataclass(frozen=True)
class Stored:
    """Generated shop as parquet files."""

    folder: Path

    def table(self, contract: TableContract) -> pa.Table:
        """Return the rows of a silver table."""
        return pq.read_table(self.folder / f"{contract.name}.parquet")

    def truth(self) -> pd.Series:
        """Return the person of each record."""
        return pd.read_parquet(self.folder / "truth.parquet")["person"]


def store_shop(folder: Path, records: int) -> Stored:
    """Generate the shop, unless the folder has it."""
    stored = Stored(folder)
    if not (folder / "truth.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shop = make_shop(int(records * PERSONS_PER_RECORD), seed=1)
        for contract, table in zip(SILVER, (shop.customers, shop.contacts, shop.events), strict=True):
            pq.write_table(table, folder / f"{contract.name}.parquet")
        shop.truth.rename("person").to_frame().to_parquet(folder / "truth.parquet")
    return stored


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Measure the peak of the resident memory of all processes of this session, in GB, every 0.2 s."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            peak[0] = max(peak[0], (resident_megabytes(os.getsid(0)) or 0.0) / 1e3)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def rules_file(folder: Path, model: str) -> str:
    """Write the rules of the repository with a model. Return the path."""
    rules = yaml.safe_load((PROJECT / "identity.yml").read_text(encoding="utf-8"))
    rules["model"] = model or None
    path = folder / "identity.yml"
    path.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return str(path)


def refresh(workspace: LocalWorkspace, title: str, tables: Sequence[str]) -> None:
    """Refresh tables, and print a line for each table."""
    with peak_memory() as peak:
        began = time.perf_counter()
        runs = open_runner(workspace, "cdp_refresh", {}).refresh(tables)
        seconds = time.perf_counter() - began
    assert not [run.error for run in runs if run.error], [(run.table, run.error) for run in runs if run.error]
    print(f"{title}: {seconds:.1f} s, peak memory {peak[0]:.2f} GB")
    for run in runs:
        print(f"    {run.table}: {run.seconds:.1f} s, {run.counts.rows:,} rows written", flush=True)


def land(landing: Landing, number: int, tables: dict[TableContract, pa.Table]) -> None:
    """Land a batch of each source, with all values as text. The first batch is a snapshot."""
    at = datetime(2026, 6, 30, 22 + number, tzinfo=UTC)
    for contract, columns in RECEIVED.items():
        extraction = landing.extraction(contract.source, f"{at:%Y%m%dT%H%M%SZ}-{number}", at)
        load: Load = "increment" if number else "snapshot"
        latest = extraction.find_latest_batch(contract.entity) if number else None
        rows = tables[columns.silver]
        received = {name: as_text(rows[columns.names[name]]) for name in columns.names}
        missing = {c.name: pa.nulls(rows.num_rows, pa.string()) for c in contract.received_columns}
        with extraction.new_batch(contract.entity, load, latest) as batch:
            with batch.open_data("part-00000.parquet", "parquet") as file:
                pq.write_table(pa.table(missing | received), file)
            batch.add(rows.num_rows, list(missing | received))


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values as a source sends them. Genders are the codes of the CRM."""
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values.cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%SZ")
    return values.cast(pa.string())


@dataclass(frozen=True)
class Received:
    """Silver table of the shop, and the silver column of each received column."""

    silver: TableContract
    names: dict[str, str]


_CONTACT = {
    "contactid": "contact_id",
    "fullname": "full_name",
    "emailaddress1": "email",
    "mobilephone": "phone",
    "birthdate": "birth_date",
    "gendercode": "gender",
    "address1_city": "city",
    "address1_postalcode": "postal_code",
    "address1_country": "country",
    "cdp_customerid": "customer_id",
    "cdp_householdid": "household_id",
    "createdon": "created_at",
    "modifiedon": "modified_at",
}
_CUSTOMER = ("customer_id", "full_name", "email", "country", "registration_date", "household_id", "updated_at")
_EVENT = ("event_id", "event_type", "occurred_at", "channel", "customer_id", "anonymous_id", "email")
RECEIVED = {
    CUSTOMERS_BRONZE: Received(CUSTOMERS_SILVER, {name: name for name in _CUSTOMER}),
    CRM_CONTACTS_BRONZE: Received(CRM_CONTACTS_SILVER, _CONTACT),
    EVENTS_BRONZE: Received(EVENTS_SILVER, {name: name for name in _EVENT} | {"consent": "is_tracking_allowed"}),
}


def split(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return a table without 1 % of its rows, and these rows."""
    is_new = np.random.default_rng(1).random(table.num_rows) < NEW
    return table.filter(pa.array(~is_new)), table.filter(pa.array(is_new))


def main() -> None:
    """Measure both refreshes, and compare the persons with the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--engine", default="sail")
    parser.add_argument("--model", default="")
    parser.add_argument("--shop", type=Path, help="folder that keeps the generated shop; default: a temporary folder")
    arguments = parser.parse_args()
    # The memory of the session is measured, so the session must have no other process.
    with suppress(OSError):
        os.setsid()
    with tempfile.TemporaryDirectory() as folder:
        stored = store_shop(arguments.shop or Path(folder) / "shop", arguments.records)
        rules = rules_file(Path(folder), arguments.model)
        parts = {contract: split(stored.table(contract)) for contract in SILVER}
        with open_workspace(arguments.engine, Path(folder) / "home", {"identity_rules": rules}) as workspace:
            for number, title in enumerate(("full", "1 % new records")):
                land(workspace.landing, number, {contract: part[number] for contract, part in parts.items()})
                refresh(workspace, f"{title}, sources", LOADED)
                refresh(workspace, f"{title}, identity", TABLES)
                refresh(workspace, f"{title}, golden values", PERSONS)
            store = open_runner(workspace, "cdp_refresh", {}).store
            links = store.read(PERSON_LINKS_SILVER).select("record_key", "person_id").toArrow().to_pandas()
        truth = stored.truth()
    found = links.set_index("record_key")["person_id"]
    print(f"{len(found):,} records; {measure(found, truth)}")


if __name__ == "__main__":
    main()
