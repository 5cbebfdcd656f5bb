"""Tests of bad input. The command ends with one error line and changes no table. A bad row does not stop a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from filelock import FileLock

from cdp_lib.contracts import TABLES

PROJECT = Path(__file__).resolve().parents[2]
CUSTOMERS = json.loads((PROJECT / "fixtures" / "customers.json").read_text(encoding="utf-8"))
DATABASE = (PROJECT / "fixtures" / "database.sql").read_text(encoding="utf-8")

Cdp = Callable[..., subprocess.CompletedProcess[str]]
RunRejected = Callable[..., str]
Rows = list[dict[str, Any]]


class Api(ThreadingHTTPServer):
    """HTTP server that sends its responses in order. After the last response, it sends this response again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.delay = 0.0
        self.requests = 0
        self.url = f"http://127.0.0.1:{self.server_port}/customers"
        self.variable = f"customers_api_url={self.url}"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.requests += 1
        time.sleep(self.server.delay)
        status, body = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def database(folder: Path, changes: str = "") -> str:
    """Create a database with the sample data, run further SQL in it, and return its SQLAlchemy URL."""
    path = folder / "shop.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DATABASE + changes)
    return f"sqlite:///{path}"


def rows_of(home: Path, table: str) -> Rows:
    return DeltaTable(home / "warehouse" / "sales" / table).to_pyarrow_table().to_pylist()


