"""A transactional SQL database, through SQLAlchemy: Azure SQL, PostgreSQL, SQLite.

A small table is landed whole each time, a large one once; then what has changed. Its watermark is an account of what
was read: as long as the rows up to the key `settled` still add up to what they did, only later rows are read, which
overlap with those read before. Where they don't, something old was corrected, deleted or came late, and the table is
landed whole again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
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

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import BatchWriter, Extraction, Manifest, Watermark

SNAPSHOT_UP_TO_ROWS = 100_000
"""Rows up to which a table is landed whole each time."""

OVERLAP_ROWS = 10_000
"""Rows of the highest keys, which are read again: a lower key may be committed after a higher one."""

OVERLAP_TIME = timedelta(minutes=5)
"""How far before the newest `updated_at` rows are read again: for long transactions, and clocks that differ."""

ROWS_PER_CHUNK = 50_000
"""Rows held in memory at a time, and rows of a parquet row group."""

BYTES_PER_CHUNK = 16 << 20
"""Bytes of text from which on fewer rows make a chunk."""

ROWS_PER_FETCH = 100
"""Rows that are fetched before their bytes are looked at, where they don't come as one stream of text."""

_ONE_MOMENT = {"postgresql": "REPEATABLE READ", "mssql": "SNAPSHOT"}
"""Isolation level in which every statement of a transaction sees the same rows; SQLite has no other."""

_SAME_TEXT_EVERYWHERE = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres';"
    " SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL client_encoding = 'UTF8'"
)


def land_tables(
    extraction: Extraction,
    database_url: str,
    schema: str,
    contracts: Sequence[BronzeContract],
    *,
    from_scratch: bool = False,
    snapshot_up_to_rows: int = SNAPSHOT_UP_TO_ROWS,
) -> list[Manifest]:
    """Land what is new in each table, in the order of its key: a snapshot, or an increment with the rows that are gone.

    All tables are looked for before the first is read, and read in one transaction, as they were at one moment.

    Increments are made of a large table of PostgreSQL or Azure SQL whose primary key is the contract's record key, one
    whole number. If it has a column `updated_at`, an old row is looked at again only where that says so.

    Args:
        extraction: Where to land them.
        database_url: SQLAlchemy URL of the database.
        schema: Schema of the tables, empty where the database has none.
        contracts: The tables: name (entity) and key (record key).
        from_scratch: Whether to land every table whole.
        snapshot_up_to_rows: Rows up to which a table is landed whole each time.

    Returns:
        The batches of this run; a table without news has none.

    Raises:
        CdpError: The URL is none, the database can't be reached or read, or a table is missing or empty; another run
            has landed a table meanwhile.
    """
    # Looked up before the database: what another run has landed by then is older than what this one reads.
    latest = {contract.entity: extraction.find_latest_batch(contract.entity) for contract in contracts}
    with at_one_moment(database_url) as connection:
        tables = [find_table(connection, schema, contract) for contract in contracts]
        batches = [
            extraction.find_batch(table.name)
            or _land_table(
                extraction,
                connection,
                table,
                latest[table.name],
                snapshot_up_to_rows=snapshot_up_to_rows,
                from_scratch=from_scratch,
            )
            for table in tables
        ]
    return [batch for batch in batches if batch and extraction.has_landed(batch)]


@contextmanager
def at_one_moment(database_url: str) -> Iterator[sa.Connection]:
    """A connection whose statements all see the database as it was at one moment.

    Args:
        database_url: SQLAlchemy URL of the database.

    Raises:
        CdpError: The URL is none, or the database can't be reached or read.
    """
    engine = _connectable(database_url)
    driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
    try:
        with engine.connect() as connection:
            if level := _ONE_MOMENT.get(engine.dialect.name):
                connection.execution_options(isolation_level=level)
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_SAME_TEXT_EVERYWHERE)
            try:
                yield connection
            except driver_error:
                connection.invalidate()
                raise
    except (sa.exc.SQLAlchemyError, driver_error) as error:
        raise CdpError(f"Database {address_of(engine)} can't be read: {_reason(error)}.") from error
    finally:
        engine.dispose()


@dataclass(frozen=True)
class SourceTable:
    """A table of the database.

    Attributes:
        rows: The table.
        schema: Types its columns are landed in.
        key: Its key, None where that is not one whole number, or the database can't be read by it.
        updated_at: Column that says when a row was last changed, None where there is none.
    """

    rows: sa.Table
    schema: pa.Schema
    key: sa.Column[int] | None
    updated_at: sa.Column[datetime] | None

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.rows.name

    @property
    def columns(self) -> dict[str, str]:
        """Names and landed types of the columns."""
        return {field.name: str(field.type) for field in self.schema}

    @property
    def select(self) -> sa.Select[Any]:
        """All rows, values as the driver gives them, in the order of the key."""
        columns: list[Any] = [
            sa.type_coerce(column, sa.types.NullType()).label(column.name) for column in self.rows.columns
        ]
        return sa.select(*columns).order_by(*(self.rows.primary_key.columns or list(self.rows.columns)[:1]))


