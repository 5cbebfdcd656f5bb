import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp_lib.errors import CdpError
from cdp_lib.landing import BatchWriter, Extraction, Landing, Manifest
from cdp_lib.sources import sql_database
from cdp_lib.sources.sql_database import land_tables

DATABASE_SQL = (Path(__file__).resolve().parents[3] / "fixtures" / "database.sql").read_text(encoding="utf-8")
TABLES = ("products", "stores", "transactions")


@pytest.fixture
def new_sqlite(tmp_path: Path) -> Callable[[str], str]:
    """Make a SQLite file with a script, and give its SQLAlchemy URL."""

    def create(script: str, name: str = "retail.db") -> str:
        with sqlite3.connect(tmp_path / name) as connection:
            connection.executescript(script)
        connection.close()
        return f"sqlite:///{quote(str(tmp_path / name))}"

    return create


@pytest.fixture
def refusal(extraction: Extraction, landed: Path) -> Callable[..., str]:
    """The message of an attempt that lands nothing."""

    def refusal(url: str, *tables: str, schema: str = "") -> str:
        with pytest.raises(CdpError) as refused:
            land_tables(extraction, url, schema, tables or ("products",))
        message = str(refused.value)
        assert len(message.splitlines()) == 1
        assert not [word for word in ("Traceback", "SELECT", "sqlalche.me") if word in message]
        assert not list(landed.glob("*/*/manifest.json"))
        return message

    return refusal


def rows_of(landed: Path, table: str) -> list[dict[str, Any]]:
    return table_of(landed, table).to_pylist()


def table_of(landed: Path, table: str) -> pa.Table:
    return pq.read_table(landed / table / "b1/data/part-00000.parquet", partitioning=None)


def test_the_tables_are_landed_one_batch_each_in_the_order_asked_for(new_sqlite, extraction, landed) -> None:
    manifests = land_tables(extraction, new_sqlite(DATABASE_SQL), "", TABLES)
    assert [(manifest.entity, manifest.rows) for manifest in manifests] == [
        ("products", 10),
        ("stores", 5),
        ("transactions", 50),
    ]
    assert {manifest.format for manifest in manifests} == {"parquet"}
    assert manifests[1].columns == ("location", "store_id", "store_name")
    assert len(rows_of(landed, "transactions")) == 50


def test_sqlite_values_come_as_text_whatever_the_column_was_declared_as(new_sqlite, extraction, landed) -> None:
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
    land_tables(extraction, url, "", ["products"])
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
    land_tables(extraction, url, "", ["stores"])
    assert [row["store_id"] for row in rows_of(landed, "stores")] == ["1", "9", "10"]


def test_rows_of_a_table_without_key_come_in_the_order_of_its_first_column(new_sqlite, extraction, landed) -> None:
    url = new_sqlite("CREATE TABLE stores (store_id INT, name TEXT); INSERT INTO stores VALUES (2, 'B'), (1, 'C');")
    land_tables(extraction, url, "", ["stores"])
    assert [row["store_id"] for row in rows_of(landed, "stores")] == ["1", "2"]


