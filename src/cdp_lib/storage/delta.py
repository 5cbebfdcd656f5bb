"""Delta tables of one schema on Databricks.

Every write operation is one commit, so a reader sees the table either before or after the write operation. The stores
of local engines are subclasses. They override the methods for which their engine differs from Databricks.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from threading import Lock
from typing import Any

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Observation, Row, SparkSession, Window
from pyspark.sql import functions as sf
from pyspark.sql.types import StructField, StructType

from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union

_CONFLICT = re.compile(r"DELTA_CONCURRENT|Concurrent\w+Exception|Failed to commit transaction|DELTA_PROTOCOL_CHANGED")
"""Pattern of the engines' error messages for a failed write operation, when another writer has committed first."""

IS_GONE = "_is_gone"
"""Column of the data frame that `DeltaStore.merge` gets. It is true for the rows to delete."""


PERSONAL_DATA = "personal_data"
"""Tag of tables and columns with personal data. The value is the class of the data; of a table, its classes."""

UNCLASSIFIED = "unclassified"
"""Class of a column that a source has added: nobody has said yet whether it holds personal data."""

_MASKED_TEXT = "****"


class ConflictError(CdpError):
    """Error of a write operation that changed nothing because another writer committed first."""


@dataclass(frozen=True)
class Files:
    """Data files of the latest version of a table.

    Attributes:
        count: Number of files.
        bytes: Total size of the files.
    """

    count: int
    bytes: int


