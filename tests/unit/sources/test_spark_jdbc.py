"""Tests of JDBC reads with Spark and PostgreSQL, in a new process: Spark adds the JDBC driver only when it starts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Landing
from cdp_lib.sources import sql_database
from cdp_lib.sources.spark_jdbc import connection_options, land_large_tables, land_table_by_jdbc
from cdp_lib.sources.sql_database import land_tables
from cdp_lib.sources_file import EntitySource

CONTRACT = BronzeContract("sales", "bronze", "", (), source="source", entity="sales", record_key=("id",))
SALES = EntitySource(CONTRACT, "database", "database_url", table="sales")

DATABASE = """
    CREATE TABLE sales (
        id BIGINT PRIMARY KEY, small SMALLINT, price NUMERIC(9, 2), any_number NUMERIC, ratio DOUBLE PRECISION,
        is_open BOOLEAN, day DATE, at TIMESTAMPTZ, local_at TIMESTAMP,
        "50% of" TEXT, number UUID, at_time TIME, doc JSONB
    );
    INSERT INTO sales SELECT
        n, n % 9, n / 7.0, n * 1e18, n / 3.0, n % 2 = 0, DATE '1969-01-01' + n,
        TIMESTAMPTZ '1969-12-31 23:59:59.999998+00' + n * INTERVAL '1 hour 1 microsecond',
        TIMESTAMP '2000-02-28 23:59:59.999' + n * INTERVAL '1 hour', E'row\\n"' || n, gen_random_uuid(), '08:30', '{}'
    FROM generate_series(1, 12000) n;
    INSERT INTO sales (id, "50% of", ratio) VALUES (12001, '', 'NaN');
    CREATE TABLE refused (id INT PRIMARY KEY, price NUMERIC(9, 2));
    INSERT INTO refused VALUES (1, 'NaN');
"""

SCRIPT = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.sources.spark_jdbc import land_large_tables
from cdp_lib.sources_file import EntitySource
from cdp_local.engines import delta_session

home, url = Path(sys.argv[1]), sys.argv[2]
extraction = Landing(f"{home}/landing").extraction("source", "20260131T000001Z-1", datetime(2026, 1, 31, tzinfo=UTC))
# The landed times must not depend on the time zone of the session.
with delta_session(home, {"spark.sql.session.timeZone": "Asia/Riyadh"}, ["org.postgresql:postgresql:42.7.14"]) as spark:
    answers = {}
    for entity in ("sales", "refused"):
        contract = BronzeContract(entity, "bronze", "", (), source="source", entity=entity, record_key=("id",))
        try:
            source = EntitySource(contract, "database", "database_url", table=entity)
            arguments = spark, extraction, url, [source]
            [manifest] = land_large_tables(*arguments, partitions=3, snapshot_up_to_rows=0)
            [second] = land_large_tables(*arguments, partitions=3, snapshot_up_to_rows=0, from_scratch=True)
            answers[entity] = manifest.to_json() if manifest == second else "landed twice"
        except CdpError as error:
            answers[entity] = str(error)
print(json.dumps(answers))
"""


