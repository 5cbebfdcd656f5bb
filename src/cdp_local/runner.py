"""Runs the tasks of a job in the order of their dependencies. Independent tasks run in parallel."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException

from cdp_lib.erasure.suppressions import ERASURE_KEY
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.graph import longest_chains
from cdp_lib.pipeline.run import TABLES_AT_ONCE, Runner, TableRun
from cdp_lib.pipeline.work import RowCounts
from cdp_lib.redaction import redact
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.storage import open_store
from cdp_lib.task_values import ROW_COUNTS
from cdp_local.bundle import Job, Task, resolve_dynamic_values
from cdp_local.engines import catalog_of
from cdp_local.job_settings import job_reference_values, new_run_start, parameter_values, require_known, setting_values
from cdp_local.notebooks import Workspace, import_ahead, run_notebook

if TYPE_CHECKING:
    from cdp_local.workspace import LocalWorkspace

TASKS_AT_ONCE = TABLES_AT_ONCE


class State(StrEnum):
    """State of a task or table."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not run, because an upstream task failed. Downstream tasks treat this task as failed."""
    EXCLUDED = "excluded"
    """Not run, for one of these reasons: an upstream condition had the other outcome; all upstream tasks are
    excluded; or `run_if` requires failures of upstream tasks, which did not happen.
    Downstream tasks treat this task as succeeded."""


@dataclass
class TaskRun:
    """One task of a run, or one table that a stage reported.

    Attributes:
        key: Task key, or name of the table.
        state: Current state.
        started: Start on the monotonic clock, in seconds; None before the start.
        seconds: Duration in seconds; None before the end.
        counts: Reported numbers of rows, by name. The names are in `ROW_COUNTS`.
        notes: Sentences about the refresh that a person should read.
        error: Reason of a failure, in one line.
        stage_report: For a table, the values that its stage reported; None for a task.
        outcome: For a finished condition task, `true` or `false`; else None.
    """

    key: str
    state: State = State.WAITING
    started: float | None = None
    seconds: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    stage_report: dict[str, Any] | None = None
    outcome: str | None = None


_RESULT_STATES = {
    State.SUCCEEDED: "success",
    State.FAILED: "failed",
    State.SKIPPED: "upstream_failed",
    State.EXCLUDED: "excluded",
}
"""Value that `{{tasks.<key>.result_state}}` has in a workspace, by state of the task."""

_TABLE_STATES = {
    "running": State.RUNNING,
    "refreshed": State.SUCCEEDED,
    "fresh": State.SUCCEEDED,
    "failed": State.FAILED,
    "skipped": State.SKIPPED,
}
"""State of a table in this module, by the state that the stage reports for the table."""

