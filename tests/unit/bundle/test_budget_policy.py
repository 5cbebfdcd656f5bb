"""Tests of the optional file that assigns a serverless budget policy to the production jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.bundles.jobs import Job

pytestmark = pytest.mark.first_engine

OPTIONAL = "resources/optional/budget_policy.yml"


@pytest.fixture
def content(project: Path) -> dict[str, Any]:
    """Content of the optional file."""
    return dict(yaml.safe_load((project / OPTIONAL).read_text(encoding="utf-8")))


def test_jobs_have_no_budget_policy_by_default(
    files: list[tuple[Path, dict[str, Any]]], bundle: dict[str, Any], project: Path
) -> None:
    assert project / OPTIONAL not in [path for path, _ in files]
    assert not [name for name, job in bundle["resources"]["jobs"].items() if "budget_policy_id" in job]


def test_every_job_of_production_gets_the_policy_that_has_to_be_named(
    content: dict[str, Any], bundle: dict[str, Any], target: str
) -> None:
    assert "default" not in content["variables"]["budget_policy_id"]
    assert "budget_policy_id" not in bundle["variables"]
    if target == "dev":
        assert target not in content["targets"]
        return
    jobs = content["targets"][target]["resources"]["jobs"]
    assert jobs.keys() == bundle["resources"]["jobs"].keys()
    for name, override in jobs.items():
        job = Job.from_dict(bundle["resources"]["jobs"][name] | override)
        assert job.as_dict()["budget_policy_id"] == "${var.budget_policy_id}"