def silver_and_gold(home: Path) -> dict[str, list[str]]:
    """Return the rows of each silver and gold table and each quarantine, as strings."""
    existing = {log.parent.name for log in (home / "warehouse" / "sales").glob("*/_delta_log")}
    names = [name for name in TABLES if name in existing and TABLES[name].layer in ("silver", "gold")]
    return {name: sorted(map(repr, rows_of(home, name))) for name in names}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Serve the customers API and create a database. Return the arguments and the environment that configure both."""
    url = database(tmp_path_factory.mktemp("shop"))
    with Api() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        server.answers = [(200, json.dumps(CUSTOMERS).encode())]
        yield ["--var", server.variable], {"CDP_SECRET_CDP_DATABASE_URL": url}
        server.shutdown()


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory, cdp: Cdp, shop: tuple[list[str], dict[str, str]]) -> Path:
    """Return the home folder after one successful run on own sources."""
    home = tmp_path_factory.mktemp("refreshed") / "home"
    run = cdp("run", "--home", home, *shop[0], **shop[1])
    assert run.returncode == 0, run.stderr
    return home


@pytest.fixture
def home(refreshed: Path, tmp_path: Path) -> Path:
    """Return a copy of the home folder after a successful run."""
    shutil.copytree(refreshed, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def run_rejected(home: Path, refreshed: Path, cdp: Cdp, shop: tuple[list[str], dict[str, str]]) -> RunRejected:
    """Return a function that runs a failing command, checks that no table changed, and returns the error line.

    `cdp run` reads the sources of the fixture `shop`. A test can replace a source, because the function adds the
    option `--accept-new-sources`.
    """

    def run(command: str, *arguments: object, **environment: str) -> str:
        own = ["--accept-new-sources", *shop[0]] if command == "run" else []
        ended = cdp(command, *own, *arguments, "--home", home, **{**shop[1], **environment})
        assert ended.returncode == 1, ended
        assert "Traceback" not in ended.stdout + ended.stderr
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1, ended.stderr
        assert silver_and_gold(home) == silver_and_gold(refreshed)
        return ended.stderr.removeprefix("error: ").rstrip("\n")

    return run


# The customers API


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"not here", "returned 404 Not Found: check the address and the server."),
        (403, b"", "refused access (403): check the secret 'api_token'."),
        (
            200,
            b"<html>Welcome</html>",
            "returned a web page (HTML or XML) instead of JSON with an array of records.",
        ),
        (200, b'[{"customer_id": 1}', "did not return valid JSON (Expecting a comma or a bracket at character 19)."),
        (200, b'{"customers": []}', "returned an empty array: check the source; nothing was landed."),
        (200, b'{"customers": {}}', "returned an object without an array: exactly one array of records is expected."),
        (200, b"[]", "returned an empty array: check the source; nothing was landed."),
        (206, b"[]", "returned 206 Partial Content, but only 200 means a complete response: check the address"),
    ],
)
def test_unusable_api_response_is_rejected(
    run_rejected: RunRejected, api: Api, status: int, body: bytes, reason: str
) -> None:
    api.answers = [(status, body)]

    line = run_rejected("run", "--var", api.variable)

    assert line.startswith(f"task ingest_customers: API {api.url} {reason}")


def test_api_response_without_a_column_changes_no_table(run_rejected: RunRejected, api: Api) -> None:
    api.answers = [(200, b'[{"id": 1, "country": "Egypt"}]')]

    line = run_rejected("run", "--var", api.variable)

    assert line.startswith("table customers_bronze: Batch ")
    assert "customers_api/customers has no column customer_id (its columns are country, id)" in line


def test_unreachable_api_is_an_error(run_rejected: RunRejected) -> None:
    url = f"http://127.0.0.1:{free_port()}/customers"

    line = run_rejected("run", "--var", f"customers_api_url={url}")

    assert line.startswith(f"task ingest_customers: API {url} can't be read: ")
    assert line.endswith("Connection refused.")


def test_failing_api_is_requested_five_times(run_rejected: RunRejected, api: Api, home: Path) -> None:
    api.answers = [(500, b"no")]

    line = run_rejected("run", "--var", api.variable)

    assert line == (
        f"task ingest_customers: API {api.url} returned 500 Internal Server Error: check the address and the server."
    )
    assert api.requests == 5
    assert "Traceback" in max(home.glob("logs/*/ingest_customers.log")).read_text()


def test_slow_api_times_out(run_rejected: RunRejected, api: Api) -> None:
    api.answers, api.delay = [(200, b"[]")], 5.0

    line = run_rejected("run", "--var", api.variable, "--var", "api_timeout_seconds=0.5")

    assert line == f"task ingest_customers: API {api.url} can't be read: no response within 0.5 seconds."


def test_throttled_api_request_is_repeated(cdp: Cdp, tmp_path: Path, api: Api) -> None:
    api.answers = [(429, b"later"), (503, b"later"), (200, json.dumps(CUSTOMERS[:2]).encode())]

    run = cdp("run", "--home", tmp_path / "new", "--var", api.variable, "--only", "ingest_customers")

    assert run.returncode == 0, run.stderr
    assert "2 rows" in run.stdout
    assert api.requests == 3


# The database and its secret


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////not/there.sqlite", "Database sqlite:///"),
        (
            "postgresql+psycopg://shop@127.0.0.1:{port}/shop",
            "Database postgresql://127.0.0.1:{port}/shop can't be read",
        ),
        ("our shop, the blue one", "Secret 'database_url' can't be used: the secret is not an SQLAlchemy URL."),
        ("nosuchsql://127.0.0.1/shop", "Secret 'database_url' can't be used: the secret is not an SQLAlchemy URL."),
    ],
)
def test_unreachable_database_is_an_error(run_rejected: RunRejected, url: str, reason: str) -> None:
    port = str(free_port())

    line = run_rejected("run", CDP_SECRET_CDP_DATABASE_URL=url.replace("{port}", port))

    assert line.removeprefix("task ingest_database: ").startswith(reason.replace("{port}", port))
    assert "blue" not in line


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("DROP TABLE stores;", "has no table or view 'stores' in the default schema: check the secret 'database_url'"),
        ("DELETE FROM transactions;", "Table 'transactions' of database "),
    ],
)
def test_database_without_tables_or_rows_is_an_error(
    run_rejected: RunRejected, tmp_path: Path, changes: str, reason: str
) -> None:
    line = run_rejected("run", CDP_SECRET_CDP_DATABASE_URL=database(tmp_path, changes))

    assert line.startswith("task ingest_database: ")
    assert reason in line


def test_database_without_a_column_changes_no_table(run_rejected: RunRejected, tmp_path: Path) -> None:
    url = database(tmp_path, "ALTER TABLE products DROP COLUMN price;")

    line = run_rejected("run", CDP_SECRET_CDP_DATABASE_URL=url)

    assert line.startswith("table products_bronze: Batch ")
    assert "database/products has no column price (its columns are category, product_id, product_name)" in line


def test_error_of_a_missing_secret_says_where_to_put_it(run_rejected: RunRejected) -> None:
    line = run_rejected("run", "--var", "secret_scope=other")

    assert line.startswith("No source for products, stores, transactions, which this home reads from sqlite /")
    assert "set the environment variable CDP_SECRET_OTHER_DATABASE_URL" in line


# Arguments of the command


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "--engine", "duck"], "Unknown engine 'duck': the engines are sail and spark."),
        (["run", "nope"], "Unknown job 'nope': the bundle has cdp_"),
        (["run", "--var", "nope=1"], "Unknown variable 'nope': the bundle has catalog, schema, "),
        (["run", "--param", "nope=1"], "Unknown parameter 'nope': job cdp_refresh has as_of, ingest, fit_models, "),
        (["run", "--only", "nope"], "Unknown task 'nope': job cdp_refresh has ingest_customers, "),
        (
            ["run", "--select", "nope"],
            "Unknown table 'nope': write the name of a table (`cdp plan` lists the tables) or of a layer (bronze, ",
        ),
        (
            ["plan", "--select", "gold", "--select", "+nope+"],
            "Unknown table 'nope': write the name of a table (`cdp plan` lists",
        ),
        (["plan", "--param", "nope=1"], "Unknown parameter 'nope': job cdp_refresh has as_of, ingest, fit_models, "),
        (
            ["run", "--select", "gold", "--param", "as_of=yesterday"],
            "Parameter 'as_of' is 'yesterday': write a date such as",
        ),
        (["run", "--var", "x"], "--var x: write NAME=VALUE."),
        (["run", "--param", "=x"], "--param =x: write NAME=VALUE."),
        (
            ["run", "--var", "schema=${var.schema}"],
            "The bundle's references form a cycle: ${resources.schemas.sales.name} → ${var.schema} → ${var.schema}.",
        ),
        (["run", "--var", "schema=${var.nope}"], "The bundle refers to ${var.nope}, which has no value"),
        (
            ["run", "--only", "ingest_customers", "--only", "ingest_database", "--param", "as_of=yesterday"],
            "Parameter 'as_of' is 'yesterday': write a date such as 2026",
        ),
        (
            ["run", "--only", "ingest_customers", "--only", "ingest_database", "--param", "full_refresh=maybe"],
            "Parameter 'full_refresh' is 'maybe': write true or false.",
        ),
        (
            ["run", "--only", "ingest_customers", "--var", "api_timeout_seconds=0"],
            "Parameter 'api_timeout_seconds' is '0': write a number of seconds above 0.",
        ),
        (
            ["run", "--only", "ingest_customers", "--var", "customers_api_url=the usual one"],
            "task ingest_customers: API the usual one can't be read: this is not a web address.",
        ),
        (
            ["run", "--only", "ingest_crm", "--var", "crm_url=http://crm.example.com"],
            "task ingest_crm: Secret 'crm_client_id' is missing in scope 'cdp': put it there with",
        ),
        (
            ["run", "--only", "ingest_events", "--var", "events_path=/not/there"],
            "task ingest_events: Folder /not/there does not exist: check the path; nothing was landed.",
        ),
        (
            ["run", "--only", "ingest_exchange_rates", "--var", "exchange_rates_path=fixtures/exchange_rates.csv"]
            + ["--var", "reporting_currency=EUR"],
            "task ingest_exchange_rates: The exchange rates in fixtures/exchange_rates.csv do not convert to EUR",
        ),
        (
            ["run", "--only", "ingest_customers", "--var", "reporting_currency=EURO"],
            "Parameter 'reporting_currency' is 'EURO': write the ISO 4217 code of a currency",
        ),
        (["show", "nope"], "Unknown table 'nope': `cdp tables` lists the existing tables, `cdp run` creates them."),
        (["show", "other.sales.stores_silver"], "Unknown table 'other.sales.stores_silver': "),
        (["show", "two words"], "Unknown table 'two words': "),
    ],
)
def test_unknown_names_and_values_are_rejected(run_rejected: RunRejected, arguments: list[str], line: str) -> None:
    assert run_rejected(*arguments).startswith(line)


@pytest.mark.parametrize("arguments", [["run", "--nope"], ["nope"], ["show"], ["show", "--rows", "0", "stores_silver"]])
def test_invalid_arguments_print_the_usage(cdp: Cdp, arguments: list[str]) -> None:
    ended = cdp(*arguments)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("Usage: cdp ")
    assert ended.stderr.count("\n") <= 4
    assert "Traceback" not in ended.stderr


def test_error_of_a_home_without_tables_says_how_to_make_them(cdp: Cdp, tmp_path: Path) -> None:
    ended = cdp("tables", "--home", tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"error: {tmp_path} holds no tables yet: `cdp run` creates them.\n"


@pytest.mark.parametrize(("place", "reason"), [("file", "File exists"), ("file/home", "Not a directory")])
def test_error_names_a_home_that_can_not_be_written(cdp: Cdp, tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").write_text("in the way")

    ended = cdp("run", "--home", tmp_path / place)

    assert ended.returncode == 1
    assert ended.stderr == f"error: {tmp_path / place} can't be written ({reason}): use another --home.\n"


def test_home_in_use_is_rejected(run_rejected: RunRejected, home: Path) -> None:
    with FileLock(home / ".lock"):
        line = run_rejected("run")

    assert line == f"{home} is in use by another cdp process: wait until that process has ended, or use another --home."


def test_ctrl_c_ends_a_run_at_once_and_releases_its_home(
    home: Path, refreshed: Path, api: Api, cdp: Cdp, shop: tuple[list[str], dict[str, str]]
) -> None:
    api.answers, api.delay = [(200, b"[]")], 60.0
    run = subprocess.Popen(
        [
            *(Path(sys.executable).parent / "cdp", "run", "--home", home, "--accept-new-sources"),
            *("--var", api.variable),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **shop[1]},
    )
    give_up_at = time.monotonic() + 60
    while not api.requests and time.monotonic() < give_up_at:
        time.sleep(0.05)
    time.sleep(1.0)  # now the run waits only for the customers API

    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=5)

    assert run.returncode == 130
    assert errors == "error: interrupted: finished tasks are complete, all others are not: run the command again.\n"
    assert silver_and_gold(home) == silver_and_gold(refreshed)
    assert cdp("run", "--home", home, *shop[0], "--only", "ingest_customers", **shop[1]).returncode == 0


def test_closed_output_pipe_is_no_error(home: Path) -> None:
    command = f"'{Path(sys.executable).parent}/cdp' tables --home '{home}' | head -n 1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=PROJECT, check=True)

    assert (ended.stdout, ended.stderr) == ("Tables of cat1.sales\n", "")


# Rows


FITS = "values_fit_their_columns"
NEW = {"full_name": "Nour Marbach", "email": "n@example.com", "country": "Egypt", "registration_date": "2025-10-20"}
BAD_RECORDS: list[tuple[Any, set[str]]] = [
    ({"customer_id": "abc", **NEW}, {FITS, "customer_id_is_present"}),
    ({**NEW}, {"customer_id_is_present"}),
    ({"customer_id": 903, **NEW, "full_name": "Nour One"}, {"key_is_unique"}),
    ({"customer_id": 903, **NEW, "full_name": "Nour Two"}, {"key_is_unique"}),
    (42, {FITS, "customer_id_is_present"}),
    ("just text", {FITS, "customer_id_is_present"}),
    (None, {FITS, "customer_id_is_present"}),
    ([1, "two"], {FITS, "customer_id_is_present"}),
]
WARNED_RECORDS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"customer_id": 901, **NEW, "registration_date": "soon"},
        ["registration_date_is_present", "registration_date_is_plausible"],
    ),
    ({"customer_id": 902, **NEW, "country": " "}, ["country_is_present"]),
    ({"customer_id": 904}, ["country_is_present", "registration_date_is_present", "full_name_is_present"]),
]
LATECOMER = {"customer_id": 999, **NEW, "full_name": "Lara Spaeth"}
# A duplicate of a customer record, with the fields in another order.
COPY = dict(reversed(CUSTOMERS[0].items()))
BAD_SALES = """
    INSERT INTO transactions VALUES
        (90, 999, 1, 1, 2, '2025-07-10'), (91, 101, 1, 1, 0, '2025-07-10'), (92, 101, 1, 1, 'two', '2025-07-10'),
        (93, 101, 77, 88, 1, '2025-07-10'), (94, 101, 1, 1, 1, 'soon');
