"""Waits for batches to land, as a file arrival trigger does in a workspace."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from threading import Event

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.landing import Landing
from cdp_local.bundle import Job
from cdp_local.runner import State, TaskRun, new_run_start, run_job
from cdp_local.workspace import LocalWorkspace

SECONDS_BETWEEN_LOOKS = 0.2
"""At a folder; a storage account is asked less often, as each look is a request for every entity."""

_SECONDS_BETWEEN_REQUESTS = 5.0


@dataclass(frozen=True)
class Refresh:
    """One run of the job that follows what lands.

    Attributes:
        batches: Batches that have landed since the one before; those of the first are not counted.
        started_at: Its start, UTC.
        runs: What became of its tasks.
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
    def errors(self) -> tuple[str, ...]:
        """Why tasks have failed, each reason once."""
        return tuple(dict.fromkeys(run.error or "" for run in self.runs if run.state == State.FAILED))


def refreshes(workspace: LocalWorkspace, job: Job) -> Iterator[Refresh]:
    """Run a job at once, and again each time that batches have landed; what fails ends nothing.

    Args:
        workspace: Workspace whose landing is watched.
        job: The job.
    """
    for number, batches in enumerate(landed_batches(workspace.landing)):
        begin, started_at = time.monotonic(), new_run_start()
        # One folder for all of them: a watch may go on for weeks.
        runs = run_job(job, {}, workspace.notebooks, workspace.home / "logs" / "watch", started_at, lambda run: None)
        workspace.notebooks.task_values.clear()
        yield Refresh(batches if number else 0, started_at, tuple(runs), time.monotonic() - begin)


def landed_batches(landing: Landing) -> Iterator[int]:
    """How many batches have landed since the last time, each time that some have.

    The first number is that of all batches there are. A batch is seen when its manifest is there: the folder is looked
    at, for its own notices of new files miss those in a folder that is as new. Ctrl-C while it waits ends it; what is
    done with batches, it does not disturb.

    Args:
        landing: Where batches are landed.

    Raises:
        CdpError: The landing can't be read.
    """
    stop = Event()
    pause = _SECONDS_BETWEEN_REQUESTS if "://" in landing.root else SECONDS_BETWEEN_LOOKS
    seen = _batches(landing)
    yield len(seen)
    while not stop.is_set():
        before = signal.signal(signal.SIGINT, lambda *_: stop.set())
        try:
            stop.wait(pause)
        finally:
            signal.signal(signal.SIGINT, before)
        if not stop.is_set() and (new := (there := _batches(landing)) - seen):
            seen = there
            yield len(new)


def _batches(landing: Landing) -> set[tuple[str, str]]:
    return {
        (table.name, batch_id) for table in BRONZE_TABLES for batch_id in landing.batch_ids(table.source, table.entity)
    }
