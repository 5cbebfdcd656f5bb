"""Tables, views and queries of a transactional SQL database, read through SQLAlchemy: Azure SQL, PostgreSQL, SQLite.

A small table is landed as a snapshot in every run. A large table is landed as a snapshot once, and after that in
increments.

All rows of a large table are settled, except the `OVERLAP_ROWS` rows with the highest keys: new rows may still be
committed among these rows. The watermark holds totals of the settled rows. The next run computes these totals again:

- If the totals are unchanged, the run lands an increment. The run reads only the rows with keys above the settled rows,
  and the rows with a recent `updated_at`. Of these rows, it lands those that are new or changed.
- If the totals differ, the settled rows have changed. The run lands the table as a snapshot again.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import sqlalchemy as sa

from cdp_lib.errors import CdpError
from cdp_lib.landing import BatchWriter, Extraction, Manifest, Watermark
from cdp_lib.source_address import SourceAddress
from cdp_lib.sources_file import EntitySource

SNAPSHOT_UP_TO_ROWS = 100_000
"""Maximum number of rows of a small table, which is landed as a snapshot in every run."""

OVERLAP_ROWS = 10_000
"""Number of rows that the next run reads again: the rows with the highest keys. The reason is that a row with a lower
key may be committed after a row with a higher key."""

OVERLAP_TIME = timedelta(minutes=5)
"""Length of the period before the newest `updated_at` for which the next run reads rows again. The reason is that
transactions may be long and clocks may be slow."""

ROWS_PER_CHUNK = 50_000
"""Maximum number of rows in memory at a time, and in a parquet row group."""

BYTES_PER_CHUNK = 16 << 20
"""A chunk of rows ends when its text has this number of bytes, even if it has fewer than `ROWS_PER_CHUNK` rows."""

ROWS_PER_FETCH = 100
"""Number of rows that are fetched at a time. The limit `BYTES_PER_CHUNK` is checked after each fetch. PostgreSQL's COPY
does not use this number."""

_SNAPSHOT_ISOLATION = {"postgresql": "REPEATABLE READ", "mssql": "SNAPSHOT"}
"""Isolation level in which every statement of a transaction sees the same rows. SQLite always has this isolation
level."""

_POSTGRESQL_TEXT_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres';"
    " SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL client_encoding = 'UTF8'"
)


_SUPPORTED_DRIVERS = ("postgresql+psycopg://", "mssql+mssqlpython://", "sqlite:///")
_PACKAGES_OF_DRIVERS = {
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
    "oracledb": "oracledb",
    "psycopg2": "psycopg2-binary",
}
"""Packages that provide a driver, by the name of the module, if the names differ."""


def land_tables(
    extraction: Extraction,
    database_url: str,
    sources: Sequence[EntitySource],
    *,
    from_scratch: bool = False,
    snapshot_up_to_rows: int = SNAPSHOT_UP_TO_ROWS,
) -> list[Manifest]:
    """Land each table or view as a snapshot, or as an increment with tombstones. Rows are sorted by key.

    The run checks that all tables exist before it reads the first table. It reads all tables in one transaction, so the
    landed tables are consistent with each other.

    A table is landed as an increment only if all of these conditions are true:

    - it is a large table of PostgreSQL or Azure SQL;
    - the first column of its key is an integer column. The key is the declared `primary_key`, or else the primary key
      in the database;
    - the key contains all columns of the contract's record key. A source with a mapping of columns does not need to
      meet this condition.

    An increment reads the rows with keys above the settled rows. If the table has a column `updated_at`, an increment
    also reads the settled rows with a recent time in this column.

    Args:
        extraction: Extraction that lands the tables.
        database_url: SQLAlchemy URL of the database.
        sources: Sources of the entities: tables or views of this database.
        from_scratch: Whether to land every table as a snapshot.
        snapshot_up_to_rows: Maximum number of rows of a small table.

    Returns:
        The batches that this run landed. An unchanged table has no batch.

    Raises:
        CdpError: The URL is invalid, the database can't be reached or read, a table is missing or empty, or another run
            has landed a table meanwhile.
    """
    # Find the latest batches before the transaction begins: the transaction must not read rows that are older than the
    # rows of these batches.
    latest = {source.entity: extraction.find_latest_batch(source.entity) for source in sources}
    with open_snapshot(database_url) as connection:
        tables = [find_table(connection, source) for source in sources]
        batches = [
            extraction.find_batch(table.entity)
            or _land_table(
                extraction,
                connection,
                table,
                latest[table.entity],
                snapshot_up_to_rows=snapshot_up_to_rows,
                from_scratch=from_scratch,
            )
            for table in tables
        ]
    return [batch for batch in batches if batch and extraction.has_landed(batch)]


def land_rows(extraction: Extraction, database_url: str, source: EntitySource, rows: int) -> Manifest:
    """Land the first rows of a table or view, in the order of its key.

    Args:
        extraction: Extraction that lands the rows.
        database_url: SQLAlchemy URL of the database.
        source: Source of the entity: a table or view of this database.
        rows: Maximum number of rows.

    Raises:
        CdpError: For the same reasons as `land_tables`.
    """
    with open_snapshot(database_url) as connection:
        table = find_table(connection, source)
        with extraction.new_batch(source.entity) as batch:
            _write(batch, "part-00000.parquet", table.schema, _read(connection, table, table.select.limit(rows)))
            if not batch.rows:
                raise empty_table_error(connection, table)
    return batch.manifest


@contextmanager
def open_snapshot(database_url: str) -> Iterator[sa.Connection]:
    """Open a connection whose statements all see the same snapshot of the database.

    Args:
        database_url: SQLAlchemy URL of the database.

    Raises:
        CdpError: The URL is invalid, or the database can't be reached or read.
    """
    engine = _create_engine(database_url)
    driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
    try:
        with _connect(engine, driver_error) as connection:
            if level := _SNAPSHOT_ISOLATION.get(engine.dialect.name):
                connection.execution_options(isolation_level=level)
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_POSTGRESQL_TEXT_SETTINGS)
            try:
                yield connection
            except driver_error:
                connection.invalidate()
                raise
    except (sa.exc.SQLAlchemyError, driver_error) as error:
        raise CdpError(f"Database {address_of(engine)} can't be read: {_reason_of(error)}.") from error
    finally:
        engine.dispose()


def _connect(engine: sa.Engine, driver_error: type[Exception]) -> sa.Connection:
    try:
        return engine.connect()
    except (sa.exc.SQLAlchemyError, driver_error):
        raise
    except Exception as error:  # drivers have own exceptions for a connection string that they can't parse
        # Leave out the message of the driver, because the message may quote a part of the password.
        raise CdpError(
            f"Database {address_of(engine)} can't be reached: its driver can't use the secret 'database_url'"
            f" ({type(error).__name__}); check the URL, and write special characters of the password as %XX."
        ) from None


@dataclass(frozen=True)
class SourceTable:
    """A table of the database.

    Attributes:
        entity: Name of the entity.
        rows: The table, view or query as an SQLAlchemy object.
        schema: Landed types of the columns.
        key_columns: Names of the columns that identify a row. Empty if they are unknown.
        key: First of the key columns, if increments are possible. None otherwise (see `land_tables`).
        updated_at: Column with the time of a row's last change. None if the table has no such column.
    """

    entity: str
    rows: sa.Table | sa.Subquery
    schema: pa.Schema
    key_columns: tuple[str, ...]
    key: sa.ColumnElement[int] | None
    updated_at: sa.ColumnElement[datetime] | None

    @property
    def columns(self) -> dict[str, str]:
        """Names and landed types of the columns."""
        return {field.name: str(field.type) for field in self.schema}

    @property
    def select(self) -> sa.Select[Any]:
        """Query of all rows, ordered by the key columns, or by the first column if the key is unknown.

        SQLAlchemy does not convert the values that the driver returns.
        """
        columns: list[Any] = [
            sa.type_coerce(column, sa.types.NullType()).label(column.name) for column in self.rows.columns
        ]
        order = self.key_columns or list(self.columns)[:1]
        return sa.select(*columns).order_by(*(self.rows.columns[name] for name in order))


@dataclass(frozen=True)
class TableWatermark:
    """The watermark of a large table: how far the table was read, and totals of its settled rows.

    Attributes:
        columns: Names and landed types of the columns.
        max_key: Highest key.
        settled: Highest key of the settled rows. All rows up to this key are settled.
        rows: Number of settled rows.
        key_total: Sum of the keys of the settled rows.
        contents: Sum of the hashes of the settled rows. None if the table has a column `updated_at`, because that
            column shows which rows have changed.
        updated_at: Newest value of the column `updated_at`. None if the table has no such column, or if the column has
            no value.
        key: Names of the key columns. None if an earlier version of the platform computed the watermark. In this case,
            the key has one column.
    """

    columns: dict[str, str]
    max_key: int
    settled: int
    rows: int
    key_total: str
    contents: str | None
    updated_at: str | None
    key: list[str] | None = None

    @classmethod
    def from_batch(cls, batch: Manifest | None) -> TableWatermark | None:
        """Return the watermark of a batch, or None if the batch has no watermark of this kind."""
        with suppress(TypeError):
            return cls(**(batch.watermark or {})) if batch else None
        return None

    @property
    def as_dict(self) -> Watermark:
        """The watermark as it is stored in a manifest."""
        return asdict(self)

    def reread_since(self, extracted_at: str) -> datetime | None:
        """Return the earliest `updated_at` of the rows to read again, or None if the watermark has no `updated_at`.

        Args:
            extracted_at: Start of the run that computed the watermark. If the newest `updated_at` is later than this
                time, a clock is ahead, and the method uses `extracted_at` instead of `updated_at`.
        """
        if self.updated_at is None:
            return None
        return min(_utc(self.updated_at), _utc(extracted_at)) - OVERLAP_TIME


def find_table(connection: sa.Connection, source: EntitySource) -> SourceTable:
    """Return the table, view or query of a source. If a name has no exact match, upper and lower case are ignored.

    Args:
        connection: Connection to the database.
        source: Source of the entity.

    Raises:
        CdpError: The table or a declared column does not exist, or the query can't be run.
    """
    rows = _query_rows(connection, source) if source.query else _table_rows(connection, source)
    dialect, names = connection.dialect.name, rows.columns.keys()
    key = tuple(_declared_column(source, "primary_key", column, names) for column in source.primary_key)
    key = key or tuple(column.name for column in rows.primary_key)
    is_landed_by_key = bool(key) and (bool(source.mapping.columns) or {*source.contract.record_key} <= {*key})
    updated_at = rows.columns.get(_find_name(source.updated_at, names) or "")
    if updated_at is None and source.updated_at != "updated_at":
        _declared_column(source, "updated_at", source.updated_at, names)
    return SourceTable(
        source.entity,
        rows,
        pa.schema([(column.name, _arrow_type(column.type, dialect)) for column in rows.columns]),
        key_columns=key,
        key=rows.columns[key[0]]
        if dialect in _SNAPSHOT_ISOLATION
        and is_landed_by_key
        and isinstance(rows.columns[key[0]].type, sa.types.Integer)
        else None,
        updated_at=updated_at if updated_at is not None and isinstance(updated_at.type, sa.types.DateTime) else None,
    )


def _table_rows(connection: sa.Connection, source: EntitySource) -> sa.Table:
    schema, inspector = source.schema or None, sa.inspect(connection)
    tables = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    if connection.dialect.name == "postgresql":
        tables += inspector.get_materialized_view_names(schema)
    name = _find_name(source.table, tables)
    if name is None:
        where = f"schema '{schema}'" if schema else "the default schema"
        raise CdpError(
            f"Database {address_of(connection.engine)} has no table or view '{source.table}' in {where}: check the"
            f" secret '{source.address}', and the table and schema of {source.entity} in the file of sources."
        )
    return sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection)


def _query_rows(connection: sa.Connection, source: EntitySource) -> sa.Subquery:
    """Return a query as an SQLAlchemy object. To find its columns, run the query with a limit of zero rows."""
    query = source.query.rstrip("; \n").replace(":", r"\:")  # SQLAlchemy would read `:name` as a parameter
    try:
        result = connection.execute(sa.text(f"SELECT * FROM ({query}) rows_of_query WHERE 1 = 0"))
    except sa.exc.DBAPIError as error:
        raise CdpError(
            f"The query of {source.entity} can't be run in database {address_of(connection.engine)}:"
            f" {' '.join(_reason_of(error).split())}. Correct the query in the file of sources."
        ) from None
    description = result.cursor.description if result.cursor else []
    columns = [sa.column(name, _type_in_query(connection, type_, *rest)) for name, type_, *rest in description]
    result.close()
    return sa.text(query).columns(*columns).subquery(f"query of {source.entity}")


_TYPES_IN_QUERIES: dict[object, sa.types.TypeEngine[Any]] = {
    **{bool: sa.types.Boolean(), int: sa.types.BigInteger(), float: sa.types.Float()},
    **{date: sa.types.Date(), datetime: sa.types.DateTime()},
    **{"bool": sa.types.Boolean(), "int2": sa.types.SmallInteger(), "int4": sa.types.Integer()},
    **{"int8": sa.types.BigInteger(), "float4": sa.types.Float(), "float8": sa.types.Float()},
    **{"date": sa.types.Date(), "timestamp": sa.types.DateTime(), "timestamptz": sa.types.DateTime(timezone=True)},
}
"""SQLAlchemy types of the columns of a query: by the name of PostgreSQL's type, or by the Python type that the driver
of another database reports."""


def _type_in_query(connection: sa.Connection, type_: Any, *rest: Any) -> sa.types.TypeEngine[Any]:
    """Return the type of a column of a query. It is `Text` for types without a matching parquet type.

    Args:
        connection: Connection to the database.
        type_: Type code of the column in `cursor.description`.
        rest: Other items of this description: display size, internal size, precision, scale and nullability.
    """
    if connection.dialect.name == "postgresql":
        known = connection.connection.dbapi_connection.adapters.types.get(type_)  # type: ignore[union-attr]
        type_ = known.name if known else None
    _, _, precision, scale, *_ = rest
    if type_ in ("numeric", Decimal) and precision and scale is not None:
        return sa.types.Numeric(precision, scale)
    return _TYPES_IN_QUERIES.get(type_, sa.types.Text())


def _find_name(name: str, names: Sequence[str]) -> str | None:
    """Return the name as the database spells it: the exact match if there is one, else a match that ignores case."""
    return name if name in names else next((each for each in names if each.lower() == name.lower()), None)


def _declared_column(source: EntitySource, declared_as: str, name: str, names: Sequence[str]) -> str:
    found, relation = _find_name(name, names), "its query" if source.query else f"'{source.table}'"
    if found is None:
        raise CdpError(
            f"The file of sources declares '{name}' as {declared_as} of {source.entity}, but {relation} has no"
            f" such column (its columns are {', '.join(names)}): correct the file of sources."
        )
    return found


def compute_watermark(
    connection: sa.Connection, table: SourceTable, previous: TableWatermark | None = None
) -> TableWatermark:
    """Return the current watermark of a table that has a key for increments.

    Args:
        connection: Connection to the database.
        table: The table.
        previous: Earlier watermark whose totals still match the table. To these totals, the function adds the rows that
            became settled later. If None, the function reads all settled rows.

    Raises:
        CdpError: The table is empty.
    """
    key, updated_at = _key_of(table), table.updated_at
    lowest, highest = connection.execute(sa.select(sa.func.min(key), sa.func.max(key))).one()
    if highest is None:
        raise empty_table_error(connection, table)
    settled = connection.scalar(sa.select(key).order_by(key.desc()).offset(OVERLAP_ROWS).limit(1))
    if settled is None:
        settled = lowest - 1
    newest = connection.scalar(sa.select(sa.func.max(updated_at))) if updated_at is not None else None
    if previous:
        settled = max(settled, previous.settled)
        rows, key_total, contents = _totals(connection, table, key > previous.settled, key <= settled)
        rows += previous.rows
        key_total += int(previous.key_total)
        contents += int(previous.contents or 0)
    else:
        rows, key_total, contents = _totals(connection, table, key <= settled)
    return TableWatermark(
        columns=table.columns,
        max_key=highest,
        settled=settled,
        rows=rows,
        key_total=str(key_total),
        contents=str(contents) if updated_at is None else None,
        updated_at=newest.isoformat() if newest else None,
        key=list(table.key_columns),
    )


def empty_table_error(connection: sa.Connection, table: SourceTable) -> CdpError:
    """Return the error for an empty table. A snapshot without rows would empty the downstream tables."""
    return CdpError(
        f"Table '{table.rows.name}' of database {address_of(connection.engine)} is empty: check the source."
    )


def address_of(engine: sa.Engine) -> str:
    """Return the address of a database without user and password."""
    url = engine.url
    return f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def source_address(database_url: str, schema: str, table: str) -> SourceAddress:
    """Return the address of a table, without user, password and query string. The landing stores this address.

    Args:
        database_url: SQLAlchemy URL of the database.
        schema: Schema of the table, empty for the default schema.
        table: Name of the table or view.

    Raises:
        CdpError: The URL is invalid.

    >>> str(source_address("postgresql+psycopg://shop@db.example.com:5432/shop?sslmode=require", "", "products"))
    'postgresql db.example.com:5432/shop/products'
    """
    url = _parse_url(database_url)
    if url.get_backend_name() == "sqlite":
        return SourceAddress("sqlite", path=f"{os.path.abspath(url.database or '')}/{table}")
    host = url.host or url.query.get("host") or ""
    return SourceAddress(
        url.get_backend_name(),
        host=f"{host if isinstance(host, str) else ','.join(host)}{f':{url.port}' if url.port else ''}".lower(),
        database=url.database or "",
        schema=schema,
        path=f"/{table}",
    )


@contextmanager
def _url_errors() -> Iterator[None]:
    """Turn an error of SQLAlchemy into a `CdpError`. The URL is a secret, so the message must not contain it."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = str(error.name)
        package = _PACKAGES_OF_DRIVERS.get(name, name)
        raise CdpError(
            f"Secret 'database_url' can't be used: its driver '{name}' is not installed. Supported URLs begin with"
            f" {', '.join(_SUPPORTED_DRIVERS)}. For another database, install its driver: pip install {package}."
        ) from None
    except (sa.exc.ArgumentError, ValueError, TypeError, ImportError) as error:
        reason = str(error) if isinstance(error, ImportError) else "the secret is not an SQLAlchemy URL"
        raise CdpError(f"Secret 'database_url' can't be used: {reason}.") from None


