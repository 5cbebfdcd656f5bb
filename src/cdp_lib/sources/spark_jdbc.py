"""A table of a SQL database, read by many tasks of a Spark cluster at once: for one too large for a single reader.

The driver has to be on the cluster: `org.postgresql:postgresql` from Maven; Databricks brings Microsoft's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from pyspark.sql import SparkSession

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import BatchWriter, DataFile, Extraction, Manifest
from cdp_lib.sources.sql_database import (
    SNAPSHOT_UP_TO_ROWS,
    SourceTable,
    address_of,
    at_one_moment,
    draw_up_account,
    find_table,
    has_more_rows,
)

ROWS_PER_FETCH = 10_000
"""Rows the driver asks the database for at a time."""

_DRIVERS = {"postgresql": "org.postgresql.Driver", "mssql": "com.microsoft.sqlserver.jdbc.SQLServerDriver"}


def land_large_tables(
    spark: SparkSession,
    extraction: Extraction,
    database_url: str,
    schema: str,
    contracts: Sequence[BronzeContract],
    *,
    partitions: int,
    from_scratch: bool = False,
    snapshot_up_to_rows: int = SNAPSHOT_UP_TO_ROWS,
) -> list[Manifest]:
    """Land the first snapshot of each table that is large, by JDBC. The others are left to `land_tables`.

    Args:
        spark: Session.
        extraction: Where to land them.
        database_url: SQLAlchemy URL of the database.
        schema: Schema of the tables, empty where the database has none.
        contracts: The tables: name (entity) and key (record key).
        partitions: Ranges a table is read in, and connections to the database; 0 leaves every table to `land_tables`.
        from_scratch: Whether to land every large table, not only those that were never landed.
        snapshot_up_to_rows: Rows up to which a table is not large.

    Returns:
        The landed batches.

    Raises:
        CdpError: As of `land_table_by_jdbc`.
    """
    wanted = [table for table in contracts if from_scratch or not extraction.find_latest_batch(table.entity)]
    if not partitions or not wanted:
        return []
    with at_one_moment(database_url) as connection:
        tables = {table: find_table(connection, schema, table) for table in wanted}
        large = [
            contract
            for contract, table in tables.items()
            if table.key is not None and has_more_rows(connection, table, snapshot_up_to_rows)
        ]
    return [
        batch
        for contract in large
        for batch in land_table_by_jdbc(spark, extraction, database_url, schema, contract, partitions=partitions)
    ]


def land_table_by_jdbc(
    spark: SparkSession,
    extraction: Extraction,
    database_url: str,
    schema: str,
    contract: BronzeContract,
    *,
    partitions: int,
) -> list[Manifest]:
    """Land a snapshot of a table, read in ranges of its key; `land_tables` then lands what has changed since.

    Each range is a transaction of its own, so the rows are not those of one moment. The watermark is drawn up before:
    what comes or changes while the table is read is news to the next `land_tables`.

    Args:
        spark: Session.
        extraction: Where to land it.
        database_url: SQLAlchemy URL of the database.
        schema: Schema of the table, empty where the database has none.
        contract: The table: name (entity) and key (record key).
        partitions: Number of ranges, and of connections to the database.

    Returns:
        The landed batch.

    Raises:
        CdpError: The URL is none or of a database without a driver, the database can't be reached or read, or the
            table is missing, empty or without a key of one whole number.
    """
    if earlier := extraction.find_batch(contract.entity):
        return [earlier]
    latest = extraction.find_latest_batch(contract.entity)
    with at_one_moment(database_url) as connection:
        database = connection.engine
        table = find_table(connection, schema, contract)
        if table.key is None:
            raise CdpError(
                f"Table '{table.name}' of database {address_of(database)} can't be read in ranges: its primary key is"
                f" not {', '.join(contract.record_key)}, one whole number. Land it with land_tables."
            )
        account = draw_up_account(connection, table)
        lowest = connection.scalar(sa.select(sa.func.min(table.key)))
    rows = spark.read.format("jdbc").options(
        **connection_options(database.url),
        dbtable=_subquery(database, table, table.key <= account.max_key),
        partitionColumn=table.key.name,
        lowerBound=lowest,
        upperBound=account.max_key,
        numPartitions=partitions,
        fetchsize=ROWS_PER_FETCH,
        preferTimestampNTZ=True,  # else a time without zone would be taken for one of the cluster's
    )
    with extraction.new_batch(table.name, "snapshot", latest) as batch:
        try:
            rows.load().write.parquet(batch.data_folder)
        except Exception as error:  # what Spark raises depends on the kind of session
            reason = str(error).strip().splitlines()[0].rstrip(".")
            if database.url.password:
                reason = reason.replace(database.url.password, "***")
            raise CdpError(
                f"Table '{table.name}' of database {address_of(database)} can't be read by JDBC: {reason}."
            ) from error
        _account_for_files(extraction, batch, table)
        batch.watermark = account.watermark
    return [batch.manifest]


def connection_options(url: sa.URL) -> dict[str, Any]:
    """The address and the login of a database as Spark takes them; no secret is part of the address.

    Args:
        url: SQLAlchemy URL of the database.

    Raises:
        CdpError: There is no driver for it.
    """
    name = url.get_backend_name()
    if name not in _DRIVERS:
        raise CdpError(f"Database {name} can't be read by JDBC: there are {' and '.join(_DRIVERS)}.")
    host = f"{url.host}:{url.port}" if url.port else f"{url.host}"
    if name == "postgresql":
        address = f"jdbc:postgresql://{host}/{url.database}"
    else:
        address = f"jdbc:sqlserver://{host};databaseName={url.database}"
    # The drivers know the same settings (sslmode; Encrypt, Authentication), but write yes and no otherwise.
    settings = {key: {"yes": "true", "no": "false"}.get(str(value), value) for key, value in url.query.items()}
    login = {"user": url.username, "password": url.password}
    return {
        **settings,
        **{key: value for key, value in login.items() if value},
        "url": address,
        "driver": _DRIVERS[name],
    }


def _subquery(database: sa.Engine, table: SourceTable, condition: sa.ColumnElement[bool]) -> str:
    """The table's rows in the types `land_tables` lands them in."""
    columns: list[Any] = [
        sa.cast(column, sa.types.Unicode()).label(column.name)
        if table.schema.field(column.name).type == pa.string()
        else column
        for column in table.rows.columns
    ]
    query = sa.select(*columns).where(condition).compile(database, compile_kwargs={"literal_binds": True})
    return f"({str(query).replace('%%', '%')}) rows_to_land"


def _account_for_files(extraction: Extraction, batch: BatchWriter, table: SourceTable) -> None:
    fs = extraction.landing.fs
    fs.invalidate_cache()
    for path in sorted(fs.glob(f"{batch.data_folder}/*.parquet")):
        with fs.open(path, "rb") as file:
            rows = pq.ParquetFile(file).metadata.num_rows
        batch.add_file(DataFile(f"data/{path.rsplit('/', 1)[1]}", fs.size(path)), "parquet")
        batch.add(rows, table.schema.names)
