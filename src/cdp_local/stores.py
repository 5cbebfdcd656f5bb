"""Delta stores of the local engines, with the code that differs from Databricks."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.storage.delta import IS_GONE, DeltaStore, column_ddl, is_in, same_key, statistics_properties
from cdp_local.engines import HomeCatalog, catalog_of

_WRITING: dict[str, Lock] = {}
"""Write lock of each table, by full name of the table.

An overwrite on Sail reads the table first. It does not detect another commit that is made after this read. Locks within
this process are enough: the engine runs in this process, and only one process uses a home folder.
"""


class SparkStore(DeltaStore):
    """Store on local Spark with Delta.

    Tables have neither clustering nor deletion vectors, because Sail cannot write tables with these features
    (docs/adr/0022). Delta collects statistics of a few columns only. Statistics of all columns would take 40 % of the
    time of a write.
    """

    is_databricks = False
    needs_lease = False
    """False, because only one process at a time uses a home folder."""

    @property
    def _home(self) -> HomeCatalog | None:
        """Catalog of the home folder; None if the schema of this store is not in a home folder."""
        catalog = catalog_of(self.session)
        return catalog if catalog and catalog.has_schema(self._schema) else None

    def exists(self, contract: TableContract) -> bool:
        """Return whether the table exists."""
        if contract.name in self._existing or not (home := self._home):
            return super().exists(contract)
        return home.has_table(self._schema, contract.name)

    def read(self, contract: TableContract) -> DataFrame:
        """Return all rows of a table."""
        self._register(contract)
        return super().read(contract)

    def _register(self, contract: TableContract) -> None:
        if contract.name not in self._existing and (home := self._home) and home.register(self._schema, contract.name):
            self._existing.add(contract.name)

    def _detail(self, contract: TableContract) -> Row:
        self._register(contract)
        return super()._detail(contract)

    @contextmanager
    def _commit(self, contract: TableContract) -> Iterator[None]:
        self._register(contract)
        with super()._commit(contract):
            yield
        if home := self._home:
            home.record(self._schema, contract.name)

    def find_damage(self, contracts: Iterable[TableContract]) -> str:
        """Read every file of tables. Return a message that names a damaged file, or "" if no file is damaged."""
        names = [each.name for contract in contracts for each in (*contract.with_quarantine, contract.changes)]
        return home.find_damage(self._schema, names) if (home := self._home) else ""

    def has_view(self, name: str) -> bool:
        """Return whether the schema has a view with this name."""
        return home.has_view(self._schema, name) if (home := self._home) else super().has_view(name)

    def create_view(self, name: str, query: str) -> None:
        """Create or replace a view, and store it for later sessions."""
        statement = f"CREATE OR REPLACE VIEW {self._name_of_view(name)} AS\n{query}"
        if home := self._home:
            home.register_all()  # the view's query may read any table or view
        self.session.sql(statement)
        if home:
            home.keep_view(self._schema, name, statement)

    def drop_view(self, name: str) -> None:
        """Drop a view if it exists, and forget it for later sessions."""
        self.session.sql(f"DROP VIEW IF EXISTS {self._name_of_view(name)}")
        self._existing.discard(name)
        if home := self._home:
            home.forget_view(self._schema, name)

    def _name_of_view(self, name: str) -> str:
        """Return the full name of a view. Spark has views only in `spark_catalog`, with the same schemas and tables."""
        is_spark = self.session.catalog.currentCatalog() == "spark_catalog"
        return f"{self._schema.rpartition('.')[2] if is_spark else self._schema}.`{name}`"

    def _create(self, contract: TableContract, statement: str) -> None:
        if home := self._home:
            home.before_create(self._schema, contract.name)
        super()._create(contract, statement)
        if home:
            home.add(self._schema, contract.name)

    def properties_of(self, contract: TableContract) -> dict[str, str]:
        """Return the Delta properties to set on a table."""
        return statistics_properties(contract)

    @property
    def engine(self) -> str:
        """Name and version of the engine."""
        return f"spark {self.session.version}"


class SailStore(SparkStore):
    """Store on Sail, the embedded engine.

    Sail has no OPTIMIZE.
    """

    can_maintain = False

    @property
    def engine(self) -> str:
        """Name and version of the engine."""
        return f"sail {self.session.version}"

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
        """Replace rows and return the counts of the new rows.

        The counts come from a query after the write, because Sail does not report the number of written rows.
        """
        # Sail also deletes rows for which the condition is null. `eqNullSafe` makes null false, so these rows are kept.
        # The plain condition is still needed, because Sail uses it to skip whole files.
        is_replaced = sf.lit(True) if where is None else where & where.eqNullSafe(sf.lit(True))
        self._overwrite(contract, self._prepared(contract, rows, null_columns), None if is_empty else is_replaced)
        return self._counted(self.read(contract).where(is_replaced), counts)

    def merge(self, contract: TableContract, changes: DataFrame) -> int:
        """Upsert and delete rows by rewriting their partitions, or the whole table.

        This method takes 0.25 s per million rows. The MERGE of Sail takes several seconds.

        - If the table has none of the changed keys, the method appends the new rows.
        - If the table has changed keys and is partitioned, the method rewrites two sets of partitions: those with
          changed keys, and those that get new rows.
        - If the table has changed keys and is not partitioned, the method rewrites the whole table.

        The changes are written to a file first, so that they are computed only once.
        """
        with TemporaryDirectory() as folder:
            changes.selectExpr(*contract.select_list, IS_GONE).write.parquet(f"{folder}/changes")
            columns = ", ".join(f"`{column.name}` {column.type}" for column in contract.columns)
            stored = self.session.read.schema(f"{columns}, {IS_GONE} BOOLEAN").parquet(f"{folder}/changes")
            rows, is_same = self.read(contract).alias("t"), sf.expr(same_key(contract))
            entering = stored.where(f"NOT {IS_GONE}").select(*contract.column_names)
            matched, where = rows.join(stored.alias("s"), is_same, how="left_semi"), None
            if contract.partitioned_by:
                matched_partitions = self.partitions(contract, matched)
                has_matches = bool(matched_partitions)
                if has_matches:
                    where = is_in(contract, {*matched_partitions, *self.partitions(contract, entering)})
                    rows = rows.where(where)
            else:
                has_matches = not matched.isEmpty()
            written = entering.count()
            if not has_matches:
                self._overwrite(contract, self._prepared(contract, entering), None)
                return written
            unaffected = rows.join(stored.alias("s"), is_same, how="left_anti").select(*contract.column_names)
            # Check NOT NULL only in the new rows, because the check puts the checked rows into one partition.
            rows = self._distribute(contract, unaffected.unionByName(self._enforce_not_null(contract, entering)))
            self._overwrite(contract, rows, sf.lit(True) if where is None else where)
            return written

    def _overwrite(self, contract: TableContract, rows: DataFrame, where: SparkColumn | None) -> None:
        """Replace the stored rows that match a condition. If the condition is None, only append the new rows."""
        with self._commit(contract):
            writer = rows.writeTo(self.name_of(contract.name))
            writer.append() if where is None else writer.overwrite(where)

    def _rewrite(self, contract: TableContract, rows: DataFrame, partitions: Sequence[str]) -> None:
        """Replace all rows and the schema of a table.

        When Sail replaces a table with the rows of a query, the query's input table decides the column comments and
        NOT NULL constraints. This method therefore first writes the rows to a temporary table with the new schema.
        """
        types = dict(rows.dtypes)
        extra_columns = [Column(name, types[name], "") for name in rows.columns if name not in contract.column_names]
        with TemporaryDirectory() as folder:
            name = self.name_of(Path(folder).name)
            columns = ", ".join(column_ddl(column) for column in (*contract.columns, *extra_columns))
            self.session.sql(f"CREATE TABLE {name} ({columns}) USING delta LOCATION '{folder}/rows'")
            try:
                self._enforce_not_null(contract, rows).writeTo(name).append()
                DeltaStore._rewrite(self, contract, self.session.table(name), partitions)
            finally:
                self.session.sql(f"DROP TABLE {name}")

    def null_columns(self, contract: TableContract, names: Collection[str]) -> set[str]:
        """Return the given columns in which no row of a table has a value.

        Sail copies a null as it copies a value, in each join, repartition and sort.
        """
        if not names:
            return set()
        [values] = self.read(contract).agg(*(sf.count(name).alias(name) for name in names)).collect()
        return {name for name in names if not values[name]}

    def _prepared(self, contract: TableContract, rows: DataFrame, null_columns: Collection[str] = ()) -> DataFrame:
        """Return the rows as Sail needs them for a write.

        The columns `null_columns` are added last, so that they are neither computed nor copied. Sail sorts the rows of
        a partitioned table before it writes them. Here, they are sorted already, so that Sail does not sort them again.
        """
        rows = self._distribute(contract, self._enforce_not_null(contract, rows.drop(*null_columns)))
        if not null_columns:
            return rows
        nulls = {name: sf.lit(None).cast(contract.types[name]) for name in null_columns}
        in_order = [sf.asc_nulls_last(name) for name in contract.partitioned_by]
        return (rows.sortWithinPartitions(*in_order) if in_order else rows).withColumns(nulls)

    def _enforce_not_null(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Add an offset of 0 to the plan, so that Sail checks NOT NULL only in rows that pass all filters.

        Without the offset, Sail checks NOT NULL before the filters, and fails on rows that the filters would remove.
        Sail never moves a filter past an offset. A side effect of the offset is that all rows are in one partition.
        """
        return rows if contract.layer == "bronze" else rows.offset(0)

    def _distribute(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Repartition rows for a write: one part per core, by the table's partition columns if it has any.

        Return the rows unchanged for a bronze or ops table, and for a table with neither clustering nor partitions.
        """
        if contract.layer in ("bronze", "ops") or not (contract.clustered_by or contract.partitioned_by):
            return rows
        return rows.repartition(os.cpu_count() or 2, *contract.partitioned_by)

    @contextmanager
    def _commit(self, contract: TableContract) -> Iterator[None]:
        with _WRITING.setdefault(self.name_of(contract.name), Lock()), super()._commit(contract):
            yield