def _parse_url(database_url: str) -> sa.URL:
    with _url_errors():
        url = sa.make_url(database_url)
    if "@" in (url.host or ""):
        # If the password contains an @, SQLAlchemy reads the part after the @ as part of the host, and messages show
        # the host.
        raise CdpError("Secret 'database_url' can't be used: write an @ in the user name or password as %40.")
    return url


def _create_engine(database_url: str) -> sa.Engine:
    url = _parse_url(database_url)
    with _url_errors():
        engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        # Open the file in read-only mode. Otherwise, SQLite would create a missing file as an empty database.
        engine.dispose()
        read_only = {**engine.url.query, "mode": "ro", "uri": "true"}
        engine = sa.create_engine(engine.url.set(database=f"file:{quote(engine.url.database)}", query=read_only))
    return engine


def _land_table(
    extraction: Extraction,
    connection: sa.Connection,
    table: SourceTable,
    latest: Manifest | None,
    *,
    snapshot_up_to_rows: int,
    from_scratch: bool,
) -> Manifest | None:
    if table.key is None or not has_more_rows(connection, table, snapshot_up_to_rows):
        return _land_snapshot(extraction, connection, table, latest, None)
    previous = TableWatermark.from_batch(latest)
    if latest and previous and not from_scratch and _still_holds(connection, table, previous):
        return _land_increment(extraction, connection, table, latest, previous)
    return _land_snapshot(extraction, connection, table, latest, compute_watermark(connection, table))


