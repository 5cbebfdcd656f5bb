"""Tests of the jobs cdp_maintenance and cdp_verify: their schedules and their parameters."""

from __future__ import annotations

from typing import Any

import pytest

from cdp_lib.maintenance import MaintenanceSettings

Resource = dict[str, Any]


@pytest.fixture
def job(bundle: Resource) -> Resource:
    return bundle["resources"]["jobs"]["cdp_maintenance"]


def test_maintenance_and_refresh_do_not_overlap(job: Resource, bundle: Resource) -> None:
    refresh = bundle["resources"]["jobs"]["cdp_refresh"]
    (_, _, maintenance_hour), (_, _, refresh_hour) = (
        map(int, each["schedule"]["quartz_cron_expression"].split()[:3]) for each in (job, refresh)
    )
    assert refresh_hour + refresh["timeout_seconds"] / 3600 <= maintenance_hour
    assert maintenance_hour + job["timeout_seconds"] / 3600 <= 24 + refresh_hour
    assert job["schedule"]["timezone_id"] == refresh["schedule"]["timezone_id"]
    assert job["schedule"]["quartz_cron_expression"].endswith(" ? * SUN")


def test_verification_follows_maintenance_in_the_same_week(job: Resource, bundle: Resource) -> None:
    refresh, verify = (bundle["resources"]["jobs"][key] for key in ("cdp_refresh", "cdp_verify"))
    hours = {
        each["name"]: int(each["schedule"]["quartz_cron_expression"].split()[2]) for each in (job, verify, refresh)
    }
    assert hours["cdp_maintenance"] + job["timeout_seconds"] / 3600 <= hours["cdp_verify"]
    assert hours["cdp_verify"] + verify["timeout_seconds"] / 3600 <= 24 + hours["cdp_refresh"]
    assert verify["schedule"]["quartz_cron_expression"].endswith(" ? * SUN")
    assert {each["name"]: each["default"] for each in verify["parameters"]} == {"repair": "false"}


def test_parameters_come_from_variables_with_valid_defaults(job: Resource, bundle: Resource) -> None:
    defaults = job["tasks"][0]["notebook_task"]["base_parameters"]
    names = ("retention_days", "batch_retention_days", "predictive_optimization")
    given = {name: str(bundle["variables"][name]["default"]) for name in names}
    assert {name: defaults[name] for name in given} == {name: f"${{var.{name}}}" for name in given}
    settings = MaintenanceSettings.from_parameters("cat1", "sales", **given)
    assert (settings.retention_days, settings.batch_retention_days) == (7, 30)