class DeltaStore:
    """Reader and writer of the tables of one schema."""

    is_databricks = True
    """Whether the engine is Databricks, which supports clustering, metric views and predictive optimization."""

    needs_lease = True
    """Whether several jobs may write the tables at the same time."""

    def __init__(self, spark: SparkSession, catalog: str, schema: str, unmasked_group: str = "") -> None:
        """Open the schema, and set the time zone of the Spark session to UTC. No table is read.

        Args:
            spark: Spark session.
            catalog: Unity Catalog catalog.
            schema: Schema of the tables.
            unmasked_group: Account group that reads personal data. Anybody else reads masks. Empty for no masks.
        """
        self.session = spark
        self.unmasked_group = unmasked_group
        self._masks: set[str] = set()
        self._masking = Lock()
        # Days are UTC days and do not depend on the time zone of the workspace.
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        self._schema = ".".join(f"`{name.replace('`', '``')}`" for name in (catalog, schema))
        # Names of tables and views that exist. A name stays valid, because the platform drops no table.
        self._existing: set[str] = set()

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
        """Return the rows with the given keys. In a partitioned table, only the partitions of these keys are read.

        Args:
            contract: Contract of the table.
            keys: Data frame with the contract's key columns, one row per key.
        """
        rows, key = self.read(contract), list(contract.key)
        if contract.partitioned_by:
            # To find the partitions, read only the key and partition columns. Reading all columns would cost more.
            rows = rows.where(is_in(contract, self.partitions(contract, rows.join(keys, key, how="left_semi"))))
        return rows.join(keys, key, how="left_semi")

    def count(self, contracts: Iterable[TableContract]) -> dict[str, int]:
        """Return the number of rows of each table, with one query."""
        counts = [
            self.read(contract).agg(sf.count("*").alias("rows")).select(sf.lit(contract.name).alias("name"), "rows")
            for contract in contracts
        ]
        return {name: rows for name, rows in union(counts).collect()} if counts else {}

    def null_columns(self, contract: TableContract, names: Collection[str]) -> set[str]:
        """Return the given columns in which no row of a table has a value, for `replace`.

        Return an empty set on engines for which such columns cost next to nothing.
        """
        return set()

    def partitions(self, contract: TableContract, rows: DataFrame) -> set[object]:
        """Return the distinct partition values of the given rows."""
        [column] = contract.partitioned_by
        return {value for (value,) in rows.select(column).distinct().collect()}

    def create(self, contract: TableContract) -> bool:
        """Create the table of a contract if it does not exist. Return whether the table was created."""
        is_new = not self.exists(contract)
        if is_new:
            self._create(contract, "CREATE TABLE IF NOT EXISTS")
        return is_new

    def _create(self, contract: TableContract, statement: str) -> None:
        # The masks are part of the statement, so that no reader sees the table without them.
        columns = ", ".join(f"{column_ddl(column)}{self._mask_ddl(column)}" for column in contract.columns)
        self.session.sql(
            f"{statement} {self.name_of(contract.name)} ({columns}) USING delta"
            f"{self._layout_ddl(contract)} COMMENT {sql_literal(contract.comment)}"
        )
        self._existing.add(contract.name)
        self._tag(contract, contract.personal_columns)

    def _layout_ddl(self, contract: TableContract) -> str:
        layout = f" PARTITIONED BY ({', '.join(contract.partitioned_by)})" if contract.partitioned_by else ""
        if self.is_databricks and contract.clustered_by:  # Databricks does not allow both
            layout = f" CLUSTER BY ({_quoted(contract.clustered_by)})"
        properties = self.properties_of(contract)
        return f"{layout} TBLPROPERTIES ({_properties_ddl(properties)})" if properties else layout

    def properties_of(self, contract: TableContract) -> dict[str, str]:
        """Return the Delta properties to set on a table.

        Deletion vectors are set because their defaults differ between workspaces. Statistics are limited if a column
        has personal data: the Delta log has the values of statistics.
        """
        vectors = {"delta.enableDeletionVectors": str(contract.has_deletion_vectors).lower()}
        return vectors | statistics_properties(contract) if contract.personal_columns else vectors

    def replace(
        self, contract: TableContract, rows: DataFrame, null_columns: Collection[str] = (), **counts: SparkColumn
    ) -> dict[str, Any]:
        """Replace all rows of a table. If the columns of the table differ from the contract, also replace the columns.

        Args:
            contract: Contract of the table.
            rows: Rows with the contract's columns. They may be read from the table itself.
            null_columns: Columns in which no row has a value. They are written as null, and need not be computed.
            counts: Aggregate expressions to compute for the written rows, by name.

        Returns:
            The number of written rows as `rows`, and the values of the aggregates, by name.
        """
        if not self.exists(contract):
            # If a user dropped the table, its files may still be in the folder. OR REPLACE replaces these files, too.
            self._create(contract, "CREATE OR REPLACE TABLE")
            return self._write(contract, rows, None, counts, null_columns, is_empty=True)
        if dict(self.read(contract).dtypes) == {name: type_.lower() for name, type_ in contract.types.items()}:
            return self._write(contract, rows, None, counts, null_columns)
        self.rewrite(contract, rows)
        return self._counted(self.read(contract), counts)

    def overwrite(self, contract: TableContract, rows: DataFrame, where: SparkColumn | None = None) -> int:
        """Replace the rows for which a condition is true, or all rows.

        Args:
            contract: Contract of the table.
            rows: New rows with the contract's columns. The condition must be true for these rows.
            where: Condition that is true for the rows to replace. None to replace all rows.

        Returns:
            Number of written rows.
        """
        return int(self._write(contract, rows, where, {})["rows"])

    def _write(
        self,
        contract: TableContract,
        rows: DataFrame,
        where: SparkColumn | None,
        counts: Mapping[str, SparkColumn],
        null_columns: Collection[str] = (),
        *,
        is_empty: bool = False,
    ) -> dict[str, Any]:
        """Replace rows, and compute aggregates while the rows are written. No second query is needed."""
        observation = Observation()
        prepared = self._prepared(contract, rows, null_columns).observe(observation, *_counts(counts))
        with self._commit(contract):
            writer = prepared.writeTo(self.name_of(contract.name))
            # If the table is empty, append: an overwrite would search for rows to replace.
            writer.append() if is_empty else writer.overwrite(sf.lit(True) if where is None else where)
        return dict(observation.get)

    def _counted(self, rows: DataFrame, counts: Mapping[str, SparkColumn]) -> dict[str, Any]:
        """Return the number of rows as `rows`, and the values of the given aggregates, by name."""
        [row] = rows.agg(*_counts(counts)).collect()
        return row.asDict()

    def rewrite(self, contract: TableContract, rows: DataFrame) -> None:
        """Replace all rows and the schema in one commit. Column types may change, and columns may be added or removed.

        Args:
            contract: Contract of the table.
            rows: Rows with the contract's columns and, optionally, further columns. They may be read from the table
                itself.
        """
        unknown = [name for name in rows.columns if name not in contract.column_names]
        columns = [
            sf.col(column.name).cast(column.type).alias(column.name, metadata={"comment": column.comment})
            for column in contract.columns
        ]
        # Databricks allows either clustering or partitions, but not both.
        partitions = () if self.is_databricks and contract.clustered_by else contract.partitioned_by
        with self._commit(contract):
            self._rewrite(contract, rows.select(*columns, *(f"`{name}`" for name in unknown)), partitions)

    def _rewrite(self, contract: TableContract, rows: DataFrame, partitions: Sequence[str]) -> None:
        """Replace all rows and the schema. On Databricks, also set the required columns to NOT NULL."""
        writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
        (writer.partitionBy(*partitions) if partitions else writer).saveAsTable(self.name_of(contract.name))
        for column in contract.columns:
            if column.required and self.is_databricks:
                self.session.sql(f"ALTER TABLE {self.name_of(contract.name)} ALTER COLUMN `{column.name}` SET NOT NULL")
        self._protect_columns(contract, rows)

    def append(self, contract: TableContract, rows: DataFrame) -> None:
        """Append rows to a table. Create the table if it does not exist.

        Args:
            contract: Contract of the table.
            rows: Rows with all columns of the table.
        """
        self.create(contract)
        with self._commit(contract):
            self._prepared(contract, rows).writeTo(self.name_of(contract.name)).append()

    def add_columns(self, contract: TableContract, rows: DataFrame) -> list[str]:
        """Add the columns of `rows` that the table does not have, and return the names of these columns.

        The new columns are null in existing rows.
        """
        self.create(contract)
        existing = self.read(contract).columns
        added = [name for name in rows.columns if name not in existing]
        if added:
            # Append zero rows with the option mergeSchema: no other way to add columns works on all engines.
            fields = [StructField(f.name, f.dataType, f.nullable or f.name in added) for f in rows.schema]
            with self._commit(contract):
                self.session.createDataFrame([], StructType(fields)).writeTo(self.name_of(contract.name)).option(
                    "mergeSchema", "true"
                ).append()
            self._protect_columns(contract, rows, added)
        return added

    def protect(self, contract: TableContract) -> None:
        """Set the tags and masks of an existing table, on Databricks.

        Tables that this class creates or changes have their tags and masks. This method is for tables that are older
        than a class of personal data, or than the masks.
        """
        self._protect_columns(contract, self.read(contract))

    def remove_masks(self, contract: TableContract) -> None:
        """Remove the masks of an existing table."""
        for column in _personal_columns(contract, self.read(contract)):
            self._alter_column(contract, column, "DROP MASK")

    def is_member(self, group: str) -> bool:
        """Return whether the identity that runs this session is a member of an account group."""
        [row] = self.session.sql(f"SELECT is_account_group_member({sql_literal(group)}) AS is_member").collect()
        return bool(row["is_member"])

    def _protect_columns(self, contract: TableContract, rows: DataFrame, names: Collection[str] | None = None) -> None:
        """Set the masks and tags of columns that exist. The masks come first: a tag protects nothing.

        Args:
            contract: Contract of the table.
            rows: Rows with the columns.
            names: Names of the columns to protect. None for all columns.
        """
        if not self.is_databricks:
            return
        columns = [each for each in _personal_columns(contract, rows) if names is None or each.name in names]
        if self.unmasked_group:
            for column in columns:
                self._alter_column(contract, column, f"SET{self._mask_ddl(column)}")
        self._tag(contract, columns)

    def _tag(self, contract: TableContract, columns: Collection[Column]) -> None:
        if self.is_databricks and columns:
            classes = sorted({str(column.pii) for column in (*contract.personal_columns, *columns)})
            tag = f"SET TAGS ('{PERSONAL_DATA}' = {sql_literal(', '.join(classes))})"
            self.session.sql(f"ALTER TABLE {self.name_of(contract.name)} {tag}")
            for column in columns:
                self._alter_column(contract, column, f"SET TAGS ('{PERSONAL_DATA}' = {sql_literal(str(column.pii))})")

    def _alter_column(self, contract: TableContract, column: Column, change: str) -> None:
        self.session.sql(f"ALTER TABLE {self.name_of(contract.name)} ALTER COLUMN {_identifier(column.name)} {change}")

    def _mask_ddl(self, column: Column) -> str:
        """Return the MASK clause of a column; empty if the column has no mask.

        A mask is a function of this schema, one per column type. The first use of a type creates its function.
        """
        if not (self.is_databricks and self.unmasked_group and column.pii):
            return ""
        name = self.name_of(f"mask_{re.sub(r'[^a-z0-9]+', '_', column.type.lower()).strip('_')}")
        mask = sql_literal(_MASKED_TEXT) if column.type.upper() == "STRING" else "NULL"
        with self._masking:  # tables are created in parallel
            if name not in self._masks:
                self.session.sql(
                    f"CREATE OR REPLACE FUNCTION {name}(value {column.type}) RETURNS {column.type} COMMENT"
                    " 'The value for members of the group in the variable unmasked_group; a mask for anybody else.'"
                    f" RETURN CASE WHEN is_account_group_member({sql_literal(self.unmasked_group)}) THEN value"
                    f" ELSE {mask} END"
                )
                self._masks.add(name)
        return f" MASK {name}"

    def merge(self, contract: TableContract, changes: DataFrame) -> int:
        """Upsert and delete rows by key.

        Args:
            contract: Contract of the table.
            changes: Rows with the contract's columns and `IS_GONE`, one row per key. A row is deleted if `IS_GONE` is
                true.

        Returns:
            Number of inserted and updated rows.
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
        """Upsert rows by key, and delete rows whose key is in `keys` but not in `rows`.

        Args:
            contract: Contract of the table.
            rows: Rows with the contract's columns, one row per key.
            keys: Keys to delete, in a data frame with the contract's key columns. A key that is also in `rows` is
                upserted, not deleted. None to delete no rows.

        Returns:
            Number of inserted and updated rows.
        """
        changes = rows.selectExpr(*contract.select_list, f"false AS {IS_GONE}")
        if keys is not None:
            values = [column for column in contract.columns if column.name not in contract.key]
            nulls = [sf.lit(None).cast(column.type).alias(column.name) for column in values]
            deletions = keys.select(*contract.key, *nulls).selectExpr(*contract.select_list, f"true AS {IS_GONE}")
            upserts_first = Window.partitionBy(*contract.key).orderBy(IS_GONE)
            ranked = changes.unionByName(deletions).withColumn("_rank", sf.row_number().over(upserts_first))
            changes = ranked.where("_rank = 1").drop("_rank")
        return self.merge(contract, changes)

    def _prepared(self, contract: TableContract, rows: DataFrame, null_columns: Collection[str] = ()) -> DataFrame:
        """Return the rows with their columns in the order of the contract. Write nulls in the columns `null_columns`.

        Raise an error if any other column is missing. Without this check, the column would be null in the table.
        """
        unknown = [name for name in rows.columns if name not in contract.column_names]
        nulls = {name: sf.lit(None).cast(contract.types[name]).alias(name) for name in null_columns}
        return rows.select(*(nulls.get(name, sf.col(f"`{name}`")) for name in (*contract.column_names, *unknown)))

    def frame(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> DataFrame:
        """Return a data frame of Python values, with the columns of a contract.

        The values are sent as SQL, because `createDataFrame` would start a Python worker in Spark.

        Args:
            contract: Contract of the table.
            rows: Values by column name. A missing column is null.
        """
        names = contract.column_names
        values = ", ".join(f"({', '.join(_sql_value(row.get(name)) for name in names)})" for row in rows)
        if not values:
            values = f"({', '.join('NULL' for _ in names)})"
        frame = self.session.sql(f"SELECT * FROM VALUES {values} AS rows ({_quoted(names)})")
        # Use one partition, so that a write operation creates only one file.
        return (frame if rows else frame.where("false")).coalesce(1).selectExpr(*contract.select_list)

    def publish(self, contract: TableContract, rows: DataFrame, location: str) -> None:
        """Write the columns of rows of a table that hold no personal data to `<location>/<table>`.

        The copy has no deletion vectors and no column mapping, so that tools that support only Delta reader version 1
        can read it.

        Args:
            contract: Contract of the table.
            rows: Rows of the table that may be copied.
            location: Folder of the copies.
        """
        columns = [sf.col(column.name).cast(column.type).alias(column.name) for column in contract.public_columns]
        copy = rows.select(*columns).write.format("delta").mode("overwrite")
        # Set both options explicitly, because their defaults differ between engines. All Delta and Parquet readers
        # support these values.
        copy = copy.option("delta.enableDeletionVectors", "false").option("compression", "snappy")
        with self._commit(contract):
            copy.option("overwriteSchema", "true").save(f"{location}/{contract.name}")

    def is_published(self, contract: TableContract, location: str) -> bool:
        """Return whether a table has a copy with the current columns.

        The current columns are the columns of the contract that hold no personal data.
        """
        try:
            columns = self.session.read.format("delta").load(f"{location}/{contract.name}").dtypes
        except AnalysisException:
            return False
        return columns == [(column.name, column.type.lower()) for column in contract.public_columns]

    def find_damage(self, contracts: Iterable[TableContract]) -> str:
        """Return a message that names a damaged file of tables. Empty if no file is known to be damaged.

        The runner calls this method after an error of the engine. On Databricks, the error itself names the file.
        """
        return ""

    def has_view(self, name: str) -> bool:
        """Return whether the schema has a view or table with the given name."""
        if name not in self._existing:
            self._existing |= self._table_names()
        return name in self._existing

    def create_view(self, name: str, query: str) -> None:
        """Create or replace a view.

        Args:
            name: Name of the view in the schema.
            query: Query with full table names.
        """
        self.session.sql(f"CREATE OR REPLACE VIEW {self.name_of(name)} AS\n{query}")

    def drop_view(self, name: str) -> None:
        """Drop a view if it exists.

        Args:
            name: Name of the view in the schema.
        """
        self.session.sql(f"DROP VIEW IF EXISTS {self.name_of(name)}")
        self._existing.discard(name)

    def create_metric_view(self, name: str, definition: str) -> None:
        """Create or replace a metric view.

        Args:
            name: Name of the view in the schema.
            definition: Definition of the metric view in YAML.
        """
        self.session.sql(
            f"CREATE OR REPLACE VIEW {self.name_of(name)} WITH METRICS LANGUAGE YAML AS $$\n{definition}\n$$"
        )

    can_maintain = True
    """Whether the engine supports OPTIMIZE and VACUUM."""

    def files_of(self, contract: TableContract) -> Files:
        """Return the number and the total size of a table's files."""
        detail = self._detail(contract)
        return Files(detail["numFiles"], detail["sizeInBytes"])

    def _detail(self, contract: TableContract) -> Row:
        [detail] = self.session.sql(f"DESCRIBE DETAIL {self.name_of(contract.name)}").collect()
        return detail

    def maintain(self, contract: TableContract, retention_days: int) -> None:
        """Apply a table's layout, compact small files and remove old files. The rows stay the same.

        Args:
            contract: Contract of the table.
            retention_days: Number of days for which the files of earlier table versions are kept. Running queries may
                still read these versions.

        Raises:
            ConflictError: Another writer committed first.
        """
        name, columns = self.name_of(contract.name), list(contract.clustered_by)
        detail = self._detail(contract)
        # Set the retention as a table property, not in the VACUUM statement, so that any other VACUUM respects it.
        wanted = {"delta.deletedFileRetentionDuration": f"interval {retention_days} days"}
        wanted |= self.properties_of(contract)
        changed = {key: value for key, value in wanted.items() if detail["properties"].get(key) != value}
        is_laid_out = not (self.is_databricks and columns) or list(detail["clusteringColumns"]) == columns
        of_columns = f" FOR COLUMNS {_quoted(contract.statistics_columns)}" if contract.statistics_columns else ""
        statements = [
            *([f"ALTER TABLE {name} SET TBLPROPERTIES ({_properties_ddl(changed)})"] if changed else []),
            *([] if is_laid_out else [f"ALTER TABLE {name} CLUSTER BY ({_quoted(columns)})"]),
            # Without FULL, OPTIMIZE would not cluster the files that were written before the layout was set.
            f"OPTIMIZE {name}{'' if is_laid_out else ' FULL'}",
            f"VACUUM {name}",
            *([f"ANALYZE TABLE {name} COMPUTE STATISTICS{of_columns}"] if self.is_databricks else []),
        ]
        with self._commit(contract):
            for statement in statements:
                self.session.sql(statement)

    def set_predictive_optimization(self, state: str) -> None:
        """Switch predictive optimization of the schema's tables on or off. Do nothing on other engines.

        Args:
            state: ENABLE, DISABLE or INHERIT. INHERIT uses the setting of the catalog.
        """
        if self.is_databricks:
            self.session.sql(f"ALTER SCHEMA {self._schema} {state} PREDICTIVE OPTIMIZATION")

    @property
    def engine(self) -> str:
        """Return the name and version of the engine."""
        return f"databricks {os.environ.get('DATABRICKS_RUNTIME_VERSION', '')}".strip()

    @contextmanager
    def _commit(self, contract: TableContract) -> Iterator[None]:
        """Turn the engine's error into a `ConflictError` if another writer committed first."""
        try:
            yield
        except PySparkException as error:
            if not _CONFLICT.search(str(error)):
                raise
            raise ConflictError(
                f"Another run has written {self.name_of(contract.name)} meanwhile: this write changed nothing."
                " Run the task again after the other run has ended."
            ) from error


