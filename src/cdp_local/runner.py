"""Runs a job of the bundle: its notebooks in dependency order, independent ones side by side."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from cdp_lib.errors import CdpError
from cdp_lib.task_values import NEW_COLUMNS, ROW_COUNTS
from cdp_local.bundle import Job, Task, resolve_dynamic_values
from cdp_local.notebooks import Workspace, import_ahead, run_notebook

TASKS_AT_ONCE = min(4, max(2, os.cpu_count() or 2))
"""An engine keeps a core busy with each."""


class State(StrEnum):
    """How a task stands."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not run, because a task before it has failed. Counts as failed for the tasks after it."""
    EXCLUDED = "excluded"
    """Not run, because it waits for failures and there was none. Counts as succeeded for the tasks after it."""


@dataclass
class TaskRun:
    """One task of one run.

    Attributes:
        key: Task key.
        state: How it stands.
        started: Monotonic time of its start, None before.
        seconds: How long it took, once it has ended.
        counts: Numbers of rows by name (`ROW_COUNTS`), as far as the task has reported them.
        new_columns: Columns that the task's table has gained.
        error: Why it failed, in one line.
    """

    key: str
    state: State = State.WAITING
    started: float | None = None
    seconds: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    new_columns: list[str] = field(default_factory=list)
    error: str | None = None


# Condition on which of the tasks before have failed, and the state of a task for which it does not hold.
_RUN_IF: dict[str, tuple[Callable[[list[bool]], bool], State]] = {
    "ALL_SUCCESS": (lambda failed: not any(failed), State.SKIPPED),
    "AT_LEAST_ONE_SUCCESS": (lambda failed: not all(failed), State.SKIPPED),
    "NONE_FAILED": (lambda failed: not any(failed), State.SKIPPED),
    "ALL_DONE": (lambda failed: True, State.SKIPPED),
    "AT_LEAST_ONE_FAILED": (any, State.EXCLUDED),
    "ALL_FAILED": (all, State.EXCLUDED),
}


def run_job(
    job: Job,
    parameters: Mapping[str, str],
    workspace: Workspace,
    logs: Path,
    started_at: datetime,
    on_change: Callable[[TaskRun], None],
    only: Collection[str] = (),
    first: str = "",
) -> list[TaskRun]:
    """Run a job to its end, whatever becomes of its tasks.

    Retries are a workspace's: here a task that fails has failed.

    Args:
        job: The job.
        parameters: Values of job parameters that differ from their defaults.
        workspace: What the notebooks share.
        logs: Folder that gets the output of each task as `<task>.log`.
        started_at: Start of the run, UTC.
        on_change: Called, in this thread, with each task that has changed its state.
        only: Run these tasks alone, whatever they depend on; all where there is none.
        first: Task that somebody waits for: while it has not ended, no task runs that it does not depend on.

    Returns:
        The tasks' runs, in the order of the job's file.

    Raises:
        CdpError: The job has no such parameter or task, a task has an unknown `run_if`, or tasks depend on each other
            in a circle.
    """
    waited_for = [first] if first else []
    for kind, names, known in (
        ("parameter", parameters, job.parameters),
        ("task", only, job.tasks),
        ("task", waited_for, job.tasks),
    ):
        for name in names:
            if name not in known:
                raise CdpError(f"Unknown {kind} '{name}': job {job.key} has {', '.join(known)}.")
    tasks = {key: task for key, task in job.tasks.items() if not only or key in only}
    for task in tasks.values():
        if task.run_if not in _RUN_IF:
            raise CdpError(f"Task '{task.key}' has run_if: {task.run_if}; there are {', '.join(_RUN_IF)}.")
    runs = {key: TaskRun(key) for key in tasks}
    graph = {key: [before for before in task.depends_on if before in tasks] for key, task in tasks.items()}
    order = TopologicalSorter(graph)
    try:
        order.prepare()
    except CycleError as error:
        raise CdpError(f"The tasks of job {job.key} depend on each other: {' → '.join(error.args[1])}.") from None
    run_id = str(int(started_at.timestamp() * 1000))
    values = _parameter_values(job, parameters, started_at, run_id)
    logs.mkdir(parents=True, exist_ok=True)
    import_ahead(task.notebook for task in tasks.values())
    futures: dict[Future[None], str] = {}
    ready: list[str] = []
    chains = _chains_behind(graph)
    places = {key: place for place, key in enumerate(tasks)}
    urgent = _within_reach(graph, waited_for)
    with ThreadPoolExecutor(TASKS_AT_ONCE) as pool:
        while order.is_active():
            # The task that most others wait for, one after the other, comes first; of equals, that of the file.
            ready = sorted([*ready, *order.get_ready()], key=lambda key: (key not in urgent, -chains[key], places[key]))
            while ready and len(futures) < TASKS_AT_ONCE and (ready[0] in urgent or not urgent):
                key = ready.pop(0)
                runs[key].state = _next_state(tasks[key].run_if, [runs[before].state for before in graph[key]])
                if runs[key].state == State.RUNNING:
                    runs[key].started = time.monotonic()
                    futures[pool.submit(_run_task, tasks[key], values, workspace, logs)] = key
                else:
                    order.done(key)
                    urgent.discard(key)
                on_change(runs[key])
            # Not longer than this at a time: an engine in this process keeps Ctrl-C from waking a thread that waits.
            done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                run = runs[futures.pop(future)]
                _finish(run, future.exception(), workspace, logs)
                order.done(run.key)
                urgent.discard(run.key)
                on_change(run)
    return list(runs.values())


