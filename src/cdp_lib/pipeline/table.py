"""Declaration of a table: its contract, inputs, builder and materialization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from cdp_lib.contracts.table import TableContract

if TYPE_CHECKING:
    from cdp_lib.pipeline.load_batches import LoadedBatches
    from cdp_lib.pipeline.work import Outcome, Work

BUSINESS_DATE = "business_date"
"""Name under which a table declares that it depends on the business date. Its builder gets the date as `as_of`."""


class Materialization:
    """Way in which a table is refreshed.

    The docstring of each subclass states the cost of a refresh, and why a kill at any point is harmless.
    """

    def refresh(self, work: Work) -> Outcome:
        """Refresh the table.

        Args:
            work: The table, its state and its inputs.
        """
        raise NotImplementedError

    def describe_new_input(self, work: Work) -> str:
        """Return new input outside the platform's tables that makes the table due, in words; empty if none."""
        return ""

    def rows_to_keep(self, table: Table, rows: DataFrame, loaded: LoadedBatches) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that compaction has to keep.

        Compaction may delete all other rows: a rebuild gives the same table, whichever batches land later.

        Args:
            table: Declaration of the table.
            rows: Rows of the bronze table that the table is built from.
            loaded: Batches that the bronze table holds.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Replace(Materialization):
    """Build the whole table and replace it.

    Cost: all inputs are read, and the whole table is written.

    A kill is harmless: the table is a function of its inputs, and the overwrite is one commit.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the table and replace it."""
        written = work.store.replace(work.contract, work.build(*work.frames()))
        return work.rewritten(written["rows"])


@dataclass(frozen=True)
class Value(Materialization):
    """Build a table of one row and one column, and use the value as the table's token.

    Downstream tables are due only if the value changed.

    Cost: all inputs are read, and one row is written.

    A kill is harmless: the row is a function of the inputs, and the overwrite is one commit.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the row, and replace the table if the value changed."""
        [(value,)] = work.build(*work.frames()).collect()
        if str(value) == work.state.token and not work.must_rewrite:
            return work.unchanged()
        [column] = work.contract.column_names
        work.store.replace(work.contract, work.store.frame(work.contract, [{column: value}]))
        return work.rewritten(1, token=str(value))


@dataclass(frozen=True)
class Append(Materialization):
    """Add rows to a ledger and keep its earlier rows. A new row replaces an earlier row with the same key.

    The builder gets the frames of its inputs, then a frame of the ledger, and the start of the run as `recorded_at`.

    Cost: what the builder reads, and a merge of the new rows.

    A kill is harmless: rows that are added twice have the same key.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the new rows and merge them."""
        work.store.create(work.contract)
        ledger = work.store.read(work.contract)
        rows = work.build(*work.frames(), ledger, recorded_at=work.settings.run_started_at)
        return work.partly_changed(work.store.merge_rows(work.contract, rows))


@dataclass(frozen=True)
class Table:
    """Declaration of a table. The declarations of all tables determine the order of refreshes and which are due.

    Attributes:
        contract: Contract of the table: columns, key, rules.
        build: Builder. Its arguments are a frame of each table in `reads`, then a frame of each file in `files`, in
            this order, and the declared settings by name. The builder of a bronze table gets landed batches instead.
        reads: Contracts of the tables that the table is built from.
        settings: Settings that the rows depend on: names of fields of `Settings`, or `BUSINESS_DATE`.
        files: Names of CSV files in `cdp_lib/reference` that the table is built from.
        libraries: Names of distributions whose versions affect the rows.
        materialization: How the table is refreshed.
        only_if: Name of a setting. The table is not refreshed again unless the setting is true. Empty: no setting.
    """

    contract: TableContract
    build: Callable[..., Any]
    reads: tuple[TableContract, ...] = ()
    settings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    materialization: Materialization = field(default_factory=Replace)
    only_if: str = ""

    @property
    def name(self) -> str:
        """Return the name of the table."""
        return self.contract.name
