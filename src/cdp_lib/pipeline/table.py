"""Declaration of a table: its contract, inputs, builder and materialization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.sums import picked_sums, sum_columns

if TYPE_CHECKING:
    from cdp_lib.pipeline.change_sets import Changes
    from cdp_lib.pipeline.history import Snapshot
    from cdp_lib.pipeline.load_batches import LoadedBatches
    from cdp_lib.pipeline.state import TableState
    from cdp_lib.pipeline.work import Outcome, Work

BUSINESS_DATE = "business_date"
"""Name in `Table.settings` of a table that depends on the business date. The builder of the table gets the date as
`as_of`."""


UPSTREAM_CODE = "upstream_code"
"""Name in the `details` of the state of a ledger: hash of the code and settings of its upstream tables."""


class Materialization:
    """Way in which a table is refreshed.

    The docstring of each subclass states the cost of a refresh, and why a killed run does no damage to the table.
    """

    needs_bronze_rows = True
    """Whether compaction has to keep bronze rows for the table."""

    is_for_text_ids = False
    """Whether the table is used only if an entity has text identifiers. An unused table is never due, and need not
    exist."""

    def refresh(self, work: Work) -> Outcome:
        """Refresh the table.

        Args:
            work: The table, its state and its inputs.
        """
        raise NotImplementedError

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return the rows that a rebuild of the table would write: of the table, and of its quarantine if it has one.

        Nothing is written. The rows are computed only from the inputs. Return an empty list if a rebuild would keep
        rows of the table, as a ledger does.

        Args:
            work: The table, its state and its inputs.
        """
        return []

    def describe_new_input(self, work: Work) -> str:
        """Describe new input from outside the platform's tables, such as landed batches.

        The table is due if the description is not empty. Return an empty string if no such input exists.
        """
        return ""

    def judge(self, work: Work, state: TableState, changes: Changes, rows: DataFrame) -> TableState:
        """Decide whether a stored change set may be applied. A run decides before it applies the first row.

        The decision depends only on the stored change set and the state before it. Therefore, if a run is killed, the
        next run makes the same decision.

        Args:
            work: Table to refresh.
            state: State of the table after the change set is applied.
            changes: Row counts of the change set.
            rows: Rows of the change set.

        Returns:
            The state to store.

        Raises:
            RefusedBatchError: The change set must not be applied.
        """
        return state

    def rows_to_keep(self, table: Table, rows: DataFrame, loaded: LoadedBatches, last: str) -> DataFrame:
        """Return `_batch_id` and `_record_hash` of the bronze rows that compaction has to keep.

        Compaction may delete all other rows. A rebuild from the kept rows gives the same table, even if more batches
        land later.

        Args:
            table: Declaration of the table.
            rows: Rows of the bronze table that the table is built from.
            loaded: Batches that the bronze table holds.
            last: Name of the last batch to compact.
        """
        raise NotImplementedError

    def ends_to_keep(
        self, table: Table, rows: DataFrame, loaded: LoadedBatches, last: str
    ) -> tuple[DataFrame, Snapshot | None] | None:
        """Return since when inactive rows are inactive. Compaction has to keep these times.

        A row is inactive if a later snapshot lacks the row, or if a tombstone deletes it (see `history`). Compaction
        removes old snapshots and tombstones, so bronze would lose the times. The arguments are the same as the
        arguments of `rows_to_keep`.

        Returns:
            The inactive rows (`_batch_id`, `_record_hash` and the time `_ended_at`), and the latest snapshot. None if
            the table keeps no past rows.
        """
        return None


