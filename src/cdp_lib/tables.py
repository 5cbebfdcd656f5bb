"""The only reader and writer of tables.

Every write is one Delta commit per table: readers see the table before or after it, never between, and a write that
is repeated gives the same table.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from tempfile import TemporaryDirectory
from threading import Lock
from weakref import WeakKeyDictionary

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as sf
from pyspark.sql.types import StructField, StructType

from cdp_lib.contracts.table import BronzeContract, Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.frames import union

_APPEND_ATTEMPTS = 5
_CONFLICT = re.compile(r"DELTA_CONCURRENT|Concurrent\w+Exception|Failed to commit transaction|DELTA_PROTOCOL_CHANGED")
"""What engines say of a commit that another one has come before."""

_VERSIONS: MutableMapping[SparkSession, str] = WeakKeyDictionary()
"""What the engine of each session says of itself, asked for once."""

_CURRENT: MutableMapping[SparkSession, set[tuple[str, tuple[str, ...]]]] = WeakKeyDictionary()
"""Tables that in each session were seen to have these columns, which a table does not lose."""

_WRITING: dict[str, Lock] = {}
"""Of each table, what a thread holds while it writes it on Sail: an overwrite there does not notice a commit that came
between what it read and what it writes. The engine is in this process, and a home is of one process alone."""

_FILE_NAME = r"/data/(?:file=)?(.*?)(?:/part-00000)?\.jsonl$"
"""Name of a source's file in `_source_file`, as the notebooks (`file=<name>/part-00000.jsonl`) and Data Factory
(`<name>.jsonl`) land it."""


class ConflictError(CdpError):
    """Another writer's commit has come before this one, which has changed nothing."""


@dataclass(frozen=True)
class Written:
    """The account of one write.

    Attributes:
        rows: Rows written.
        new_columns: Columns the table has gained with this write.
        rows_by_batch: Rows written of each batch, where there are batches.
    """

    rows: int
    new_columns: tuple[str, ...] = ()
    rows_by_batch: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Files:
    """What a table is made of now, without the files of its earlier versions.

    Attributes:
        count: Number of data files.
        bytes: Size of them all.
    """

    count: int
    bytes: int


