"""Waits for batches to land, as a file arrival trigger does in a workspace."""

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
from cdp_local.maintenance import Upkeep
from cdp_local.runner import State, TaskRun, new_run_start, run_job
from cdp_local.workspace import LocalWorkspace

SECONDS_BETWEEN_LOOKS = 0.1
"""At a folder; a storage account is asked less often, as each look is a request for every entity."""

RESTART_AFTER = 20
"""Refreshes after which an engine that frees little of what it held is better started afresh."""

_SECONDS_BETWEEN_REQUESTS = 5.0


@dataclass(frozen=True)
class Refresh:
    """One run of the job that follows what lands.

    Attributes:
        batches: Batches that have landed since the one before; those of the first are not counted.
        started_at: Its start, UTC.
        runs: What became of its tables and tasks.
        seconds: How long it took.
    """

    batches: int
    started_at: datetime
    runs: tuple[TaskRun, ...]
    seconds: float

    @property
    def rows(self) -> int:
        """Rows of batches that have entered bronze."""
        return sum(run.counts.get("rows", 0) for run in self.runs if run.key.endswith("_bronze"))

    @property
    def failed(self) -> tuple[TaskRun, ...]:
        """Tables and tasks that have failed."""
        return tuple(run for run in self.runs if run.state == State.FAILED)


def refreshes(workspace: LocalWorkspace, job: Job) -> Iterator[Refresh]:
    """Run a job at once, and again each time that batches have landed; what fails ends nothing.

    What is due, the stages find out.

    Args:
        workspace: Workspace whose landing is watched.
        job: The job.
    """
    upkeep = Upkeep(workspace.home)
    for number, batches in enumerate(landed_batches(workspace.landing)):
        begin, started_at = time.monotonic(), new_run_start()
        # One folder for all of them: a watch may go on for weeks.
        logs = workspace.home / "logs" / "watch"
        runs = run_job(job, {}, workspace.notebooks, logs, started_at, lambda run: None)
        workspace.notebooks.task_values.clear()
        seconds = time.monotonic() - begin
        upkeep.keep_up()
        yield Refresh(len(batches) if number else 0, started_at, tuple(runs), seconds)


def landed_batches(landing: Landing) -> Iterator[set[tuple[str, str]]]:
    """The batches that have landed since the last time, each time that some have: bronze table and batch of each.

    The first ones are all of the last days. A batch is seen when its manifest is there: the folder is looked
    at, for its own notices of new files miss those in a folder that is as new. Ctrl-C while it waits or looks ends it;
    what is done with batches, it does not disturb.

    Args:
        landing: Where batches are landed.

    Raises:
        CdpError: The landing can't be read.
    """
    pause = _SECONDS_BETWEEN_REQUESTS if "://" in landing.root else SECONDS_BETWEEN_LOOKS
    seen: dict[BronzeContract, set[str]] = {table: set() for table in BRONZE_TABLES}
    yield _look(landing, seen)
    while True:
        new: set[tuple[str, str]] = set()
        with _interrupts() as stop:
            while not (new or stop.is_set()):
                stop.wait(pause)
                new = _look(landing, seen)
        if stop.is_set():
            return
        yield new


def _look(landing: Landing, seen: dict[BronzeContract, set[str]]) -> set[tuple[str, str]]:
    """Return the batches that have not been seen yet, which they are from now on."""
    new: set[tuple[str, str]] = set()
    for table, names in seen.items():
        newest = max(names, default="") or next(landing.newest_first(table.source, table.entity), "")
        since = first_day_listed(newest)
        found = landing.batch_ids(table.source, table.entity, since, names)
        seen[table] = {name for name in (*names, *found) if name >= since}
        new |= {(table.name, name) for name in found}
    return new


@contextmanager
def _interrupts() -> Iterator[Event]:
    """Set by Ctrl-C, which raises nothing in here."""
    stop = Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
