"""cdp_stream: what has landed is taken in by the steps of cdp_refresh, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest

Resource = dict[str, Any]


@pytest.fixture
def job(bundle: Resource) -> Resource:
    return bundle["resources"]["jobs"]["cdp_stream"]


def test_it_runs_cdp_refresh_without_reading_a_source(job: Resource, bundle: Resource) -> None:
    [task] = job["tasks"]
    run = task["run_job_task"]
    assert run["job_id"] == "${resources.jobs.cdp_refresh.id}"
    assert run["job_parameters"]["ingest"] == "false"
    parameters = {parameter["name"] for parameter in bundle["resources"]["jobs"]["cdp_refresh"]["parameters"]}
    assert set(run["job_parameters"]) <= parameters


def test_it_waits_for_the_run_before_and_loses_no_arrival(job: Resource, bundle: Resource) -> None:
    for each in (job, bundle["resources"]["jobs"]["cdp_refresh"]):
        assert each["max_concurrent_runs"] == 1 and each["queue"]["enabled"] is True


def test_it_watches_the_landing_volume_that_is_deployed_once_it_is_switched_on(job: Resource, bundle: Resource) -> None:
    trigger = job["trigger"]
    assert trigger["pause_status"] == "${var.stream_state}"
    assert bundle["variables"]["stream_state"]["default"] == "PAUSED"
    arrival = trigger["file_arrival"]
    assert arrival["url"] == "${resources.volumes.landing.volume_path}/"
    # The least that a workspace takes.
    assert arrival["wait_after_last_change_seconds"] >= 60
    assert arrival["min_time_between_triggers_seconds"] >= 60
