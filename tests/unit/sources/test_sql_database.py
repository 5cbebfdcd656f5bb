import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.rows import dict_row

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import BatchWriter, Extraction, Landing, Manifest
from cdp_lib.mapping import Mapping
from cdp_lib.sources import sql_database
from cdp_lib.sources.sql_database import land_tables, source_address
from cdp_lib.sources_file import EntitySource
from cdp_local.postgresql_server import postgresql_server as own_server

DATABASE_SQL = (Path(__file__).resolve().parents[3] / "fixtures" / "database.sql").read_text(encoding="utf-8")


def source_table(entity: str, *key: str) -> EntitySource:
    contract = BronzeContract(entity, "bronze", "", (), source="source", entity=entity, record_key=key)
    return EntitySource(contract, "database", "database_url", table=entity)


PRODUCTS = source_table("products", "product_id")
STORES = source_table("stores", "store_id")
TRANSACTIONS = source_table("transactions", "transaction_id")
TABLES = (PRODUCTS, STORES, TRANSACTIONS)


@pytest.fixture
def new_sqlite(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that runs a script in a new SQLite file and returns the SQLAlchemy URL of the file."""

    def create(script: str, name: str = "retail.db") -> str:
        with sqlite3.connect(tmp_path / name) as connection:
            connection.executescript(script)
        connection.close()
        return f"sqlite:///{quote(str(tmp_path / name))}"

    return create


@pytest.fixture
def refusal(extraction: Extraction, landed: Path) -> Callable[..., str]:
    """Return a function that makes a failing attempt, checks that it lands nothing, and returns the error message."""

    def refusal(url: str, *tables: EntitySource, schema: str = "") -> str:
        with pytest.raises(CdpError) as refused:
            land_tables(extraction, url, [replace(each, schema=schema) for each in tables or (PRODUCTS,)])
        message = str(refused.value)
        assert len(message.splitlines()) == 1
        assert not [word for word in ("Traceback", "SELECT", "sqlalche.me") if word in message]
        assert not list(landed.glob("*/*/manifest.json"))
        return message

    return refusal


def rows_of(landed: Path, table: str) -> list[dict[str, Any]]:
    return table_of(landed, table).to_pylist()


def table_of(landed: Path, table: str) -> pa.Table:
    return pq.read_table(landed / table / "2026-01-31/20260131T000001Z-1/data/part-00000.parquet", partitioning=None)


def test_the_tables_are_landed_one_batch_each_in_the_given_order(new_sqlite, extraction, landed) -> None:
    manifests = land_tables(extraction, new_sqlite(DATABASE_SQL), TABLES)
    assert [(manifest.entity, manifest.rows) for manifest in manifests] == [
        ("products", 10),
        ("stores", 5),
        ("transactions", 50),
    ]
    assert {manifest.format for manifest in manifests} == {"parquet"}
    assert manifests[1].columns == ("location", "store_id", "store_name")
    assert len(rows_of(landed, "transactions")) == 50


def test_sqlite_values_become_text_for_every_declared_type(new_sqlite, extraction, landed) -> None:
    url = new_sqlite("""
        CREATE TABLE products (product_id INT PRIMARY KEY, product_name VARCHAR(100), price INT, since DATE);
        INSERT INTO products VALUES
            (1, 'Zoë ''s ﷺ 😀', 499, '2025-04-01'),
            (2, NULL, NULL, NULL),
            (3, '', 12.5, '31.12.2025'),
            (4, x'5a6fc3ab', 1e-5, 20250401),
            (5, x'ff', 1e20, 'not a day'),
            (6, ' two
lines ', '12,5', 2460767.5);
    """)
    land_tables(extraction, url, [PRODUCTS])
    assert {field.type for field in table_of(landed, "products").schema} == {pa.string()}
    assert [tuple(row.values()) for row in rows_of(landed, "products")] == [
        ("1", "Zoë 's ﷺ 😀", "499", "2025-04-01"),
        ("2", None, None, None),
        ("3", "", "12.5", "31.12.2025"),
        ("4", "Zoë", "0.00001", "20250401"),
        ("5", "\ufffd", "100000000000000000000", "not a day"),
        ("6", " two\nlines ", "12,5", "2460767.5"),
    ]


def test_rows_come_in_the_order_of_the_key(new_sqlite, extraction, landed) -> None:
    url = new_sqlite("""
        CREATE TABLE stores (store_name TEXT, store_id INT PRIMARY KEY);
        INSERT INTO stores VALUES ('A', 10), ('B', 9), ('C', 1);
    """)
    land_tables(extraction, url, [STORES])
    assert [row["store_id"] for row in rows_of(landed, "stores")] == ["1", "9", "10"]


def test_rows_of_a_table_without_key_come_in_the_order_of_its_first_column(new_sqlite, extraction, landed) -> None:
    url = new_sqlite("CREATE TABLE stores (store_id INT, name TEXT); INSERT INTO stores VALUES (2, 'B'), (1, 'C');")
    land_tables(extraction, url, [STORES])
    assert [row["store_id"] for row in rows_of(landed, "stores")] == ["1", "2"]


@pytest.mark.parametrize("rows", [10, 25, 30])
def test_a_table_of_more_rows_than_a_chunk_is_landed_whole(
    new_sqlite, extraction, landed, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(sql_database, "ROWS_PER_CHUNK", 10)
    monkeypatch.setattr(sql_database, "ROWS_PER_FETCH", 5)
    values = ", ".join(f"({number})" for number in range(rows))
    url = new_sqlite(f"CREATE TABLE products (product_id INT PRIMARY KEY); INSERT INTO products VALUES {values};")
    [manifest] = land_tables(extraction, url, [PRODUCTS])
    file = pq.ParquetFile(landed / "products/2026-01-31/20260131T000001Z-1/data/part-00000.parquet")
    assert [int(row["product_id"]) for row in rows_of(landed, "products")] == list(range(rows))
    assert manifest.rows == rows
    assert file.num_row_groups == -(-rows // 10)


def test_large_values_make_chunks_of_few_rows(new_sqlite, extraction, landed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_database, "BYTES_PER_CHUNK", 1000)
    monkeypatch.setattr(sql_database, "ROWS_PER_FETCH", 2)
    values = ", ".join(f"({number}, '{'x' * 300}')" for number in range(10))
    url = new_sqlite(
        f"CREATE TABLE products (product_id INT PRIMARY KEY, name TEXT); INSERT INTO products VALUES {values};"
    )
    land_tables(extraction, url, [PRODUCTS])
    file = pq.ParquetFile(landed / "products/2026-01-31/20260131T000001Z-1/data/part-00000.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [4, 4, 2]


def test_a_second_attempt_of_the_run_lands_only_what_is_missing(new_sqlite, extraction, landed) -> None:
    url = new_sqlite(DATABASE_SQL)
    [products] = land_tables(extraction, url, [PRODUCTS])
    new_sqlite("DELETE FROM products WHERE product_id > 3")
    manifests = land_tables(extraction, url, TABLES)
    assert manifests[0] == products
    assert len(rows_of(landed, "products")) == 10


def test_a_table_that_has_not_changed_makes_no_new_batch(new_sqlite, extraction, landing: Landing) -> None:
    url = new_sqlite(DATABASE_SQL)
    land_tables(extraction, url, TABLES)
    next_run = Extraction(landing, "source", "20260131T000002Z-2", extraction.extracted_at)
    assert land_tables(next_run, url, TABLES) == []
    new_sqlite("UPDATE products SET price = 1 WHERE product_id = 3")
    assert [(batch.entity, batch.batch_id) for batch in land_tables(next_run, url, TABLES)] == [
        ("products", "20260131T000002Z-2")
    ]


def test_a_missing_table_is_an_error_before_anything_is_landed(new_sqlite, refusal) -> None:
    message = refusal(new_sqlite(DATABASE_SQL), PRODUCTS, source_table("coupons", "coupon_id"))
    assert "has no table or view 'coupons' in the default schema" in message
    assert "file of sources" in message


def test_an_empty_table_is_an_error(new_sqlite, refusal) -> None:
    url = new_sqlite("CREATE TABLE products (product_id INT PRIMARY KEY, product_name TEXT)")
    assert "Table 'products'" in refusal(url)
    assert "is empty: check the source" in refusal(url)


def test_a_missing_file_is_an_error_and_is_not_created(refusal, tmp_path) -> None:
    assert "unable to open database file" in refusal(f"sqlite:///{tmp_path / 'missing.db'}")
    assert list(tmp_path.glob("*.db")) == []


def test_the_sqlite_file_is_never_written(new_sqlite, extraction, tmp_path) -> None:
    url = new_sqlite(DATABASE_SQL)
    before = (tmp_path / "retail.db").read_bytes()
    land_tables(extraction, url, TABLES)
    assert (tmp_path / "retail.db").read_bytes() == before
    assert [path.name for path in tmp_path.glob("retail*")] == ["retail.db"]


@pytest.mark.parametrize("name", ["a b.db", "50%20.db", "a#b.db", "Zoë.db"])
def test_a_file_may_have_any_name(new_sqlite, extraction, name: str) -> None:
    [manifest] = land_tables(extraction, new_sqlite(DATABASE_SQL, name), [STORES])
    assert manifest.rows == 5


def test_a_file_that_is_not_a_database_is_an_error(refusal, tmp_path) -> None:
    (tmp_path / "broken.db").write_bytes(b"SQLite, but not really" * 100)
    assert "file is not a database" in refusal(f"sqlite:///{tmp_path / 'broken.db'}")


def test_a_database_cut_off_in_the_middle_is_an_error(new_sqlite, refusal, tmp_path) -> None:
    url = new_sqlite(DATABASE_SQL)
    content = (tmp_path / "retail.db").read_bytes()
    (tmp_path / "retail.db").write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    assert "malformed" in refusal(url)


@pytest.fixture
def locked(new_sqlite, tmp_path: Path) -> Iterator[str]:
    url = new_sqlite(DATABASE_SQL)
    connection = sqlite3.connect(tmp_path / "retail.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield url
    connection.close()


def test_a_database_that_is_locked_is_an_error(locked: str, refusal) -> None:
    assert "database is locked" in refusal(f"{locked}?timeout=0.1")


@pytest.mark.parametrize(
    "make_url",
    [
        lambda secret: secret,
        lambda secret: f"jdbc:sqlserver://db.example.com;user=cdp;password={secret}",
        lambda secret: f"nosuch://cdp:{secret}@db.example.com/retail",
        lambda secret: f"mysql://cdp:{secret}@db.example.com/retail",
        lambda secret: f"postgresql+psycopg://cdp:{secret}@db.example.com:port/retail",
        lambda secret: f"postgresql+psycopg://cdp:{secret}@{secret}@db.example.com/retail",
        lambda secret: f"postgresql+psycopg://cdp:{secret}@[::1/retail",
    ],
    ids=["no URL", "JDBC", "unknown database", "no driver", "port", "@ in password", "bracket"],
)
def test_a_url_that_cannot_be_used_is_an_error_that_does_not_show_it(make_url: Callable[[str], str], refusal) -> None:
    secret = uuid4().hex
    message = refusal(make_url(secret))
    assert message.startswith("Secret 'database_url' can't be used")
    assert secret not in message


@pytest.mark.parametrize(
    ("dialect", "package"), [("mysql", "mysqlclient"), ("mysql+pymysql", "pymysql"), ("oracle+oracledb", "oracledb")]
)
def test_error_of_a_missing_driver_says_which_package_to_install(refusal, dialect: str, package: str) -> None:
    secret = uuid4().hex
    message = refusal(f"{dialect}://cdp:{secret}@db.example.com/retail")
    assert message.endswith(f"For another database, install its driver: pip install {package}.")
    assert "postgresql+psycopg://, mssql+mssqlpython://, sqlite:///" in message
    assert secret not in message


@pytest.mark.parametrize(
    ("url", "schema", "address"),
    [
        ("postgresql+psycopg://cdp:{secret}@DB.example.com/retail", "", "postgresql db.example.com/retail/stores"),
        ("postgresql://cdp@db.example.com:5433/retail?password={secret}", "shop",
         "postgresql db.example.com:5433/retail/stores (schema shop)"),
        ("postgresql+psycopg:///retail?host=/run/postgresql", "", "postgresql /run/postgresql/retail/stores"),
        ("mssql+mssqlpython://cdp:{secret}@db.example.com/retail?Encrypt=yes", "",
         "mssql db.example.com/retail/stores"),
        ("sqlite:////data/shop.sqlite?mode=ro", "", "sqlite /data/shop.sqlite/stores"),
    ],
)  # fmt: skip
def test_source_address_has_no_secret(url: str, schema: str, address: str) -> None:
    secret = uuid4().hex
    found = source_address(url.replace("{secret}", secret), schema, "stores")
    assert str(found) == address
    assert secret not in found.to_json()


def test_the_password_is_not_shown_when_the_connection_fails(refusal) -> None:
    secret = uuid4().hex
    message = refusal(f"postgresql+psycopg://cdp:{secret}@127.0.0.1:1/retail?connect_timeout=2")
    assert "postgresql://127.0.0.1:1/retail can't be read" in message
    assert secret not in message


def test_a_password_may_hold_any_character_that_is_escaped(refusal) -> None:
    password = f"{uuid4().hex}@:/?#%"
    url = f"postgresql+psycopg://cdp:{quote(password, safe='')}@127.0.0.1:1/retail?connect_timeout=2"
    message = refusal(url)
    assert "postgresql://127.0.0.1:1/retail can't be read" in message
    assert password not in message


def test_postgresql_tables_keep_their_types(retail_postgresql: str, extraction, landed) -> None:
    manifests = land_tables(extraction, retail_postgresql, [replace(each, schema="public") for each in TABLES])
    assert [manifest.rows for manifest in manifests] == [10, 5, 50]
    assert table_of(landed, "transactions").schema.equals(
        pa.schema(
            [
                ("transaction_id", pa.int32()),
                ("customer_id", pa.int32()),
                ("product_id", pa.int32()),
                ("store_id", pa.int32()),
                ("quantity", pa.int32()),
                ("transaction_date", pa.date32()),
            ]
        )
    )
    assert rows_of(landed, "transactions")[0] == {
        "transaction_id": 31,
        "customer_id": 101,
        "product_id": 1,
        "store_id": 1,
        "quantity": 3,
        "transaction_date": date(2025, 4, 1),
    }


def test_postgresql_types_become_parquet_types(new_postgresql_database, extraction, landed) -> None:
    url = new_postgresql_database("""
        CREATE TABLE kinds (
            small SMALLINT, big BIGINT PRIMARY KEY, price NUMERIC(18, 2), any_number NUMERIC, wide NUMERIC(50, 2),
            ratio DOUBLE PRECISION, is_open BOOLEAN, day DATE, at TIMESTAMPTZ, local_at TIMESTAMP, name VARCHAR(5),
            id UUID, raw BYTEA, at_time TIME
        );
        INSERT INTO kinds VALUES (
            -1, 9223372036854775807, 12.50, 1e20, 1.5, 0.1, true, '0001-01-01', '2025-04-01 02:00+02',
            '2025-04-01 00:00', 'Zoë', '00000000-0000-0000-0000-000000000001', 'abc', '08:30'
        ), (NULL, 9223372036854775806, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    """)
    land_tables(extraction, url, [source_table("kinds", "big")])
    table = table_of(landed, "kinds")
    assert [str(field.type) for field in table.schema] == [
        "int16",
        "int64",
        "decimal128(18, 2)",
        "string",
        "string",
        "double",
        "bool",
        "date32[day]",
        "timestamp[us, tz=UTC]",
        "timestamp[us, tz=UTC]",
        *["string"] * 4,
    ]
    empty, full = (tuple(row.values()) for row in table.to_pylist())
    midnight = datetime(2025, 4, 1, tzinfo=UTC)
    assert full == (
        *(-1, 9223372036854775807, Decimal("12.50"), "100000000000000000000", "1.50"),
        *(0.1, True, date(1, 1, 1), midnight, midnight, "Zoë"),
        *("00000000-0000-0000-0000-000000000001", "\\x616263", "08:30:00"),
    )
    assert [value for value in empty if value is not None] == [9223372036854775806]


def test_the_tables_of_the_configured_schema_are_read(new_postgresql_database, extraction, landed) -> None:
    url = new_postgresql_database("""
        CREATE SCHEMA dbo;
        CREATE TABLE dbo.stores (store_id INT PRIMARY KEY);
        CREATE TABLE stores (store_id INT PRIMARY KEY);
        INSERT INTO dbo.stores VALUES (7);
        INSERT INTO stores VALUES (8);
    """)
    land_tables(extraction, url, [replace(STORES, schema="dbo")])
    assert rows_of(landed, "stores") == [{"store_id": 7}]


def test_a_missing_table_is_an_error_that_names_the_schema(retail_postgresql: str, refusal) -> None:
    assert "has no table or view 'products' in schema 'dbo'" in refusal(retail_postgresql, schema="dbo")


def test_a_value_that_parquet_cannot_hold_is_an_error(new_postgresql_database, refusal) -> None:
    url = new_postgresql_database(
        "CREATE TABLE products (price NUMERIC(18, 2)); INSERT INTO products VALUES (1), ('NaN');"
    )
    assert "can't be read" in refusal(url)


def test_an_infinite_date_is_an_error(new_postgresql_database, refusal) -> None:
    url = new_postgresql_database("CREATE TABLE products (since DATE); INSERT INTO products VALUES ('infinity');")
    assert "can't be read" in refusal(url)


def test_a_database_that_does_not_exist_is_an_error(postgresql_server: str, refusal) -> None:
    assert 'database "nowhere" does not exist' in refusal(f"postgresql+psycopg://{postgresql_server}/nowhere")


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for statement in statements:
            connection.execute(statement)


def test_copy_and_fetch_return_the_same_rows(new_postgresql_database, tmp_path) -> None:
    url = new_postgresql_database("""
        CREATE TABLE "All % kinds" (
            id BIGINT PRIMARY KEY, small SMALLINT, price NUMERIC(18, 2), any_number NUMERIC, ratio DOUBLE PRECISION,
            real_ratio REAL, is_open BOOLEAN, day DATE, at TIMESTAMPTZ, local_at TIMESTAMP(3), name TEXT,
            code CHAR(3), id2 UUID, at_time TIME, "50%" VARCHAR(20), "a,""b" INT
        );
        INSERT INTO "All % kinds" SELECT
            n - 5, n - 3, n / 7.0 - 1, n * 1e18, n / 3.0 - 1, n / 3.0, n % 2 = 0, DATE '1969-12-30' + n,
            TIMESTAMPTZ '1969-12-31 23:59:59.999998+00' + n * INTERVAL '1 microsecond',
            TIMESTAMP '2000-02-28 23:59:59.999' + n * INTERVAL '1 month',
            'line ' || n || E'\n"quoted", \r\n\\. \\N tab\t😀 %s', 'x', gen_random_uuid(), TIME '08:30', '', n
        FROM generate_series(1, 20) n;
        INSERT INTO "All % kinds" (id, name, ratio, price) VALUES
            (100, '', 'NaN', 0.01), (101, NULL, '-Infinity', -0.01), (102, '""', '1e-300', 9999999999999999.99),
            (103, ' ', '-0', NULL), (104, 'NULL', NULL, NULL), (105, E'\\.', NULL, NULL), (106, E'\n', NULL, NULL);
        INSERT INTO "All % kinds" (id, day, at, local_at) VALUES
            (200, '0001-01-01', '0001-01-01 00:00+00', '0001-01-01'),
            (201, '9999-12-31', '9999-12-31 23:59:59.999999+00', '9999-12-31 23:59:59');
    """)
    database = url.rsplit("/", 1)[1]
    execute(
        url, f"ALTER DATABASE {database} SET TimeZone = 'Asia/Riyadh'; ALTER DATABASE {database} SET DateStyle = 'SQL'"
    )
    with sql_database.open_snapshot(url) as connection:
        table = sql_database.find_table(connection, source_table("All % kinds", "id"))
        [copied] = sql_database._read_copy(connection, table, table.select)
        [fetched] = sql_database._read_rows(connection, table, table.select)
    assert copied.schema == fetched.schema == table.schema
    assert repr(copied.to_pylist()) == repr(fetched.to_pylist())


def test_types_without_a_parquet_type_become_the_text_of_the_database(
    new_postgresql_database, extraction, landed
) -> None:
    url = new_postgresql_database("""
        CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE TABLE notes (id INT PRIMARY KEY, doc JSONB, tags TEXT[], mood mood, took INTERVAL);
        INSERT INTO notes VALUES (1, '{"a": [1, null]}', '{x,"y z"}', 'glad', '1 day 02:00');
    """)
    land_tables(extraction, url, [source_table("notes", "id")])
    assert rows_of(landed, "notes") == [
        {"id": 1, "doc": '{"a": [1, null]}', "tags": '{x,"y z"}', "mood": "glad", "took": "1 day 02:00:00"}
    ]


def test_a_row_of_a_single_null_is_landed(new_postgresql_database, extraction, landed) -> None:
    url = new_postgresql_database(
        "CREATE TABLE words (word TEXT); INSERT INTO words VALUES ('b'), (NULL), (''), (NULL)"
    )
    [manifest] = land_tables(extraction, url, [source_table("words", "word")])
    assert manifest.rows == 4
    assert [row["word"] for row in rows_of(landed, "words")] == ["", "b", None, None]


@pytest.mark.parametrize("value", ["'infinity'", "'10000-01-01'", "'0044-03-15 BC'"])
def test_a_time_that_parquet_cannot_hold_is_an_error(new_postgresql_database, refusal, value: str) -> None:
    url = new_postgresql_database(f"CREATE TABLE products (at TIMESTAMPTZ); INSERT INTO products VALUES ({value})")
    assert "Table 'products'" in refusal(url)


def test_a_field_of_10_mb_is_landed_whole(new_postgresql_database, extraction, landed) -> None:
    url = new_postgresql_database("""
        CREATE TABLE products (product_id INT PRIMARY KEY, note TEXT);
        INSERT INTO products SELECT n, repeat(E'"a",\n', 2000000) || n FROM generate_series(1, 4) n;
        INSERT INTO products SELECT n, 'short' FROM generate_series(5, 9) n;
    """)
    land_tables(extraction, url, [PRODUCTS])
    notes = [row["note"] for row in rows_of(landed, "products")]
    assert notes == [*('"a",\n' * 2_000_000 + str(number) for number in range(1, 5)), *["short"] * 5]


def test_memory_does_not_grow_with_the_table(new_postgresql_database, tmp_path) -> None:
    url = new_postgresql_database("""
        CREATE TABLE products (product_id INT PRIMARY KEY, note TEXT);
        INSERT INTO products SELECT n, repeat(md5(n::text), 32768) FROM generate_series(1, 300) n;
    """)
    script = f"""
import resource
from datetime import UTC, datetime
from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.sources.sql_database import land_tables
from cdp_lib.sources_file import EntitySource

landing = Landing({str(tmp_path / "landing")!r})
extraction = landing.extraction("database", "20260131T000001Z-1", datetime(2026, 1, 31, tzinfo=UTC))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
land_tables(extraction, {url!r}, [EntitySource(PRODUCTS_BRONZE, "database", "database_url", table="products")])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(answer.stdout) < 150_000  # less than half of the 300 MB of data


@dataclass(frozen=True)
class ActingExtraction(Extraction):
    """An extraction that calls a function after the first rows of a table have been written."""

    entity: str = ""
    act: Callable[[], object] = lambda: None

    @contextmanager
    def new_batch(self, entity: str, *load: Any) -> Iterator[BatchWriter]:
        with super().new_batch(entity, *load) as batch:
            if entity == self.entity:
                add = batch.add

                def add_and_act(*arguments: Any) -> None:
                    batch.add = add
                    add(*arguments)
                    self.act()

                batch.add = add_and_act
            yield batch


Run = Callable[..., Extraction]


@pytest.fixture
def run(landing: Landing) -> Run:
    """Return a function that creates the extraction of the next run, an hour after the previous run.

    `run("sales", act)` returns an extraction that calls `act` while the table `sales` is read.
    """
    numbers = count(1)

    def run(*meanwhile: Any) -> Extraction:
        number = next(numbers)
        started_at = datetime(2026, 1, 31, tzinfo=UTC) + timedelta(hours=number)
        return (ActingExtraction if meanwhile else Extraction)(
            landing, "source", f"20260131T000{number:03}Z-{number}", started_at.isoformat(), {}, *meanwhile
        )

    return run


LONG_ROWS = """
    CREATE TABLE sales (id INT PRIMARY KEY, note TEXT);
    INSERT INTO sales SELECT n, repeat(md5(n::text), 32768) FROM generate_series(1, 60) n;
"""
"""A table with more bytes than the buffers between server and client can hold."""
SALES = source_table("sales", "id")


def lose_connections(url: str) -> None:
    execute(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def message_of(land: Callable[[], object]) -> str:
    with pytest.raises(CdpError) as refused:
        land()
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_a_lost_connection_is_an_error_and_the_next_attempt_lands_the_rest(
    new_postgresql_database, run: Run, landing: Landing, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(sql_database, "ROWS_PER_CHUNK", 10)
    url = new_postgresql_database(DATABASE_SQL + LONG_ROWS)
    cut_off = run("sales", lambda: lose_connections(url))
    message = message_of(lambda: land_tables(cut_off, url, [STORES, SALES]))
    assert "can't be read" in message
    assert [len(landing.batches("source", entity)) for entity in ("stores", "sales")] == [1, 0]
    assert caplog.records == []

    second_attempt = Extraction(landing, "source", cut_off.batch_id, cut_off.extracted_at)
    batches = land_tables(second_attempt, url, [STORES, SALES])
    assert [(batch.entity, batch.rows) for batch in batches] == [("stores", 5), ("sales", 60)]


def test_a_server_restart_during_a_read_is_an_error_and_the_next_run_lands_all(
    postgresql_server: str, run: Run, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_database, "ROWS_PER_CHUNK", 10)
    with own_server() as server:
        url = f"postgresql+psycopg://{server.address}/postgres"
        execute(url, LONG_ROWS)

        def restart() -> None:
            server.stop()
            server.start()

        assert "can't be read" in message_of(lambda: land_tables(run("sales", restart), url, [SALES]))
        assert landing.batches("source", "sales") == []
        assert [batch.rows for batch in land_tables(run(), url, [SALES])] == [60]


def test_a_full_disk_is_an_error_and_the_next_run_lands_all(
    new_postgresql_database, run: Run, landing: Landing, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(sql_database, "ROWS_PER_CHUNK", 10)
    url = new_postgresql_database(LONG_ROWS.replace("md5(n::text)", "md5(random()::text)"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = message_of(lambda: land_tables(run(), url, [SALES]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "can't be written: [Errno 27] File too large" in message
    assert landing.batches("source", "sales") == []
    assert caplog.records == []
    assert [batch.rows for batch in land_tables(run(), url, [SALES])] == [60]


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower two limits. A small table then has several chunks, and the next run rereads only some of its rows."""
    monkeypatch.setattr(sql_database, "OVERLAP_ROWS", 5)
    monkeypatch.setattr(sql_database, "ROWS_PER_CHUNK", 7)


KEY_ONLY = """
    CREATE TABLE sales (id INT PRIMARY KEY, amount NUMERIC(9, 2), day DATE, name TEXT, ratio DOUBLE PRECISION);
    INSERT INTO sales SELECT n, n, DATE '2026-01-01' + n, 'sale ' || n, 'NaN' FROM generate_series(1, 50) n;
"""
UPDATED_AT = KEY_ONLY + "ALTER TABLE sales ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT '2026-01-30 10:00+00';"


def land(
    extraction: Extraction, url: str, *, from_scratch: bool = False, snapshot_up_to_rows: int = 0
) -> tuple[str, int] | None:
    """Return (load, number of rows) of the batch that a run lands. Return None if it lands nothing."""
    batches = land_tables(extraction, url, [SALES], from_scratch=from_scratch, snapshot_up_to_rows=snapshot_up_to_rows)
    return (batches[0].load, batches[0].rows) if batches else None


def landed_rows(landing: Landing, batch: Manifest, *, deletions: bool = False) -> list[dict[str, Any]]:
    return [
        row
        for file in batch.files
        if file.deletions == deletions
        for row in pq.read_table(landing.path_of(batch, file.name), partitioning=None).to_pylist()
    ]


def last_rows(landing: Landing, *, deletions: bool = False) -> list[dict[str, Any]]:
    return landed_rows(landing, landing.batches("source", "sales")[-1], deletions=deletions)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("script", [KEY_ONLY, UPDATED_AT], ids=["key", "updated_at"])
class TestIncrements:
    def test_an_unchanged_table_makes_no_batch(self, new_postgresql_database, run: Run, script: str) -> None:
        url = new_postgresql_database(script)
        assert land(run(), url) == ("snapshot", 50)
        assert land(run(), url) is None
        assert land(run(), url) is None

    def test_new_rows_are_landed_once(self, new_postgresql_database, run: Run, landing: Landing, script: str) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, "INSERT INTO sales (id) SELECT generate_series(51, 70)")
        assert land(run(), url) == ("increment", 20)
        assert [row["id"] for row in last_rows(landing)] == list(range(51, 71))
        assert land(run(), url) is None

    def test_an_increment_starts_at_the_watermark_of_the_previous_batch(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, "INSERT INTO sales (id) VALUES (51)")
        land(run(), url)
        snapshot, increment = landing.batches("source", "sales")
        assert snapshot.after is None
        assert increment.after == snapshot.watermark
        assert increment.watermark["max_key"] == 51
        assert landing.examine(increment).rows == 1

    def test_a_lower_key_that_is_committed_later_is_landed(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        with psycopg.connect(url.replace("+psycopg", "")) as slow:
            slow.execute("INSERT INTO sales (id) VALUES (51)")
            execute(url, "INSERT INTO sales (id) VALUES (52)")
            assert land(run(), url) == ("increment", 1)
        assert land(run(), url) == ("increment", 1)
        assert [row["id"] for row in last_rows(landing)] == [51]

    def test_a_correction_of_an_unsettled_row_is_landed(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, "UPDATE sales SET name = NULL WHERE id = 48")
        assert land(run(), url) == ("increment", 1)
        assert [(row["id"], row["name"]) for row in last_rows(landing)] == [(48, None)]
        execute(url, "UPDATE sales SET name = 'sale 48' WHERE id = 48")
        assert land(run(), url) == ("increment", 1)
        assert land(run(), url) is None

    def test_a_deleted_unsettled_row_becomes_a_tombstone(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, "DELETE FROM sales WHERE id IN (48, 50)")
        assert land(run(), url) == ("increment", 2)
        assert last_rows(landing) == []
        assert last_rows(landing, deletions=True) == [{"id": 48}, {"id": 50}]
        assert land(run(), url) is None
        execute(url, "INSERT INTO sales (id) VALUES (50)")
        assert land(run(), url) == ("increment", 1)
        assert land(run(), url) is None

    @pytest.mark.parametrize(
        "change",
        [
            "DELETE FROM sales WHERE id = 7",
            "UPDATE sales SET id = 0 WHERE id = 7",
            "INSERT INTO sales (id) VALUES (-1)",
            "ALTER TABLE sales ADD COLUMN coupon TEXT",
            "ALTER TABLE sales DROP COLUMN ratio",
            "ALTER TABLE sales ALTER COLUMN amount TYPE NUMERIC(12, 2)",
            "ALTER TABLE sales RENAME COLUMN name TO title",
        ],
    )
    def test_changes_that_an_increment_cannot_express_make_a_snapshot(
        self, new_postgresql_database, run: Run, script: str, change: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, change)
        load, _ = land(run(), url)
        assert load == "snapshot"
        assert land(run(), url) is None

    def test_from_scratch_lands_a_snapshot(self, new_postgresql_database, run: Run, script: str) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, "INSERT INTO sales (id) VALUES (51)")
        land(run(), url)
        assert land(run(), url, from_scratch=True) == ("snapshot", 51)
        assert land(run(), url) is None

    def test_a_table_that_was_emptied_is_an_error(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, "DELETE FROM sales")
        assert "is empty: check the source" in message_of(lambda: land(run(), url))
        assert len(landing.batches("source", "sales")) == 1

    def test_only_one_of_two_concurrent_runs_lands_and_the_next_run_lands_the_rest(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        execute(url, "INSERT INTO sales (id) SELECT generate_series(51, 70)")
        first = run()

        def another_run() -> None:
            execute(url, "INSERT INTO sales (id) VALUES (71)")
            land(first, url)

        assert "this run landed nothing" in message_of(lambda: land(run("sales", another_run), url))
        assert [batch.rows for batch in landing.batches("source", "sales")] == [50, 21]
        assert land(run(), url) is None

    def test_a_lost_connection_during_an_increment_lands_nothing_and_the_next_run_lands_all(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        execute(url, "UPDATE sales SET name = repeat(md5(id::text), 32768) WHERE id > 45")
        land(run(), url)
        execute(
            url, "INSERT INTO sales (id, name) SELECT n, repeat(md5(n::text), 32768) FROM generate_series(51, 90) n"
        )
        cut_off = run("sales", lambda: lose_connections(url))
        assert "can't be read" in message_of(lambda: land(cut_off, url))
        assert len(landing.batches("source", "sales")) == 1
        assert land(run(), url) == ("increment", 40)

    def test_a_landed_file_that_is_gone_is_an_error_that_says_so(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        [batch] = landing.batches("source", "sales")
        Path(landing.path_of(batch, batch.files[0].name)).unlink()
        assert "A landed batch of source/sales can't be read" in message_of(lambda: land(run(), url))

    def test_batches_without_rows_of_the_overlap_are_not_opened(
        self, new_postgresql_database, run: Run, landing: Landing, script: str
    ) -> None:
        url = new_postgresql_database(script)
        land(run(), url)
        for first, hour in (51, 11), (71, 12):
            execute(url, f"INSERT INTO sales (id) SELECT generate_series({first}, {first + 19})")
            if "updated_at" in script:
                execute(url, f"UPDATE sales SET updated_at = '2026-01-30 {hour}:00+00' WHERE id >= {first}")
            land(run(), url)
        for batch in landing.batches("source", "sales")[:2]:
            Path(landing.path_of(batch, batch.files[0].name)).unlink()
        execute(url, "INSERT INTO sales (id) VALUES (91)")
        assert land(run(), url) == ("increment", 1)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("column", ["amount = 0", "day = day + 1", "name = 'Sale 7'", "name = NULL", "ratio = 0"])
def test_without_updated_at_an_old_correction_makes_a_snapshot(new_postgresql_database, run: Run, column: str) -> None:
    url = new_postgresql_database(KEY_ONLY)
    land(run(), url)
    execute(url, f"UPDATE sales SET {column} WHERE id = 7")
    assert land(run(), url) == ("snapshot", 50)
    assert land(run(), url) is None


@pytest.mark.usefixtures("small_limits")
def test_with_updated_at_an_old_correction_is_an_increment(new_postgresql_database, run: Run, landing: Landing) -> None:
    url = new_postgresql_database(UPDATED_AT)
    land(run(), url)
    execute(url, "UPDATE sales SET amount = 0, updated_at = '2026-01-30 12:00+00' WHERE id IN (7, 20)")
    assert land(run(), url) == ("increment", 2)
    assert [row["id"] for row in last_rows(landing)] == [7, 20]
    assert land(run(), url) is None


@pytest.mark.usefixtures("small_limits")
def test_rows_updated_at_the_same_time_in_two_reads_are_all_landed(
    new_postgresql_database, run: Run, landing: Landing
) -> None:
    url = new_postgresql_database(UPDATED_AT)
    land(run(), url)
    for id in (7, 20, 3):
        execute(url, f"UPDATE sales SET amount = 0, updated_at = '2026-01-30 12:00+00' WHERE id = {id}")
        assert land(run(), url) == ("increment", 1)
        assert [row["id"] for row in last_rows(landing)] == [id]
    assert land(run(), url) is None


@pytest.mark.usefixtures("small_limits")
def test_an_update_by_a_slow_clock_is_found_within_the_overlap(new_postgresql_database, run: Run) -> None:
    url = new_postgresql_database(UPDATED_AT)
    land(run(), url)
    execute(url, "UPDATE sales SET updated_at = '2026-01-30 12:00+00' WHERE id = 7")
    land(run(), url)
    execute(url, "UPDATE sales SET amount = 0, updated_at = '2026-01-30 11:55+00' WHERE id = 20")
    assert land(run(), url) == ("increment", 1)


@pytest.mark.usefixtures("small_limits")
def test_a_clock_far_ahead_hides_no_correction(new_postgresql_database, run: Run, landing: Landing) -> None:
    url = new_postgresql_database(UPDATED_AT)
    execute(url, "UPDATE sales SET updated_at = '2099-01-01' WHERE id = 7")
    land(run(), url)
    for hour in range(3, 6):
        execute(url, f"UPDATE sales SET amount = 0, updated_at = '2026-01-31 0{hour}:30+00' WHERE id = {hour}")
        assert land(run(), url) == ("increment", 1)
        assert [row["id"] for row in last_rows(landing)] == [hour]
    assert land(run(), url) is None


@pytest.mark.usefixtures("small_limits")
def test_updated_at_may_be_null_before_the_first_correction(new_postgresql_database, run: Run) -> None:
    url = new_postgresql_database(KEY_ONLY + "ALTER TABLE sales ADD COLUMN updated_at TIMESTAMPTZ;")
    land(run(), url)
    assert land(run(), url) is None
    for id in (7, 20):
        execute(url, f"UPDATE sales SET amount = 0, updated_at = '2026-01-30 12:00+00' WHERE id = {id}")
        assert land(run(), url) == ("increment", 1)
    assert land(run(), url) is None


@pytest.mark.usefixtures("small_limits")
def test_updated_at_may_have_no_time_zone(new_postgresql_database, run: Run) -> None:
    url = new_postgresql_database(UPDATED_AT.replace("TIMESTAMPTZ", "TIMESTAMP"))
    land(run(), url)
    execute(url, "UPDATE sales SET amount = 0, updated_at = '2026-01-30 12:00' WHERE id = 7")
    assert land(run(), url) == ("increment", 1)
    assert land(run(), url) is None


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE sales DROP CONSTRAINT sales_pkey",
        "ALTER TABLE sales ALTER COLUMN id TYPE TEXT",
    ],
    ids=["none", "text"],
)
def test_a_table_without_an_integer_key_is_always_landed_as_a_snapshot(
    new_postgresql_database, run: Run, change: str
) -> None:
    url = new_postgresql_database(KEY_ONLY)
    execute(url, change)
    assert land(run(), url) == ("snapshot", 50)
    execute(url, "INSERT INTO sales (id, name) VALUES (51, '')")
    assert land(run(), url) == ("snapshot", 51)


@pytest.mark.usefixtures("small_limits")
def test_a_table_of_sqlite_is_always_landed_as_a_snapshot(new_sqlite, run: Run) -> None:
    url = new_sqlite("CREATE TABLE sales (id INTEGER PRIMARY KEY)")
    for rows in (10, 20):
        new_sqlite(f"INSERT INTO sales VALUES {', '.join(f'({rows + number})' for number in range(10))}")
        assert land(run(), url) == ("snapshot", rows)


@pytest.mark.usefixtures("small_limits")
def test_a_table_that_becomes_large_is_landed_once_as_a_snapshot(new_postgresql_database, run: Run) -> None:
    url = new_postgresql_database("CREATE TABLE sales (id BIGINT PRIMARY KEY); INSERT INTO sales VALUES (1), (2)")
    assert land(run(), url, snapshot_up_to_rows=10) == ("snapshot", 2)
    execute(url, "INSERT INTO sales SELECT generate_series(3, 10)")
    assert land(run(), url, snapshot_up_to_rows=10) == ("snapshot", 10)
    execute(url, "INSERT INTO sales VALUES (11)")
    assert land(run(), url, snapshot_up_to_rows=10) == ("snapshot", 11)
    execute(url, "INSERT INTO sales VALUES (9223372036854775807)")
    assert land(run(), url, snapshot_up_to_rows=10) == ("increment", 1)
    execute(url, "DELETE FROM sales WHERE id > 10")
    assert land(run(), url, snapshot_up_to_rows=10) == ("snapshot", 10)


@pytest.mark.usefixtures("small_limits")
def test_a_table_may_be_smaller_than_the_overlap(new_postgresql_database, run: Run, landing: Landing) -> None:
    url = new_postgresql_database("CREATE TABLE sales (id SMALLINT PRIMARY KEY); INSERT INTO sales VALUES (-1), (2)")
    assert land(run(), url) == ("snapshot", 2)
    execute(url, "DELETE FROM sales WHERE id = -1; INSERT INTO sales VALUES (1), (3)")
    assert land(run(), url) == ("increment", 3)
    assert last_rows(landing) == [{"id": 1}, {"id": 3}]
    assert last_rows(landing, deletions=True) == [{"id": -1}]


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("has_updated_at", [False, True], ids=["key", "updated_at"])
@pytest.mark.parametrize("seed", range(4))
def test_landed_rows_equal_the_table_after_random_changes(
    new_postgresql_database, run: Run, landing: Landing, seed: int, has_updated_at: bool
) -> None:
    url = new_postgresql_database(UPDATED_AT if has_updated_at else KEY_ONLY)
    chance = Random(seed)
    last_key, withheld = 50, list[int]()
    current: dict[int, dict[str, Any]] = {}
    loads = set[str]()
    for _ in range(15):
        extraction = run()
        # Changes have times from the last hour and a few minutes before, as slow clocks and long transactions cause.
        since = datetime.fromisoformat(extraction.extracted_at) - timedelta(minutes=64)
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            for _ in range(chance.randrange(4)):
                at = since + timedelta(minutes=chance.randrange(64))
                key = last_key - (chance.randrange(4) if chance.random() < 0.8 else chance.randrange(last_key))
                match chance.choice(["insert", "insert", "withhold", "update", "delete", "nothing"]):
                    case "insert":
                        keys = [*range(last_key + 1, last_key + chance.randrange(12)), *withheld]
                        last_key, withheld = max([last_key, *keys]), []
                        change, parameters = "INSERT INTO sales (id) SELECT unnest(%s::int[])", [keys]
                    case "withhold":
                        last_key += 1
                        withheld.append(last_key)
                        continue
                    case "update":
                        change = "UPDATE sales SET name = %s, ratio = NULLIF(ratio, %s) WHERE id = %s"
                        keys, parameters = [key], [str(chance.random()), chance.choice([1, float("nan")]), key]
                    case "delete":
                        keys, change, parameters = [], "DELETE FROM sales WHERE id = %s", [key]
                    case _:
                        continue
                connection.execute(change, parameters)
                if has_updated_at:
                    connection.execute("UPDATE sales SET updated_at = %s WHERE id = ANY(%s)", [at, keys])
        land(extraction, url)
        if batch := landing.find_batch("source", "sales", extraction.batch_id):
            loads.add(batch.load)
            deleted = {row["id"] for row in landed_rows(landing, batch, deletions=True)}
            changed = {row["id"]: row for row in landed_rows(landing, batch)}
            if batch.load == "snapshot":
                current = {}
            assert deleted <= current.keys()
            assert not [key for key, row in changed.items() if repr(current.get(key)) == repr(row)]
            current = {key: row for key, row in {**current, **changed}.items() if key not in deleted}
        with psycopg.connect(url.replace("+psycopg", ""), row_factory=dict_row) as connection:
            rows = connection.execute("SELECT * FROM sales ORDER BY id").fetchall()
        assert [comparable(row) for _, row in sorted(current.items())] == [comparable(row) for row in rows]
    assert loads == {"snapshot", "increment"}


def comparable(row: dict[str, Any]) -> dict[str, str]:
    return {name: str(value.astimezone(UTC) if isinstance(value, datetime) else value) for name, value in row.items()}


RECEIPTS = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.lines ("BASKET_ID" BIGINT, "LINE_NO" INT, "PIECES" INT, PRIMARY KEY ("BASKET_ID", "LINE_NO"));
    INSERT INTO shop.lines SELECT basket, line, 1 FROM generate_series(1, 30) basket, generate_series(1, 3) line;
    CREATE VIEW shop."V_LINES" AS SELECT * FROM shop.lines;
"""
LINES = replace(
    source_table("transactions", "transaction_id"),
    schema="shop",
    table="v_lines",
    primary_key=("basket_id", "line_no"),
    mapping=Mapping((("transaction_id", "basket_id * 100 + line_no"),)),
)


QUERY = replace(
    LINES,
    schema="",
    table="transactions",
    query="""
        SELECT *, '100 %: ' || "PIECES"::TEXT AS note, 0.5::NUMERIC(4, 2) AS rate FROM shop.lines WHERE "PIECES" > 0;
    """,
)


@pytest.mark.parametrize("lines", [LINES, QUERY], ids=["view", "query"])
def test_view_or_query_with_a_declared_key_is_landed_in_increments(
    new_postgresql_database, run, monkeypatch, lines
) -> None:
    monkeypatch.setattr(sql_database, "OVERLAP_ROWS", 10)
    url = new_postgresql_database(RECEIPTS)

    def land_lines() -> Manifest | None:
        batches = land_tables(run(), url, [lines], snapshot_up_to_rows=0)
        return batches[0] if batches else None

    def execute(statement: str) -> None:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute(statement)

    snapshot = land_lines()
    assert (snapshot.load, snapshot.rows) == ("snapshot", 90)
    if lines is QUERY:
        first = {"BASKET_ID": 1, "LINE_NO": 1, "PIECES": 1, "note": "100 %: 1", "rate": Decimal("0.50")}
        assert landed_rows(run().landing, snapshot)[0] == first
    assert land_lines() is None

    execute("INSERT INTO shop.lines VALUES (31, 1, 1), (31, 2, 1)")
    execute('UPDATE shop.lines SET "PIECES" = 5 WHERE "BASKET_ID" = 30')
    increment = land_lines()
    assert (increment.load, increment.rows) == ("increment", 5)

    execute('DELETE FROM shop.lines WHERE "BASKET_ID" = 31 AND "LINE_NO" = 2')
    deletion = land_lines()
    assert deletion.load == "increment"
    assert landed_rows(run().landing, deletion, deletions=True) == [{"BASKET_ID": 31, "LINE_NO": 2}]
    assert land_lines() is None

    execute('DELETE FROM shop.lines WHERE "BASKET_ID" = 1 AND "LINE_NO" = 2')
    late = land_lines()
    assert (late.load, late.rows) == ("snapshot", 90)


def test_declared_column_that_does_not_exist_is_named(new_postgresql_database, run) -> None:
    url = new_postgresql_database(RECEIPTS)
    for changed, line in (
        (replace(LINES, primary_key=("receipt",)), "declares 'receipt' as primary_key of transactions"),
        (replace(LINES, updated_at="changed"), "declares 'changed' as updated_at of transactions"),
        (replace(LINES, table="v_line"), "has no table or view 'v_line' in schema 'shop'"),
        (replace(QUERY, primary_key=("receipt",)), "of transactions, but its query has no such column"),
        (replace(QUERY, query="SELECT nope"), "The query of transactions can't be run in database postgresql://.*nope"),
    ):
        with pytest.raises(CdpError, match=line):
            land_tables(run(), url, [changed])