def _land_snapshot(
    extraction: Extraction,
    connection: sa.Connection,
    table: SourceTable,
    latest: Manifest | None,
    watermark: TableWatermark | None,
) -> Manifest:
    with extraction.new_batch(table.entity, "snapshot", latest) as batch:
        with closing(_read(connection, table, table.select)) as chunks:
            _write(batch, "part-00000.parquet", table.schema, chunks)
        if not batch.rows:
            raise empty_table_error(connection, table)
        batch.watermark = watermark.as_dict if watermark else None
    return batch.manifest


def _land_increment(
    extraction: Extraction, connection: sa.Connection, table: SourceTable, latest: Manifest, previous: TableWatermark
) -> Manifest | None:
    key, since = _key_of(table), previous.reread_since(latest.extracted_at)
    landed = _LandedRows(extraction, table, previous, since)
    deleted = landed.unsettled_keys()
    is_new: sa.ColumnElement[bool] = key > previous.settled
    if table.updated_at is not None:
        is_new = sa.or_(is_new, _is_updated_since(table.updated_at, since))

    def changes() -> Generator[pa.Table, None, None]:
        for chunk in _read(connection, table, table.select.where(is_new)):
            for row_key in _row_keys(chunk, table.key_columns).to_pylist():
                deleted.pop(row_key, None)
            changed = landed.without_landed_rows(chunk)
            if changed.num_rows:
                yield changed

    with closing(changes()) as changed:
        first = next(changed, None)
        if first is None and not deleted:
            return None
        with extraction.new_batch(table.entity, "increment", latest) as batch:
            if first is not None:
                _write(batch, "part-00000.parquet", table.schema, chain([first], changed))
            if deleted:
                schema = _key_schema(table)
                keys = [dict(zip(schema.names, key, strict=True)) for key in sorted(deleted.values())]
                _write(batch, "deletions.parquet", schema, [pa.Table.from_pylist(keys, schema)], deletions=True)
            batch.watermark = compute_watermark(connection, table, previous).as_dict
    return batch.manifest


