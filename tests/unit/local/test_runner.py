"""Jobs: order, failures, conditions, parameters, counts, errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_local.bundle import Job, Task
from cdp_local.dbutils import SecretStore
from cdp_local.notebooks import Workspace
from cdp_local.runner import State, TaskRun, run_job, with_all_behind

STARTED_AT = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
SECRET = "blue-moon"  # pragma: allowlist secret
FAIL = "raise ValueError('no')"


class Jobs:
    """Runs jobs whose notebooks are written down in a test; they need no session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs" / "run"
        self.tasks: dict[str, Task] = {}
        self.changes: list[tuple[str, State]] = []
        secrets = SecretStore(folder / "no secrets", {("cdp", "key"): SECRET})
        self.workspace = Workspace(None, secrets, {}, folder / "views")  # type: ignore[arg-type]

    def add(self, key: str, source: str = "", after: str = "", run_if: str = "ALL_SUCCESS", **parameters: str) -> None:
        notebook = self.folder / f"{key}.py"
        notebook.write_text(source)
        self.tasks[key] = Task(key, notebook, parameters, tuple(after.split()), run_if)

    def run(
        self, *only: str, defaults: dict[str, str] | None = None, first: str = "", **parameters: str
    ) -> dict[str, TaskRun]:
        def note(run: TaskRun) -> None:
            self.changes.append((run.key, run.state))

        job = Job("job", defaults or {}, self.tasks)
        runs = run_job(job, parameters, self.workspace, self.logs, STARTED_AT, note, only=only, first=first)
        return {run.key: run for run in runs}

    def states(self, *only: str) -> dict[str, str]:
        return {key: str(run.state) for key, run in self.run(*only).items()}


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_a_task_starts_when_those_before_it_have_ended(jobs: Jobs) -> None:
    jobs.add("last", after="left right")
    jobs.add("left", "import time\ntime.sleep(0.1)", after="first")
    jobs.add("right", after="first")
    jobs.add("first")

    assert list(jobs.run()) == ["last", "left", "right", "first"]
    assert jobs.changes[:2] == [("first", State.RUNNING), ("first", State.SUCCEEDED)]
    assert jobs.changes[-2:] == [("last", State.RUNNING), ("last", State.SUCCEEDED)]
    assert jobs.changes.index(("left", State.SUCCEEDED)) < jobs.changes.index(("last", State.RUNNING))


@pytest.mark.parametrize("source", ["", FAIL], ids=["succeeds", "fails"])
def test_what_is_waited_for_comes_before_what_it_does_not_need(jobs: Jobs, source: str) -> None:
    jobs.add("other")
    jobs.add("after_other", after="other")
    jobs.add("waited_for", after="needed beside")
    jobs.add("needed", source, after="start")
    jobs.add("beside")
    jobs.add("start")

    runs = jobs.run(first="waited_for")

    ended = [key for key, state in jobs.changes if state != State.RUNNING]
    assert set(ended[:3]) == {"start", "needed", "beside"}
    assert ended[3:] == ["waited_for", "other", "after_other"]
    assert runs["waited_for"].state == (State.SKIPPED if source else State.SUCCEEDED)
    assert runs["after_other"].state == State.SUCCEEDED


def test_of_equals_the_first_in_the_file_comes_first(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_local.runner.TASKS_AT_ONCE", 1)
    jobs.add("c", after="a")
    jobs.add("b")
    jobs.add("a")
    jobs.add("d", after="b")

    jobs.run()

    assert [key for key, state in jobs.changes if state == State.SUCCEEDED] == ["b", "a", "c", "d"]


def test_independent_tasks_run_side_by_side(jobs: Jobs) -> None:
    barrier = threading.Barrier(2)
    threading.cdp_test_barrier = barrier  # type: ignore[attr-defined]
    for key in ("left", "right"):
        jobs.add(key, "import threading\nthreading.cdp_test_barrier.wait(timeout=10)")

    assert jobs.states() == {"left": "succeeded", "right": "succeeded"}


def test_a_failure_skips_what_comes_after_it_and_nothing_else(jobs: Jobs) -> None:
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
def test_run_if_is_the_workspaces(
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


def test_an_excluded_task_counts_as_succeeded_and_excludes_what_follows_it_alone(jobs: Jobs) -> None:
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


def test_an_unknown_condition_is_named(jobs: Jobs) -> None:
    jobs.add("odd", run_if="SOMETIMES")

    with pytest.raises(CdpError, match="Task 'odd' has run_if: SOMETIMES; there are ALL_SUCCESS, "):
        jobs.run()


def test_tasks_in_a_circle_are_named(jobs: Jobs) -> None:
    jobs.add("a", after="b")
    jobs.add("b", after="a")

    with pytest.raises(CdpError, match="The tasks of job job depend on each other: (a → b → a|b → a → b)"):
        jobs.run()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda jobs: jobs.run("nope"), "Unknown task 'nope': job job has first"),
        (lambda jobs: jobs.run(defaults={"as_of": ""}, nope="1"), "Unknown parameter 'nope': job job has as_of"),
    ],
)
def test_what_the_job_does_not_have_is_refused(jobs: Jobs, run: Callable[[Jobs], object], message: str) -> None:
    jobs.add("first")

    with pytest.raises(CdpError, match=message):
        run(jobs)
    assert jobs.changes == []


