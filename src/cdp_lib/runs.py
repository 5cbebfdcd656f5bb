"""What runs have done: the platform's memory of which batch is in which table.

`pipeline_runs_ops` is written ahead of a change (state `planned`) and after it (`done`). A change that is planned and
not done belongs to a run that was killed: it is made again, which is the same change, before anything else is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter

from pyspark.sql import functions as sf

from cdp_lib import __version__
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.table import TableContract
from cdp_lib.settings import Settings
from cdp_lib.tables import ConflictError, Tables

_RUNS_BETWEEN_COMPACTIONS = 16


@dataclass(frozen=True)
class Account:
    """What has become of a batch's rows: rows_in = rows_out + rows_quarantined + rows_superseded.

    Attributes:
        rows_in: Rows the batch came with.
        rows_out: Rows in the table.
        rows_quarantined: Rows in its quarantine.
        rows_superseded: Rows that a later version, a removal or an equal row has taken the place of.
    """

    rows_in: int = 0
    rows_out: int = 0
    rows_quarantined: int = 0
    rows_superseded: int = 0

    @property
    def is_balanced(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows_in == self.rows_out + self.rows_quarantined + self.rows_superseded


_COUNTS = tuple(Account.__dataclass_fields__)

_REMEMBERED = (
    *("table_name", "change_id", "state", "is_whole", "inputs", "batch_id"),
    *(*_COUNTS, "rows_merged", "rows_removed"),
)
"""Columns of the log that a history is made of; the others are for whoever reads it."""


@dataclass(frozen=True)
class BatchChange:
    """What a change did to one batch.

    Attributes:
        account: The batch's account afterwards.
        merged: Rows of the batch that entered the table.
        removed: Rows of the batch that left it for good.
    """

    account: Account
    merged: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Change:
    """One change of one table.

    Attributes:
        change_id: Sorts by time.
        batches: What it did, by batch; of a table that is not made from batches, by an empty name.
        is_whole: Whether it wrote the table anew.
        inputs: The change of each table that was read.
    """

    change_id: str
    batches: Mapping[str, BatchChange] = field(default_factory=dict)
    is_whole: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_changed_rows(self) -> bool:
        """Whether the table is another one than before."""
        return self.is_whole or any(batch.merged or batch.removed for batch in self.batches.values())


@dataclass(frozen=True)
class History:
    """The changes of one table, oldest first.

    Attributes:
        done: Those that the table holds.
        planned: One that a killed run has left, None where there is none.
    """

    done: tuple[Change, ...] = ()
    planned: Change | None = None

    @property
    def accounts(self) -> dict[str, Account]:
        """The latest account of each batch."""
        return {name: batch.account for change in self.done for name, batch in change.batches.items() if name}

    @property
    def latest(self) -> str:
        """The change that made the table what it is, empty where there is none."""
        return max((change.change_id for change in self.done if change.has_changed_rows), default="")

    def since(self, change_id: str) -> tuple[Change, ...]:
        """The changes after one."""
        return tuple(change for change in self.done if change.change_id > change_id)

    def followed_by(self, change: Change, state: str) -> History:
        """The history with one more change, which is `planned` or `done`."""
        planned = [self.planned] if self.planned else []
        if state == "done":
            return _in_order([*self.done, change], planned)
        return _in_order(self.done, [*planned, change])


class RunLog:
    """Reads and writes `pipeline_runs_ops` for one task of one run."""

    def __init__(self, tables: Tables, settings: Settings, task: str) -> None:
        """Name the task; nothing is read yet.

        Args:
            tables: Tables of the platform.
            settings: Settings of the run.
            task: Task of the job.
        """
        self._tables = tables
        self._settings = settings
        self._task = task
        self._read: dict[str, History] = {}  # what has been read, and what this task has written down since

    def histories(self, names: Iterable[str]) -> dict[str, History]:
        """The history of each table, or of each task that writes several.

        Args:
            names: Names of tables or tasks.
        """
        wanted = list(names)
        unread = {*wanted, self._task} - set(self._read)
        if unread and not self._tables.exists(PIPELINE_RUNS_OPS):
            return dict.fromkeys(wanted, History())
        if unread:
            log = self._tables.read_table(PIPELINE_RUNS_OPS).where(sf.col("table_name").isin(*unread))
            rows: dict[str, list[dict[str, object]]] = {name: [] for name in unread}
            for row in log.select(*_REMEMBERED).collect():
                rows[row["table_name"]].append(row.asDict())
            self._read |= {name: _history(rows) for name, rows in rows.items()}
        return {name: self._read[name] for name in wanted}

    def history(self, name: str) -> History:
        """The history of one table."""
        return self.histories([name])[name]

    def tidy_up(self) -> bool:
        """Compact the log, every so many runs: each change is a file of it. Whether this run has.

        It is for a moment at which no other task writes; where one does, a later run compacts.
        """
        if not self._tables.exists(PIPELINE_RUNS_OPS):
            return False
        runs = self._tables.read_table(PIPELINE_RUNS_OPS).select("run_id").distinct().count()
        if runs % _RUNS_BETWEEN_COMPACTIONS:
            return False
        try:
            self._tables.compact_table(PIPELINE_RUNS_OPS)
        except ConflictError:
            return False
        return True

    def new_change_id(self, history: History) -> str:
        """Name of the next change of a table in this run."""
        prefix = self._settings.batch_id
        return f"{prefix}.{sum(change.change_id.startswith(prefix) for change in history.done) + 1}"

    def plan(self, contract: TableContract, change: Change) -> None:
        """Write down, ahead of it, what a change will do."""
        self._append(contract, change, "planned", 0)

    def finish(self, contract: TableContract | None, change: Change, rows: int = 0) -> None:
        """Write down that the table holds a change.

        Args:
            contract: Contract of the table; None for a task that writes several.
            change: The change.
            rows: Rows written, of a change that is not made from batches.
        """
        self._append(contract, change, "done", rows)

    def read_inputs(self, contracts: Iterable[TableContract], **settings: object) -> dict[str, str]:
        """The change each table is at, and the settings that figures depend on: what a result is a function of.

        Args:
            contracts: Contracts of the tables that are read.
            settings: Values by name.
        """
        histories = self.histories(contract.name for contract in contracts)
        changes = {name: history.latest for name, history in histories.items()}
        return changes | {name: str(value) for name, value in settings.items()} | {"code_version": __version__}

    def is_due(self, contracts: Iterable[TableContract], inputs: Mapping[str, str]) -> bool:
        """Whether tables are not what their inputs make of them yet.

        Args:
            contracts: Contracts of the tables that the task writes.
            inputs: What they are made from, as `read_inputs` gives it.
        """
        written = list(contracts)
        return (
            self._settings.full_refresh
            or self._history_of(written).planned is not None
            or self.last_inputs(written) != dict(inputs)
            or not all(map(self._tables.exists, written))
        )

    def last_inputs(self, contracts: Iterable[TableContract]) -> dict[str, str]:
        """What tables were last made from, as `read_inputs` gave it; nothing where they never were.

        Args:
            contracts: Contracts of the tables that the task writes.
        """
        done = self._history_of(contracts).done
        return dict(done[-1].inputs) if done else {}

    def missed_changes(
        self, contract: TableContract, contracts: Iterable[TableContract], **settings: object
    ) -> list[str] | None:
        """The changes of a table that other tables, made from it alone, have not seen yet.

        Args:
            contract: Contract of the table that is read.
            contracts: Contracts of the tables that the task writes.
            settings: Values by name, as for `read_inputs`.

        Returns:
            Their names, oldest first. None where the tables are to be made anew: they never were made, or not to the
            end; the table they are made from was written anew; or something else is not what it was.
        """
        history = self._history_of(contracts)
        if not history.done or history.planned:
            return None
        last, now = dict(history.done[-1].inputs), self.read_inputs([contract], **settings)
        seen = last.pop(contract.name, None)
        now.pop(contract.name)
        if seen is None or last != now:
            return None
        missed = [change for change in self.history(contract.name).since(seen) if change.has_changed_rows]
        return None if any(change.is_whole for change in missed) else [change.change_id for change in missed]

    def _history_of(self, contracts: Iterable[TableContract]) -> History:
        """What has been done to the tables that a task writes."""
        alone = _alone(contracts)
        return self.history(alone.name if alone else self._task)

    def finish_batches(self, contract: TableContract, landed: Mapping[str, int], written: Mapping[str, int]) -> None:
        """Write down that a bronze table holds batches; nothing where there are none.

        Args:
            contract: Contract of the table.
            landed: Rows of each batch, as its manifest says.
            written: Rows of each batch that was written.
        """
        batches = {name: BatchChange(Account(landed[name], rows), merged=rows) for name, rows in written.items()}
        if batches:
            self.finish(contract, Change(self.new_change_id(self.history(contract.name)), batches))

    def plan_tables(self, contracts: Iterable[TableContract], inputs: Mapping[str, str]) -> None:
        """Write down, ahead of it, that tables are about to be moved to what their inputs make of them.

        Args:
            contracts: Contracts of the tables.
            inputs: What they will be made from.
        """
        self._append(*self._change_of(contracts, inputs), "planned", 0)

    def finish_tables(self, contracts: Iterable[TableContract], inputs: Mapping[str, str], rows: int) -> None:
        """Write down that tables hold what their inputs make of them.

        Args:
            contracts: Contracts of the tables.
            inputs: What they were made from.
            rows: Rows written.
        """
        self.finish(*self._change_of(contracts, inputs), rows)

    def _change_of(
        self, contracts: Iterable[TableContract], inputs: Mapping[str, str]
    ) -> tuple[TableContract | None, Change]:
        """The next change of the tables that a task writes, and the one whose name it is logged by."""
        written = list(contracts)
        return _alone(written), Change(self.new_change_id(self._history_of(written)), is_whole=True, inputs=inputs)

    def _append(self, contract: TableContract | None, change: Change, state: str, rows: int) -> None:
        engine, engine_version = self._tables.engine
        table_name = contract.name if contract else self._task
        is_done = state == "done"
        common = {
            "run_id": self._settings.run_id,
            "task": self._task,
            "table_name": table_name,
            "change_id": change.change_id,
            "state": state,
            "is_whole": change.is_whole,
            "inputs": json.dumps(dict(change.inputs), sort_keys=True) if change.inputs else None,
            "started_at": self._settings.run_started_at,
            "seconds": round(self._settings.seconds(), 3) if is_done else None,
            "engine": engine,
            "engine_version": engine_version,
            "code_version": __version__,
            "table_version": self._tables.version_of(contract) if contract and is_done else None,
        }
        batches = change.batches or {"": BatchChange(Account(rows, rows), merged=rows)}
        self._tables.append_rows(
            PIPELINE_RUNS_OPS,
            [
                common
                | asdict(batch.account)
                | {"batch_id": name or None, "rows_merged": batch.merged, "rows_removed": batch.removed}
                for name, batch in batches.items()
            ],
        )
        if table_name in self._read:
            self._read[table_name] = self._read[table_name].followed_by(replace(change, batches=batches), state)


def _alone(contracts: Iterable[TableContract]) -> TableContract | None:
    """The one table that a task writes, by whose name its changes are logged; None of several: then by the task's."""
    written = list(contracts)
    return written[0] if len(written) == 1 else None


