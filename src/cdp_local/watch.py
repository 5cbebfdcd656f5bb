"""Runs a job each time batches have landed, as a file arrival trigger does in a workspace."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import Landing
from cdp_lib.pipeline.load_batches import first_day_listed
from cdp_local.bundle import Job
from cdp_local.job_settings import new_run_start
from cdp_local.maintenance import WatchMaintenance
from cdp_local.runner import State, TaskRun, run_job
from cdp_local.workspace import LocalWorkspace

_FOLDER_POLL_SECONDS = 0.1
_STORAGE_ACCOUNT_POLL_SECONDS = 5.0
"""Time between two polls. It is longer than for a folder, because each poll sends one request per entity."""

RESTART_AFTER = 20
"""Number of refreshes after which `cdp watch` restarts the engine, because the engine frees little memory."""


@dataclass(frozen=True)
class Refresh:
    """One run of the watched job.

    Attributes:
        batches: Number of batches that landed since the previous refresh; 0 for the first refresh.
        started_at: Start of the run, UTC.
        runs: Final state of each table and task in the run.
        seconds: Duration of the run in seconds.
    """

    batches: int
    started_at: datetime
    runs: tuple[TaskRun, ...]
    seconds: float

    @property
    def rows(self) -> int:
        """Number of rows that the run loaded into bronze tables."""
        return sum(run.counts.get("rows", 0) for run in self.runs if run.key.endswith("_bronze"))

    @property
    def failed(self) -> tuple[TaskRun, ...]:
        """Tables and tasks that have failed."""
        return tuple(run for run in self.runs if run.state == State.FAILED)


def refreshes(workspace: LocalWorkspace, job: Job) -> Iterator[Refresh]:
    """Run a job now and each time batches have landed; yield each refresh.

    The iteration goes on after a failed run. The stages of the job decide which tables are due.

    Args:
        workspace: Workspace with the landing to watch.
        job: The job.
    """
    maintenance = WatchMaintenance(workspace.home)
    for number, batches in enumerate(landed_batches(workspace.landing)):
        begin, started_at = time.monotonic(), new_run_start()
        # All runs share one log folder. A watch may last for weeks, so one folder per run would be too many folders.
        logs = workspace.home / "logs" / "watch"
        runs = run_job(job, {}, workspace.notebooks, logs, started_at, lambda run: None)
        workspace.notebooks.task_values.clear()
        seconds = time.monotonic() - begin
        maintenance.maintain_grown_tables()
        yield Refresh(len(batches) if number else 0, started_at, tuple(runs), seconds)


def landed_batches(landing: Landing) -> Iterator[set[tuple[str, str]]]:
    """Wait for batches to land; yield each set of new batches as (bronze table, batch) pairs.

    The first set holds batches that have already landed: the latest batch of each entity, and its batches of the seven
    days before the latest batch (see `first_day_listed`). A batch has landed once its manifest exists. The function
    polls the landing, because file system notifications miss files in a folder that was just created.

    While the function waits for new batches, Ctrl-C ends the iteration. While the caller handles a set, Ctrl-C has its
    usual effect.

    Args:
        landing: The landing to watch.

    Raises:
        CdpError: The landing can't be read.
    """
    pause = _STORAGE_ACCOUNT_POLL_SECONDS if "://" in landing.root else _FOLDER_POLL_SECONDS
    seen: dict[BronzeContract, set[str]] = {table: set() for table in BRONZE_TABLES}
    yield _poll(landing, seen)
    while True:
        new: set[tuple[str, str]] = set()
        with _ctrl_c_event() as stop:
            while not (new or stop.is_set()):
                stop.wait(pause)
                new = _poll(landing, seen)
        if stop.is_set():
            return
        yield new


def _poll(landing: Landing, seen: dict[BronzeContract, set[str]]) -> set[tuple[str, str]]:
    """Return the batches that are not in `seen` yet, and add them to `seen`."""
    new: set[tuple[str, str]] = set()
    for table, names in seen.items():
        newest = max(names, default="") or next(landing.batch_ids_newest_first(table.source, table.entity), "")
        since = first_day_listed(newest)
        found = landing.batch_ids(table.source, table.entity, since, names)
        seen[table] = {name for name in (*names, *found) if name >= since}
        new |= {(table.name, name) for name in found}
    return new


@contextmanager
def _ctrl_c_event() -> Iterator[Event]:
    """Yield an event. In the `with` block, Ctrl-C sets the event instead of raising KeyboardInterrupt."""
    stop = Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
