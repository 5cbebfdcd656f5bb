"""Tests of random faults in every source: bronze holds each landed record once, and silver equals the source.

A script is a random sequence of changes and faults. `SEEDS` is the number of scripts for each source.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import psycopg
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from cdp_lib.contracts.bronze import (
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    EXCHANGE_RATES_BRONZE,
    MARKETING_SPEND_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    CUSTOMERS_SILVER,
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.contracts.table import IS_ACTIVE, BronzeContract, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Landing, Manifest
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.run import Runner
from cdp_lib.reconciliation import reconcile
from cdp_lib.settings import Settings
from cdp_lib.sources import sql_database
from cdp_lib.sources.dataverse import land_entity
from cdp_lib.sources.files import land_exchange_rates, land_files
from cdp_lib.sources.rest_api import land_records
from cdp_lib.sources_file import EntitySource
from cdp_lib.storage import DeltaStore
from cdp_lib.verification import verify
from cdp_local.crm_server import CrmServer, Fault
from cdp_local.workspace import PROJECT
from effort import SEEDS

ROUNDS = 5
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT_SECONDS = 5.0


class Died(BaseException):
    """Simulated death of the ingest process. `except Exception` does not catch it."""


class DyingFileSystem(LocalFileSystem):
    """A file system that allows a number of writes. Every further write raises `Died`."""

    cachable = False

    def __init__(self, writes_left: int) -> None:
        super().__init__()
        self.writes_left = writes_left

    def count_write(self) -> None:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise Died

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" not in mode:
            return super().open(path, mode, **options)
        self.count_write()
        stream = super().open(path, mode, **options)
        write = stream.f.write

        def counted_write(chunk: bytes) -> int:
            if self.writes_left <= 0:
                write(bytes(chunk)[: len(chunk) // 2])
                stream.f.flush()
            self.count_write()
            return int(write(chunk))

        stream.write = counted_write
        return stream

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.count_write()
        super().makedirs(path, exist_ok)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self.count_write()
        super().mv(path1, path2, **options)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        self.count_write()
        super().rm(path, recursive, maxdepth)


class Source(Protocol):
    """A source whose records change and whose requests can fail.

    Attributes:
        contract: Silver table that the records are loaded into.
        columns: SQL expressions on the silver table. For each row they give a tuple, which a test compares with
            `records`.
    """

    contract: TableContract
    columns: tuple[str, ...]

    def change(self, chance: random.Random) -> None: ...

    def fail(self, chance: random.Random) -> Callable[[], None]:
        """Start a fault, which lasts for one request or longer. Return a function that ends the fault."""

    def land(self, extraction: Extraction, *, last: bool = False) -> list[Manifest]:
        """Land new records. If `last` is true and increments can miss removed records, read all records."""

    def records(self) -> Counter[tuple[Any, ...]]:
        """Return the current records of the source as tuples, which a test compares with the values of `columns`."""


class CustomersApi:
    """A REST API that returns its records in one array or in pages."""

    contract = CUSTOMERS_SILVER
    columns = ("customer_id", "full_name")

    def __init__(self, stack: ExitStack, pages: str) -> None:
        self.customers = {number: f"Customer {number}" for number in range(1, 8)}
        self.faults: list[str] = []
        self.pages = pages
        api = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                api.answer(self)

        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        stack.callback(server.shutdown)
        self.base = f"http://127.0.0.1:{server.server_port}/customers"
        self.url = f"{self.base}?page={{page}}" if self.pages == "{page}" else self.base

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        fault = self.faults.pop() if self.faults else ""
        if fault in ("503", "429"):
            request.send_response(int(fault))
            request.send_header("Retry-After", "0")
            request.end_headers()
            return
        body = b"<html>Sorry</html>" if fault == "html" else self.body(request.path)
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def body(self, path: str) -> bytes:
        records = [
            {"customer_id": n, "full_name": name, "email": f"c{n}@example.com", "country": "UAE"}
            | {"registration_date": "2025-10-16"}
            for n, name in sorted(self.customers.items())
        ]
        if self.pages == "array":
            return json.dumps(records).encode()
        number = int(path.partition("=")[2] or 1)
        page: dict[str, Any] = {"items": records[3 * number - 3 : 3 * number]}
        if 3 * number < len(records) and self.pages == "next":
            page["next"] = f"{self.base}?page={number + 1}"
        if 3 * number < len(records) and self.pages == "cursor":
            page["next_cursor"] = str(number + 1)
        return json.dumps(page).encode()

    def change(self, chance: random.Random) -> None:
        number = chance.randrange(1, 15)
        if number in self.customers and len(self.customers) > 2 and chance.random() < 0.4:
            del self.customers[number]
        else:
            self.customers[number] = f"Customer {number} {chance.random()}"

    def fail(self, chance: random.Random) -> Callable[[], None]:
        fault = chance.choice(["503", "429", "html", "cut"])
        self.faults = [fault] * chance.choice([1, 20])
        return self.faults.clear

    def land(self, extraction: Extraction, *, last: bool = False) -> list[Manifest]:
        return land_records(extraction, CUSTOMERS_BRONZE, self.url, token=None, timeout_seconds=TIMEOUT_SECONDS)

    def records(self) -> Counter[tuple[Any, ...]]:
        return Counter(self.customers.items())


class Crm:
    """A simulated CRM with or without change tracking."""

    contract = CRM_CONTACTS_SILVER
    columns = ("contact_id", "full_name")

    def __init__(self, stack: ExitStack, *, change_tracking: bool) -> None:
        self.client = {"client_id": "cdp", "client_secret": uuid4().hex}
        self.change_tracking = change_tracking
        self.contacts = {f"00000000-0000-4000-8000-{n:012}": f"Contact {n}" for n in range(12)}
        records = [{"contactid": key, "fullname": name} for key, name in self.contacts.items()]
        self.server = stack.enter_context(
            CrmServer(records, page_size=5, change_tracking=change_tracking, **self.client)
        )

    def change(self, chance: random.Random) -> None:
        key = f"00000000-0000-4000-8000-{chance.randrange(20):012}"
        if key in self.contacts and len(self.contacts) > 2 and chance.random() < 0.4:
            del self.contacts[key]
            self.server.remove(key)
        else:
            self.contacts[key] = f"Contact {chance.random()}"
            self.server.upsert({"contactid": key, "fullname": self.contacts[key]})

    def fail(self, chance: random.Random) -> Callable[[], None]:
        if chance.random() < 0.2:
            self.server.expire_tokens()
        if chance.random() < 0.2:
            self.server.expire_delta_tokens()
        fault = chance.choice(
            [Fault(429, retry_after=0), Fault(503), *(Fault(body=b) for b in ("reset", "cut", "html", "previous_page"))]
        )
        faults = [fault] * chance.choice([1, 20])
        changes_during_read = chance.random() < 0.5
        # The fault `previous_page` returns an earlier page of the same read, so such a page must exist.
        begins_at = len(self.server.requests) + chance.randrange(2 if fault.body == "previous_page" else 1, 4)

        def play(_: str) -> Fault | None:
            if len(self.server.requests) < begins_at:
                return None
            if changes_during_read:
                self.change(chance)
            return faults.pop() if faults else None

        self.server.before_request(play)
        return lambda: self.server.before_request(lambda _: None)

    def land(self, extraction: Extraction, *, last: bool = False) -> list[Manifest]:
        # Without change tracking, only a full read finds removed contacts.
        from_scratch = last and not self.change_tracking
        options = {**self.client, "timeout_seconds": TIMEOUT_SECONDS, "from_scratch": from_scratch}
        return land_entity(extraction, CRM_CONTACTS_BRONZE, self.server.url, **options)

    def records(self) -> Counter[tuple[Any, ...]]:
        return Counter(self.contacts.items())


SALES = EntitySource(TRANSACTIONS_BRONZE, "database", "database_url", table="transactions")


class Database:
    """A database table with or without `updated_at`. It has too many rows to be landed as a snapshot each time."""

    contract = TRANSACTIONS_SILVER
    columns = ("transaction_id", "quantity")

    def __init__(self, url: str, *, updated_at: bool) -> None:
        self.url = url
        self.address = url.replace("+psycopg", "")
        self.run("INSERT INTO transactions SELECT n, 101, 1, 1, 1, '2025-05-01' FROM generate_series(1000, 1039) n")
        if updated_at:
            self.run("ALTER TABLE transactions ADD updated_at TIMESTAMPTZ DEFAULT clock_timestamp()")
        self.touch = ", updated_at = clock_timestamp()" if updated_at else ""

    def run(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.address) as connection:
            cursor = connection.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def change(self, chance: random.Random) -> None:
        key, quantity = chance.randrange(980, 1100), chance.randrange(1, 9)
        match chance.choice(["insert", "insert", "update", "delete"]):
            case "insert":
                self.run(
                    "INSERT INTO transactions VALUES (%s, 101, 1, 1, %s, '2025-05-01') ON CONFLICT DO NOTHING",
                    key,
                    quantity,
                )
            case "update":
                self.run(f"UPDATE transactions SET quantity = %s{self.touch} WHERE transaction_id = %s", quantity, key)
            case "delete":
                self.run("DELETE FROM transactions WHERE transaction_id = %s", key)

    def fail(self, chance: random.Random) -> Callable[[], None]:
        if chance.random() < 0.3:
            self.run("ALTER TABLE transactions RENAME TO transactions_away")
            return lambda: self.run("ALTER TABLE transactions_away RENAME TO transactions") and None
        is_over = threading.Event()
        connections = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

        def end_connections() -> None:
            with psycopg.connect(self.address, autocommit=True) as connection:
                while not is_over.wait(0.005):
                    connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({connections}) other")

        thread = threading.Thread(target=end_connections)
        thread.start()

        def end() -> None:
            is_over.set()
            thread.join()

        return end

    def land(self, extraction: Extraction, *, last: bool = False) -> list[Manifest]:
        return sql_database.land_tables(extraction, self.url, [SALES], snapshot_up_to_rows=20)

    def records(self) -> Counter[tuple[Any, ...]]:
        return Counter(self.run("SELECT transaction_id, quantity FROM transactions"))


class Files:
    """A folder of files. A change adds, replaces or copies a file. A fault adds a file that is only partly written."""

    suffix: str

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        folder.mkdir()
        self.versions = 0
        self.write("2025-01", chance)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}{self.suffix}"

    def lines(self, chance: random.Random) -> Iterator[tuple[str, ...]]:
        """Yield new records for a file. They differ from all records of earlier files and file versions."""
        self.versions += 1
        for number in range(chance.randrange(1, 6)):
            yield f"{self.versions}-{number}", chance.choice(["page_view", "checkout"])

    def write(self, name: str, chance: random.Random) -> None:
        self.path(name).write_text(self.to_text(list(self.lines(chance))), encoding="utf-8")

    def to_text(self, lines: list[tuple[str, ...]]) -> str:
        raise NotImplementedError

    def of_text(self, text: str) -> Iterator[tuple[str, ...]]:
        raise NotImplementedError

    def names(self) -> list[str]:
        return sorted(path.name.removesuffix(self.suffix) for path in self.folder.iterdir())

    def change(self, chance: random.Random) -> None:
        match chance.choice(["new", "new", "corrected", "twice"]):
            case "new":
                self.write(f"2025-{len(self.names()) + 1:02}", chance)
            case "corrected":
                self.write(chance.choice(self.names()), chance)
            case "twice":
                original = self.path(chance.choice(self.names()))
                self.path(f"2025-{len(self.names()) + 1:02}").write_bytes(original.read_bytes())

    def fail(self, chance: random.Random) -> Callable[[], None]:
        broken = self.folder / f"2026-01{self.suffix}.gz"
        broken.write_bytes(gzip.compress(b"{}")[:-4])
        return broken.unlink

    def records(self) -> Counter[tuple[Any, ...]]:
        contents = {self.path(name).read_text(encoding="utf-8") for name in self.names()}
        return Counter(record for text in contents for record in self.of_text(text))


class Events(Files):
    """A source of behavioural events in files."""

    contract = EVENTS_SILVER
    columns = ("event_id", "event_type")
    suffix = ".jsonl"

    def to_text(self, lines: list[tuple[str, ...]]) -> str:
        empty = {column.name: None for column in EVENTS_BRONZE.received_columns} | {"occurred_at": "2025-05-01"}
        return "".join(json.dumps(empty | dict(zip(self.columns, line, strict=True))) + "\n" for line in lines)

    def of_text(self, text: str) -> Iterator[tuple[str, ...]]:
        return (tuple(json.loads(line)[name] for name in self.columns) for line in text.splitlines())

    def land(self, extraction: Extraction, *, last: bool = False) -> list[Manifest]:
        return land_files(extraction, EVENTS_BRONZE, str(self.folder), account_key=None)


class Spend(Files):
    """A source of marketing spend in files."""

    contract = MARKETING_SPEND_SILVER
    columns = ("campaign", "channel")
    suffix = ".csv"

    def to_text(self, lines: list[tuple[str, ...]]) -> str:
        rows = [f"2025-01,{channel},{campaign},1.00,USD" for campaign, channel in lines]
        return "\n".join(["month,channel,campaign,amount,currency", *rows, ""])

    def of_text(self, text: str) -> Iterator[tuple[str, ...]]:
        return ((row["campaign"], row["channel"]) for row in csv.DictReader(text.splitlines()))

    def land(self, extraction: Extraction, *, last: bool = False) -> list[Manifest]:
        return land_files(extraction, MARKETING_SPEND_BRONZE, str(self.folder), account_key=None)


class Rates:
    """A source of exchange rates. It is a single file, and each change rewrites this file."""

    contract = EXCHANGE_RATES_SILVER
    columns = ("substring(month, 1, 7)", "CAST(rate AS DECIMAL(2,1))")

    def __init__(self, folder: Path) -> None:
        self.file = folder / "exchange_rates.csv"
        self.rates = {"2025-01": "1"}
        self.write("USD")

    def write(self, currency: str) -> None:
        rows = [f"{month},{currency},1\n{month},EUR,{rate}" for month, rate in self.rates.items()]
        self.file.write_text("\n".join(["month,currency,rate", *rows]), encoding="utf-8")

    def change(self, chance: random.Random) -> None:
        self.rates[f"2025-{chance.randrange(1, 13):02}"] = f"1.{chance.randrange(10)}"
        self.write("USD")

    def fail(self, chance: random.Random) -> Callable[[], None]:
        if chance.random() < 0.5:
            self.file.unlink()
        else:
            self.write("GBP")
        return lambda: self.write("USD")

    def land(self, extraction: Extraction, *, last: bool = False) -> list[Manifest]:
        return land_exchange_rates(
            extraction, EXCHANGE_RATES_BRONZE, str(self.file), reporting_currency="USD", account_key=None
        )

    def records(self) -> Counter[tuple[Any, ...]]:
        rates = [*self.rates.items(), *((month, "1") for month in self.rates)]
        return Counter((month, Decimal(rate)) for month, rate in rates)


SOURCES: dict[str, Callable[..., Source]] = {
    "API in one answer": lambda stack, **_: CustomersApi(stack, "array"),
    "API by link": lambda stack, **_: CustomersApi(stack, "next"),
    "API by cursor": lambda stack, **_: CustomersApi(stack, "cursor"),
    "API by page": lambda stack, **_: CustomersApi(stack, "{page}"),
    "CRM": lambda stack, **_: Crm(stack, change_tracking=True),
    "CRM untracked": lambda stack, **_: Crm(stack, change_tracking=False),
    "database": lambda database, **_: Database(database(TRANSACTIONS), updated_at=False),
    "database with updated_at": lambda database, **_: Database(database(TRANSACTIONS), updated_at=True),
    "events": lambda folder, chance, **_: Events(folder / "events", chance),
    "spend": lambda folder, chance, **_: Spend(folder / "spend", chance),
    "rates": lambda folder, **_: Rates(folder),
}


TRANSACTIONS = """
CREATE TABLE transactions (
    transaction_id INT PRIMARY KEY, customer_id INT, product_id INT, store_id INT, quantity INT, transaction_date DATE
)
"""


# The engine affects only the tables, so the tests of another engine run one script for each kind of load.
IS_FURTHER_ENGINE = os.environ.get("CDP_TEST_SCOPE") == "engine"


@pytest.mark.torture
@pytest.mark.every_case
@pytest.mark.parametrize("seed", range(1) if IS_FURTHER_ENGINE else range(SEEDS))
@pytest.mark.parametrize("name", ["CRM", "database with updated_at", "events"] if IS_FURTHER_ENGINE else SOURCES)
def test_silver_equals_the_source_after_random_faults(
    name: str,
    seed: int,
    request: pytest.FixtureRequest,
    store: DeltaStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as stack:
        chance = random.Random(f"{name} {seed}")
        database = request.getfixturevalue("new_postgresql_database") if name.startswith("database") else None
        source = SOURCES[name](stack=stack, chance=chance, folder=tmp_path, database=database)
        run_script(source, chance, store, str(tmp_path / "landing"), monkeypatch)


def run_script(
    source: Source,
    chance: random.Random,
    store: DeltaStore,
    root: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run random changes, faults and kills. Then check that silver equals the source and the quarantine is empty."""
    # Reduce the overlap of two reads, so that some of the few dozen rows are outside of the overlap.
    monkeypatch.setattr(sql_database, "OVERLAP_ROWS", 5)
    [bronze] = platform_graph().tables[source.contract.name].reads
    assert isinstance(bronze, BronzeContract)
    number = 0

    def started_at() -> datetime:
        return STARTED_AT + timedelta(hours=number)

    def extraction() -> Extraction:
        nonlocal number
        number += 1
        return Landing(root).extraction(bronze.source, f"{started_at():%Y%m%dT%H%M%SZ}", started_at())

    def refresh() -> None:
        runner = Runner(store, Landing(root), settings_of(started_at()))
        runs = runner.refresh([bronze.name, source.contract.name])
        assert [run.error for run in runs if run.state not in ("refreshed", "fresh")] == []
        assert [account.complaint for account in reconcile(store) if account.missing] == []

    for _ in range(ROUNDS):
        for _ in range(chance.randrange(4)):
            source.change(chance)
        match chance.choice(["fault", "death", "death", "twice", "at once", "nothing"]):
            case "fault":
                end = source.fail(chance)
                with suppress(CdpError):
                    source.land(extraction())
                end()
            case "death":
                dying = extraction()
                dying.landing.fs = DyingFileSystem(chance.randrange(12))
                with suppress(CdpError, Died):
                    source.land(dying)
                if chance.random() < 0.5:  # the same task is retried
                    source.land(Extraction(Landing(root), dying.source, dying.batch_id, dying.extracted_at))
            case "twice":
                same = extraction()
                assert source.land(same) == source.land(same)
            case "at once":
                land_at_once(source, [extraction(), extraction()])
            case "nothing":
                source.land(extraction())
        if chance.random() < 0.5:
            refresh()
    source.land(extraction(), last=True)
    assert source.land(extraction()) == []
    for _ in range(2):
        refresh()

    assert_each_landed_record_is_in_bronze_once(store, root, bronze)
    assert_no_version_is_landed_twice(store, bronze)
    verified = verify(Runner(store, Landing(root), settings_of(started_at())))
    assert [each.complaint for each in verified if each.is_different] == []
    rows = store.read(source.contract)
    active = rows.where(IS_ACTIVE.name) if IS_ACTIVE in source.contract.columns else rows
    assert Counter(map(tuple, active.selectExpr(*source.columns).collect())) == source.records()
    assert store.read(source.contract.quarantine).collect() == []