"""


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory, cdp: Cdp) -> tuple[Path, str, str]:
    """Run the job on sample data with bad rows. Then add customer 999 to the API, and run the job again.

    Returns:
        A folder and the outputs of both runs. The folder has two copies of the home folder: `first` after the first
        run, and `second` after the second run.
    """
    folder = tmp_path_factory.mktemp("dirty")
    url = database(folder, BAD_SALES)
    outputs = []
    with Api() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        for name, arrived in (("first", []), ("second", [LATECOMER])):
            records = [*(record for record, _ in (*BAD_RECORDS, *WARNED_RECORDS)), COPY, *CUSTOMERS, *arrived]
            server.answers = [(200, json.dumps(records).encode())]
            run = cdp("run", "--home", folder / "home", "--var", server.variable, CDP_SECRET_CDP_DATABASE_URL=url)
            assert run.returncode == 0, run.stderr
            shutil.copytree(folder / "home", folder / name)
            outputs.append(run.stdout)
        server.shutdown()
    return folder, outputs[0], outputs[1]


def test_bad_customers_are_quarantined_with_their_broken_rules(dirty: tuple[Path, str, str]) -> None:
    folder, _, _ = dirty

    quarantined = rows_of(folder / "first", "customers_silver_quarantine")

    assert Counter(tuple(sorted(row["broken_rules"])) for row in quarantined) == Counter(
        tuple(sorted(rules)) for _, rules in BAD_RECORDS
    )
    assert '"customer_id":"abc"' in "".join(row["record"] for row in quarantined).replace('\\"', '"')
    assert "just text" in "".join(row["record"] for row in quarantined)


def test_good_customers_are_kept_and_an_identical_copy_is_superseded(dirty: tuple[Path, str, str]) -> None:
    folder, first, _ = dirty

    assert sorted(row["customer_id"] for row in rows_of(folder / "first", "customers_silver")) == [
        *(customer["customer_id"] for customer in CUSTOMERS),
        *(record["customer_id"] for record, _ in WARNED_RECORDS),
    ]
    line = next(line for line in first.splitlines() if line.startswith("customers_silver "))
    assert line.endswith(f"53 rows, {len(BAD_RECORDS)} quarantined, 1 superseded, 3 warned")


def test_customers_without_optional_values_are_kept_with_warnings(dirty: tuple[Path, str, str]) -> None:
    folder, _, _ = dirty

    rows = {row["customer_id"]: row for row in rows_of(folder / "first", "customers_silver")}

    for record, warnings in WARNED_RECORDS:
        kept = rows[record["customer_id"]]
        assert kept["_warnings"] == warnings
        assert kept["country"] == (record.get("country", "").strip() or "unknown")
    assert rows[901]["registration_date"] is None
    received = rows_of(folder / "first", "customers_bronze")
    assert [row["registration_date"] for row in received if row["customer_id"] == "901"] == ["soon"]


def test_bad_sales_are_quarantined_with_their_broken_rules(dirty: tuple[Path, str, str]) -> None:
    folder, _, _ = dirty

    quarantined = rows_of(folder / "first", "transactions_silver_quarantine")

    assert {json.loads(row["record"])["transaction_id"]: set(row["broken_rules"]) for row in quarantined} == {
        91: {"quantity_is_not_zero"},
        92: {FITS, "quantity_is_not_zero"},
        94: {FITS, "transaction_date_is_present"},
    }
    assert any("two" in row["record"] for row in quarantined)


def test_sale_of_an_unknown_customer_stays_in_quarantine_until_the_customer_arrives(
    dirty: tuple[Path, str, str],
) -> None:
    folder, _, _ = dirty

    def broken(home: Path) -> dict[int, list[str]]:
        quarantined = rows_of(home, "retails_silver_quarantine")
        return {json.loads(row["record"])["transaction_id"]: row["broken_rules"] for row in quarantined}

    def sales(home: Path) -> Counter[int]:
        return Counter(row["transaction_id"] for row in rows_of(home, "retails_silver"))

    unknown_product_and_store = ["product_is_known", "store_is_known"]
    assert broken(folder / "first") == {90: ["customer_is_known"], 93: unknown_product_and_store}
    assert broken(folder / "second") == {93: unknown_product_and_store}
    assert 90 not in sales(folder / "first")
    assert sales(folder / "second")[90] == 1
    assert sales(folder / "second") - sales(folder / "first") == Counter([90])
    late = next(row for row in rows_of(folder / "second", "retails_silver") if row["transaction_id"] == 90)
    assert late["full_name"] == "Lara Spaeth"


def test_every_row_is_accounted_for_and_the_run_prints_quarantined_rows(dirty: tuple[Path, str, str]) -> None:
    _, first, second = dirty

    for output, sales in ((first, 2), (second, 1)):
        title = f"{len(BAD_RECORDS) + 3 + sales} rows in quarantine"
        assert title in output.splitlines()
        figures = [line.strip("│").split("│") for line in output[output.index(title) :].splitlines() if "│" in line]
        counts = {(table.strip(), rule.strip()): int(rows) for table, rule, rows, _ in figures}
        assert counts["customers_silver", "key_is_unique"] == 2
        assert counts["transactions_silver", "quantity_is_not_zero"] == 2
        assert counts.get(("retails_silver", "customer_is_known"), 0) == sales - 1
        assert counts["retails_silver", "store_is_known"] == 1


def test_quarantine_table_can_be_shown(dirty: tuple[Path, str, str], cdp: Cdp) -> None:
    folder, _, _ = dirty

    shown = cdp("show", "retails_silver_quarantine", "--home", folder / "first")

    assert shown.returncode == 0, shown.stderr
    assert "product_is_known, store_is_known" in shown.stdout
