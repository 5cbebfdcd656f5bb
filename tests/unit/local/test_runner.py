"""Tests of running jobs: order of tasks, failures, conditions, parameters, row counts and error messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.pipeline.run import TableRun
from cdp_lib.pipeline.work import RowCounts
from cdp_local.bundle import Condition, Job, Task
from cdp_local.dbutils import SecretStore
from cdp_local.notebooks import Workspace
from cdp_local.runner import State, TaskRun, run_job

STARTED_AT = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
SECRET = "blue-moon"  # pragma: allowlist secret
FAIL = "raise ValueError('no')"


class Jobs:
    """Helper that runs jobs. The tests define the notebooks of the jobs, which need no session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs" / "run"
        self.tasks: dict[str, Task] = {}
        self.changes: list[tuple[str, State]] = []
        self.on_change: Callable[[TaskRun], object] = lambda run: None
        secrets = SecretStore(folder / "no secrets", {("cdp", "key"): SECRET})
        self.workspace = Workspace(None, secrets, {})  # type: ignore[arg-type]

    def add(self, key: str, source: str = "", after: str = "", run_if: str = "ALL_SUCCESS", **parameters: str) -> None:
        notebook = self.folder / f"{key}.py"
        notebook.write_text(source)
        self.tasks[key] = Task(key, notebook, None, parameters, dict.fromkeys(after.split()), run_if)

    def add_condition(self, key: str, left: str, right: str, after: str) -> None:
        self.tasks[key] = Task(key, None, Condition(left, right), {}, dict.fromkeys(after.split()), "ALL_DONE")

    def run(self, *only: str, defaults: dict[str, str] | None = None, **parameters: str) -> dict[str, TaskRun]:
        def record(run: TaskRun) -> None:
            self.changes.append((run.key, run.state))
            self.on_change(run)

        job = Job("job", defaults or {}, self.tasks)
        runs = run_job(job, parameters, self.workspace, self.logs, STARTED_AT, record, only=only)
        return {run.key: run for run in runs}

    def states(self, *only: str) -> dict[str, str]:
        return {key: str(run.state) for key, run in self.run(*only).items()}


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_task_starts_after_its_upstream_tasks_end(jobs: Jobs) -> None:
    jobs.add("last", after="left right")
    jobs.add("left", "import time\ntime.sleep(0.1)", after="first")
    jobs.add("right", after="first")
    jobs.add("first")

    assert list(jobs.run()) == ["last", "left", "right", "first"]
    assert jobs.changes[:2] == [("first", State.RUNNING), ("first", State.SUCCEEDED)]
    assert jobs.changes[-2:] == [("last", State.RUNNING), ("last", State.SUCCEEDED)]
    assert jobs.changes.index(("left", State.SUCCEEDED)) < jobs.changes.index(("last", State.RUNNING))


