"""What a notebook tells the job about the rows it dealt with."""

from typing import Any

ROW_COUNTS = ("rows", "quarantined", "superseded")
"""Names of the task values every task sets."""


def report_rows(dbutils: Any, rows: int, quarantined: int = 0, superseded: int = 0) -> None:
    """Set the task values that the run's progress and summary show; does nothing outside a job.

    Args:
        dbutils: The notebook's `dbutils`.
        rows: Rows landed or written.
        quarantined: Rows that went to quarantine.
        superseded: Identical copies of rows that were written.
    """
    for key, count in zip(ROW_COUNTS, (rows, quarantined, superseded), strict=True):
        dbutils.jobs.taskValues.set(key=key, value=count)
