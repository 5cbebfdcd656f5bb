"""Sources whose records change, and a simulated factory that lands these records in a data lake."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE
from cdp_lib.landing import Landing, Manifest

from .simulator import Simulator

Json = dict[str, Any]

TABLES = """
CREATE SCHEMA dbo;
CREATE TABLE dbo.products AS SELECT 1 product_id, 'Pen' product_name, 'Desk' category, 5.25::DECIMAL(9, 2) price;
CREATE TABLE dbo.stores AS SELECT 1 store_id, 'Mall' store_name, 'Egypt' AS location;
CREATE TABLE dbo.transactions (
    transaction_id INT, customer_id INT, product_id INT, store_id INT, quantity INT, transaction_date DATE,
    updated_at TIMESTAMP
);
"""
CUSTOMER = ("customer_id", "full_name", "email", "country", "registration_date")
EVENT = (
    "event_id", "event_type", "occurred_at", "channel", "customer_id", "anonymous_id", "email", "session_id",
    "campaign", "product_id", "consent",
)  # fmt: skip
SPEND = "month,channel,campaign,amount,currency"
CONSENT = "record_id,email,purpose,channel,state,decided_at"
EVENING, NIGHT, MORNING = (datetime(2026, 1, 31, 21, tzinfo=UTC), datetime(2026, 1, 31, 23, tzinfo=UTC),
                           datetime(2026, 2, 1, 6, tzinfo=UTC))  # fmt: skip


class World:
    """Sources, a simulated factory and a data lake.

    Attributes:
        lake: Folder that has one folder for each container of the data lake.
        customers: Records that the API returns.
        database: Tables in the schema `dbo`.
        contacts: Rows of the CRM's table `contact`, by key.
    """

    def __init__(self, resources: Json, entities: list[Json], lake: Path) -> None:
        self.lake = lake
        self.resources = resources
        self.customers = [dict.fromkeys(CUSTOMER, "1")]
        self.database = duckdb.connect()
        self.database.execute(TABLES)
        self.contacts: dict[str, Json] = {}
        self.list_entities(entities)
        self.write_file("exchange_rates/exchange_rates.csv", "month,currency,rate\n2026-01,USD,1\n", EVENING)
        self.change([1, 2, 3], EVENING)

    def list_entities(self, entities: list[Json]) -> None:
        """Write the list of entities into the lake."""
        path = self.lake / "retail" / "landing" / "_control" / "entities.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entities), encoding="utf-8")

    def change(self, numbers: list[int], at: datetime) -> None:
        """For each number, add a sale and files of events, spend and consent, and add or change the contact."""
        for number in numbers:
            row = [number, at.replace(tzinfo=None)]
            self.database.execute("INSERT INTO dbo.transactions VALUES (?, 1, 1, 1, 2, DATE '2026-01-31', ?)", row)
            contact = dict.fromkeys(column.name for column in CRM_CONTACTS_BRONZE.received_columns)
            self.contacts[str(number)] = {**contact, "contactid": str(number), "modifiedon": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
            self.write_file(f"events/{number}.jsonl", event(number), at)
            self.write_file(f"marketing_spend/{number}.csv", f"{SPEND}\n{number},email,spring,10.50,USD\n", at)
            decision = f"{number},ana@example.com,marketing,email,given,2026-01-30"
            self.write_file(f"consents/{number}.csv", f"{CONSENT}\n{decision}\n", at)

    def write_file(self, name: str, text: str, at: datetime) -> Path:
        """Write a file with a modification time into the folder that the factory reads files from."""
        path = self.lake / "incoming" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (at.timestamp(), at.timestamp()))
        return path

    def run(
        self,
        pipeline: str,
        now: datetime = NIGHT,
        crash_at: int | None = None,
        meanwhile: Callable[[str], None] = lambda name: None,
        **parameters: Any,
    ) -> Simulator:
        """Run a pipeline."""
        simulator = Simulator(
            self.resources,
            self.lake,
            self.database,
            self.contacts,
            {"https://api.example.com/v1/customers.json": json.dumps(self.customers).encode()},
            meanwhile=meanwhile,
            crash_at=crash_at,
            now=now,
        )
        simulator.run(pipeline, **parameters)
        return simulator

    @property
    def landing(self) -> Landing:
        """Landing that the factory writes to."""
        return Landing(str(self.lake / "retail" / "landing"))

    def batches(self, entity: Json) -> list[Manifest]:
        """Return the landed batches of an entity, oldest first. Check the files of each batch against its manifest."""
        batches = self.landing.batches(entity["source"], entity["entity"])
        return [self.landing.examine(batch) for batch in batches]

    def watermark(self, entity: Json) -> Json:
        """Return the content of an entity's watermark file."""
        path = self.lake / "retail" / "landing" / "_watermarks" / entity["source"] / f"{entity['entity']}.json"
        return dict(json.loads(path.read_text()))

    def landed(self, entity: Json) -> list[str]:
        """Return the keys of all landed records of an entity, as sorted strings."""
        column = {"contacts": "contactid", "events": "event_id", "marketing_spend": "month", "consents": "record_id"}
        column |= {"transactions": "transaction_id", "customers": "customer_id", "stores": "store_id"}
        return sorted(str(record[column[entity["entity"]]]) for record in self._records(entity))

    def _records(self, entity: Json) -> list[Json]:
        records = []
        for batch in self.batches(entity):
            for path in (Path(self.landing.path_of(batch, file.name)) for file in batch.files):
                parquet = batch.format == "parquet"
                lines = [] if parquet else path.read_text().splitlines()
                records += pq.read_table(path).to_pylist() if parquet else [json.loads(line) for line in lines]
        return records


def event(number: int) -> str:
    """Return a line of a file of events."""
    return json.dumps(dict.fromkeys(EVENT, "1") | {"event_id": str(number)}) + "\n"
