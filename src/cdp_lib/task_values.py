"""Task values: results that a notebook reports to its job."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdp_lib.pipeline.run import TableRun

ROW_COUNTS = ("rows", "removed", "quarantined", "superseded", "warned")
"""Names of the row counts that a task or a table reports."""

HELD = "held"
"""Name of the task value that lists the tables whose downstream tables are held."""


def report_rows(dbutils: Any, rows: int) -> None:
    """Set the task value `rows`, which the progress display of the run shows. Do nothing outside a job.

    Args:
        dbutils: The notebook's `dbutils`.
        rows: Number of rows landed or written.
    """
    dbutils.jobs.taskValues.set(key="rows", value=rows)


def report_table(dbutils: Any, run: TableRun, show: Callable[[str], object]) -> None:
    """Report the state of a table's refresh to the job. If the refresh has ended, also print a line.

    The key of the task value is the name of the table.

    Args:
        dbutils: The notebook's `dbutils`.
        run: Current state of the refresh of the table.
        show: The notebook's `print`.
    """
    dbutils.jobs.taskValues.set(key=run.table, value=asdict(run))
    if run.state != "running":
        counts = ", ".join(f"{count:,} {name}" for name, count in asdict(run.counts).items() if count)
        show(f"{run.table:<36} {run.state:<9} {run.seconds:>7.1f} s  {run.error or counts}".rstrip())
        for note in run.notes:
            show(note)


def report_held(dbutils: Any, tables: Iterable[str]) -> None:
    """Set the task value `held`. Later tasks read it, and do not refresh the downstream tables of the given tables.

    Args:
        dbutils: The notebook's `dbutils`.
        tables: Names of the tables that failed, were skipped, or have missing or surplus rows.
    """
    dbutils.jobs.taskValues.set(key=HELD, value=" ".join(sorted(set(tables))))


def report_due(dbutils: Any, *, is_due: bool) -> None:
    """Set the task value `is_anything_due`, which a condition of the job reads.

    Args:
        dbutils: The notebook's `dbutils`.
        is_due: Whether a stage after bronze has something to do.
    """
    dbutils.jobs.taskValues.set(key="is_anything_due", value=str(is_due).lower())


def exit_unless(dbutils: Any, condition: object, reason: str) -> None:
    """End the notebook successfully unless a condition is true.

    Args:
        dbutils: The notebook's `dbutils`.
        condition: The notebook continues if the value is truthy.
        reason: Reason for the end. It becomes the exit value of the notebook.
    """
    if not condition:
        report_rows(dbutils, 0)
        dbutils.notebook.exit(reason)