def _is_updated_since(updated_at: sa.ColumnElement[datetime], since: datetime | None) -> sa.ColumnElement[bool]:
    if since is None:
        return updated_at.is_not(None)
    return updated_at >= (since if getattr(updated_at.type, "timezone", False) else since.replace(tzinfo=None))


def _write(
    batch: BatchWriter,
    name: str,
    schema: pa.Schema,
    chunks: Iterable[pa.Table],
    *,
    deletions: bool = False,
) -> None:
    with batch.open_data(name, "parquet", deletions=deletions) as file, pq.ParquetWriter(file, schema) as writer:
        for chunk in chunks:
            writer.write_table(chunk)
            batch.add(chunk.num_rows, () if deletions else schema.names)


class _LandedRows:
    """Landed rows that an increment compares with the rows that it reads from the database."""

    def __init__(
        self, extraction: Extraction, table: SourceTable, previous: TableWatermark, since: datetime | None
    ) -> None:
        self._entity = f"{extraction.source}/{table.entity}"
        self._key = _key_of(table).name
        self._key_columns = table.key_columns
        self._max_key = previous.max_key
        self._settled = previous.settled
        with self._errors():
            self._files = list(_overlap_files(extraction, table, previous, since))

    def unsettled_keys(self) -> dict[Any, tuple[Any, ...]]:
        """Return the key of each landed row that is not settled: the values of its key columns, by row key.

        The function `_row_keys` computes the row key. Rows that a later batch has deleted are left out.
        """
        keys = dict[Any, tuple[Any, ...]]()
        for file, is_deletions in reversed(self._files):
            found = self._read(file, [*self._key_columns], ds.field(self._key) > self._settled)
            columns = [found[name].to_pylist() for name in self._key_columns]
            of_file = dict(
                zip(_row_keys(found, self._key_columns).to_pylist(), zip(*columns, strict=True), strict=True)
            )
            keys = {key: keys[key] for key in keys.keys() - of_file.keys()} if is_deletions else keys | of_file
        return keys

    def without_landed_rows(self, chunk: pa.Table) -> pa.Table:
        """Return a chunk without the rows that are already landed with the same values."""
        keys = _row_keys(chunk, self._key_columns)
        unknown = chunk.filter(pc.invert(pc.greater(chunk[self._key], self._max_key)))
        unchanged_keys = [keys.slice(0, 0)]
        for file, is_deletions in self._files:
            if not unknown.num_rows:
                break
            unknown_keys, first_keys = _row_keys(unknown, self._key_columns), unknown[self._key].combine_chunks()
            key_range = pc.min_max(first_keys)
            field = ds.field(self._key)
            found = self._read(
                file,
                [*self._key_columns] if is_deletions else chunk.column_names,
                # `isin` selects the rows. The range of keys lets the reader skip row groups without these keys.
                (field >= key_range["min"]) & (field <= key_range["max"]) & field.isin(first_keys),
            )
            positions = pc.index_in(unknown_keys, _row_keys(found, self._key_columns))
            is_found = pc.is_valid(positions)
            if not is_deletions:
                is_unchanged = _equal_rows(unknown.filter(is_found), found.take(positions.drop_null()))
                unchanged_keys.append(unknown_keys.filter(is_found).filter(is_unchanged))
            unknown = unknown.filter(pc.invert(is_found))
        return chunk.filter(pc.invert(pc.is_in(keys, pa.concat_arrays(unchanged_keys))))

    def _read(self, file: ds.Dataset, columns: list[str], condition: pc.Expression) -> pa.Table:
        with self._errors():
            return file.to_table(columns, condition, batch_readahead=2, fragment_readahead=1)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise CdpError(
                f"A landed batch of {self._entity} can't be read ({_reason_of(error)}): restore the batch,"
                " or run with from_scratch=true."
            ) from error