# For each value of `run_if`: a function that returns whether the task runs, and the state of a task that does not run.
# The function gets one boolean per upstream task: true if the upstream task failed or was skipped.
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
) -> list[TaskRun]:
    """Run a job to its end, even if tasks fail.

    Failed tasks are not retried, unlike in a workspace.

    Args:
        job: The job.
        parameters: Values of job parameters, by name. They override the defaults of the job.
        workspace: Session, secrets and task values that the notebooks share.
        logs: Folder for the output files of the tasks, `<task>.log`.
        started_at: Start of the run, UTC.
        on_change: Function that is called, in this thread, with each task or table whose state has changed.
        only: Keys of the tasks to run; empty for all tasks. Dependencies on other tasks are ignored.

    Returns:
        The runs of all tables that stages reported, then the runs of all tasks in the order of the job file.

    Raises:
        CdpError: The job does not have a given parameter or task, a setting has a value that is not allowed, a task has
            an unknown `run_if`, or the dependencies of the tasks form a cycle.
    """
    values, job_values = parameter_values(job, parameters), job_reference_values(job, started_at)
    require_known("task", only, job.tasks, job)
    _require_valid_settings(job, parameters, started_at)
    tasks = {key: task for key, task in job.tasks.items() if not only or key in only}
    for task in tasks.values():
        if task.run_if not in _RUN_IF:
            raise CdpError(f"Task '{task.key}' has run_if: {task.run_if}; supported values are {', '.join(_RUN_IF)}.")
    runs = {key: TaskRun(key) for key in tasks}
    graph = {key: [upstream for upstream in task.depends_on if upstream in tasks] for key, task in tasks.items()}
    order = TopologicalSorter(graph)
    try:
        order.prepare()
    except CycleError as error:
        raise CdpError(f"The tasks of job {job.key} form a cycle: {' → '.join(error.args[1])}.") from None
    logs.mkdir(parents=True, exist_ok=True)
    import_ahead(task.notebook for task in tasks.values() if task.notebook)
    futures: dict[Future[str | None], str] = {}
    reported: dict[str, TaskRun] = {}
    ready: list[str] = []
    chains = longest_chains(graph)
    positions = {key: position for position, key in enumerate(tasks)}
    with ThreadPoolExecutor(TASKS_AT_ONCE) as pool:
        while order.is_active():
            # Start the task with the longest chain of downstream tasks first; break ties by the order in the file.
            ready = sorted([*ready, *order.get_ready()], key=lambda key: (-chains[key], positions[key]))
            while ready and len(futures) < TASKS_AT_ONCE:
                key = ready.pop(0)
                runs[key].state = _next_state(tasks[key], {upstream: runs[upstream] for upstream in graph[key]})
                if runs[key].state == State.RUNNING:
                    runs[key].started = time.monotonic()
                    value_of = _dynamic_values(values, job_values, tasks[key], runs, workspace)
                    futures[pool.submit(_run_task, tasks[key], values, value_of, workspace, logs)] = key
                else:
                    order.done(key)
                on_change(runs[key])
            # Wait in short steps: if the engine runs in this process, Ctrl-C does not interrupt a waiting thread.
            done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
            for table in _tables_reported(workspace, reported):
                on_change(table)
            for future in done:
                run = runs[futures.pop(future)]
                _finish(run, future.exception(), workspace, logs)
                run.outcome = None if future.exception() else future.result()
                order.done(run.key)
                on_change(run)
    return [*reported.values(), *runs.values()]


def _dynamic_values(
    job_parameters: Mapping[str, str],
    job_values: Mapping[str, str],
    task: Task,
    runs: Mapping[str, TaskRun],
    workspace: Workspace,
) -> Callable[[str], str]:
    """Return a function that returns the value of a `{{…}}` reference in a task.

    A reference to a task that is not part of the run has an empty value.
    """

    def value_of(reference: str) -> str:
        if reference in job_values:
            return job_values[reference]
        match reference.split("."):
            case ["job", "parameters", name] if name in job_parameters:
                return job_parameters[name]
            case ["task", "name"]:
                return task.key
            case ["tasks", key, "result_state"]:
                return _RESULT_STATES.get(runs[key].state, "") if key in runs else ""
            case ["tasks", key, "values", name]:
                return str(workspace.task_values.get((key, name), ""))
        raise CdpError(f"The job refers to {{{{{reference}}}}}, which has no value on this machine.")

    return value_of


def _tables_reported(workspace: Workspace, reported: dict[str, TaskRun]) -> list[TaskRun]:
    """Return the tables that stages have reported since the last call, and add these tables to `reported`."""
    new = []
    for (_, name), value in list(workspace.task_values.items()):
        is_report = isinstance(value, dict) and "table" in value
        if is_report and (name not in reported or reported[name].stage_report != value):
            counts = RowCounts(**value["counts"])
            run = table_run(TableRun(**value | {"counts": counts, "error": redact(value["error"])}))
            reported[name] = replace(run, stage_report=value)
            new.append(reported[name])
    return new


