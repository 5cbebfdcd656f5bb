"""A transactional SQL database, through SQLAlchemy: Azure SQL, PostgreSQL, SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Manifest

ROWS_PER_CHUNK = 50_000
"""Rows held in memory at a time, and rows of a parquet row group."""

_ONE_MOMENT = {"postgresql": "REPEATABLE READ", "mssql": "SNAPSHOT"}
"""Isolation level in which every statement of a transaction sees the same rows; SQLite has no other."""


def land_tables(extraction: Extraction, database_url: str, schema: str, tables: Sequence[str]) -> list[Manifest]:
    """Land a snapshot of each table, one batch a table, in the order of its key.

    All tables are looked for before the first is read, and read in one transaction, as they were at one moment.

    Args:
        extraction: Where to land them.
        database_url: SQLAlchemy URL of the database.
        schema: Schema of the tables, empty where the database has none.
        tables: Names of the tables.

    Returns:
        The landed batches.

    Raises:
        CdpError: The URL is none, the database can't be reached or read, or a table is missing or empty.
    """
    engine = _connectable(database_url)
    try:
        with engine.connect() as connection:
            if level := _ONE_MOMENT.get(engine.dialect.name):
                connection.execution_options(isolation_level=level)
            reflected = {name: _reflect(connection, schema, name) for name in tables}
            return [
                extraction.find_batch(name) or _land_table(extraction, connection, table)
                for name, table in reflected.items()
            ]
    except (sa.exc.SQLAlchemyError, pa.ArrowException) as error:
        raise CdpError(f"Database {_address(engine)} can't be read: {_reason(error)}.") from error
    finally:
        engine.dispose()


def _connectable(database_url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(database_url)
    except (sa.exc.ArgumentError, ValueError, ImportError) as error:
        # The URL is a secret: neither it nor a message that quotes it may be shown.
        reason = str(error) if isinstance(error, ImportError) else "it is no SQLAlchemy URL"
        raise CdpError(f"Secret 'database_url' can't be used: {reason}.") from None
    if "@" in (engine.url.host or ""):
        # What stands before that @ is the end of the password, and would be shown as the host.
        raise CdpError("Secret 'database_url' can't be used: write an @ in user or password as %40.")
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        # SQLite would make an empty database of a file that is not there.
        engine.dispose()
        read_only = {**engine.url.query, "mode": "ro", "uri": "true"}
        engine = sa.create_engine(engine.url.set(database=f"file:{quote(engine.url.database)}", query=read_only))
    return engine


def _reflect(connection: sa.Connection, schema: str, name: str) -> sa.Table:
    try:
        return sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=connection)
    except sa.exc.NoSuchTableError:
        where = f"schema '{schema}'" if schema else "the default schema"
        raise CdpError(
            f"Database {_address(connection.engine)} has no table '{name}' in {where}:"
            " check the secret 'database_url' and the variable 'database_schema'."
        ) from None


def _land_table(extraction: Extraction, connection: sa.Connection, table: sa.Table) -> Manifest:
    columns = [sa.type_coerce(column, sa.types.NullType()).label(column.name) for column in table.columns]
    schema = pa.schema([(column.name, _arrow_type(column.type, connection.dialect.name)) for column in table.columns])
    ordered = sa.select(*columns).order_by(*(table.primary_key.columns or list(table.columns)[:1]))
    result = connection.execution_options(yield_per=ROWS_PER_CHUNK).execute(ordered)
    with extraction.new_batch(table.name) as batch:
        with batch.open_data("part-00000.parquet", "parquet") as file, pq.ParquetWriter(file, schema) as writer:
            for rows in result.partitions():
                writer.write_table(_to_arrow(rows, schema))
                batch.add(len(rows), set(schema.names))
        if not batch.rows:
            # Taken at its word, it would empty the tables built from it.
            raise CdpError(
                f"Table '{table.name}' of database {_address(connection.engine)} is empty: check the source."
            )
    return batch.manifest


def _arrow_type(type_: sa.types.TypeEngine[Any], dialect: str) -> pa.DataType:
    """The parquet type of a column; text where the database does not hold a value to a type.

    A column of SQLite may hold a value of any type, whatever its declaration says.
    """
    if dialect == "sqlite":
        return pa.string()
    match type_:
        case sa.types.Boolean():
            return pa.bool_()
        case sa.types.SmallInteger():
            return pa.int16()
        case sa.types.BigInteger():
            return pa.int64()
        case sa.types.Integer():
            return pa.int32()
        case sa.types.Float():
            return pa.float64()
        case sa.types.Numeric(precision=int(precision), scale=int(scale)) if precision <= 38:
            return pa.decimal128(precision, scale)
        case sa.types.DateTime():
            return pa.timestamp("us", tz="UTC")
        case sa.types.Date():
            return pa.date32()
        case _:
            return pa.string()


def _to_arrow(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(
        [
            pa.array(
                [None if value is None else _to_text(value) for value in values]
                if field.type == pa.string()
                else values,
                field.type,
            )
            for field, values in zip(schema, columns, strict=True)
        ],
        schema=schema,
    )


def _to_text(value: object) -> str:
    match value:
        case bytes():
            return value.decode(errors="replace")
        case float() | Decimal():
            # Without an exponent, which not every engine reads.
            return format(Decimal(str(value)), "f")
        case _:
            return str(value)


def _address(engine: sa.Engine) -> str:
    """The database without user and password."""
    url = engine.url
    return f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def _reason(error: Exception) -> str:
    """What the driver said, without SQL and parameters."""
    return str(getattr(error, "orig", None) or error).strip().rstrip(".")
