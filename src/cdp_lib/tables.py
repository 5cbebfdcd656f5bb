"""The only reader and writer of tables.

Every write is one Delta commit per table: readers see the table before or after it, never between, and a write that
is repeated gives the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as sf
from pyspark.sql.types import StructField, StructType

from cdp_lib.contracts.table import BronzeContract, Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.quality import CheckedRows

_FILE_NAME = r"/data/(?:file=)?(.*?)(?:/part-00000)?\.jsonl$"
"""Name of a source's file in `_source_file`, as the notebooks (`file=<name>/part-00000.jsonl`) and Data Factory
(`<name>.jsonl`) land it."""


@dataclass(frozen=True)
class Written:
    """The account of one write: received = rows + quarantined + superseded.

    Attributes:
        rows: Rows written.
        quarantined: Rows that went to quarantine.
        superseded: Identical copies of rows that are there.
        new_columns: Columns the table has gained with this write.
    """

    rows: int
    quarantined: int = 0
    superseded: int = 0
    new_columns: tuple[str, ...] = ()


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
        self._schema = f"`{catalog}`.`{schema}`"

    def name_of(self, contract: TableContract) -> str:
        """Full name of a table, quoted."""
        return f"{self._schema}.`{contract.name}`"

    def read_table(self, contract: TableContract) -> DataFrame:
        """All rows of a table.

        Raises:
            CdpError: The table does not exist yet.
        """
        if not self._spark.catalog.tableExists(self.name_of(contract).replace("`", "")):
            raise CdpError(
                f"Table {self.name_of(contract)} does not exist: run the task that writes it first, or the whole job."
            )
        return self._spark.table(self.name_of(contract))

    def read_current_records(self, contract: BronzeContract) -> DataFrame:
        """The records of a bronze table as the source has them now.

        That is the latest snapshot and what has changed since: of each record the rows of the latest batch it came
        with; none where that says it is gone. Of a source of files, of each file the rows of the latest batch it came
        with.

        Raises:
            CdpError: The table does not exist yet.
        """
        rows = self.read_table(contract)
        # Rows from before there were increments have no `_load`: they are snapshots.
        snapshot = sf.when(sf.coalesce("_load", sf.lit("snapshot")) == "snapshot", sf.col("_batch_id"))
        of_files = sf.max(sf.col("_load") == "files")
        latest_snapshot, latest, has_files = rows.agg(sf.max(snapshot), sf.max("_batch_id"), of_files).collect()[0]
        if has_files:
            same_file = sf.regexp_extract("_source_file", _FILE_NAME, 1)
            newest_of_file = sf.max("_batch_id").over(Window.partitionBy(same_file)).alias("_newest")
            return rows.select("*", newest_of_file).where("_batch_id = _newest").drop("_newest")
        if latest_snapshot == latest:
            return rows.where(sf.col("_batch_id") == latest)
        # A record without a key is no version of another one.
        has_no_key = sf.concat(*(sf.col(name).cast("string") for name in contract.record_key)).isNull()
        same_record = Window.partitionBy(*contract.record_key, sf.when(has_no_key, sf.col("_record_hash")))
        since = rows.where(sf.col("_batch_id") >= sf.lit(latest_snapshot or ""))
        # Of a record and its removal in one batch, the removal is later.
        version = sf.struct("_batch_id", sf.coalesce("_is_deleted", sf.lit(False)).alias("_is_deleted"))
        newest = since.select("*", sf.max(version).over(same_record).alias("_newest"))
        return newest.where("_batch_id = _newest._batch_id AND NOT _newest._is_deleted").drop("_newest")

    def read_batch_ids(self, contract: TableContract) -> set[str]:
        """The batches a table holds rows of; none where the table does not exist yet."""
        self.create_table(contract)
        return {row[0] for row in self.read_table(contract).select("_batch_id").distinct().collect()}

    def create_table(self, contract: TableContract) -> None:
        """Make the table a contract promises, where there is none."""
        partitions = f" PARTITIONED BY ({', '.join(contract.partitioned_by)})" if contract.partitioned_by else ""
        self._spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self.name_of(contract)}"
            f" ({', '.join(_column_ddl(column) for column in contract.columns)})"
            f" USING delta{partitions} COMMENT {sql_literal(contract.comment)}"
        ).collect()

    def replace_table(self, contract: TableContract, rows: DataFrame) -> Written:
        """Make the table hold these rows and no others.

        Args:
            contract: Contract of the table.
            rows: Rows in the contract's columns.
        """
        self.create_table(contract)
        _as_promised(rows, contract).writeTo(self.name_of(contract)).overwrite(sf.lit(True))
        return Written(rows=self.read_table(contract).count())

    def replace_tables(self, rows_by_contract: Mapping[TableContract, DataFrame]) -> Written:
        """Replace several tables, one after the other.

        Args:
            rows_by_contract: Rows of each table, in its contract's columns.
        """
        return Written(sum(self.replace_table(contract, rows).rows for contract, rows in rows_by_contract.items()))

    def replace_batches(self, contract: TableContract, rows_by_batch: Mapping[str, DataFrame]) -> Written:
        """Make the table hold these rows of these batches; rows of other batches stay.

        Args:
            contract: Contract of the table, which has a `_batch_id`.
            rows_by_batch: Rows of each batch, in the contract's columns and any others: the table gains those.
        """
        self.create_table(contract)
        gained = [name for rows in rows_by_batch.values() for name in self._gain_columns(contract, rows)]
        for batch_id, rows in rows_by_batch.items():
            others = [name for name in self.read_table(contract).columns if name not in contract.column_names]
            # Columns that the source had in other batches only.
            absent = [sf.lit(None).cast("string").alias(name) for name in others if name not in rows.columns]
            _as_promised(rows.select("*", *absent), contract, others).writeTo(self.name_of(contract)).overwrite(
                sf.col("_batch_id") == batch_id
            )
        rows_now = self.read_table(contract).where(sf.col("_batch_id").isin(*rows_by_batch)).count()
        return Written(rows_now, new_columns=tuple(gained))

    def _gain_columns(self, contract: TableContract, rows: DataFrame) -> list[str]:
        """Add the columns that the rows have and the table has not; their names."""
        there = self.read_table(contract).columns
        gained = [name for name in rows.columns if name not in there]
        if gained:
            # The one way to add a column that every engine has: an append of nothing. Older rows have null in it.
            fields = [StructField(f.name, f.dataType, f.nullable or f.name in gained) for f in rows.schema]
            nothing = self._spark.createDataFrame([], StructType(fields))
            nothing.writeTo(self.name_of(contract)).option("mergeSchema", "true").append()
        return gained

    def replace_checked(self, contract: TableContract, checked: CheckedRows) -> Written:
        """Make the table hold the rows that were kept, and its quarantine those that were refused.

        The quarantine is written first: a run that is killed between the two leaves the table as it was.

        Args:
            contract: Contract of the table.
            checked: Rows after the check.
        """
        quarantined = self.replace_table(contract.quarantine, checked.refused).rows
        kept = self.replace_table(contract, checked.kept).rows
        return Written(kept, quarantined, superseded=checked.received - kept - quarantined)


def _as_promised(rows: DataFrame, contract: TableContract, others: Sequence[str] = ()) -> DataFrame:
    """The contract's columns in order, then others.

    Sail checks NOT NULL below the filters of a plan, where refused rows still are; no filter is moved past an
    offset, and Spark leaves out one of 0.
    """
    return rows.select(*contract.column_names, *(f"`{name}`" for name in others)).offset(0)


def _column_ddl(column: Column) -> str:
    required = " NOT NULL" if column.required else ""
    return f"`{column.name}` {column.type}{required} COMMENT {sql_literal(column.comment)}"


def sql_literal(text: str) -> str:
    """The text as a literal of Spark SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
