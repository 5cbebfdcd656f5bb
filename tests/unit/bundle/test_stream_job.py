"""Tests of the job cdp_stream, which refreshes landed batches in one task."""

from __future__ import annotations

from typing import Any

import pytest

Resource = dict[str, Any]


@pytest.fixture
def job(bundle: Resource) -> Resource:
    return bundle["resources"]["jobs"]["cdp_stream"]


def test_stream_has_the_settings_of_cdp_refresh_but_reads_no_source(job: Resource, bundle: Resource) -> None:
    [task] = job["tasks"]
    assert task["notebook_task"]["notebook_path"] == "notebooks/ops/refresh.py"
    given = task["notebook_task"]["base_parameters"]
    assert (given["ingest"], given["fit_models"]) == ("false", "false")
    stages = {task["task_key"]: task for task in bundle["resources"]["jobs"]["cdp_refresh"]["tasks"]}
    settings = stages["gold"]["notebook_task"]["base_parameters"]
    assert {name: given.get(name) for name in settings if name != "held"} == {
        name: value for name, value in settings.items() if name != "held"
    }


def test_stream_queues_runs_one_at_a_time(job: Resource) -> None:
    assert job["max_concurrent_runs"] == 1 and job["queue"]["enabled"] is True


def test_trigger_watches_the_deployed_landing_volume_and_is_paused_by_default(job: Resource, bundle: Resource) -> None:
    trigger = job["trigger"]
    assert trigger["pause_status"] == "${var.stream_state}"
    assert bundle["variables"]["stream_state"]["default"] == "PAUSED"
    arrival = trigger["file_arrival"]
    assert arrival["url"] == "${resources.volumes.landing.volume_path}/"
    # The minimum that a workspace accepts.
    assert arrival["wait_after_last_change_seconds"] >= 60
    assert arrival["min_time_between_triggers_seconds"] >= 60