@pytest.mark.parametrize("rows", [10, 25, 30])
def test_a_table_of_more_rows_than_a_chunk_is_landed_whole(
    new_sqlite, extraction, landed, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(sql_database, "ROWS_PER_CHUNK", 10)
    values = ", ".join(f"({number})" for number in range(rows))
    url = new_sqlite(f"CREATE TABLE products (product_id INT PRIMARY KEY); INSERT INTO products VALUES {values};")
    [manifest] = land_tables(extraction, url, "", ["products"])
    file = pq.ParquetFile(landed / "products/b1/data/part-00000.parquet")
    assert [int(row["product_id"]) for row in rows_of(landed, "products")] == list(range(rows))
    assert manifest.rows == rows
    assert file.num_row_groups == -(-rows // 10)


def test_a_second_attempt_of_the_run_lands_only_what_is_missing(new_sqlite, extraction, landed) -> None:
    url = new_sqlite(DATABASE_SQL)
    [products] = land_tables(extraction, url, "", ["products"])
    new_sqlite("DELETE FROM products WHERE product_id > 3")
    manifests = land_tables(extraction, url, "", TABLES)
    assert manifests[0] == products
    assert len(rows_of(landed, "products")) == 10


def test_a_table_that_has_not_changed_makes_no_new_batch(new_sqlite, extraction, landing: Landing) -> None:
    url = new_sqlite(DATABASE_SQL)
    first = land_tables(extraction, url, "", TABLES)
    next_run = Extraction(landing, "source", "b2", extraction.extracted_at)
    assert land_tables(next_run, url, "", TABLES) == first
    new_sqlite("UPDATE products SET price = 1 WHERE product_id = 3")
    assert [batch.batch_id for batch in land_tables(next_run, url, "", TABLES)] == ["b2", "b1", "b1"]


def test_a_missing_table_is_an_error_before_anything_is_landed(new_sqlite, refusal) -> None:
    message = refusal(new_sqlite(DATABASE_SQL), "products", "coupons")
    assert "has no table 'coupons' in the default schema" in message
    assert "'database_schema'" in message


def test_an_empty_table_is_an_error(new_sqlite, refusal) -> None:
    url = new_sqlite("CREATE TABLE products (product_id INT PRIMARY KEY, product_name TEXT)")
    assert "Table 'products'" in refusal(url)
    assert "is empty: check the source" in refusal(url)


def test_a_file_that_is_not_there_is_an_error_and_is_not_made(refusal, tmp_path) -> None:
    assert "unable to open database file" in refusal(f"sqlite:///{tmp_path / 'missing.db'}")
    assert list(tmp_path.glob("*.db")) == []


def test_the_file_is_read_and_never_written(new_sqlite, extraction, tmp_path) -> None:
    url = new_sqlite(DATABASE_SQL)
    before = (tmp_path / "retail.db").read_bytes()
    land_tables(extraction, url, "", TABLES)
    assert (tmp_path / "retail.db").read_bytes() == before
    assert [path.name for path in tmp_path.glob("retail*")] == ["retail.db"]


@pytest.mark.parametrize("name", ["a b.db", "50%20.db", "a#b.db", "Zoë.db"])
def test_a_file_may_have_any_name(new_sqlite, extraction, name: str) -> None:
    [manifest] = land_tables(extraction, new_sqlite(DATABASE_SQL, name), "", ["stores"])
    assert manifest.rows == 5


def test_a_file_that_is_no_database_is_an_error(refusal, tmp_path) -> None:
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


def test_the_password_is_not_shown_when_nobody_answers(refusal) -> None:
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
    manifests = land_tables(extraction, retail_postgresql, "public", TABLES)
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


def test_postgresql_types_have_their_parquet_types(new_postgresql_database, extraction, landed) -> None:
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
    land_tables(extraction, url, "", ["kinds"])
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
        *("00000000-0000-0000-0000-000000000001", "abc", "08:30:00"),
    )
    assert [value for value in empty if value is not None] == [9223372036854775806]


def test_a_schema_names_whose_tables_are_read(new_postgresql_database, extraction, landed) -> None:
    url = new_postgresql_database("""
        CREATE SCHEMA dbo;
        CREATE TABLE dbo.stores (store_id INT PRIMARY KEY);
        CREATE TABLE stores (store_id INT PRIMARY KEY);
        INSERT INTO dbo.stores VALUES (7);
        INSERT INTO stores VALUES (8);
    """)
    land_tables(extraction, url, "dbo", ["stores"])
    assert rows_of(landed, "stores") == [{"store_id": 7}]


def test_a_schema_that_does_not_have_the_table_is_named(retail_postgresql: str, refusal) -> None:
    assert "has no table 'products' in schema 'dbo'" in refusal(retail_postgresql, schema="dbo")


def test_a_value_that_parquet_cannot_hold_is_an_error(new_postgresql_database, refusal) -> None:
    url = new_postgresql_database(
        "CREATE TABLE products (price NUMERIC(18, 2)); INSERT INTO products VALUES (1), ('NaN');"
    )
    assert "can't be read" in refusal(url)


def test_a_day_that_no_calendar_has_is_an_error(new_postgresql_database, refusal) -> None:
    url = new_postgresql_database("CREATE TABLE products (since DATE); INSERT INTO products VALUES ('infinity');")
    assert "can't be read" in refusal(url)


def test_a_database_that_does_not_exist_is_an_error(postgresql_server: str, refusal) -> None:
    assert 'database "nowhere" does not exist' in refusal(f"postgresql+psycopg://{postgresql_server}/nowhere")


@dataclass(frozen=True)
class ServerGoesDown(Extraction):
    """An extraction whose database ends every connection just before one of the tables is written."""

    database_url: str
    entity: str

    def new_batch(self, entity: str) -> AbstractContextManager[BatchWriter]:
        if entity == self.entity:
            with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        return super().new_batch(entity)


def test_a_server_that_goes_down_in_the_middle_is_an_error_and_the_next_attempt_lands_the_rest(
    retail_postgresql: str, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_database, "ROWS_PER_CHUNK", 10)
    run = ("source", "b1", "2026-01-31T00:00:00+00:00")
    with pytest.raises(CdpError) as refused:
        land_tables(ServerGoesDown(landing, *run, retail_postgresql, "transactions"), retail_postgresql, "", TABLES)
    assert "can't be read" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert [len(landing.batches("source", table)) for table in TABLES] == [1, 1, 0]

    landed_before: list[Manifest | None] = [landing.find_batch("source", table, "b1") for table in TABLES[:2]]
    manifests = land_tables(Extraction(landing, *run), retail_postgresql, "", TABLES)
    assert manifests[:2] == landed_before
    assert manifests[2].rows == 50
