"""Delta tables of one schema, as Databricks has them.

Every write is one commit: a reader sees the table before it or after it, and a write that is repeated gives the same
table. A store of another engine overrides what that engine does in another way.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Observation, Row, SparkSession, Window
from pyspark.sql import functions as sf
from pyspark.sql.types import StructField, StructType

from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union

_CONFLICT = re.compile(r"DELTA_CONCURRENT|Concurrent\w+Exception|Failed to commit transaction|DELTA_PROTOCOL_CHANGED")
"""What engines say when another writer committed first."""

IS_GONE = "_is_gone"
"""Column of the changes that `DeltaStore.merge` takes: whether the row is deleted."""


class ConflictError(CdpError):
    """Another writer committed first; this write changed nothing."""


@dataclass(frozen=True)
class Files:
    """The data files of a table's latest version.

    Attributes:
        count: Number of files.
        bytes: Size of them all.
    """

    count: int
    bytes: int


class DeltaStore:
    """Reads and writes the tables of one schema."""

    is_databricks = True
    """Whether the engine has what only Databricks has: clustering, metric views, predictive optimization."""

    needs_lease = True
    """Whether jobs that write the tables may meet."""

    def __init__(self, spark: SparkSession, catalog: str, schema: str) -> None:
        """Name the schema; nothing is read yet.

        Args:
            spark: Session.
            catalog: Unity Catalog catalog.
            schema: Schema of the tables.
        """
        self.session = spark
        # A day is a day of UTC, whatever a workspace is set to.
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        self._schema = f"`{catalog}`.`{schema}`"
        self._existing: set[str] = set()  # tables that exist; a table is never dropped by the platform

    def name_of(self, name: str) -> str:
        """Return the quoted full name of a table or view."""
        return f"{self._schema}.`{name}`"

    def exists(self, contract: TableContract) -> bool:
        """Return whether the table exists."""
        if contract.name not in self._existing:
            self._existing |= self._table_names()
        return contract.name in self._existing

    def _table_names(self) -> set[str]:
        return {row["tableName"] for row in self.session.sql(f"SHOW TABLES IN {self._schema}").collect()}

    def read(self, contract: TableContract) -> DataFrame:
        """Return all rows of a table.

        Raises:
            CdpError: The table does not exist yet.
        """
        if not self.exists(contract):
            raise CdpError(f"Table {self.name_of(contract.name)} does not exist yet: refresh it first.")
        return self.session.table(self.name_of(contract.name))

    def read_keys(self, contract: TableContract, keys: DataFrame) -> DataFrame:
        """Return the rows of some keys; of a partitioned table only their partitions are read.

        Args:
            contract: Contract of the table.
            keys: The contract's key columns, one row per key.
        """
        rows, key = self.read(contract), list(contract.key)
        if contract.partitioned_by:
            # Two columns of all rows first: to read all columns would cost what exists, not what is wanted.
            rows = rows.where(is_in(contract, self.partitions(contract, rows.join(keys, key, how="left_semi"))))
        return rows.join(keys, key, how="left_semi")

    def count(self, contracts: Iterable[TableContract]) -> dict[str, int]:
        """Return the number of rows of each table, in one query."""
        counts = [
            self.read(contract).agg(sf.count("*").alias("rows")).select(sf.lit(contract.name).alias("name"), "rows")
            for contract in contracts
        ]
        return {name: rows for name, rows in union(counts).collect()} if counts else {}

    def partitions(self, contract: TableContract, rows: DataFrame) -> set[object]:
        """Return the partitions that rows of a table are in."""
        [column] = contract.partitioned_by
        return {value for (value,) in rows.select(column).distinct().collect()}

    def create(self, contract: TableContract) -> bool:
        """Create the table that a contract promises, where there is none of that name; return whether it is new."""
        is_new = not self.exists(contract)
        if is_new:
            self._create(contract, "CREATE TABLE IF NOT EXISTS")
        return is_new

    def _create(self, contract: TableContract, statement: str) -> None:
        columns = ", ".join(column_ddl(column) for column in contract.columns)
        self.session.sql(
            f"{statement} {self.name_of(contract.name)} ({columns}) USING delta"
            f"{self._layout_ddl(contract)} COMMENT {sql_literal(contract.comment)}"
        )
        self._existing.add(contract.name)

    def _layout_ddl(self, contract: TableContract) -> str:
        layout = f" PARTITIONED BY ({', '.join(contract.partitioned_by)})" if contract.partitioned_by else ""
        if self.is_databricks and contract.clustered_by:  # a table has one layout or the other
            layout = f" CLUSTER BY ({_quoted(contract.clustered_by)})"
        properties = self.properties_of(contract)
        return f"{layout} TBLPROPERTIES ({_properties_ddl(properties)})" if properties else layout

    def properties_of(self, contract: TableContract) -> dict[str, str]:
        """Return the Delta properties of a table. Workspaces differ in whether new tables get deletion vectors."""
        return {"delta.enableDeletionVectors": str(contract.has_deletion_vectors).lower()}

    def replace(self, contract: TableContract, rows: DataFrame, **counts: SparkColumn) -> dict[str, int]:
        """Make a table hold these rows and no others, in the columns of its contract.

        Args:
            contract: Contract of the table. A table made by an earlier version of it gets the columns of today.
            rows: Rows in the contract's columns; they may be read from the table itself.
            counts: Aggregates of the contract's columns, by name.

        Returns:
            The number of rows as `rows`, and the aggregates.
        """
        if not self.exists(contract):
            # A table that was dropped may have left files in its folder.
            self._create(contract, "CREATE OR REPLACE TABLE")
            return self._write(contract, rows, None, counts, is_empty=True)
        if dict(self.read(contract).dtypes) == {name: type_.lower() for name, type_ in contract.types.items()}:
            return self._write(contract, rows, None, counts)
        self.rewrite(contract, rows)
        return self._counted(self.read(contract), counts)

    def overwrite(self, contract: TableContract, rows: DataFrame, where: SparkColumn | None = None) -> int:
        """Replace the rows for which a condition is true; all rows where there is none.

        Args:
            contract: Contract of the table.
            rows: Rows in the contract's columns, of which the condition is true.
            where: Condition; the other rows stay.

        Returns:
            How many rows were written.
        """
        return self._write(contract, rows, where, {})["rows"]

    def _write(
        self,
        contract: TableContract,
        rows: DataFrame,
        where: SparkColumn | None,
        counts: Mapping[str, SparkColumn],
        *,
        is_empty: bool = False,
    ) -> dict[str, int]:
        """Replace rows, and count them as they are written: to count them afterwards is a query."""
        observation = Observation()
        prepared = self._prepared(contract, rows).observe(observation, *_counts(counts))
        with self._commit(contract):
            writer = prepared.writeTo(self.name_of(contract.name))
            # An overwrite looks for what it replaces.
            writer.append() if is_empty else writer.overwrite(sf.lit(True) if where is None else where)
        return dict(observation.get)

    def _counted(self, rows: DataFrame, counts: Mapping[str, SparkColumn]) -> dict[str, int]:
        """Return the number of rows, and aggregates of them, by name."""
        [row] = rows.agg(*_counts(counts)).collect()
        return row.asDict()

    def rewrite(self, contract: TableContract, rows: DataFrame) -> None:
        """Replace all rows and the schema in one commit, so that types may widen and columns come and go.

        Args:
            contract: Contract of the table.
            rows: Rows in the contract's columns and any others; they may be read from the table itself.
        """
        others = [name for name in rows.columns if name not in contract.column_names]
        columns = [
            sf.col(column.name).cast(column.type).alias(column.name, metadata={"comment": column.comment})
            for column in contract.columns
        ]
        # A table has one layout or the other.
        partitions = () if self.is_databricks and contract.clustered_by else contract.partitioned_by
        with self._commit(contract):
            self._rewrite(contract, rows.select(*columns, *(f"`{name}`" for name in others)), partitions)

    def _rewrite(self, contract: TableContract, rows: DataFrame, partitions: Sequence[str]) -> None:
        """Replace all rows and the schema."""
        writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
        (writer.partitionBy(*partitions) if partitions else writer).saveAsTable(self.name_of(contract.name))
        for column in contract.columns:
            if column.required and self.is_databricks:
                self.session.sql(f"ALTER TABLE {self.name_of(contract.name)} ALTER COLUMN `{column.name}` SET NOT NULL")

    def append(self, contract: TableContract, rows: DataFrame) -> None:
        """Add rows to a table.

        Args:
            contract: Contract of the table.
            rows: Rows in all columns of the table.
        """
        self.create(contract)
        with self._commit(contract):
            self._prepared(contract, rows).writeTo(self.name_of(contract.name)).append()

    def gain_columns(self, contract: TableContract, rows: DataFrame) -> list[str]:
        """Add the columns that rows have and the table lacks, null in the rows that it has; return their names."""
        self.create(contract)
        there = self.read(contract).columns
        gained = [name for name in rows.columns if name not in there]
        if gained:
            # The one way to add a column that every engine has: an append of nothing.
            fields = [StructField(f.name, f.dataType, f.nullable or f.name in gained) for f in rows.schema]
            with self._commit(contract):
                self.session.createDataFrame([], StructType(fields)).writeTo(self.name_of(contract.name)).option(
                    "mergeSchema", "true"
                ).append()
        return gained

    def merge(self, contract: TableContract, changes: DataFrame) -> int:
        """Upsert and delete rows by key.

        Args:
            contract: Contract of the table.
            changes: The contract's columns and `IS_GONE`, one row per key.

        Returns:
            How many rows were written.
        """
        values = ", ".join(f"`{name}` = s.`{name}`" for name in contract.column_names)
        with self._commit(contract):
            [merged] = self.session.sql(
                f"MERGE INTO {self.name_of(contract.name)} AS t USING {{changes}} AS s ON {same_key(contract)}"
                f" WHEN MATCHED AND s.{IS_GONE} THEN DELETE"
                f" WHEN MATCHED THEN UPDATE SET {values}"
                f" WHEN NOT MATCHED AND NOT s.{IS_GONE} THEN INSERT ({_quoted(contract.column_names)})"
                f" VALUES ({', '.join(f's.`{name}`' for name in contract.column_names)})",
                changes=changes.selectExpr(*contract.select_list, IS_GONE),
            ).collect()
        return int(merged["num_inserted_rows"] + merged["num_updated_rows"])

    def merge_rows(self, contract: TableContract, rows: DataFrame, keys: DataFrame | None = None) -> int:
        """Upsert rows by key, and delete those of some keys that are not among them.

        Args:
            contract: Contract of the table.
            rows: Rows in the contract's columns, one per key.
            keys: The contract's key columns; a row of the table with one of them is deleted where `rows` have none.

        Returns:
            How many rows were written.
        """
        changes = rows.selectExpr(*contract.select_list, f"false AS {IS_GONE}")
        if keys is not None:
            values = [column for column in contract.columns if column.name not in contract.key]
            nulls = [sf.lit(None).cast(column.type).alias(column.name) for column in values]
            gone = keys.select(*contract.key, *nulls).selectExpr(*contract.select_list, f"true AS {IS_GONE}")
            of_key = Window.partitionBy(*contract.key).orderBy(IS_GONE)
            both = changes.unionByName(gone).withColumn("_place", sf.row_number().over(of_key))
            changes = both.where("_place = 1").drop("_place")
        return self.merge(contract, changes)

    def _prepared(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Return the rows as the engine writes them best. A column of the contract that they lack would become null."""
        others = [name for name in rows.columns if name not in contract.column_names]
        return rows.select(*(f"`{name}`" for name in (*contract.column_names, *others)))

    def frame(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> DataFrame:
        """Return rows of Python values in the columns of a contract; as SQL, since Spark needs no Python worker for it.

        Args:
            contract: Contract of the table.
            rows: Values by column; a column that is left out is null.
        """
        names = contract.column_names
        values = ", ".join(f"({', '.join(_sql_value(row.get(name)) for name in names)})" for row in rows)
        if not values:
            values = f"({', '.join('NULL' for _ in names)})"
        frame = self.session.sql(f"SELECT * FROM VALUES {values} AS rows ({_quoted(names)})")
        # In one task: one file where it is written.
        return (frame if rows else frame.where("false")).coalesce(1).selectExpr(*contract.select_list)

    def publish(self, contract: TableContract, location: str) -> None:
        """Copy a table to `<location>/<table>` in the columns that hold no personal data.

        A reader may know Delta's reader version 1 only: no deletion vectors, no column mapping.

        Args:
            contract: Contract of the table.
            location: Folder of the copies.
        """
        columns = [sf.col(column.name).cast(column.type).alias(column.name) for column in contract.public_columns]
        copy = self.read(contract).select(*columns).write.format("delta").mode("overwrite")
        # Whatever an engine's defaults are, or become: what every reader of Delta and of Parquet knows.
        copy = copy.option("delta.enableDeletionVectors", "false").option("compression", "snappy")
        with self._commit(contract):
            copy.option("overwriteSchema", "true").save(f"{location}/{contract.name}")

    def is_published(self, contract: TableContract, location: str) -> bool:
        """Return whether a copy exists in the columns that it is to have."""
        try:
            columns = self.session.read.format("delta").load(f"{location}/{contract.name}").dtypes
        except AnalysisException:
            return False
        return columns == [(column.name, column.type.lower()) for column in contract.public_columns]

    def has_view(self, name: str) -> bool:
        """Return whether the schema has a view, or a table, of a name."""
        if name not in self._existing:
            self._existing |= self._table_names()
        return name in self._existing

    def create_view(self, name: str, query: str) -> None:
        """Create a view, or replace it.

        Args:
            name: Name of the view in the schema.
            query: Query, with full names of tables.
        """
        self.session.sql(f"CREATE OR REPLACE VIEW {self.name_of(name)} AS\n{query}")

    def create_metric_view(self, name: str, definition: str) -> None:
        """Create a metric view, or replace it.

        Args:
            name: Name of the view in the schema.
            definition: YAML.
        """
        self.session.sql(
            f"CREATE OR REPLACE VIEW {self.name_of(name)} WITH METRICS LANGUAGE YAML AS $$\n{definition}\n$$"
        )

    can_maintain = True
    """Whether the engine has OPTIMIZE and VACUUM."""

    def files_of(self, contract: TableContract) -> Files:
        """Return the files of a table."""
        detail = self._detail(contract)
        return Files(detail["numFiles"], detail["sizeInBytes"])

    def _detail(self, contract: TableContract) -> Row:
        [detail] = self.session.sql(f"DESCRIBE DETAIL {self.name_of(contract.name)}").collect()
        return detail

    def maintain(self, contract: TableContract, retention_days: int) -> None:
        """Apply a table's layout, compact small files and remove old ones; its rows stay the same.

        Args:
            contract: Contract of the table.
            retention_days: Days for which files of earlier versions stay, for who reads one of those.

        Raises:
            ConflictError: Another writer committed first; the table is as it was.
        """
        name, columns = self.name_of(contract.name), list(contract.clustered_by)
        detail = self._detail(contract)
        # A property of the table and not of the VACUUM, so that whoever else removes its files keeps them as long.
        wanted = {"delta.deletedFileRetentionDuration": f"interval {retention_days} days"}
        wanted |= self.properties_of(contract)
        changed = {key: value for key, value in wanted.items() if detail["properties"].get(key) != value}
        is_laid_out = not (self.is_databricks and columns) or list(detail["clusteringColumns"]) == columns
        of_columns = f" FOR COLUMNS {_quoted(contract.statistics_columns)}" if contract.statistics_columns else ""
        statements = [
            *([f"ALTER TABLE {name} SET TBLPROPERTIES ({_properties_ddl(changed)})"] if changed else []),
            *([] if is_laid_out else [f"ALTER TABLE {name} CLUSTER BY ({_quoted(columns)})"]),
            # Files from before a table was clustered stay as they are unless FULL is said.
            f"OPTIMIZE {name}{'' if is_laid_out else ' FULL'}",
            f"VACUUM {name}",
            *([f"ANALYZE TABLE {name} COMPUTE STATISTICS{of_columns}"] if self.is_databricks else []),
        ]
        with self._commit(contract):
            for statement in statements:
                self.session.sql(statement)

    def set_predictive_optimization(self, state: str) -> None:
        """Let Databricks maintain the schema's tables by itself, too, or not.

        Args:
            state: ENABLE, DISABLE or INHERIT, which is what the catalog says.
        """
        if self.is_databricks:
            self.session.sql(f"ALTER SCHEMA {self._schema} {state} PREDICTIVE OPTIMIZATION")

    @property
    def engine(self) -> str:
        """Name and version of the engine."""
        return f"databricks {os.environ.get('DATABRICKS_RUNTIME_VERSION', '')}".strip()

    @contextmanager
    def _commit(self, contract: TableContract) -> Iterator[None]:
        """Say in one line that another writer committed first."""
        try:
            yield
        except PySparkException as error:
            if not _CONFLICT.search(str(error)):
                raise
            raise ConflictError(
                f"Another run has written {self.name_of(contract.name)} meanwhile: nothing of this one is in it."
                " Let one run end before the next begins, and run it again."
            ) from error


def _counts(counts: Mapping[str, SparkColumn]) -> list[SparkColumn]:
    return [sf.count("*").alias("rows"), *(count.alias(name) for name, count in counts.items())]


def same_key(contract: TableContract) -> str:
    """Return whether rows `t` and `s` have the same key, as SQL; a part that may be missing is compared as a value."""
    required = {column.name for column in contract.columns if column.required}
    return " AND ".join(f"t.`{name}` {'=' if name in required else '<=>'} s.`{name}`" for name in contract.key)


def is_in(contract: TableContract, partitions: Collection[object]) -> SparkColumn:
    """Return whether a row is in one of some partitions of a table that is partitioned by one column."""
    [column] = contract.partitioned_by
    return sf.col(column).isin(*partitions) if partitions else sf.lit(False)


def column_ddl(column: Column) -> str:
    """Return a column as CREATE TABLE takes it."""
    required = " NOT NULL" if column.required else ""
    return f"`{column.name}` {column.type}{required} COMMENT {sql_literal(column.comment)}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _properties_ddl(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{sql_literal(key)} = {sql_literal(value)}" for key, value in properties.items())


def _sql_value(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"TIMESTAMP{sql_literal(value.isoformat(sep=' '))}"
    if isinstance(value, float):
        # Without the D it would be a decimal, and share a scale with its neighbours.
        return f"{float(value)!r}D" if math.isfinite(value) else f"CAST('{float(value)!r}' AS DOUBLE)"
    if isinstance(value, date):
        return f"DATE{sql_literal(value.isoformat())}"
    return sql_literal(value) if isinstance(value, str) else str(value)


def sql_literal(text: str) -> str:
    """Return the text as a literal of Spark SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
