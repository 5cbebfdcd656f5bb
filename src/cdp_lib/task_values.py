"""What a notebook tells the job about what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdp_lib.pipeline.run import TableRun

ROW_COUNTS = ("rows", "removed", "quarantined", "superseded", "warned")
"""Names of the numbers of rows that a task or a table reports."""

HELD = "held"
"""Name of the task value with the tables that failed, or were skipped for one that did: what they feed is held back."""


def report_rows(dbutils: Any, rows: int) -> None:
    """Set the task value that the run's progress shows; does nothing outside a job.

    Args:
        dbutils: The notebook's `dbutils`.
        rows: Rows landed or written.
    """
    dbutils.jobs.taskValues.set(key="rows", value=rows)


def report_table(dbutils: Any, run: TableRun, show: Callable[[str], object]) -> None:
    """Set a task value of the table's name, and show a line where the table has ended.

    Args:
        dbutils: The notebook's `dbutils`.
        run: The table as it stands.
        show: The notebook's `print`.
    """
    dbutils.jobs.taskValues.set(key=run.table, value=asdict(run))
    if run.state != "running":
        counts = ", ".join(f"{count:,} {name}" for name, count in asdict(run.counts).items() if count)
        show(f"{run.table:<36} {run.state:<9} {run.seconds:>7.1f} s  {run.error or counts}".rstrip())


def report_held(dbutils: Any, tables: Iterable[str]) -> None:
    """Set the task value with the tables that failed: what they feed is held back.

    Args:
        dbutils: The notebook's `dbutils`.
        tables: Names of the tables.
    """
    dbutils.jobs.taskValues.set(key=HELD, value=" ".join(sorted(set(tables))))


def report_due(dbutils: Any, *, is_due: bool) -> None:
    """Set the task value that a condition of the job asks for.

    Args:
        dbutils: The notebook's `dbutils`.
        is_due: Whether there is anything to do behind bronze.
    """
    dbutils.jobs.taskValues.set(key="is_anything_due", value=str(is_due).lower())


def exit_unless(dbutils: Any, wanted: object, reason: str) -> None:
    """End the notebook, successfully, where there is nothing for it to do.

    Args:
        dbutils: The notebook's `dbutils`.
        wanted: Goes on where this is true of.
        reason: Why the notebook ends; the value it ends with.
    """
    if not wanted:
        report_rows(dbutils, 0)
        dbutils.notebook.exit(reason)