@pytest.mark.timeout(180)
@pytest.mark.skipif(
    not (shutil.which("java") or os.environ.get("JAVA_HOME")), reason="needs Java 17 or newer: `make java`"
)
def test_a_table_read_in_ranges_is_landed_and_then_continued_in_increments(
    new_postgresql_database: Callable[[str], str], tmp_path: Path
) -> None:
    url = new_postgresql_database(DATABASE).replace("cdp@", "cdp:unseen@")  # pragma: allowlist secret
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), url]
    # A session in this process may have set variables that make Spark use Spark Connect.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_CONNECT_")}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert answer.returncode == 0, answer.stderr
    answers = json.loads(answer.stdout)
    landing = Landing(str(tmp_path / "landing"))

    assert "Table 'refused'" in answers["refused"]
    assert "can't be read by JDBC" in answers["refused"]
    assert "unseen" not in answers["refused"]
    assert landing.batches("source", "refused") == []

    [snapshot] = landing.batches("source", "sales")
    assert snapshot.to_json() == answers["sales"]
    assert (snapshot.load, snapshot.rows, snapshot.checksum) == ("snapshot", 12_001, None)
    assert len(snapshot.files) == 3
    assert landing.examine(snapshot).rows == 12_001

    with sql_database.open_snapshot(url) as connection:
        table = sql_database.find_table(connection, SALES)
        source_rows = pa.concat_tables(sql_database._read(connection, table, table.select))
    landed = pa.concat_tables(
        pq.read_table(landing.path_of(snapshot, file.name), partitioning=None) for file in snapshot.files
    )
    assert set(snapshot.columns) == set(landed.column_names) == set(source_rows.column_names)
    as_landed = landed.select(source_rows.column_names).cast(source_rows.schema).sort_by("id")
    assert repr(as_landed.to_pylist()) == repr(source_rows.to_pylist())

    def next_run(batch_id: str) -> list[tuple[str, int]]:
        extraction = Extraction(landing, "source", batch_id, snapshot.extracted_at)
        return [(batch.load, batch.rows) for batch in land_tables(extraction, url, [SALES], snapshot_up_to_rows=0)]

    assert next_run("20260131T000002Z-2") == []
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("INSERT INTO sales (id) VALUES (12002); UPDATE sales SET at = now() WHERE id = 12000")
    assert next_run("20260131T000003Z-3") == [("increment", 2)]


def test_small_and_already_landed_tables_are_not_read_by_jdbc(
    new_postgresql_database: Callable[[str], str], extraction: Extraction
) -> None:
    url = new_postgresql_database("CREATE TABLE sales (id INT PRIMARY KEY); INSERT INTO sales VALUES (1), (2)")
    arguments = None, extraction, url, [SALES]
    assert land_large_tables(*arguments, partitions=2) == []
    assert land_large_tables(*arguments, partitions=0, snapshot_up_to_rows=1) == []
    [landed] = land_tables(*arguments[1:])
    assert land_large_tables(*arguments, partitions=2, snapshot_up_to_rows=1) == []
    assert land_large_tables(*arguments, partitions=2, snapshot_up_to_rows=1, from_scratch=True) == [landed]


def test_a_table_without_an_integer_key_is_an_error(
    new_postgresql_database: Callable[[str], str], extraction: Extraction
) -> None:
    url = new_postgresql_database("CREATE TABLE sales (id TEXT PRIMARY KEY); INSERT INTO sales VALUES ('a')")
    with pytest.raises(CdpError, match="can't be read in ranges: its key does not begin with an integer column"):
        land_table_by_jdbc(None, extraction, url, SALES, partitions=2)


def test_an_empty_table_is_an_error(new_postgresql_database: Callable[[str], str], extraction: Extraction) -> None:
    url = new_postgresql_database("CREATE TABLE sales (id INT PRIMARY KEY)")
    with pytest.raises(CdpError, match="is empty: check the source"):
        land_table_by_jdbc(None, extraction, url, SALES, partitions=2)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (
            "postgresql+psycopg://cdp:a%40b@db.example.com:5433/retail?sslmode=require",  # pragma: allowlist secret
            {
                "url": "jdbc:postgresql://db.example.com:5433/retail",
                "driver": "org.postgresql.Driver",
                "user": "cdp",
                "password": "a@b",  # pragma: allowlist secret
                "sslmode": "require",
            },
        ),
        (
            "mssql+mssqlpython://cdp:c@db.example.com/retail?Encrypt=yes",  # pragma: allowlist secret
            {
                "url": "jdbc:sqlserver://db.example.com;databaseName=retail",
                "driver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
                "user": "cdp",
                "password": "c",  # pragma: allowlist secret
                "Encrypt": "true",
            },
        ),
        (
            "mssql+mssqlpython://db.example.com:1433/retail?Authentication=ActiveDirectoryMSI",
            {
                "url": "jdbc:sqlserver://db.example.com:1433;databaseName=retail",
                "driver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
                "Authentication": "ActiveDirectoryMSI",
            },
        ),
    ],
)
def test_a_url_becomes_jdbc_options_with_a_separate_login(url: str, options: dict[str, str]) -> None:
    assert connection_options(sa.make_url(url)) == options


def test_a_database_without_a_driver_is_an_error() -> None:
    with pytest.raises(CdpError, match="Database sqlite can't be read by JDBC"):
        connection_options(sa.make_url("sqlite:///retail.db"))