def test_task_with_the_longest_downstream_chain_starts_first(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_local.runner.TASKS_AT_ONCE", 1)
    jobs.add("alone")
    jobs.add("last", after="second")
    jobs.add("second", after="first")
    jobs.add("with_one_downstream")
    jobs.add("first")
    jobs.add("downstream", after="with_one_downstream")

    jobs.run()

    ended = [key for key, state in jobs.changes if state == State.SUCCEEDED]
    assert ended == ["first", "second", "with_one_downstream", "alone", "last", "downstream"]


def test_tasks_with_equal_chains_start_in_the_order_of_the_file(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_local.runner.TASKS_AT_ONCE", 1)
    jobs.add("c", after="a")
    jobs.add("b")
    jobs.add("a")
    jobs.add("d", after="b")

    jobs.run()

    assert [key for key, state in jobs.changes if state == State.SUCCEEDED] == ["b", "a", "c", "d"]


def test_independent_tasks_run_in_parallel(jobs: Jobs) -> None:
    barrier = threading.Barrier(2)
    threading.cdp_test_barrier = barrier  # type: ignore[attr-defined]
    for key in ("left", "right"):
        jobs.add(key, "import threading\nthreading.cdp_test_barrier.wait(timeout=10)")

    assert jobs.states() == {"left": "succeeded", "right": "succeeded"}


def test_failure_skips_only_downstream_tasks(jobs: Jobs) -> None:
    jobs.add("good")
    jobs.add("bad", FAIL)
    jobs.add("after_bad", after="bad")
    jobs.add("after_both", after="good after_bad")
    jobs.add("after_good", after="good")

    assert jobs.states() == {
        "good": "succeeded",
        "bad": "failed",
        "after_bad": "skipped",
        "after_both": "skipped",
        "after_good": "succeeded",
    }


@pytest.mark.parametrize(
    ("run_if", "after_good", "after_good_and_bad", "after_bad", "after_skipped"),
    [
        ("ALL_SUCCESS", "succeeded", "skipped", "skipped", "skipped"),
        ("AT_LEAST_ONE_SUCCESS", "succeeded", "succeeded", "skipped", "skipped"),
        ("NONE_FAILED", "succeeded", "skipped", "skipped", "skipped"),
        ("ALL_DONE", "succeeded", "succeeded", "succeeded", "succeeded"),
        ("AT_LEAST_ONE_FAILED", "excluded", "succeeded", "succeeded", "succeeded"),
        ("ALL_FAILED", "excluded", "excluded", "succeeded", "succeeded"),
    ],
)
def test_run_if_behaves_as_in_a_workspace(
    jobs: Jobs, run_if: str, after_good: str, after_good_and_bad: str, after_bad: str, after_skipped: str
) -> None:
    jobs.add("good")
    jobs.add("bad", FAIL)
    jobs.add("skipped", after="bad")
    jobs.add("after_good", after="good", run_if=run_if)
    jobs.add("after_good_and_bad", after="good bad", run_if=run_if)
    jobs.add("after_bad", after="bad", run_if=run_if)
    jobs.add("after_skipped", after="skipped", run_if=run_if)

    states = jobs.states()

    assert states["after_good"] == after_good
    assert states["after_good_and_bad"] == after_good_and_bad
    assert states["after_bad"] == after_bad
    assert states["after_skipped"] == after_skipped


def test_excluded_task_counts_as_succeeded_but_excludes_tasks_that_follow_only_it(jobs: Jobs) -> None:
    jobs.add("good")
    jobs.add("repair", after="good", run_if="AT_LEAST_ONE_FAILED")
    jobs.add("report", after="good repair")
    jobs.add("after_repair", after="repair", run_if="ALL_DONE")

    assert jobs.states() == {
        "good": "succeeded",
        "repair": "excluded",
        "report": "succeeded",
        "after_repair": "excluded",
    }


@pytest.mark.parametrize(("value", "is_run"), [("true", True), ("false", False), ("", False)])
def test_task_runs_only_if_the_condition_has_the_required_outcome(jobs: Jobs, value: str, is_run: bool) -> None:
    jobs.add("first", f"dbutils.jobs.taskValues.set('is_due', {value!r})")
    jobs.add_condition("is_due", "{{tasks.first.values.is_due}}", "true", after="first")
    jobs.add("second", after="is_due")
    jobs.tasks["second"].depends_on["is_due"] = "true"
    jobs.add("third", after="second", run_if="ALL_DONE")

    runs = jobs.run()

    assert runs["is_due"].outcome == str(is_run).lower()
    assert {str(runs[key].state) for key in ("second", "third")} == {"succeeded" if is_run else "excluded"}


def test_error_names_an_unknown_run_if(jobs: Jobs) -> None:
    jobs.add("odd", run_if="SOMETIMES")

    with pytest.raises(CdpError, match="Task 'odd' has run_if: SOMETIMES; supported values are ALL_SUCCESS, "):
        jobs.run()


def test_error_names_tasks_in_a_cycle(jobs: Jobs) -> None:
    jobs.add("a", after="b")
    jobs.add("b", after="a")

    with pytest.raises(CdpError, match="The tasks of job job form a cycle: (a → b → a|b → a → b)"):
        jobs.run()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda jobs: jobs.run("nope"), "Unknown task 'nope': job job has first"),
        (lambda jobs: jobs.run(defaults={"as_of": ""}, nope="1"), "Unknown parameter 'nope': job job has as_of"),
    ],
)
def test_unknown_task_or_parameter_is_rejected(jobs: Jobs, run: Callable[[Jobs], object], message: str) -> None:
    jobs.add("first")

    with pytest.raises(CdpError, match=message):
        run(jobs)
    assert jobs.changes == []