def table_run(run: TableRun) -> TaskRun:
    """Convert the result of a table to a `TaskRun`, because `Progress` shows objects of this class."""
    has_ended = run.state in ("refreshed", "fresh")
    return TaskRun(
        run.table,
        _TABLE_STATES[run.state],
        started=time.monotonic() - run.seconds,
        seconds=None if run.state == "running" else run.seconds,
        counts=asdict(run.counts) if has_ended else {},
        notes=list(run.notes),
        error=run.error or None,
        stage_report=asdict(run),
    )


def _next_state(task: Task, upstream: Mapping[str, TaskRun]) -> State:
    """Return the new state of a task after its upstream tasks have ended. The rules are those of Databricks Jobs."""
    if any(
        run.state == State.SUCCEEDED and task.depends_on[key] not in (None, run.outcome)
        for key, run in upstream.items()
    ):
        return State.EXCLUDED
    states = [run.state for run in upstream.values()]
    if states and all(state == State.EXCLUDED for state in states):
        return State.EXCLUDED
    holds, otherwise = _RUN_IF[task.run_if]
    return State.RUNNING if not states or holds([s in (State.FAILED, State.SKIPPED) for s in states]) else otherwise


def _require_valid_settings(job: Job, parameters: Mapping[str, str], started_at: datetime) -> None:
    """Raise an error if a setting of the job has an invalid value, so that the run ends before its first task."""
    given = {*job.parameters, *(name for task in job.tasks.values() for name in task.base_parameters)}
    if given >= {*Settings.parameter_names()}:
        Settings.from_parameters(setting_values(job, parameters, started_at))


def open_runner(workspace: LocalWorkspace, job: str, parameters: Mapping[str, str]) -> Runner:
    """Return a runner that refreshes the tables that a user selects, with the same settings as the stages of a job.

    Args:
        workspace: The local workspace.
        job: Key of the job.
        parameters: Values of job parameters, by name. They override the defaults of the job.

    Raises:
        CdpError: The job or a parameter does not exist, or a parameter can't be parsed.
    """
    values = setting_values(workspace.bundle.job(job), parameters, new_run_start())
    settings = Settings.from_parameters(values)
    store = open_store(workspace.session, settings.catalog, settings.schema)
    erasure_key = find_secret(workspace.notebooks, settings.secret_scope, ERASURE_KEY)
    return Runner(store, workspace.landing, settings, erasure_key=erasure_key)


def _run_task(
    task: Task, job_parameters: Mapping[str, str], value_of: Callable[[str], str], workspace: Workspace, logs: Path
) -> str | None:
    """Run a task. Return the outcome of a condition task, or None for a notebook task."""
    if task.condition:
        left, right = (resolve_dynamic_values(side, value_of) for side in (task.condition.left, task.condition.right))
        return str(left == right).lower()
    assert task.notebook
    base_parameters = {name: resolve_dynamic_values(text, value_of) for name, text in task.base_parameters.items()}
    with (logs / f"{task.key}.log").open("w", encoding="utf-8") as output:
        run_notebook(task.notebook, {**base_parameters, **job_parameters}, workspace, output, task.key)
    return None


def _finish(run: TaskRun, error: BaseException | None, workspace: Workspace, logs: Path) -> None:
    run.seconds = time.monotonic() - (run.started or 0.0)
    run.counts = {
        key: workspace.task_values[run.key, key] for key in ROW_COUNTS if (run.key, key) in workspace.task_values
    }
    run.state = State.SUCCEEDED if error is None else State.FAILED
    # After an error of the engine, look for the reason in the files of the tables: few engine errors name the file.
    catalog = catalog_of(workspace.spark) if isinstance(error, PySparkException) else None
    if damage := next(iter(catalog.damaged_tables().values()), "") if catalog else "":
        run.error = damage
    elif isinstance(error, CdpError):
        run.error = str(error)
    elif error is not None:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        run.error = redact(f"{type(error).__name__}: {first_line} (full output: {logs}/{run.key}.log)")