def _chains_behind(graph: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Of each task, how many tasks wait for it at most, one after the other."""
    chains = dict.fromkeys(graph, 0)
    for key in reversed(list(TopologicalSorter(graph).static_order())):
        for before in graph[key]:
            chains[before] = max(chains[before], chains[key] + 1)
    return chains


def with_all_behind(job: Job, keys: Iterable[str]) -> set[str]:
    """Tasks of a job, and all that depend on them, one way or another; names of no task are passed over.

    Args:
        job: The job.
        keys: Keys of the tasks.
    """
    behind: dict[str, list[str]] = {key: [] for key in job.tasks}
    for key, task in job.tasks.items():
        for before in task.depends_on:
            behind[before].append(key)
    return _within_reach(behind, keys)


def _within_reach(graph: Mapping[str, Collection[str]], keys: Iterable[str]) -> set[str]:
    """Keys, and all that the graph leads to from them."""
    found: set[str] = set()
    ahead = [key for key in keys if key in graph]
    while ahead:
        key = ahead.pop()
        if key not in found:
            found.add(key)
            ahead.extend(graph[key])
    return found


def _next_state(run_if: str, before: list[State]) -> State:
    """What becomes of a task once all tasks before it have ended, as the Jobs documentation has it."""
    if before and all(state == State.EXCLUDED for state in before):
        return State.EXCLUDED
    holds, otherwise = _RUN_IF[run_if]
    return State.RUNNING if not before or holds([s in (State.FAILED, State.SKIPPED) for s in before]) else otherwise


def _parameter_values(job: Job, parameters: Mapping[str, str], started_at: datetime, run_id: str) -> dict[str, str]:
    dynamic = {
        "job.run_id": run_id,
        "job.start_time.iso_datetime": started_at.isoformat(timespec="seconds"),
        "job.name": job.key,
    }
    return {name: _resolved(text, dynamic) for name, text in (job.parameters | dict(parameters)).items()}


def _resolved(text: str, dynamic: Mapping[str, str]) -> str:
    def value_of(reference: str) -> str:
        if reference not in dynamic:
            raise CdpError(f"The job refers to {{{{{reference}}}}}, which has no value on this machine.")
        return dynamic[reference]

    return resolve_dynamic_values(text, value_of)


def _run_task(task: Task, job_parameters: Mapping[str, str], workspace: Workspace, logs: Path) -> None:
    dynamic = {f"job.parameters.{name}": value for name, value in job_parameters.items()} | {"task.name": task.key}
    base_parameters = {name: _resolved(text, dynamic) for name, text in task.base_parameters.items()}
    with (logs / f"{task.key}.log").open("w", encoding="utf-8") as output:
        run_notebook(task.notebook, {**base_parameters, **job_parameters}, workspace, output, task.key)


def _finish(run: TaskRun, error: BaseException | None, workspace: Workspace, logs: Path) -> None:
    run.seconds = time.monotonic() - (run.started or 0.0)
    run.counts = {
        key: workspace.task_values[run.key, key] for key in ROW_COUNTS if (run.key, key) in workspace.task_values
    }
    run.new_columns = workspace.task_values.get((run.key, NEW_COLUMNS), [])
    run.state = State.SUCCEEDED if error is None else State.FAILED
    if isinstance(error, CdpError):
        run.error = workspace.secrets.redact(str(error))
    elif error is not None:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        run.error = workspace.secrets.redact(f"{type(error).__name__}: {first_line} (all of it: {logs}/{run.key}.log)")


def new_run_start() -> datetime:
    """The time a run starts at, UTC; to the millisecond it is also the run's id."""
    return datetime.now(UTC)