def test_bundle_variable_is_rejected_as_a_parameter(jobs: Jobs) -> None:
    jobs.add("first", gross_margin="1")

    with pytest.raises(CdpError, match="'gross_margin' is not a parameter of a run: .* use --var gross_margin="):
        jobs.run(gross_margin="0.4")


def test_only_runs_the_given_tasks_without_their_upstream_tasks(jobs: Jobs) -> None:
    jobs.add("first", FAIL)
    jobs.add("second", after="first")
    jobs.add("third", after="second")
    jobs.add("repair", after="first", run_if="ALL_FAILED")

    assert jobs.states("third", "second", "repair") == {
        "second": "succeeded",
        "third": "succeeded",
        "repair": "succeeded",
    }


def test_dynamic_values_in_parameters_are_resolved(jobs: Jobs) -> None:
    jobs.add(
        "show",
        "print(dbutils.widgets.getAll())",
        label="{{task.name}} on {{job.parameters.day}}",
        day="mine",
        run="{{job.run_id}}",
        at="{{ job.start_time.iso_datetime }}",
        name="{{job.name}}",
    )

    jobs.run(defaults={"day": ""}, day="2026-01-31")

    assert eval((jobs.logs / "show.log").read_text()) == {
        "run": "1769903999123",
        "at": "2026-01-31T23:59:59+00:00",
        "name": "job",
        "day": "2026-01-31",  # a job parameter overrides a task parameter with the same name
        "label": "show on 2026-01-31",
    }


def test_task_receives_result_states_of_upstream_tasks(jobs: Jobs) -> None:
    show = "print(dbutils.widgets.get('states'))"
    keys = ("good", "bad", "skipped", "excluded", "not_in_the_run")
    states = " ".join(f"{key}={{{{tasks.{key}.result_state}}}}" for key in keys)
    jobs.add("good")
    jobs.add("bad", FAIL)
    jobs.add("skipped", after="bad")
    jobs.add("excluded", after="good", run_if="AT_LEAST_ONE_FAILED")
    jobs.add("show", show, after=" ".join(keys[:-1]), run_if="ALL_DONE", states=states)

    jobs.run()

    assert (jobs.logs / "show.log").read_text() == (
        "good=success bad=failed skipped=upstream_failed excluded=excluded not_in_the_run=\n"
    )


def test_task_receives_values_of_upstream_tasks_even_of_failed_ones(jobs: Jobs) -> None:
    jobs.add("first", "dbutils.jobs.taskValues.set('n', 3)")
    jobs.add("bad", f"dbutils.jobs.taskValues.set('held', 'a b')\n{FAIL}")
    values = "{{tasks.first.values.n}} {{tasks.bad.values.held}} {{tasks.bad.values.never_set}}."
    jobs.add("show", "print(dbutils.widgets.get('values'))", after="first bad", run_if="ALL_DONE", values=values)

    jobs.run()

    assert (jobs.logs / "show.log").read_text() == "3 a b .\n"


@pytest.mark.parametrize("reference", ["tasks.first.output", "job.parameters.nope", "workspace.id"])
def test_error_names_an_unknown_dynamic_value(jobs: Jobs, reference: str) -> None:
    jobs.add("show", label=f"{{{{{reference}}}}}")

    error = f"The job refers to {{{{{reference}}}}}, which has no value on this machine."
    assert jobs.run()["show"].error == error


def test_task_reports_row_counts_and_later_tasks_read_its_values(jobs: Jobs) -> None:
    jobs.add("first", "\n".join(f"dbutils.jobs.taskValues.set('{key}', 3)" for key in ("rows", "quarantined", "x")))
    jobs.add("second", "print(dbutils.jobs.taskValues.get('first', 'x') + 1)", after="first")

    runs = jobs.run()

    assert runs["first"].counts == {"rows": 3, "quarantined": 3}
    assert runs["second"].counts == {}
    assert (jobs.logs / "second.log").read_text() == "4\n"