@dataclass(frozen=True)
class Replace(Materialization):
    """Build the whole table and replace it.

    Cost: all inputs are read, and the whole table is written.

    A run may be killed at any point: the table is computed only from its inputs, and the overwrite is one commit.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the table and replace it."""
        [(contract, rows)] = self.rebuilt(work)
        written = work.store.replace(contract, rows, (), **sum_columns(contract))
        return work.rewritten(written["rows"], sums=picked_sums(contract, written))

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return all rows of the table."""
        return [(work.contract, work.build(*work.frames()))]


@dataclass(frozen=True)
class Value(Materialization):
    """Build a table with one row and one column. Its only value becomes the token of the table's version.

    Downstream tables are due only if the value changed.

    Cost: all inputs are read, and one row is written.

    A run may be killed at any point: the row is computed only from the inputs, and the overwrite is one commit.
    """

    def refresh(self, work: Work) -> Outcome:
        """Build the row, and replace the table if the value changed."""
        [(value,)] = work.build(*work.frames()).collect()
        if str(value) == work.state.token and not work.must_rewrite:
            return work.unchanged()
        [column] = work.contract.column_names
        work.store.replace(work.contract, work.store.frame(work.contract, [{column: value}]))
        return work.rewritten(1, token=str(value))

    def rebuilt(self, work: Work) -> list[tuple[TableContract, DataFrame]]:
        """Return the row of the table."""
        return [(work.contract, work.build(*work.frames()))]


@dataclass(frozen=True)
class Append(Materialization):
    """Add rows to a ledger and keep its earlier rows.

    If the key of the ledger includes `as_of`, the new rows replace all rows of the business date, so that no row of an
    earlier run of the same day stays. Otherwise, a new row replaces an earlier row with the same key.

    The builder gets one data frame per input, the data frame of the ledger, and the start of the run as `recorded_at`.

    Cost: the builder reads its inputs, and the new rows are merged or replace the rows of the day.

    A run may be killed at any point: the write is one commit, and if the next run adds the same rows again, they have
    the same keys and the same day, so the write creates no duplicates.

    Attributes:
        describe_need: Function that decides about new rows if only the business date or the rows of inputs changed,
            and if the setting `Table.only_if` leaves the decision to the platform. It returns why new rows are needed,
            or an empty string. None: new rows are always needed.
    """

    describe_need: Callable[[Work], str] | None = field(default=None, repr=False)

    def refresh(self, work: Work) -> Outcome:
        """Build the new rows. Replace the rows of the day, or merge them by key."""
        work.store.create(work.contract)
        ledger = work.store.read(work.contract)
        rows = work.build(*work.frames(), ledger, recorded_at=work.settings.run_started_at)
        if "as_of" in work.contract.key:
            written = work.store.overwrite(work.contract, rows, sf.col("as_of") == sf.lit(work.values[BUSINESS_DATE]))
        else:
            written = work.store.merge_rows(work.contract, rows)
        outcome = work.partly_changed(written)
        details = {**outcome.state.details, UPSTREAM_CODE: work.upstream_code} if self.describe_need else {}
        return replace(outcome, state=replace(outcome.state, details=details))


@dataclass(frozen=True)
class Table:
    """Declaration of a table.

    The declarations of all tables determine the order in which tables are refreshed, and which tables are due.

    Attributes:
        contract: Contract of the table: columns, key, rules.
        build: Builder of the table. Its positional arguments are a data frame of each table in `reads`, then a data
            frame of each file in `files`. Its keyword arguments are the declared settings. The builder of a bronze
            table gets landed batches instead.
        reads: Contracts of the tables that the table is built from.
        follows: Contracts of tables that must be refreshed before the table, although a change of their rows does not
            make the table due.
        settings: Settings that the rows depend on: names of fields of `Settings`, or `BUSINESS_DATE`.
        files: Names of CSV files in `cdp_lib/reference` that the table is built from.
        libraries: Names of Python packages whose versions affect the rows.
        may_lack: Columns of the inputs that the rows passed to the builder may lack, if no row of the input has a value
            in them. For each of these columns: the column of the table that then has no value. Empty if there is none.
            Declare this for large tables whose sources often lack columns.
        materialization: How the table is refreshed.
        only_if: Name of a setting. If the setting is False, an existing table is not refreshed, but a missing table is
            still built. If it is None, the materialization decides (`Append.describe_need`). Empty if the refresh does
            not depend on a setting.
    """

    contract: TableContract
    build: Callable[..., Any]
    reads: tuple[TableContract, ...] = ()
    follows: tuple[TableContract, ...] = ()
    settings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    may_lack: Mapping[TableContract, Mapping[str, str]] = field(default_factory=dict, hash=False)
    materialization: Materialization = field(default_factory=Replace)
    only_if: str = ""

    @property
    def name(self) -> str:
        """Return the name of the table."""
        return self.contract.name