def _row_keys(rows: pa.Table, key_columns: Sequence[str]) -> pa.Array:
    """Return one key value per row. If the key has several columns, their values are joined to one string."""
    columns = [rows[name].combine_chunks() for name in key_columns]
    if len(columns) == 1:
        return columns[0]
    return pc.binary_join_element_wise(*(pc.fill_null(c.cast(pa.string()), "") for c in columns), "\x1f")


def _key_schema(table: SourceTable) -> pa.Schema:
    """Return the schema of tombstones."""
    return pa.schema([table.schema.field(name) for name in table.key_columns])


def _overlap_files(
    extraction: Extraction, table: SourceTable, previous: TableWatermark, since: datetime | None
) -> Iterator[tuple[ds.Dataset, bool]]:
    """Yield (data file, whether the file holds tombstones) pairs of the landed batches, newest batch first.

    The function reads the batches back to the latest snapshot. It stops before a batch if neither this batch nor an
    older batch can hold a row that the increment reads from the database again.
    """
    landing = extraction.landing
    for batch_id in landing.batch_ids_newest_first(extraction.source, table.entity):
        batch = landing.find_batch(extraction.source, table.entity, batch_id)
        watermark = TableWatermark.from_batch(batch)
        if batch is None or watermark is None:
            return
        is_updated = watermark.updated_at and since and _utc(watermark.updated_at) >= since
        if watermark.max_key <= previous.settled and not is_updated:
            return
        for file in batch.files:
            path = landing.fs._strip_protocol(landing.path_of(batch, file.name))
            schema = _key_schema(table) if file.deletions else table.schema
            yield ds.dataset(path, schema, "parquet", landing.fs), file.deletions
        if batch.load == "snapshot":
            return