def test_unexpected_error_is_one_line_with_the_traceback_in_the_log(jobs: Jobs) -> None:
    jobs.add("bad", f"print('before')\nraise ValueError('first line {SECRET}\\nsecond line')")

    run = jobs.run()["bad"]

    log = jobs.logs / "bad.log"
    assert run.error == f"ValueError: first line [REDACTED] (full output: {log})"
    assert log.read_text().startswith("before\nTraceback (most recent call last):\n")
    assert "second line" in log.read_text()
    assert SECRET not in log.read_text()
    assert run.seconds is not None


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (f"from cdp_lib.errors import CdpError\nraise CdpError('two\\nlines, {SECRET}')", "two lines, [REDACTED]"),
        ("raise ValueError", "ValueError: ValueError (full output: "),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (full output: "),
        ("def", "SyntaxError: invalid syntax (bad.py, line 1) (full output: "),
    ],
)
def test_every_error_is_one_line(jobs: Jobs, source: str, error: str) -> None:
    jobs.add("bad", source)

    run = jobs.run()["bad"]

    assert run.state == State.FAILED
    assert run.error is not None
    assert run.error.startswith(error)
    assert "\n" not in run.error
    assert "Traceback" in (jobs.logs / "bad.log").read_text()


# Tables that stages report


def report(run: TableRun) -> str:
    """Return the Python statement that the notebook of a stage uses to report the state of a table."""
    return f"dbutils.jobs.taskValues.set({run.table!r}, {asdict(run)!r})"


def test_tables_of_stages_are_returned_before_the_tasks(jobs: Jobs) -> None:
    counts = RowCounts(rows=5, quarantined=2)
    refreshed = TableRun("a_silver", "refreshed", "the table is new", counts, 1.5, ("colour",))
    ended = [refreshed, TableRun("b_silver", "fresh"), TableRun("c_silver", "failed", "x", seconds=0.5, error="no")]
    ended.append(TableRun("d_silver", "skipped"))
    jobs.add("silver", "\n".join(map(report, ended)))
    jobs.add("gold", report(TableRun("e_gold", "fresh")), after="silver")

    runs = jobs.run()

    assert list(runs) == ["a_silver", "b_silver", "c_silver", "d_silver", "e_gold", "silver", "gold"]
    assert [run.stage_report is None for run in runs.values()] == [False] * 5 + [True] * 2
    states = {key: str(run.state) for key, run in runs.items()}
    assert states["a_silver"] == states["b_silver"] == "succeeded"
    assert (states["c_silver"], states["d_silver"]) == ("failed", "skipped")
    a, b, c = runs["a_silver"], runs["b_silver"], runs["c_silver"]
    assert {name: count for name, count in a.counts.items() if count} == {"rows": 5, "quarantined": 2}
    assert (a.seconds, a.notes, a.error) == (1.5, ["colour"], None)
    assert set(b.counts.values()) == {0}
    assert (c.counts, c.error) == ({}, "no")


def test_table_is_shown_when_its_refresh_begins_and_ends(jobs: Jobs) -> None:
    wait = "import threading\nthreading.cdp_test_shown.wait(timeout=10)"
    running, ended = TableRun("a_silver", "running"), TableRun("a_silver", "refreshed", seconds=0.1)
    shown = threading.Event()
    threading.cdp_test_shown = shown  # type: ignore[attr-defined]
    jobs.on_change = lambda run: shown.set() if run.key == "a_silver" else None
    jobs.add("silver", "\n".join([report(running), wait, report(ended)]))

    jobs.run()

    assert [state for key, state in jobs.changes if key == "a_silver"] == [State.RUNNING, State.SUCCEEDED]


def test_secrets_are_redacted_in_the_error_of_a_table(jobs: Jobs) -> None:
    jobs.add("silver", report(TableRun("a_silver", "failed", error=f"wrong {SECRET}")))

    assert jobs.run()["a_silver"].error == "wrong [REDACTED]"