def test_only_runs_these_tasks_whatever_they_depend_on(jobs: Jobs) -> None:
    jobs.add("first", FAIL)
    jobs.add("second", after="first")
    jobs.add("third", after="second")
    jobs.add("repair", after="first", run_if="ALL_FAILED")

    assert jobs.states("third", "second", "repair") == {
        "second": "succeeded",
        "third": "succeeded",
        "repair": "succeeded",
    }


def test_what_is_behind_a_task_depends_on_it_one_way_or_another(jobs: Jobs) -> None:
    jobs.add("first")
    jobs.add("other")
    jobs.add("second", after="first other")
    jobs.add("third", after="second")
    jobs.add("apart", after="other")
    job = Job("job", {}, jobs.tasks)
    assert with_all_behind(job, ["first"]) == {"first", "second", "third"}
    assert with_all_behind(job, ["third", "no task"]) == {"third"}
    assert with_all_behind(job, []) == set()


def test_parameters_get_their_dynamic_values(jobs: Jobs) -> None:
    jobs.add("show", "print(dbutils.widgets.getAll())", label="{{task.name}} on {{job.parameters.day}}", day="mine")

    jobs.run(
        defaults={
            "run": "{{job.run_id}}",
            "at": "{{ job.start_time.iso_datetime }}",
            "name": "{{job.name}}",
            "day": "",
        },
        day="2026-01-31",
    )

    assert eval((jobs.logs / "show.log").read_text()) == {
        "run": "1769903999123",
        "at": "2026-01-31T23:59:59+00:00",
        "name": "job",
        "day": "2026-01-31",  # a job's parameter wins over a task's of that name
        "label": "show on 2026-01-31",
    }


def test_a_dynamic_value_there_is_not_is_named(jobs: Jobs) -> None:
    jobs.add("show", label="{{tasks.first.values.n}}")

    assert jobs.run()["show"].error == "The job refers to {{tasks.first.values.n}}, which has no value on this machine."


def test_a_task_tells_its_counts_and_later_tasks_read_its_values(jobs: Jobs) -> None:
    jobs.add("first", "\n".join(f"dbutils.jobs.taskValues.set('{key}', 3)" for key in ("rows", "quarantined", "x")))
    jobs.add("second", "print(dbutils.jobs.taskValues.get('first', 'x') + 1)", after="first")

    runs = jobs.run()

    assert runs["first"].counts == {"rows": 3, "quarantined": 3}
    assert runs["second"].counts == {}
    assert (jobs.logs / "second.log").read_text() == "4\n"


def test_an_unexpected_error_is_one_line_and_a_traceback_in_the_log(jobs: Jobs) -> None:
    jobs.add("bad", f"print('before')\nraise ValueError('first line {SECRET}\\nsecond line')")

    run = jobs.run()["bad"]

    log = jobs.logs / "bad.log"
    assert run.error == f"ValueError: first line [REDACTED] (all of it: {log})"
    assert log.read_text().startswith("before\nTraceback (most recent call last):\n")
    assert "second line" in log.read_text()
    assert SECRET not in log.read_text()
    assert run.seconds is not None


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (f"from cdp_lib.errors import CdpError\nraise CdpError('two\\nlines, {SECRET}')", "two lines, [REDACTED]"),
        ("raise ValueError", "ValueError: ValueError (all of it: "),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (all of it: "),
        ("def", "SyntaxError: invalid syntax (bad.py, line 1) (all of it: "),
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