@dataclass(frozen=True)
class Account:
    """What was read of a large table at one moment: the watermark of its batches.

    Attributes:
        columns: Names and landed types of its columns.
        max_key: Highest key.
        settled: Key up to which no row is expected to change, or to come late.
        rows: Number of rows up to `settled`.
        key_total: Sum of their keys.
        contents: Sum of their hashes, None where `updated_at` says which of them have changed.
        updated_at: Newest `updated_at`, None where there is none.
    """

    columns: dict[str, str]
    max_key: int
    settled: int
    rows: int
    key_total: str
    contents: str | None
    updated_at: str | None

    @classmethod
    def find(cls, batch: Manifest | None) -> Account | None:
        """The account in a batch's watermark, None where it has another or none."""
        with suppress(TypeError):
            return cls(**(batch.watermark or {})) if batch else None
        return None

    @property
    def watermark(self) -> Watermark:
        """The account as it stands in a manifest."""
        return asdict(self)

    def updated_since(self, extracted_at: str) -> datetime | None:
        """From when on changed rows are read again, None where no row had been changed.

        Args:
            extracted_at: Start of the run that drew the account up; an `updated_at` after it is of a wrong clock.
        """
        if self.updated_at is None:
            return None
        return min(_utc(self.updated_at), _utc(extracted_at)) - OVERLAP_TIME


def find_table(connection: sa.Connection, schema: str, contract: BronzeContract) -> SourceTable:
    """The table of a contract.

    Args:
        connection: Connection to the database.
        schema: Schema of the table, empty where the database has none.
        contract: The table: name (entity) and key (record key).

    Raises:
        CdpError: There is no such table.
    """
    try:
        rows = sa.Table(contract.entity, sa.MetaData(), schema=schema or None, autoload_with=connection)
    except sa.exc.NoSuchTableError:
        where = f"schema '{schema}'" if schema else "the default schema"
        raise CdpError(
            f"Database {address_of(connection.engine)} has no table '{contract.entity}' in {where}:"
            " check the secret 'database_url' and the variable 'database_schema'."
        ) from None
    dialect = connection.dialect.name
    arrow_schema = pa.schema([(column.name, _arrow_type(column.type, dialect)) for column in rows.columns])
    key = [column for column in rows.primary_key.columns if isinstance(column.type, sa.types.Integer)]
    has_key = dialect in _ONE_MOMENT and tuple(rows.primary_key.columns.keys()) == contract.record_key and len(key) == 1
    updated_at = rows.columns.get("updated_at")
    return SourceTable(
        rows,
        arrow_schema,
        key=key[0] if has_key else None,
        updated_at=updated_at if updated_at is not None and isinstance(updated_at.type, sa.types.DateTime) else None,
    )


def draw_up_account(connection: sa.Connection, table: SourceTable, before: Account | None = None) -> Account:
    """The account of a table that has a key.

    Args:
        connection: Connection to the database.
        table: The table.
        before: An earlier account which still holds; then only what came after it is looked at.

    Raises:
        CdpError: The table is empty.
    """
    key, updated_at = _key_of(table), table.updated_at
    lowest, highest = connection.execute(sa.select(sa.func.min(key), sa.func.max(key))).one()
    if highest is None:
        raise empty_table(connection, table)
    settled = connection.scalar(sa.select(key).order_by(key.desc()).offset(OVERLAP_ROWS).limit(1))
    if settled is None:
        settled = lowest - 1
    newest = connection.scalar(sa.select(sa.func.max(updated_at))) if updated_at is not None else None
    if before:
        settled = max(settled, before.settled)
        rows, key_total, contents = _totals(connection, table, key > before.settled, key <= settled)
        rows += before.rows
        key_total += int(before.key_total)
        contents += int(before.contents or 0)
    else:
        rows, key_total, contents = _totals(connection, table, key <= settled)
    return Account(
        columns=table.columns,
        max_key=highest,
        settled=settled,
        rows=rows,
        key_total=str(key_total),
        contents=str(contents) if updated_at is None else None,
        updated_at=newest.isoformat() if newest else None,
    )


