"""The declaration of a table: what it is built from, by what, and how it is brought up to date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from cdp_lib.contracts.table import TableContract

if TYPE_CHECKING:
    from cdp_lib.pipeline.load_batches import Loaded
    from cdp_lib.pipeline.work import Outcome, Work

BUSINESS_DATE = "business_date"
"""Setting that stands for the day that figures refer to; the builder gets it as `as_of`."""


class Materialization:
    """How a table is brought up to date. Each subclass says what that costs and why a kill at any point is harmless."""

    def refresh(self, work: Work) -> Outcome:
        """Bring the table up to date with its inputs.

        Args:
            work: The table, its state and its inputs.
        """
        raise NotImplementedError

    def news(self, work: Work) -> str:
        """Return what makes the table due besides its inputs, code and settings; empty for nothing."""
        return ""

    def needed(self, table: Table, rows: DataFrame, loaded: Loaded) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that still count, whatever lands later.

        Args:
            table: Declaration of the table.
            rows: Rows of the bronze table that it reads.
            loaded: The batches that the bronze table holds.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Replace(Materialization):
    """Build the whole table and replace it.

    Cost: the inputs are read whole and the table is written whole. A kill is harmless: the table is a function of its
    inputs, and the overwrite is one commit.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the table and replace it."""
        written = work.store.replace(work.contract, work.build(*work.frames()))
        return work.rewritten(written["rows"])


@dataclass(frozen=True)
class Value(Materialization):
    """Build a table of one row and one column, whose value is its token: its readers are due where it has changed.

    Cost: the inputs are read, one row is written. A kill is harmless, as for `Replace`.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the row, and replace it where it differs."""
        [(value,)] = work.build(*work.frames()).collect()
        if str(value) == work.state.token and not work.must_rewrite:
            return work.unchanged()
        [column] = work.contract.column_names
        work.store.replace(work.contract, work.store.frame(work.contract, [{column: value}]))
        return work.rewritten(1, token=str(value))


@dataclass(frozen=True)
class Append(Materialization):
    """Add rows to a ledger, whose other rows stay for ever; rows of a key that it has are replaced.

    The builder gets the ledger's rows after its inputs, and the start of the run as `recorded_at`.

    Cost: a merge of the new rows. A kill is harmless: rows that are added twice have the same key.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the new rows and merge them."""
        work.store.create(work.contract)
        ledger = work.store.read(work.contract)
        rows = work.build(*work.frames(), ledger, recorded_at=work.settings.run_started_at)
        return work.moved(work.store.merge_rows(work.contract, rows))


@dataclass(frozen=True)
class Table:
    """A table of the platform. Everything else – order, what is due, what a change touches – follows from these.

    Attributes:
        contract: What the table promises: columns, key, rules.
        build: Builder. It gets a frame of each table in `reads`, then one of each of `files`, in order, and the
            declared settings by name; nothing else. That of a bronze table gets landed batches.
        reads: Contracts of the tables it is built from.
        settings: Names of the settings that its rows depend on, as fields of `Settings`, or `BUSINESS_DATE`.
        files: Names of CSV files in `cdp_lib/reference` that it is built from.
        libraries: Distributions whose version its rows depend on.
        materialization: How it is brought up to date.
        only_if: Setting that has to be true for a table that exists to be built again; empty for none.
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
        """Name of the table."""
        return self.contract.name
