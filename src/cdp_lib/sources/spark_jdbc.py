"""Large tables of a SQL database, read by many tasks of a Spark cluster in parallel.

The cluster needs the JDBC driver: `org.postgresql:postgresql` from Maven. Databricks includes Microsoft's driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_lib.landing import BatchWriter, DataFile, Extraction, Manifest
from cdp_lib.redaction import register
from cdp_lib.sources.sql_database import (
    SNAPSHOT_UP_TO_ROWS,
    SourceTable,
    address_of,
    compute_watermark,
    find_table,
    has_more_rows,
    open_snapshot,
)
from cdp_lib.sources_file import EntitySource

JDBC_FETCH_ROWS = 10_000
"""Number of rows that the JDBC driver fetches at a time."""

_DRIVERS = {"postgresql": "org.postgresql.Driver", "mssql": "com.microsoft.sqlserver.jdbc.SQLServerDriver"}


def land_large_tables(
    spark: SparkSession,
    extraction: Extraction,
    database_url: str,
    sources: Sequence[EntitySource],
    *,
    partitions: int,
    from_scratch: bool = False,
    snapshot_up_to_rows: int = SNAPSHOT_UP_TO_ROWS,
) -> list[Manifest]:
    """Land the first snapshot of each large table through JDBC.

    `land_tables` lands the small tables, and the increments of the large tables.

    Args:
        spark: Spark session.
        extraction: Extraction that lands the tables.
        database_url: SQLAlchemy URL of the database.
        sources: Sources of the entities: tables or views of this database.
        partitions: Number of key ranges per table, which is also the number of connections to the database. If 0,
            this function lands nothing, and `land_tables` also lands the first snapshots.
        from_scratch: Whether to land all large tables. If false, the function skips tables that have a landed batch.
        snapshot_up_to_rows: Maximum number of rows of a small table.

    Returns:
        The landed batches.

    Raises:
        CdpError: For the same reasons as `land_table_by_jdbc`.
    """
    candidates = [source for source in sources if from_scratch or not extraction.find_latest_batch(source.entity)]
    if not partitions or not candidates:
        return []
    with open_snapshot(database_url) as connection:
        tables = [find_table(connection, source) for source in candidates]
        large = [
            source
            for source, table in zip(candidates, tables, strict=True)
            if table.key is not None and has_more_rows(connection, table, snapshot_up_to_rows)
        ]
    return [
        batch
        for source in large
        for batch in land_table_by_jdbc(spark, extraction, database_url, source, partitions=partitions)
    ]


def land_table_by_jdbc(
    spark: SparkSession,
    extraction: Extraction,
    database_url: str,
    source: EntitySource,
    *,
    partitions: int,
) -> list[Manifest]:
    """Land a snapshot of a table. Spark reads the table in key ranges, several at a time.

    Each range is read in its own transaction, so rows may be added or changed during the read. The next run of
    `land_tables` lands these rows, because the watermark is computed before the read.

    Args:
        spark: Spark session.
        extraction: Extraction that lands the table.
        database_url: SQLAlchemy URL of the database.
        source: Source of the entity: a table or view of this database.
        partitions: Number of key ranges, which is also the number of connections to the database.

    Returns:
        A list with the landed batch.

    Raises:
        CdpError: The URL is invalid, no JDBC driver for the database is known, or the database can't be reached or
            read. The error is also raised if the table is missing or empty, or has no key for increments (see
            `land_tables`).
    """
    if earlier := extraction.find_batch(source.entity):
        return [earlier]
    latest = extraction.find_latest_batch(source.entity)
    with open_snapshot(database_url) as connection:
        database = connection.engine
        table = find_table(connection, source)
        if table.key is None:
            raise CdpError(
                f"Table '{table.rows.name}' of database {address_of(database)} can't be read in ranges: its key does"
                " not begin with an integer column. Land the table with land_tables."
            )
        watermark = compute_watermark(connection, table)
        lowest = connection.scalar(sa.select(sa.func.min(table.key)))
    rows = spark.read.format("jdbc").options(
        **connection_options(database.url),
        dbtable=_subquery(database, table, table.key <= watermark.max_key),
        partitionColumn=table.key.name,
        lowerBound=lowest,
        upperBound=watermark.max_key,
        numPartitions=partitions,
        fetchsize=JDBC_FETCH_ROWS,
        preferTimestampNTZ=True,  # if false, Spark reads times without time zone as times of the cluster's time zone
    )
    with extraction.new_batch(table.entity, "snapshot", latest) as batch:
        try:
            rows.load().write.parquet(batch.data_folder)
        except Exception as error:  # the type of Spark's error depends on the kind of session
            register(database.url.password)
            reason = str(error).strip().splitlines()[0].rstrip(".")
            # Do not chain the error, because Spark's error may contain the password.
            raise CdpError(
                f"Table '{table.rows.name}' of database {address_of(database)} can't be read by JDBC: {reason}."
            ) from None
        _add_files(extraction, batch, table)
        batch.watermark = watermark.as_dict
    return [batch.manifest]


def connection_options(url: sa.URL) -> dict[str, Any]:
    """Return Spark's JDBC options for a database. The option `url` contains no secret.

    Args:
        url: SQLAlchemy URL of the database.

    Raises:
        CdpError: No JDBC driver for the database is known.
    """
    name = url.get_backend_name()
    if name not in _DRIVERS:
        raise CdpError(f"Database {name} can't be read by JDBC: only {' and '.join(_DRIVERS)} are supported.")
    host = f"{url.host}:{url.port}" if url.port else f"{url.host}"
    if name == "postgresql":
        address = f"jdbc:postgresql://{host}/{url.database}"
    else:
        address = f"jdbc:sqlserver://{host};databaseName={url.database}"
    # A setting, such as sslmode or Encrypt, has the same name in the SQLAlchemy URL and in JDBC. The URL may have yes
    # and no as values, but JDBC expects true and false.
    settings = {key: {"yes": "true", "no": "false"}.get(str(value), value) for key, value in url.query.items()}
    login = {"user": url.username, "password": url.password}
    return {
        **settings,
        **{key: value for key, value in login.items() if value},
        "url": address,
        "driver": _DRIVERS[name],
    }


def _subquery(database: sa.Engine, table: SourceTable, condition: sa.ColumnElement[bool]) -> str:
    """Return a subquery that selects rows of the table. Columns that are landed as strings are cast to strings."""
    columns: list[Any] = [
        sa.cast(column, sa.types.Unicode()).label(column.name)
        if table.schema.field(column.name).type == pa.string()
        else column
        for column in table.rows.columns
    ]
    query = sa.select(*columns).where(condition).compile(database, compile_kwargs={"literal_binds": True})
    return f"({str(query).replace('%%', '%')}) rows_to_land"


def _add_files(extraction: Extraction, batch: BatchWriter, table: SourceTable) -> None:
    fs = extraction.landing.fs
    fs.invalidate_cache()
    for path in sorted(fs.glob(f"{batch.data_folder}/*.parquet")):
        with fs.open(path, "rb") as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        batch.add_file(DataFile(f"data/{path.rsplit('/', 1)[1]}", fs.size(path)), "parquet")
        batch.add(rows, table.schema.names)