def _history(rows: list[dict[str, object]]) -> History:
    by_change: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in rows:
        by_change.setdefault((str(row["change_id"]), str(row["state"])), []).append(row)
    changes: dict[str, list[Change]] = {"done": [], "planned": []}
    for (_, state), of_change in by_change.items():
        changes[state].append(_change(of_change))
    return _in_order(changes["done"], changes["planned"])


def _in_order(done: Iterable[Change], planned: Iterable[Change]) -> History:
    """A history in order; a plan that a later change has overtaken is no more."""
    by_time = attrgetter("change_id")
    oldest_first = tuple(sorted(done, key=by_time))
    newest = max(planned, key=by_time, default=None)
    is_left = newest is not None and newest.change_id > (oldest_first[-1].change_id if oldest_first else "")
    return History(oldest_first, newest if is_left else None)


def _change(rows: list[dict[str, object]]) -> Change:
    first = rows[0]
    return Change(
        change_id=str(first["change_id"]),
        batches={
            str(row["batch_id"] or ""): BatchChange(
                Account(*(_count(row[name]) for name in _COUNTS)),
                merged=_count(row["rows_merged"]),
                removed=_count(row["rows_removed"]),
            )
            for row in rows
        },
        is_whole=bool(first["is_whole"]),
        inputs=json.loads(str(first["inputs"] or "{}")),
    )


def _count(value: object) -> int:
    return int(str(value))