def _counts(counts: Mapping[str, SparkColumn]) -> list[SparkColumn]:
    return [sf.count("*").alias("rows"), *(count.alias(name) for name, count in counts.items())]


def statistics_properties(contract: TableContract) -> dict[str, str]:
    """Return the Delta properties that limit the file statistics of a table to some columns."""
    columns = ",".join(contract.statistics_columns)
    return {"delta.dataSkippingStatsColumns": columns} if columns else {"delta.dataSkippingNumIndexedCols": "0"}


def same_key(contract: TableContract) -> str:
    """Return an SQL condition that is true if rows `t` and `s` have the same key.

    Nulls in optional key columns are equal.
    """
    required = {column.name for column in contract.columns if column.required}
    return " AND ".join(f"t.`{name}` {'=' if name in required else '<=>'} s.`{name}`" for name in contract.key)


def is_in(contract: TableContract, partitions: Collection[object]) -> SparkColumn:
    """Return a condition that is true if a row is in one of the given partitions.

    The table must be partitioned by one column.
    """
    [column] = contract.partitioned_by
    return sf.col(column).isin(*partitions) if partitions else sf.lit(False)


def column_ddl(column: Column) -> str:
    """Return the definition of a column for CREATE TABLE."""
    required = " NOT NULL" if column.required else ""
    return f"`{column.name}` {column.type}{required} COMMENT {sql_literal(column.comment)}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _personal_columns(contract: TableContract, rows: DataFrame) -> list[Column]:
    """Return the columns of the rows that hold personal data, or that no contract classifies."""
    known = {column.name: column for column in contract.columns}
    columns = [known.get(name, Column(name, type_, "", pii=UNCLASSIFIED)) for name, type_ in rows.dtypes]
    return [column for column in columns if column.pii]


def _identifier(name: str) -> str:
    """Return a name as an identifier of SQL. A source may have named the column."""
    return "`" + name.replace("`", "``") + "`"


def _properties_ddl(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{sql_literal(key)} = {sql_literal(value)}" for key, value in properties.items())


def _sql_value(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"TIMESTAMP{sql_literal(value.isoformat(sep=' '))}"
    if isinstance(value, float):
        # Without the suffix D, the engine would read the literal as a decimal, not as a double.
        return f"{float(value)!r}D" if math.isfinite(value) else f"CAST('{float(value)!r}' AS DOUBLE)"
    if isinstance(value, date):
        return f"DATE{sql_literal(value.isoformat())}"
    return sql_literal(value) if isinstance(value, str) else str(value)


def sql_literal(text: str) -> str:
    """Return a string as a literal of Spark SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