def empty_table(connection: sa.Connection, table: SourceTable) -> CdpError:
    """Why an empty table is not landed: taken at its word, it would empty the tables built from it."""
    return CdpError(f"Table '{table.name}' of database {address_of(connection.engine)} is empty: check the source.")


def address_of(engine: sa.Engine) -> str:
    """The database without user and password."""
    url = engine.url
    return f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


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
    before = Account.find(latest)
    if latest and before and not from_scratch and _holds(connection, table, before):
        return _land_increment(extraction, connection, table, latest, before)
    return _land_snapshot(extraction, connection, table, latest, draw_up_account(connection, table))


def _land_snapshot(
    extraction: Extraction,
    connection: sa.Connection,
    table: SourceTable,
    latest: Manifest | None,
    account: Account | None,
) -> Manifest:
    with extraction.new_batch(table.name, "snapshot", latest) as batch:
        with closing(_read(connection, table, table.select)) as chunks:
            _write(batch, "part-00000.parquet", table.schema, chunks)
        if not batch.rows:
            raise empty_table(connection, table)
        batch.watermark = account.watermark if account else None
    return batch.manifest


def _land_increment(
    extraction: Extraction, connection: sa.Connection, table: SourceTable, latest: Manifest, before: Account
) -> Manifest | None:
    key, since = _key_of(table), before.updated_since(latest.extracted_at)
    landed = _Landed(extraction, table, before, since)
    gone = landed.unsettled_keys()
    is_new: sa.ColumnElement[bool] = key > before.settled
    if table.updated_at is not None:
        is_new = sa.or_(is_new, _is_updated_since(table.updated_at, since))

    def changes() -> Generator[pa.Table, None, None]:
        for chunk in _read(connection, table, table.select.where(is_new)):
            gone.difference_update(chunk[key.name].to_pylist())
            changed = landed.leave_out(chunk)
            if changed.num_rows:
                yield changed

    with closing(changes()) as changed:
        first = next(changed, None)
        if first is None and not gone:
            return None
        with extraction.new_batch(table.name, "increment", latest) as batch:
            if first is not None:
                _write(batch, "part-00000.parquet", table.schema, chain([first], changed))
            if gone:
                keys = pa.table({key.name: pa.array(sorted(gone), table.schema.field(key.name).type)})
                _write(batch, "deletions.parquet", keys.schema, [keys], deletions=True)
            batch.watermark = draw_up_account(connection, table, before).watermark
    return batch.manifest


def _is_updated_since(updated_at: sa.Column[datetime], since: datetime | None) -> sa.ColumnElement[bool]:
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


class _Landed:
    """The rows of a table that are landed, as far as the next increment may hold them again."""

    def __init__(self, extraction: Extraction, table: SourceTable, before: Account, since: datetime | None) -> None:
        self._where = f"{extraction.source}/{table.name}"
        self._key = _key_of(table).name
        self._max_key = before.max_key
        self._settled = before.settled
        with self._errors():
            self._files = list(_files_with_overlap(extraction, table, before, since))

    def unsettled_keys(self) -> set[int]:
        """Keys above `settled` of the rows that are there."""
        keys = set[int]()
        for file, is_deletions in reversed(self._files):
            found = self._read(file, [self._key], ds.field(self._key) > self._settled)[self._key].to_pylist()
            keys = keys.difference(found) if is_deletions else keys.union(found)
        return keys

    def leave_out(self, chunk: pa.Table) -> pa.Table:
        """A chunk without the rows that are landed as they are."""
        keys = chunk[self._key].combine_chunks()
        unlike = pc.greater(keys, self._max_key)
        unknown = chunk.filter(pc.invert(unlike))
        landed_alike = [keys.slice(0, 0)]
        for file, is_deletions in self._files:
            if not unknown.num_rows:
                break
            sought = unknown[self._key].combine_chunks()
            span = pc.min_max(sought)
            field = ds.field(self._key)
            found = self._read(
                file,
                [self._key] if is_deletions else chunk.column_names,
                # The span lets the reader pass over row groups.
                (field >= span["min"]) & (field <= span["max"]) & field.isin(sought),
            )
            at = pc.index_in(sought, found[self._key].combine_chunks())
            is_found = pc.is_valid(at)
            if not is_deletions:
                alike = _alike(unknown.filter(is_found), found.take(at.drop_null()))
                landed_alike.append(sought.filter(is_found).filter(alike))
            unknown = unknown.filter(pc.invert(is_found))
        return chunk.filter(pc.invert(pc.is_in(keys, pa.concat_arrays(landed_alike))))

    def _read(self, file: ds.Dataset, columns: list[str], condition: pc.Expression) -> pa.Table:
        with self._errors():
            return file.to_table(columns, condition, batch_readahead=2, fragment_readahead=1)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise CdpError(
                f"A landed batch of {self._where} can't be read ({_reason(error)}): restore it, or run from scratch."
            ) from error


