"""Tests of runs on Sail whose sources are set, changed, no longer set or replaced, and of `ingest=false`."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from cdp_lib.contracts.bronze import BRONZE_TABLES, CONSENTS_BRONZE
from cdp_lib.landing import Landing
from cdp_local.bundle import Bundle
from cdp_local.samples import customers_api

PROJECT = Path(__file__).resolve().parents[2]
FIXTURES = PROJECT / "fixtures"
TASKS = len(Bundle(PROJECT, {}).job("cdp_refresh").tasks)

LANDED = {table.name: int(table is not CONSENTS_BRONZE) for table in BRONZE_TABLES}
"""Number of batches of each bronze table after a run with the samples, which have no decisions on consent."""

ADVICE = "if it is in another file of sources, add --sources FILE; if not,"

Run = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(cdp: Callable[..., Any], home: Path) -> Run:
    """Return a function that runs the job in the home folder and returns the output of the run."""

    def run(*arguments: object, **environment: str) -> str:
        ended = cdp("run", "--home", home, *arguments, **environment)
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout)

    return run


def rows_of(home: Path, table: str) -> list[dict[str, Any]]:
    return DeltaTable(home / "warehouse" / "sales" / table).to_pyarrow_table().to_pylist()


def batches_in(home: Path) -> dict[str, int]:
    """Return the number of landed batches for each bronze table."""
    landing = Landing(str(home / "landing"))
    return {table.name: len(landing.batch_ids(table.source, table.entity)) for table in BRONZE_TABLES}


def test_source_is_landed_again_only_after_a_change(run: Run, home: Path) -> None:
    assert f"{TASKS} of {TASKS} tasks succeeded" in run()
    assert batches_in(home) == LANDED
    counts = {table.name: len(rows_of(home, table.name)) for table in BRONZE_TABLES}
    assert counts == {
        "customers_bronze": 50,
        "products_bronze": 10,
        "store_bronze": 5,
        "transactions_bronze": 50,
        "crm_contacts_bronze": len(json.loads((FIXTURES / "crm_contacts.json").read_text())),
        "events_bronze": sum(len(path.read_text().splitlines()) for path in (FIXTURES / "events").iterdir()),
        "marketing_spend_bronze": sum(
            len(path.read_text().splitlines()) - 1 for path in (FIXTURES / "marketing_spend").iterdir()
        ),
        "exchange_rates_bronze": len((FIXTURES / "exchange_rates.csv").read_text().splitlines()) - 1,
        "consents_bronze": 0,
    }
    run()
    assert batches_in(home) == LANDED


def test_ingest_false_uses_batches_that_were_landed_elsewhere(run: Run, home: Path) -> None:
    run()
    shutil.rmtree(home / "warehouse")
    shutil.copytree(home / "landing", home / "landed elsewhere")
    landed = f"landing={home / 'landed elsewhere'}"
    assert f"{TASKS} of {TASKS} tasks succeeded" in run("--param", "ingest=false", "--var", landed)
    assert len(rows_of(home, "crm_contacts_bronze")) == 61
    assert batches_in(home) == LANDED


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """Address of a customers API with the sample customers."""
    with customers_api(FIXTURES) as url:
        yield url


@pytest.fixture
def other_api() -> Iterator[str]:
    """Address of another customers API with the sample customers."""
    with customers_api(FIXTURES) as url:
        yield url


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """SQLite file of a database with the sample data."""
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FIXTURES / "database.sql").read_text(encoding="utf-8"))
    return path


@pytest.fixture
def rejected(cdp: Callable[..., Any], home: Path) -> Run:
    """Return a function that runs a rejected command, checks that no file changed, and returns the error line."""

    def run(*arguments: object, **environment: str) -> str:
        before = files_in(home)
        ended = cdp("run", "--home", home, *arguments, **environment)
        assert (ended.returncode, ended.stdout) == (1, ""), ended
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1
        assert files_in(home) == before
        return str(ended.stderr.removeprefix("error: ").rstrip("\n"))

    return run


def files_in(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != ".lock"}


def remembered(home: Path) -> dict[str, str]:
    """Return the addresses that a home remembers, by entity."""
    landing = Landing(str(home / "landing"))
    found = {table.entity: landing.find_source(table.source, table.entity) for table in BRONZE_TABLES}
    return {name: str(address) for name, address in found.items() if address}


def secret(url: object) -> dict[str, str]:
    return {"CDP_SECRET_CDP_DATABASE_URL": str(url)}


def test_new_source_column_is_kept_and_reported(run: Run, home: Path, api: str, shop: Path) -> None:
    own = ("--var", f"customers_api_url={api}")
    printed = run(*own, **secret(f"sqlite:///{shop}"))
    assert "New columns" not in printed
    assert "Sample sources" not in printed
    with closing(sqlite3.connect(shop)) as connection:
        connection.executescript("ALTER TABLE products ADD colour TEXT; UPDATE products SET colour = 'red';")
    assert "New columns in the source, added to products_bronze: colour" in run(*own, **secret(f"sqlite:///{shop}"))
    assert sorted(str(row["colour"]) for row in rows_of(home, "products_bronze")) == ["None"] * 10 + ["red"] * 10
    assert not [name for name, number in batches_in(home).items() if number and name.startswith(("crm", "events"))]
    assert remembered(home) == {
        "customers": f"api {api.removeprefix('http://')}",
        **{table: f"sqlite {shop}/{table}" for table in ("products", "stores", "transactions")},
    }


def test_missing_required_source_is_named_before_anything_runs(rejected: Run, shop: Path) -> None:
    database = "set the environment variable CDP_SECRET_CDP_DATABASE_URL"
    assert rejected("--var", "events_path=/data/events") == (
        f"No source for customers, products, stores, transactions: set --var customers_api_url=… and {database}."
    )
    assert rejected(**secret(f"sqlite:///{shop}")) == "No source for customers: set --var customers_api_url=…."
    assert rejected("--var", "customers_api_url=http://127.0.0.1/x").endswith(f"transactions: {database}.")


def test_task_that_needs_no_other_source_runs_alone(run: Run, home: Path, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "events", tmp_path / "events")
    run("--only", "ingest_events", "--var", f"events_path={tmp_path / 'events'}")
    assert remembered(home) == {"events": f"files {tmp_path / 'events'}"}


def test_samples_and_own_sources_do_not_mix(run: Run, rejected: Run, home: Path, api: str) -> None:
    run("--only", "ingest_customers")
    assert set(remembered(home).values()) == {"samples"}
    line = rejected("--only", "ingest_customers", "--var", f"customers_api_url={api}", "--accept-new-sources")
    assert line == (
        f"{home} holds sample data, but this run would read your own sources: nothing was read. Use another home:"
        f" cdp run --home {home}-own …"
    )
    assert "Sample sources: customers (" in run("--only", "ingest_customers")


def test_home_with_samples_of_an_earlier_version_is_recognised(run: Run, rejected: Run, home: Path, api: str) -> None:
    run("--only", "ingest_customers")
    for file in home.rglob("source.json"):
        file.unlink()
    (home / "sources" / "all-are-samples").touch()
    assert "holds sample data" in rejected("--only", "ingest_customers", "--var", f"customers_api_url={api}")
    run("--only", "ingest_customers")
    assert set(remembered(home).values()) == {"samples"}


def test_batches_of_another_system_do_not_mix_with_samples(run: Run, rejected: Run, home: Path) -> None:
    run("--only", "ingest_customers")
    for file in home.rglob("source.json"):
        file.unlink()
    assert rejected("--only", "ingest_events") == (
        f"{home}/landing holds data of customers, and no source is set, so this run would add sample data to it:"
        " nothing was read. Set your sources, or use another --home."
    )
    run("--only", "ingest_events", "--param", "ingest=false")


def test_forgotten_source_is_named_with_its_address(run: Run, rejected: Run, home: Path, api: str, shop: Path) -> None:
    only = ("--only", "ingest_customers", "--only", "ingest_database")
    run(*only, "--var", f"customers_api_url={api}", **secret(f"sqlite:///{shop}"))
    customers = (
        f"No source for customers, which this home reads from api {api.removeprefix('http://')}: {ADVICE} set --var"
        " customers_api_url=…, or run with --param ingest=false to read no source"
    )
    database = (
        "No source for products, stores, transactions, which this home reads from"
        f" sqlite {shop}/products, sqlite {shop}/stores, sqlite {shop}/transactions: {ADVICE} set the environment"
        " variable CDP_SECRET_CDP_DATABASE_URL, or run with --param ingest=false to read no source"
    )
    assert rejected(**secret(f"sqlite:///{shop}")) == f"{customers}."
    assert rejected("--var", f"customers_api_url={api}", "--accept-new-sources") == f"{database}."
    assert rejected() == f"{customers}; {database}."
    assert rejected("--only", "ingest_customers") == f"{customers}."


def test_source_that_is_no_longer_read_can_be_forgotten(run: Run, rejected: Run, home: Path, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "events", tmp_path / "events")
    spend = ("--var", f"marketing_spend_path={FIXTURES / 'marketing_spend'}")
    only = ("--only", "ingest_events", "--only", "ingest_marketing_spend")
    run(*only, *spend, "--var", f"events_path={tmp_path / 'events'}")
    assert rejected(*only, *spend) == (
        f"No source for events, which this home reads from files {tmp_path}/events: {ADVICE} set --var events_path=…,"
        f" or delete {home}/landing/events/events/source.json to stop reading it."
    )
    (home / "landing" / "events" / "events" / "source.json").unlink()
    run(*only, *spend)


def test_other_source_is_read_only_if_accepted(run: Run, rejected: Run, home: Path, api: str, other_api: str) -> None:
    only = ("--only", "ingest_customers")
    run(*only, "--var", f"customers_api_url={api}")
    old, new = (f"api {url.removeprefix('http://')}" for url in (api, other_api))
    secretive = other_api.replace("//", "//user:hidden@") + "?key=hidden"
    line = rejected(*only, "--var", f"customers_api_url={secretive}")
    assert f"holds data of {old}, but this run would read {new}: nothing was read." in line
    assert "hidden" not in line
    run(*only, "--var", f"customers_api_url={secretive}", "--accept-new-sources")
    assert remembered(home) == {"customers": new}
    assert "hidden" not in "".join(map(str, files_in(home / "landing" / "customers_api").values()))
    assert f"holds data of {new}, but this run would read {old}" in rejected(*only, "--var", f"customers_api_url={api}")


def test_failed_run_does_not_accept_a_source(run: Run, home: Path, api: str, cdp: Callable[..., Any]) -> None:
    run("--only", "ingest_customers", "--var", f"customers_api_url={api}")
    before = remembered(home)
    other = ("--var", f"customers_api_url={api}x", "--accept-new-sources")
    assert cdp("run", "--home", home, "--only", "ingest_customers", *other).returncode == 1
    assert remembered(home) == before


def test_other_database_and_other_schema_are_rejected(
    run: Run, rejected: Run, home: Path, new_postgresql_database: Callable[[str], str], retail_postgresql: str
) -> None:
    only = ("--only", "ingest_database")
    run(*only, **secret(retail_postgresql))
    test_copy = new_postgresql_database((FIXTURES / "database.sql").read_text(encoding="utf-8"))
    name, host = retail_postgresql.rsplit("/", 1)[1], retail_postgresql.rsplit("@", 1)[1].split("/")[0]
    assert remembered(home) == {
        table: f"postgresql {host}/{name}/{table}" for table in ("products", "stores", "transactions")
    }
    line = rejected(*only, **secret(test_copy))
    assert f"holds data of postgresql {host}/{name}/products, but this run would read postgresql {host}/" in line
    assert f"{host}/{name}/products (schema shop)" in rejected(
        *only, "--var", "database_schema=shop", **secret(retail_postgresql)
    )
    # The password is not part of the address.
    run(*only, **secret(retail_postgresql.replace("@", ":any@", 1)))


def test_default_home_depends_on_the_sources(cdp: Callable[..., Any], tmp_path: Path, api: str) -> None:
    own = ("--var", f"customers_api_url={api}")
    for number in range(2):
        ended = cdp("run", *own, "--only", "ingest_customers", "--only", "bronze", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert (tmp_path / ".cdp-samples").exists() == bool(number)
        assert cdp("run", "--only", "ingest_customers", cwd=tmp_path).returncode == 0
    assert remembered(tmp_path / ".cdp") == {"customers": f"api {api.removeprefix('http://')}"}
    assert set(remembered(tmp_path / ".cdp-samples").values()) == {"samples"}
    assert "customers_bronze" in cdp("tables", *own, cwd=tmp_path).stdout
    assert cdp("tables", cwd=tmp_path).stderr == (
        f"error: {tmp_path}/.cdp-samples holds no tables yet: `cdp run` creates them.\n"
    )
    assert "tables: " in cdp("maintain", *own, cwd=tmp_path).stdout


def test_entities_of_one_task_may_have_different_sources(run: Run, rejected: Run, home: Path, shop: Path) -> None:
    """A file of sources reads products from a file, and the other tables from a database."""
    products, sources = shop.with_name("products.csv"), shop.with_name("sources.yml")
    products.write_text("product_id,product_name,category,price,updated_at\n1,Tea,Food,2.50,\n", encoding="utf-8")
    tables = "\n".join(f"{table}: {{database: shop_url}}" for table in ("stores", "transactions"))
    sources.write_text(f"products: {{files: {products}}}\n{tables}\n", encoding="utf-8")
    own = ("--only", "ingest_database", "--sources", sources)
    assert rejected(*own) == (
        "No source for stores, transactions: set the environment variable CDP_SECRET_CDP_SHOP_URL."
    )
    assert rejected("--sources", sources).startswith("No source for customers, stores, transactions: add it to")

    shop_url = {"CDP_SECRET_CDP_SHOP_URL": f"sqlite:///{shop}"}
    run(*own, **shop_url)
    assert remembered(home) == {
        "products": f"files {products}",
        "stores": f"sqlite {shop}/stores",
        "transactions": f"sqlite {shop}/transactions",
    }
    sources.write_text(f"products: {{database: shop_url}}\n{tables}\n", encoding="utf-8")
    line = rejected(*own, **shop_url)
    assert f"holds data of files {products}, but this run would read sqlite {shop}/products: nothing was" in line
    run(*own, "--accept-new-sources", **shop_url)
    assert remembered(home)["products"] == f"sqlite {shop}/products"


def test_named_file_of_sources_has_no_samples(cdp: Callable[..., Any], tmp_path: Path) -> None:
    sources = tmp_path / "sources.yml"
    sources.write_text("customers: {api: ''}\n", encoding="utf-8")
    ended = cdp("run", "--sources", sources, "--only", "ingest_customers", cwd=tmp_path)
    assert ended.stderr == f"error: No source for customers: add it to {sources}.\n"
    assert not (tmp_path / ".cdp-samples").exists()