class Tables:
    """The platform's tables in one schema."""

    def __init__(self, spark: SparkSession, catalog: str, schema: str) -> None:
        """Name the schema; nothing is read yet.

        Args:
            spark: Session.
            catalog: Unity Catalog catalog.
            schema: Schema of the tables.
        """
        self._spark = spark
        # A day is a day of UTC, whatever a workspace is set to.
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        self._schema = f"`{catalog}`.`{schema}`"
        self._seen: set[str] = set()  # tables that are there, asked for until they are
        self._new: set[str] = set()  # tables this object has made, and not written yet

    def name_of(self, contract: TableContract) -> str:
        """Full name of a table, quoted."""
        return f"{self._schema}.`{contract.name}`"

    def name_of_view(self, name: str) -> str:
        """Full name of a view in the schema, quoted."""
        return f"{self._schema}.`{name}`"

    def exists(self, contract: TableContract) -> bool:
        """Whether the table is there."""
        if contract.name not in self._seen:
            self._seen |= {row["tableName"] for row in self._spark.sql(f"SHOW TABLES IN {self._schema}").collect()}
        return contract.name in self._seen

    def read_table(self, contract: TableContract) -> DataFrame:
        """All rows of a table.

        Raises:
            CdpError: The table does not exist yet.
        """
        if not self.exists(contract):
            raise CdpError(
                f"Table {self.name_of(contract)} does not exist: run the task that writes it first, or the whole job."
            )
        return self._spark.table(self.name_of(contract))

    def read_rows(self, contract: TableContract, keys: DataFrame) -> DataFrame:
        """The rows of some keys, read where they are: of a table with partitions, from no other one.

        Args:
            contract: Contract of the table.
            keys: The contract's key columns, once each.

        Raises:
            CdpError: The table does not exist yet.
        """
        rows = self.read_table(contract)
        if contract.partitioned_by:
            # Keys are looked up in two columns first: all columns of all rows cost what exists, not what is wanted.
            there = rows.join(keys, list(contract.key), how="left_semi")
            rows = rows.where(_is_in(contract, _partitions(contract, there)))
        return rows.join(keys, list(contract.key), how="left_semi")

    def read_partitions(self, contract: TableContract) -> set[str]:
        """The partitions that hold rows, as text, of a table that is partitioned by one column.

        Raises:
            CdpError: The table does not exist yet.
        """
        return set(map(str, _partitions(contract, self.read_table(contract))))

    def read_newest_files(self, contract: BronzeContract, batch_ids: Collection[str]) -> DataFrame:
        """Of each file of a source of files, the rows of the latest of these batches it came with.

        Raises:
            CdpError: The table does not exist yet.
        """
        same_file = Window.partitionBy(sf.regexp_extract("_source_file", _FILE_NAME, 1))
        rows = self.read_table(contract).where(sf.col("_batch_id").isin(*batch_ids))
        rows = rows.select("*", sf.max("_batch_id").over(same_file).alias("_newest"))
        return rows.where("_batch_id = _newest").drop("_newest")

    def has_newer_files(self, contract: BronzeContract, batch_ids: Collection[str]) -> bool:
        """Whether a file in these batches is also in another one."""
        is_in_them = sf.col("_batch_id").isin(*batch_ids)
        # The few paths first: their names are cut out of one of each, and not of that of every row.
        paths = self.read_table(contract).select("_source_file", "_batch_id").distinct()
        files = paths.groupBy(sf.regexp_extract("_source_file", _FILE_NAME, 1)).agg(
            sf.bool_or(is_in_them).alias("is_in_them"), sf.bool_or(~is_in_them).alias("is_in_others")
        )
        return not files.where("is_in_them AND is_in_others").isEmpty()

    def read_loads(self, contract: BronzeContract) -> dict[str, tuple[str, int]]:
        """Of each batch in a bronze table, what it is (snapshot, increment, files) and how many rows it has.

        Raises:
            CdpError: The table does not exist yet.
        """
        # Rows from before there were increments have no `_load`: they are snapshots.
        load = sf.max(sf.coalesce("_load", sf.lit("snapshot")))
        batches = self.read_table(contract).groupBy("_batch_id").agg(load, sf.count("*"))
        return {batch_id: (load, rows) for batch_id, load, rows in sorted(batches.collect())}

    def count_by_batch(self, contracts: Iterable[TableContract]) -> dict[tuple[str, str], int]:
        """Rows by table and batch, of the tables that are there and say of each row what batch it came with."""
        counts = [
            self.read_table(contract)
            .groupBy("_batch_id")
            .agg(sf.count("*").alias("rows"))
            .select(sf.lit(contract.name).alias("table_name"), "_batch_id", "rows")
            for contract in contracts
            if self.exists(contract)
        ]
        return {(name, batch_id): rows for name, batch_id, rows in (union(counts).collect() if counts else [])}

    def read_batch_ids(self, contract: TableContract) -> set[str]:
        """The batches a table holds rows of; none where the table does not exist yet."""
        if not self.exists(contract):
            return set()
        return {row[0] for row in self.read_table(contract).select("_batch_id").distinct().collect()}

    def is_empty(self, contract: TableContract) -> bool:
        """Whether the table has no rows."""
        return contract.name in self._new or self.read_table(contract).isEmpty()

    def create_table(self, contract: TableContract) -> None:
        """Make the table a contract promises, or give it the columns it lacks.

        A table of an earlier version of its contract gains columns; in the rows that are there they are null.

        Raises:
            CdpError: The table was made by an earlier version, without the column that its files are laid out by.
        """
        if self.exists(contract):
            current = _CURRENT.setdefault(self._spark, set())
            wanted = (self.name_of(contract), contract.column_names)
            if wanted in current:
                return
            there = self.read_table(contract)
            lacking = [column for column in contract.columns if column.name not in there.columns]
            if any(column.name in contract.partitioned_by for column in lacking):
                raise CdpError(
                    f"Table {self.name_of(contract)} has the layout of an earlier version: DROP TABLE it, and run the"
                    " job with full_refresh=true to make it anew from what has landed."
                )
            if lacking:
                nothing = [sf.lit(None).cast(column.type).alias(column.name) for column in lacking]
                self._gain_columns(contract, there.select("*", *nothing))
            current.add(wanted)
            return
        try:
            self._spark.sql(
                f"CREATE TABLE IF NOT EXISTS {self.name_of(contract)}"
                f" ({', '.join(_column_ddl(column) for column in contract.columns)})"
                f" USING delta{self._layout_ddl(contract)} COMMENT {sql_literal(contract.comment)}"
            ).collect()
        except PySparkException:
            # Tasks side by side may all be the first to need a table: one of them makes it.
            if not self._appears(contract):
                raise
            return
        self._new.add(contract.name)

    def _layout_ddl(self, contract: TableContract) -> str:
        """How the files of a new table are laid out.

        Clustering and deletion vectors are for Databricks: elsewhere a table with them could be written by one engine
        only (docs/adr/0022).
        """
        layout = f" PARTITIONED BY ({', '.join(contract.partitioned_by)})" if contract.partitioned_by else ""
        if self.engine[0] == "databricks" and contract.clustered_by:  # a table has one layout or the other
            layout = f" CLUSTER BY ({_quoted(contract.clustered_by)})"
        properties = self._properties_of(contract)
        return f"{layout} TBLPROPERTIES ({_properties_ddl(properties)})" if properties else layout

    def _properties_of(self, contract: TableContract) -> dict[str, str]:
        """What each engine is told of a table.

        Databricks of deletion vectors, since workspaces differ in what new tables get unasked. Spark of statistics: of
        all columns they are two fifths of a write. Databricks chooses their columns by itself; Sail has them for
        nothing, and plans joins by them.
        """
        if self.engine[0] == "databricks":
            return {"delta.enableDeletionVectors": str(contract.has_deletion_vectors).lower()}
        if self.engine[0] == "sail":
            return {}
        columns = ",".join(contract.statistics_columns)
        return {"delta.dataSkippingStatsColumns": columns} if columns else {"delta.dataSkippingNumIndexedCols": "0"}

    def _appears(self, contract: TableContract) -> bool:
        """Whether a table that another task is making is there within a few seconds."""
        for _ in range(20):
            if self.exists(contract):
                return True
            time.sleep(0.25)
        return False

    def replace_table(self, contract: TableContract, rows: DataFrame) -> None:
        """Make the table hold these rows and no others.

        Args:
            contract: Contract of the table.
            rows: Rows in the contract's columns.
        """
        self.create_table(contract)
        self._overwrite(contract, rows)

    def replace_partitions(self, contract: TableContract, partitions: Collection[object], rows: DataFrame) -> None:
        """Make some partitions of a table hold these rows and no others; the other partitions stay.

        Args:
            contract: Contract of the table, which is partitioned by one column.
            partitions: Values of that column.
            rows: Rows in the contract's columns, of these partitions.
        """
        self.create_table(contract)
        if partitions:
            self._overwrite(contract, rows, _is_in(contract, partitions))

    def _overwrite(
        self,
        contract: TableContract,
        rows: DataFrame,
        condition: SparkColumn | None = None,
        others: Sequence[str] = (),
    ) -> None:
        self._write_over(contract, self._checked(rows, contract, others), condition)

    def _write_over(self, contract: TableContract, rows: DataFrame, condition: SparkColumn | None) -> None:
        with self._commit(contract):
            self._dealt_out(rows, contract).writeTo(self.name_of(contract)).overwrite(
                sf.lit(True) if condition is None else condition
            )

    def replace_tables(self, rows_by_contract: Mapping[TableContract, DataFrame]) -> Written:
        """Replace several tables, one after the other.

        Args:
            rows_by_contract: Rows of each table, in its contract's columns.
        """
        for contract, rows in rows_by_contract.items():
            self.replace_table(contract, rows)
        return Written(self.count_rows(rows_by_contract))

    def count_rows(self, contracts: Iterable[TableContract]) -> int:
        """Rows of tables together, in one query.

        Raises:
            CdpError: A table does not exist yet.
        """
        return _count(map(self.read_table, contracts))

    def publish_tables(self, contracts: Collection[TableContract], location: str) -> Written:
        """Copy tables to where readers outside Unity Catalog find them, one after the other.

        Args:
            contracts: Contracts of the tables, at least one.
            location: Folder of the copies.

        Raises:
            CdpError: A table does not exist yet.
        """
        for contract in contracts:
            self.publish_table(contract, location)
        return Written(_count(self._read_published(contract, location) for contract in contracts))

    def publish_table(self, contract: TableContract, location: str) -> None:
        """Make `<location>/<table>` a copy of a table, in the columns that hold no personal data.

        Readers there may know Delta's reader version 1 only: no deletion vectors, no column mapping.

        Args:
            contract: Contract of the table.
            location: Folder of the copies.

        Raises:
            CdpError: The table does not exist yet.
        """
        columns = [sf.col(column.name).cast(column.type).alias(column.name) for column in contract.public_columns]
        copy = self.read_table(contract).select(*columns).write.format("delta").mode("overwrite")
        # Whatever an engine's defaults are, or become: what every reader of Delta and of Parquet knows.
        copy = copy.option("delta.enableDeletionVectors", "false").option("compression", "snappy")
        with self._commit(contract):
            copy.option("overwriteSchema", "true").save(f"{location}/{contract.name}")

    def is_published(self, contract: TableContract, location: str) -> bool:
        """Whether there is a copy of a table, in the columns it is to have."""
        try:
            columns = self._read_published(contract, location).dtypes
        except AnalysisException:
            return False
        return columns == [(column.name, column.type.lower()) for column in contract.public_columns]

    def _read_published(self, contract: TableContract, location: str) -> DataFrame:
        return self._spark.read.format("delta").load(f"{location}/{contract.name}")

    def replace_batches(self, contract: TableContract, rows_by_batch: Mapping[str, DataFrame]) -> Written:
        """Make the table hold these rows of these batches; rows of other batches stay.

        Args:
            contract: Contract of the table, which has a `_batch_id`.
            rows_by_batch: Rows of each batch, in the contract's columns and any others: the table gains those.
        """
        self.create_table(contract)
        gained = [name for rows in rows_by_batch.values() for name in self._gain_columns(contract, rows)]
        for batch_id, rows in rows_by_batch.items():
            # Columns that the source had in other batches only, or an earlier version of the contract, which may have
            # promised a text in each row.
            others = [field for field in self.read_table(contract).schema if field.name not in contract.column_names]
            absent = [
                sf.lit(None if field.nullable else "").cast(field.dataType).alias(field.name)
                for field in others
                if field.name not in rows.columns
            ]
            names = [field.name for field in others]
            self._overwrite(contract, rows.select("*", *absent), sf.col("_batch_id") == batch_id, names)
        if not rows_by_batch:
            return Written(0)
        written = self.read_table(contract).where(sf.col("_batch_id").isin(*rows_by_batch))
        counts = dict.fromkeys(rows_by_batch, 0) | {
            batch_id: rows for batch_id, rows in written.groupBy("_batch_id").agg(sf.count("*")).collect()
        }
        return Written(sum(counts.values()), tuple(gained), counts)

    def _gain_columns(self, contract: TableContract, rows: DataFrame) -> list[str]:
        """Add the columns that the rows have and the table has not; their names."""
        there = self.read_table(contract).columns
        gained = [name for name in rows.columns if name not in there]
        if gained:
            # The one way to add a column that every engine has: an append of nothing. Older rows have null in it.
            fields = [StructField(f.name, f.dataType, f.nullable or f.name in gained) for f in rows.schema]
            nothing = self._spark.createDataFrame([], StructType(fields))
            with self._commit(contract):
                nothing.writeTo(self.name_of(contract)).option("mergeSchema", "true").append()
        return gained

    def merge_rows(
        self, contract: TableContract, upserts: DataFrame, deletes: DataFrame, there: DataFrame | None = None
    ) -> None:
        """Write rows over those of their keys, and delete others.

        Args:
            contract: Contract of the table.
            upserts: Rows in the contract's columns, one per key.
            deletes: The contract's key columns, one row per key, none of them among the upserts.
            there: Rows of the table that are of these keys, where they are in memory: they are not looked for then.
        """
        no_values = [
            sf.lit(None).cast(column.type).alias(column.name)
            for column in contract.columns
            if column.name not in contract.key
        ]
        gone = deletes.select(*contract.key, *no_values, sf.lit(True).alias("_is_gone"))
        self.merge_changes(
            contract, upserts.select(*contract.column_names, sf.lit(False).alias("_is_gone")).unionByName(gone), there
        )

    def merge_changes(self, contract: TableContract, changes: DataFrame, there: DataFrame | None = None) -> None:
        """Write rows over those of their keys, and delete others: `merge_rows` of changes that are one frame.

        Args:
            contract: Contract of the table.
            changes: The contract's columns, one row per key, and `_is_gone`: whether the row is deleted.
            there: As for `merge_rows`.
        """
        self.create_table(contract)
        if self.engine[0] == "sail":
            self._merge_by_overwriting(contract, changes, there)
            return
        same_key = " AND ".join(f"t.`{name}` = s.`{name}`" for name in contract.key)
        values = ", ".join(f"`{name}` = s.`{name}`" for name in contract.column_names)
        names = ", ".join(f"`{name}`" for name in contract.column_names)
        of_source = ", ".join(f"s.`{name}`" for name in contract.column_names)
        with self._commit(contract):
            self._spark.sql(
                f"MERGE INTO {self.name_of(contract)} AS t USING {{changes}} AS s ON {same_key}"
                " WHEN MATCHED AND s._is_gone THEN DELETE"
                f" WHEN MATCHED THEN UPDATE SET {values}"
                f" WHEN NOT MATCHED AND NOT s._is_gone THEN INSERT ({names}) VALUES ({of_source})",
                changes=changes,
            ).collect()

    def _merge_by_overwriting(self, contract: TableContract, changes: DataFrame, there: DataFrame | None) -> None:
        """Write again what the changes are in: on Sail a quarter of a second a million rows; its MERGE takes several.

        That is nothing where no key is there yet, the partitions that the keys are in and come to, or the whole table.
        Changes are worked out once, into a file, ahead of it: the engine is on this machine.
        """
        with TemporaryDirectory() as folder:
            changes.selectExpr(*contract.select_list, "_is_gone").write.parquet(f"{folder}/changes")
            columns = ", ".join(f"`{column.name}` {column.type}" for column in contract.columns)
            held = self._spark.read.schema(f"{columns}, _is_gone BOOLEAN").parquet(f"{folder}/changes")
            self._overwrite_with(contract, held, there)

    def _overwrite_with(self, contract: TableContract, changes: DataFrame, there: DataFrame | None) -> None:
        rows = self.read_table(contract)
        entering = changes.where("NOT _is_gone").select(*contract.column_names)
        if there is None:
            there = rows.join(changes, list(contract.key), how="left_semi")
        condition = None
        if contract.partitioned_by:
            partitions = _partitions(contract, there)
            if not partitions:
                self._append(contract, entering)
                return
            condition = _is_in(contract, {*partitions, *_partitions(contract, entering)})
            rows = rows.where(condition)
        elif there.isEmpty():
            self._append(contract, entering)
            return
        others = rows.join(changes, list(contract.key), how="left_anti").select(*contract.column_names)
        # What is there already has been checked: it need not go through one stream.
        self._write_over(contract, others.unionByName(self._checked(entering, contract)), condition)

    def _checked(self, rows: DataFrame, contract: TableContract, others: Sequence[str] = ()) -> DataFrame:
        """The contract's columns in order, then others, each row as it leaves the plan.

        Sail checks NOT NULL below the filters of a plan, where refused rows still are; no filter is moved past an
        offset. That puts all rows into one stream.
        """
        promised = rows.select(*contract.column_names, *(f"`{name}`" for name in others))
        if self.engine[0] != "sail" or contract.layer == "bronze":  # whose rows are as received, none is refused
            return promised
        return promised.offset(0)

    def _dealt_out(self, rows: DataFrame, contract: TableContract) -> DataFrame:
        """On Sail, rows of tables that grow: each core writes a share of them, of a partition all or none."""
        grows = contract.clustered_by or contract.partitioned_by
        if self.engine[0] != "sail" or contract.layer == "bronze" or not grows:
            return rows
        return rows.repartition(os.cpu_count() or 2, *contract.partitioned_by)

    def _append(self, contract: TableContract, rows: DataFrame) -> None:
        with self._commit(contract):
            checked = self._checked(rows, contract)
            self._dealt_out(checked, contract).writeTo(self.name_of(contract)).append()

    def append_rows(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> None:
        """Add rows to a table that only grows.

        Args:
            contract: Contract of the table.
            rows: Values by column, at least one row; a column that is left out is null.
        """
        frame = self._frame_of(contract, rows)
        for attempt in range(_APPEND_ATTEMPTS):
            try:
                if not self.exists(contract):
                    self.create_table(contract)
                with self._commit(contract):
                    # To look first whether it lacks a column takes a quarter as long as the append.
                    frame.writeTo(self.name_of(contract)).option("mergeSchema", "true").append()
                return
            except ConflictError:
                # An append that was refused has written nothing, and does not mind what came before it.
                if attempt == _APPEND_ATTEMPTS - 1:
                    raise

    def compact_table(self, contract: TableContract) -> None:
        """Put the rows of a table that many appends have grown into few files; its rows are the same.

        Args:
            contract: Contract of the table.

        Raises:
            ConflictError: Another writer came before; the table is as it was.
        """
        if self.engine[0] == "sail":  # it has no OPTIMIZE
            self._overwrite(contract, self.read_table(contract))
            return
        with self._commit(contract):
            self._spark.sql(f"OPTIMIZE {self.name_of(contract)}").collect()

    @property
    def can_maintain(self) -> bool:
        """Whether the engine can do what `maintain` does: Sail can't."""
        return self.engine[0] != "sail"

    def files_of(self, contract: TableContract) -> Files:
        """The files of a table."""
        [detail] = self._spark.sql(f"DESCRIBE DETAIL {self.name_of(contract)}").collect()
        return Files(detail["numFiles"], detail["sizeInBytes"])

    def maintain(self, contract: TableContract, retention_days: int) -> None:
        """Lay out a table as its contract says, put small files together and remove old ones; its rows are the same.

        Args:
            contract: Contract of the table.
            retention_days: Days for which files of earlier versions stay, for who reads one of those.

        Raises:
            ConflictError: Another writer came before; the table is as it was.
        """
        name = self.name_of(contract)
        is_databricks = self.engine[0] == "databricks"
        [detail] = self._spark.sql(f"DESCRIBE DETAIL {name}").collect()
        # Of the table and not of the VACUUM, so that whoever else removes its files keeps them as long.
        wanted = {"delta.deletedFileRetentionDuration": f"interval {retention_days} days"}
        wanted |= self._properties_of(contract)
        changed = {key: value for key, value in wanted.items() if detail["properties"].get(key) != value}
        columns = list(contract.clustered_by)
        is_laid_out = not (is_databricks and columns) or list(detail["clusteringColumns"]) == columns
        statements = [
            *([f"ALTER TABLE {name} SET TBLPROPERTIES ({_properties_ddl(changed)})"] if changed else []),
            *([] if is_laid_out else [f"ALTER TABLE {name} CLUSTER BY ({_quoted(columns)})"]),
            # What has been written before a table was clustered is left as it lies unless FULL is said.
            f"OPTIMIZE {name}{'' if is_laid_out else ' FULL'}",
            f"VACUUM {name}",
            *([f"ANALYZE TABLE {name} COMPUTE STATISTICS{_for_columns(contract)}"] if is_databricks else []),
        ]
        with self._commit(contract):
            for statement in statements:
                self._spark.sql(statement).collect()

    def set_predictive_optimization(self, state: str) -> None:
        """Let Databricks maintain the schema's tables by itself, too, or not; on another engine nothing happens.

        Args:
            state: ENABLE, DISABLE or INHERIT, which is what the catalog says.
        """
        if self.engine[0] == "databricks":
            self._spark.sql(f"ALTER SCHEMA {self._schema} {state} PREDICTIVE OPTIMIZATION").collect()

    def upsert_rows(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> None:
        """Write rows over those of their keys; others stay.

        Args:
            contract: Contract of the table.
            rows: Values by column, one row per key, at least one; a column that is left out is null.
        """
        frame = self._frame_of(contract, rows)
        self.merge_rows(contract, frame, frame.limit(0))

    def replace_rows(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> None:
        """Make a small table hold these rows and no others; what it holds already is not written again.

        Args:
            contract: Contract of the table.
            rows: Values by column, one row per key.
        """
        self.create_table(contract)
        names, key = contract.column_names, contract.key
        there = {
            tuple(row[name] for name in key): tuple(row) for row in self.read_table(contract).select(*names).collect()
        }
        wanted = {tuple(row[name] for name in key): row for row in rows}
        changed = [row for values, row in wanted.items() if there.get(values) != tuple(map(row.get, names))]
        gone = [dict(zip(key, values, strict=True)) for values in there if values not in wanted]
        if changed or gone:
            nothing = self.read_table(contract).limit(0)
            self.merge_rows(
                contract,
                self._frame_of(contract, changed) if changed else nothing,
                self._frame_of(contract, gone) if gone else nothing,
            )

    def _frame_of(self, contract: TableContract, rows: Sequence[Mapping[str, object]]) -> DataFrame:
        """Rows from Python, as SQL: classic Spark would start Python workers for them."""
        values = ", ".join(
            f"({', '.join(_sql_value(row.get(name)) for name in contract.column_names)})" for row in rows
        )
        names = ", ".join(f"`{name}`" for name in contract.column_names)
        return self._spark.sql(f"SELECT * FROM VALUES {values} AS rows ({names})").selectExpr(*contract.select_list)

    @property
    def engine(self) -> tuple[str, str]:
        """Name of the engine – databricks, spark or sail – and its version."""
        if self._spark not in _VERSIONS:
            _VERSIONS[self._spark] = str(self._spark.sql("SELECT version()").collect()[0][0])
        version = _VERSIONS[self._spark].split()
        if runtime := os.environ.get("DATABRICKS_RUNTIME_VERSION"):
            return "databricks", runtime
        # Of the two, only Spark says what commit it was built from.
        return ("spark" if len(version) > 1 else "sail"), version[0]

    @property
    def has_metric_views(self) -> bool:
        """Whether the engine has metric views as `create_metric_views` writes them: Databricks alone."""
        return self.engine[0] == "databricks"

    def create_metric_views(self, definitions: Mapping[str, str]) -> None:
        """Make metric views, or put these definitions in the place of theirs.

        Args:
            definitions: YAML of each view, by its name in the schema.
        """
        for name, definition in definitions.items():
            self._spark.sql(
                f"CREATE OR REPLACE VIEW {self.name_of_view(name)} WITH METRICS LANGUAGE YAML AS $$\n{definition}\n$$"
            ).collect()

    def version_of(self, contract: TableContract) -> int | None:
        """Delta version of a table; None where the engine can't say."""
        try:
            [newest] = self._spark.sql(f"DESCRIBE HISTORY {self.name_of(contract)} LIMIT 1").collect()
        except PySparkException:
            return None
        return int(newest["version"])

    @contextmanager
    def _commit(self, contract: TableContract) -> Iterator[None]:
        """Around each commit: that another run has come between is said in one line."""
        self._new.discard(contract.name)
        writing = _WRITING.setdefault(self.name_of(contract), Lock()) if self.engine[0] == "sail" else nullcontext()
        try:
            with writing:
                yield
        except PySparkException as error:
            if not _CONFLICT.search(str(error)):
                raise
            raise ConflictError(
                f"Another run has written {self.name_of(contract)} meanwhile: nothing of this one is in it."
                " Let one run end before the next begins, and run it again."
            ) from error


def _count(tables: Iterable[DataFrame]) -> int:
    """Rows of all of them, in one query."""
    return sum(rows for (rows,) in union([table.groupBy().count() for table in tables]).collect())


def _partitions(contract: TableContract, rows: DataFrame) -> set[object]:
    """The partitions that rows are in."""
    [column] = contract.partitioned_by
    return {value for (value,) in rows.select(column).distinct().collect()}


def _is_in(contract: TableContract, partitions: Collection[object]) -> SparkColumn:
    """Whether a row is in one of these partitions."""
    [column] = contract.partitioned_by
    return sf.col(column).isin(*partitions) if partitions else sf.lit(False)


def _column_ddl(column: Column) -> str:
    required = " NOT NULL" if column.required else ""
    return f"`{column.name}` {column.type}{required} COMMENT {sql_literal(column.comment)}"


def _for_columns(contract: TableContract) -> str:
    return f" FOR COLUMNS {_quoted(contract.statistics_columns)}" if contract.statistics_columns else ""


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
    """The text as a literal of Spark SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