def _equal_rows(left: pa.Table, right: pa.Table) -> pa.Array:
    """Return, row by row, whether two tables with the same columns are equal. Null equals null, and NaN equals NaN."""
    is_equal = pa.repeat(True, left.num_rows)
    for one, other in zip(left.columns, right.columns, strict=True):
        if pa.types.is_floating(one.type):
            one, other = one.cast(pa.string()), other.cast(pa.string())
        same_value = pc.fill_null(pc.equal(one, other), False)
        is_equal = pc.and_(is_equal, pc.or_(same_value, pc.and_(pc.is_null(one), pc.is_null(other))))
    return is_equal.combine_chunks() if isinstance(is_equal, pa.ChunkedArray) else is_equal


def has_more_rows(connection: sa.Connection, table: SourceTable, number: int) -> bool:
    """Return whether a table has more than the given number of rows. The query stops counting after this number.

    Args:
        connection: Connection to the database.
        table: The table.
        number: Number of rows.
    """
    rows = sa.select(sa.literal(1).label("one")).select_from(table.rows).limit(number + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one() > number


def _still_holds(connection: sa.Connection, table: SourceTable, previous: TableWatermark) -> bool:
    """Return whether an earlier watermark matches the table: its columns, its key and the totals of settled rows."""
    if previous.key != list(table.key_columns) and (previous.key or len(table.key_columns) > 1):
        return False
    if previous.columns != table.columns or (previous.contents is None) != (table.updated_at is not None):
        return False
    rows, key_total, contents = _totals(connection, table, _key_of(table) <= previous.settled)
    return (rows, str(key_total)) == (previous.rows, previous.key_total) and previous.contents in (None, str(contents))


def _totals(connection: sa.Connection, table: SourceTable, *conditions: sa.ColumnElement[bool]) -> tuple[int, int, int]:
    """Return three totals of rows: the number of rows, the sum of their keys, and the sum of their row hashes.

    The sum of row hashes is 0 if the table has a column `updated_at`.
    """
    exact = sa.types.Numeric(38, 0)
    row_hash: sa.ColumnElement[Any] = sa.literal_column("0")
    if table.updated_at is None and connection.dialect.name == "postgresql":
        row = sa.cast(sa.func.row(*table.rows.columns), sa.types.Text())
        row_hash = sa.func.hashtextextended(row, sa.literal_column("0"))
    elif table.updated_at is None:
        row_hash = sa.func.binary_checksum(*table.rows.columns)
    totals = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(sa.cast(_key_of(table), exact)), 0),
        sa.func.coalesce(sa.func.sum(sa.cast(row_hash, exact)), 0),
    ).where(*conditions)
    rows, key_total, contents = connection.execute(totals).one()
    return rows, int(key_total), int(contents)


