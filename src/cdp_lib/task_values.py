"""What a notebook tells the job about what it did."""

from collections.abc import Sequence
from typing import Any

ROW_COUNTS = ("rows", "removed", "quarantined", "superseded", "warned")
"""Names of the task values with numbers of rows; a task sets those that are not 0, and `rows`."""

NEW_COLUMNS = "new_columns"
"""Name of the task value with the columns a table has gained."""


def report_rows(dbutils: Any, rows: int, new_columns: Sequence[str] = (), **others: int) -> None:
    """Set the task values that the run's progress and summary show; does nothing outside a job.

    Args:
        dbutils: The notebook's `dbutils`.
        rows: Rows landed or written.
        new_columns: Columns that the source has gained, and with it the table.
        others: Further numbers of rows, by name (`ROW_COUNTS`).
    """
    for key, count in {"rows": rows, **others}.items():
        if count or key == "rows":
            dbutils.jobs.taskValues.set(key=key, value=count)
    if new_columns:
        dbutils.jobs.taskValues.set(key=NEW_COLUMNS, value=list(new_columns))


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