def _files_with_overlap(
    extraction: Extraction, table: SourceTable, before: Account, since: datetime | None
) -> Iterator[tuple[ds.Dataset, bool]]:
    """The data files that may hold rows of the overlap, newest first, and whether they are deletions."""
    landing = extraction.landing
    for batch_id in landing.newest_first(extraction.source, table.name):
        batch = landing.find_batch(extraction.source, table.name, batch_id)
        account = Account.find(batch)
        if batch is None or account is None:
            return
        is_updated = account.updated_at and since and _utc(account.updated_at) >= since
        if account.max_key <= before.settled and not is_updated:
            return
        for file in batch.files:
            path = landing.fs._strip_protocol(landing.path_of(batch, file.name))
            schema = table.schema if not file.deletions else pa.schema([table.schema.field(_key_of(table).name)])
            yield ds.dataset(path, schema, "parquet", landing.fs), file.deletions
        if batch.load == "snapshot":
            return


def _alike(left: pa.Table, right: pa.Table) -> pa.Array:
    """Which rows of two tables of the same columns are the same; null and NaN are like themselves."""
    alike = pa.repeat(True, left.num_rows)
    for one, other in zip(left.columns, right.columns, strict=True):
        if pa.types.is_floating(one.type):
            one, other = one.cast(pa.string()), other.cast(pa.string())
        equal = pc.fill_null(pc.equal(one, other), False)
        alike = pc.and_(alike, pc.or_(equal, pc.and_(pc.is_null(one), pc.is_null(other))))
    return alike.combine_chunks() if isinstance(alike, pa.ChunkedArray) else alike


def has_more_rows(connection: sa.Connection, table: SourceTable, number: int) -> bool:
    """Whether a table has more than a number of rows, without counting further.

    Args:
        connection: Connection to the database.
        table: The table.
        number: The number.
    """
    some = sa.select(sa.literal(1).label("one")).select_from(table.rows).limit(number + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() > number


def _holds(connection: sa.Connection, table: SourceTable, before: Account) -> bool:
    """Whether the columns are what they were, and the settled rows still add up."""
    if before.columns != table.columns or (before.contents is None) != (table.updated_at is not None):
        return False
    rows, key_total, contents = _totals(connection, table, _key_of(table) <= before.settled)
    return (rows, str(key_total)) == (before.rows, before.key_total) and before.contents in (None, str(contents))


def _totals(connection: sa.Connection, table: SourceTable, *conditions: sa.ColumnElement[bool]) -> tuple[int, int, int]:
    """Number of rows, sum of their keys, and sum of their hashes where `updated_at` does not say what has changed."""
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


def _key_of(table: SourceTable) -> sa.Column[int]:
    if table.key is None:
        raise ValueError(f"{table.name} has no key of one whole number")
    return table.key


def _utc(text: str) -> datetime:
    """A time in ISO 8601; UTC where it does not say."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _read(connection: sa.Connection, table: SourceTable, rows: sa.Select[Any]) -> Generator[pa.Table, None, None]:
    """Rows of a table, a chunk at a time."""
    read = _read_copy if connection.dialect.driver == "psycopg" else _read_rows
    try:
        yield from read(connection, table, rows)
    except pa.ArrowException as error:
        raise CdpError(
            f"Table '{table.name}' of database {address_of(connection.engine)} can't be read: it has a value that"
            f" parquet can't hold ({_reason(error)})."
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
    """The same through PostgreSQL's COPY, several times as fast; what has no type of its own comes as its text."""
    types = {
        column.name: pa.timestamp("us")
        if isinstance(column.type, sa.types.DateTime) and not column.type.timezone
        else table.schema.field(column.name).type
        for column in table.rows.columns
    }
    # An unquoted nothing is null, a quoted one the empty text.
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
    # Without parameters, the driver would not take %% for %.
    with cursor.copy(f"COPY ({statement}) TO STDOUT (FORMAT csv)", {"": None, **statement.params}) as copy:
        text, count = bytearray(), 0
        for row in copy:  # the server sends one at a time
            text += row
            count += 1
            if count == ROWS_PER_CHUNK or len(text) >= BYTES_PER_CHUNK:
                yield to_arrow(text)
                text, count = bytearray(), 0
        if text:
            yield to_arrow(text)


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


def _reason(error: Exception) -> str:
    """What the driver said, without SQL and parameters."""
    return str(getattr(error, "orig", None) or error).strip().rstrip(".")