def _key_of(table: SourceTable) -> sa.ColumnElement[int]:
    if table.key is None:
        raise ValueError(f"{table.entity} has no key for increments")
    return table.key


def _utc(text: str) -> datetime:
    """Return the time of an ISO 8601 string. A time without time zone is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _read(connection: sa.Connection, table: SourceTable, rows: sa.Select[Any]) -> Generator[pa.Table, None, None]:
    """Yield the rows of a table in chunks."""
    read = _read_copy if connection.dialect.driver == "psycopg" else _read_rows
    try:
        yield from read(connection, table, rows)
    except pa.ArrowException as error:
        raise CdpError(
            f"Table '{table.rows.name}' of database {address_of(connection.engine)} can't be read: Parquet can't store"
            f" one of its values ({_reason_of(error)})."
        ) from error


def _read_rows(connection: sa.Connection, table: SourceTable, rows: sa.Select[Any]) -> Iterator[pa.Table]:
    result = connection.execute(rows, execution_options={"yield_per": ROWS_PER_FETCH})
    chunk: list[Sequence[Any]] = []
    size = 0
    for fetched in result.partitions():
        chunk += fetched
        size += sum(len(value) for row in fetched for value in row if isinstance(value, str | bytes))
        if len(chunk) >= ROWS_PER_CHUNK or size >= BYTES_PER_CHUNK:
            yield _to_arrow(chunk, table.schema)
            chunk, size = [], 0
    if chunk:
        yield _to_arrow(chunk, table.schema)


def _read_copy(connection: sa.Connection, table: SourceTable, rows: sa.Select[Any]) -> Iterator[pa.Table]:
    """Yield rows in chunks with PostgreSQL's COPY, which is several times as fast as `_read_rows`.

    Values without a matching parquet type become strings.
    """
    types = {
        column.name: pa.timestamp("us")
        if isinstance(column.type, sa.types.DateTime) and not column.type.timezone
        else table.schema.field(column.name).type
        for column in table.rows.columns
    }
    # In COPY's CSV format, an unquoted empty field is null, and a quoted empty field is an empty string.
    values = csv.ConvertOptions(
        column_types=types,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )

    def to_arrow(text: bytearray) -> pa.Table:
        whole = csv.ReadOptions(column_names=list(types), block_size=len(text) + 1, use_threads=False)
        format = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
        return csv.read_csv(pa.py_buffer(text), whole, format, values).cast(table.schema)

    statement = rows.compile(dialect=connection.dialect)
    cursor = connection.connection.cursor()
    # The compiled statement has %% for each %. psycopg converts %% back only if it gets parameters. Therefore, always
    # pass an unused parameter.
    with cursor.copy(f"COPY ({statement}) TO STDOUT (FORMAT csv)", {"": None, **statement.params}) as copy:
        text, count = bytearray(), 0
        for row in copy:  # the server sends one row at a time
            text += row
            count += 1
            if count == ROWS_PER_CHUNK or len(text) >= BYTES_PER_CHUNK:
                yield to_arrow(text)
                text, count = bytearray(), 0
        if text:
            yield to_arrow(text)


def _arrow_type(type_: sa.types.TypeEngine[Any], dialect: str) -> pa.DataType:
    """Return the landed type of a column. A type without a matching parquet type is landed as a string.

    All columns of SQLite are landed as strings, because they may hold values of other types than the declared type.
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
                [None if value is None else _as_text(value) for value in values]
                if field.type == pa.string()
                else values,
                field.type,
            )
            for field, values in zip(schema, columns, strict=True)
        ],
        schema=schema,
    )


def _as_text(value: object) -> str:
    match value:
        case bytes():
            return value.decode(errors="replace")
        case float() | Decimal():
            # Some engines can't read a number with an exponent.
            return format(Decimal(str(value)), "f")
        case _:
            return str(value)


def _reason_of(error: Exception) -> str:
    """Return the driver's message, without SQL and parameters."""
    return str(getattr(error, "orig", None) or error).strip().rstrip(".")
