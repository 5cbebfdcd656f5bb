"""The stores of the local engines: what each does in another way than Databricks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.storage.delta import IS_GONE, DeltaStore, column_ddl, is_in, same_key
from cdp_local.engines import HomeCatalog, catalog_of

_WRITING: dict[str, Lock] = {}
"""Per-table write lock: an overwrite on Sail does not notice a commit between what it read and what it writes. The
engine is in this process, and a home belongs to one process."""


class SparkStore(DeltaStore):
    """Local Spark with Delta.

    Tables have neither clustering nor deletion vectors: one engine alone could write them then (docs/adr/0022). Delta
    keeps statistics of few columns; of all columns they are two fifths of a write.
    """

    is_databricks = False
    needs_lease = False
    """A home belongs to one process."""

    @property
    def _home(self) -> HomeCatalog | None:
        """Catalog of the home that has the schema; None where no home has it."""
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

    def has_view(self, name: str) -> bool:
        """Return whether the schema has a view of a name."""
        return home.has_view(self._schema, name) if (home := self._home) else super().has_view(name)

    def create_view(self, name: str, query: str) -> None:
        """Create a view, or replace it; sessions to come have it, too."""
        # Spark has views in its own catalog alone, in which the schema is, too.
        is_spark = self.session.catalog.currentCatalog() == "spark_catalog"
        schema = self._schema.rpartition(".")[2] if is_spark else self._schema
        statement = f"CREATE OR REPLACE VIEW {schema}.`{name}` AS\n{query}"
        if home := self._home:
            home.register_all()  # among them the tables that the view reads
        self.session.sql(statement)
        if home:
            home.keep_view(self._schema, name, statement)

    def _create(self, contract: TableContract, statement: str) -> None:
        super()._create(contract, statement)
        if home := self._home:
            home.add(self._schema, contract.name)

    def properties_of(self, contract: TableContract) -> dict[str, str]:
        """Return the Delta properties of a table."""
        columns = ",".join(contract.statistics_columns)
        return {"delta.dataSkippingStatsColumns": columns} if columns else {"delta.dataSkippingNumIndexedCols": "0"}

    @property
    def engine(self) -> str:
        """Name and version of the engine."""
        return f"spark {self.session.version}"


class SailStore(SparkStore):
    """Sail, the embedded engine. It has no OPTIMIZE, and keeps statistics of all columns at no cost."""

    can_maintain = False

    def properties_of(self, contract: TableContract) -> dict[str, str]:
        """Return the Delta properties of a table."""
        return {}

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
        *,
        is_empty: bool = False,
    ) -> dict[str, int]:
        """Replace rows, then count them: Sail counts nothing as it writes."""
        # Sail would delete the rows for which a condition is null, too; by the bare one it passes over whole files.
        is_replaced = sf.lit(True) if where is None else where & where.eqNullSafe(sf.lit(True))
        self._put(contract, self._prepared(contract, rows), None if is_empty else is_replaced)
        return self._counted(self.read(contract).where(is_replaced), counts)

    def merge(self, contract: TableContract, changes: DataFrame) -> int:
        """Upsert and delete rows by writing what they are in again: a quarter of a second a million rows.

        Sail's MERGE takes several. What is written again is nothing where no key is in the table yet, the partitions
        that the keys are in and come to, or the whole table. Changes are computed once, into a file.
        """
        with TemporaryDirectory() as folder:
            changes.selectExpr(*contract.select_list, IS_GONE).write.parquet(f"{folder}/changes")
            columns = ", ".join(f"`{column.name}` {column.type}" for column in contract.columns)
            held = self.session.read.schema(f"{columns}, {IS_GONE} BOOLEAN").parquet(f"{folder}/changes")
            rows, is_same = self.read(contract).alias("t"), sf.expr(same_key(contract))
            entering = held.where(f"NOT {IS_GONE}").select(*contract.column_names)
            matched, where = rows.join(held.alias("s"), is_same, how="left_semi"), None
            if contract.partitioned_by:
                left = self.partitions(contract, matched)
                if left:
                    where = is_in(contract, {*left, *self.partitions(contract, entering)})
                    rows = rows.where(where)
            else:
                left = set() if matched.isEmpty() else {True}
            written = entering.count()
            if not left:
                self._put(contract, self._prepared(contract, entering), None)
                return written
            unaffected = rows.join(held.alias("s"), is_same, how="left_anti").select(*contract.column_names)
            # Rows of the table are validated already: they skip the single-partition path.
            rows = self._dealt_out(contract, unaffected.unionByName(self._checked(contract, entering)))
            self._put(contract, rows, sf.lit(True) if where is None else where)
            return written

    def _put(self, contract: TableContract, rows: DataFrame, where: SparkColumn | None) -> None:
        """Overwrite the rows for which a condition is true; append where there is none."""
        with self._commit(contract):
            writer = rows.writeTo(self.name_of(contract.name))
            writer.append() if where is None else writer.overwrite(where)

    def _rewrite(self, contract: TableContract, rows: DataFrame, partitions: Sequence[str]) -> None:
        """Replace all rows and the schema by those of a table that is made for it.

        A new schema has the comments and the NOT NULL of the table that the rows are read from.
        """
        types = dict(rows.dtypes)
        others = [Column(name, types[name], "") for name in rows.columns if name not in contract.column_names]
        with TemporaryDirectory() as folder:
            name = self.name_of(Path(folder).name)
            columns = ", ".join(column_ddl(column) for column in (*contract.columns, *others))
            self.session.sql(f"CREATE TABLE {name} ({columns}) USING delta LOCATION '{folder}/rows'")
            try:
                self._checked(contract, rows).writeTo(name).append()
                DeltaStore._rewrite(self, contract, self.session.table(name), partitions)
            finally:
                self.session.sql(f"DROP TABLE {name}")

    def _prepared(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        return self._dealt_out(contract, self._checked(contract, rows))

    def _checked(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Return rows that NOT NULL is checked of as they leave the plan.

        Sail checks it below the filters of a plan, where refused rows still are; it moves no filter past an offset.
        That puts all rows into one stream.
        """
        return rows if contract.layer == "bronze" else rows.offset(0)

    def _dealt_out(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        """Return rows of tables that grow in as many streams as there are cores, each partition in one of them."""
        if contract.layer in ("bronze", "ops") or not (contract.clustered_by or contract.partitioned_by):
            return rows
        return rows.repartition(os.cpu_count() or 2, *contract.partitioned_by)

    @contextmanager
    def _commit(self, contract: TableContract) -> Iterator[None]:
        with _WRITING.setdefault(self.name_of(contract.name), Lock()), super()._commit(contract):
            yield