def land_at_once(source: Source, extractions: list[Extraction]) -> None:
    """Land from two threads at once. One of them may fail with a `CdpError`."""
    unexpected: list[BaseException] = []

    def land(extraction: Extraction) -> None:
        try:
            source.land(extraction)
        except CdpError:
            pass
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=land, args=[extraction]) for extraction in extractions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []


def settings_of(started_at: datetime) -> Settings:
    """Return the settings of a run that starts at the given time."""
    empty = dict.fromkeys(Settings.parameter_names(), "")
    needed = dict.fromkeys(("catalog", "schema", "landing", "secret_scope"), "none")
    needed |= {"sources_file": str(PROJECT / "sources.yml"), "reporting_currency": "USD"}
    models = {"gross_margin": "1", "annual_discount_rate": "0", "churn_horizon_days": "90", "clv_horizon_months": "12"}
    models |= {"minimum_scored_buyers": "5", "minimum_segment_size": "30", "price_bands": "500,1500"}
    models |= {"refit_new_buyers": "0.1", "refit_months": "1"}
    models |= {"refused_share_limit": "1", "shrink_limit": "1", "minimum_cell_size": "5"}
    run = {"api_timeout_seconds": "1", "run_id": "1", "run_started_at": started_at.isoformat()}
    return Settings.from_parameters(empty | needed | models | run)


