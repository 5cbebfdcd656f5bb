"""Tests of the optional job that publishes gold tables without personal data to Power BI."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.bundles.jobs import Job

from cdp_lib.contracts import TABLES
from cdp_lib.errors import CdpError
from cdp_local.bundle import Bundle

pytestmark = pytest.mark.first_engine


OPTIONAL = "resources/optional/cdp_power_bi.job.yml"


@pytest.fixture
def content(project: Path) -> dict[str, Any]:
    """Content of the job's file."""
    return dict(yaml.safe_load((project / OPTIONAL).read_text(encoding="utf-8")))


@pytest.fixture
def job(content: dict[str, Any]) -> dict[str, Any]:
    """The job cdp_power_bi."""
    return dict(content["resources"]["jobs"]["cdp_power_bi"])


@pytest.fixture
def task(job: dict[str, Any]) -> dict[str, Any]:
    """Settings of the job's only task."""
    (task,) = job["tasks"]
    return dict(task["power_bi_task"])


def test_job_is_not_included_by_default(files: list[tuple[Path, dict[str, Any]]], project: Path) -> None:
    assert project / OPTIONAL not in [path for path, _ in files]


def test_every_reference_resolves_when_the_job_is_included(
    content: dict[str, Any], bundle: dict[str, Any], target: str
) -> None:
    variables = bundle["variables"] | content["variables"]
    assert not bundle["variables"].keys() & content["variables"].keys()
    assert all(variable["description"] and "default" in variable for variable in content["variables"].values())
    references = set(re.findall(r"\$\{(.*?)\}", json.dumps(content["resources"])))
    assert {f"var.{name}" for name in content["variables"]} <= references
    for reference in references:
        match reference.split("."):
            case ["var", name]:
                assert name in variables
            case ["resources", kind, key, field]:
                assert field in bundle["resources"][kind][key]


def test_job_is_valid_for_the_sdk(job: dict[str, Any]) -> None:
    assert Job.from_dict(job).tasks[0].power_bi_task


def test_trigger_is_paused_by_default(job: dict[str, Any], content: dict[str, Any]) -> None:
    assert job["trigger"]["pause_status"] == "${var.power_bi_trigger_state}"
    assert content["variables"]["power_bi_trigger_state"]["default"] == "PAUSED"
    assert "schedule" not in job


def test_trigger_waits_for_the_deployed_kpi_table(job: dict[str, Any]) -> None:
    (table,) = job["trigger"]["table_update"]["table_names"]
    assert table == "${var.catalog}.${resources.schemas.sales.name}.kpi_monthly_gold"
    assert job["trigger"]["table_update"]["wait_after_last_change_seconds"] >= 60


def test_published_tables_have_no_personal_data(task: dict[str, Any]) -> None:
    published = [table["name"] for table in task["tables"]]
    assert len(published) == len(set(published)) > 10
    for table in task["tables"]:
        assert (table["catalog"], table["schema"]) == ("${var.catalog}", "${resources.schemas.sales.name}")
        contract = TABLES[table["name"]]
        assert [column.name for column in contract.columns if column.pii] == []
        # A task publishes whole tables, so it cannot leave rows out.
        assert not contract.is_per_customer and not contract.counts_people


def test_workspace_names_come_from_variables(task: dict[str, Any]) -> None:
    assert task["warehouse_id"] == "${var.warehouse_id}"
    assert task["connection_resource_name"] == "${var.power_bi_connection}"
    assert task["power_bi_model"]["workspace_name"] == "${var.power_bi_workspace}"
    assert task["power_bi_model"]["model_name"] == "${var.power_bi_model}"


def test_job_does_not_overwrite_the_model_of_this_project(
    task: dict[str, Any], content: dict[str, Any], project: Path
) -> None:
    (model,) = (project / "powerbi").glob("*.SemanticModel")
    assert content["variables"]["power_bi_model"]["default"] != model.stem
    assert task["power_bi_model"]["overwrite_existing"] is False


def test_job_is_monitored_and_has_one_run_at_a_time(job: dict[str, Any]) -> None:
    assert job["queue"] == {"enabled": True}
    assert job["max_concurrent_runs"] == 1
    assert job["health"]["rules"][0]["value"] < job["timeout_seconds"]
    for event in ("on_failure", "on_duration_warning_threshold_exceeded"):
        assert job["email_notifications"][event] == ["${var.notification_email}"]


def test_local_run_reports_in_one_line_that_the_job_needs_a_workspace(project: Path, tmp_path: Path) -> None:
    with pytest.raises(CdpError, match=r"^Unknown job 'cdp_power_bi': the bundle has .*cdp_refresh.*\.$"):
        Bundle(project, {}).job("cdp_power_bi")
    (tmp_path / "databricks.yml").write_text(
        yaml.safe_dump({"bundle": {"name": "shop"}, "include": ["*.job.yml"]}), encoding="utf-8"
    )
    shutil.copy(project / OPTIONAL, tmp_path)
    with pytest.raises(CdpError, match=r"^Task 'power_bi' is not a notebook task: it runs in a workspace only\.$"):
        Bundle(tmp_path, {}).job("cdp_power_bi")


def test_lookup_variable_is_empty_in_a_local_run(project: Path) -> None:
    assert Bundle(project, {}).variable("warehouse_id") == ""
    assert Bundle(project, {"warehouse_id": "abc"}).variable("warehouse_id") == "abc"