def assert_each_landed_record_is_in_bronze_once(store: DeltaStore, root: str, contract: BronzeContract) -> None:
    landing = Landing(root)
    batches = landing.batches(contract.source, contract.entity)
    landed = Counter(
        (batch.batch_id, *key)
        for batch in batches
        for file in batch.files
        for key in keys_in(Path(landing.path_of(batch, file.name)), batch.format, contract.record_key)
    )
    rows = store.read(contract).select("_batch_id", *contract.record_key).collect()
    assert Counter((row[0], *map(str, row[1:])) for row in rows) == landed
    assert sum(batch.rows or 0 for batch in batches) == len(rows)


def assert_no_version_is_landed_twice(store: DeltaStore, contract: BronzeContract) -> None:
    """Check that each row of an increment differs from the version of this row that was landed before."""
    rows = store.read(contract).orderBy("_batch_id", "_is_deleted").collect()
    versions: dict[tuple[str, ...], tuple[object, ...]] = {}
    for row in rows:
        key = tuple(str(row[name]) for name in contract.record_key)
        values = tuple(row[name] for name in (*(c.name for c in contract.received_columns), "_rescued_data"))
        assert row["_load"] != "increment" or versions.get(key) != values, row
        versions[key] = values


def keys_in(path: Path, format: str, key: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    records = (
        pq.read_table(path).to_pylist()
        if format == "parquet"
        else [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    )
    return (tuple(str(record[name]) for name in key) for record in records)
