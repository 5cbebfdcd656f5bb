"""cdp_maintenance: away from the refresh, and with values it takes."""

from __future__ import annotations

from typing import Any

import pytest

from cdp_lib.maintenance import MaintenanceSettings

Resource = dict[str, Any]


@pytest.fixture
def job(bundle: Resource) -> Resource:
    return bundle["resources"]["jobs"]["cdp_maintenance"]


def test_it_starts_when_the_schedule_of_the_refresh_has_long_ended(job: Resource, bundle: Resource) -> None:
    refresh = bundle["resources"]["jobs"]["cdp_refresh"]
    (_, _, start), (_, _, begin) = (
        map(int, each["schedule"]["quartz_cron_expression"].split()[:3]) for each in (job, refresh)
    )
    assert begin + refresh["timeout_seconds"] / 3600 <= start
    assert start + job["timeout_seconds"] / 3600 <= 24 + begin
    assert job["schedule"]["timezone_id"] == refresh["schedule"]["timezone_id"]
    assert job["schedule"]["quartz_cron_expression"].endswith(" ? * SUN")


def test_it_takes_what_the_variables_say(job: Resource, bundle: Resource) -> None:
    defaults = job["tasks"][0]["notebook_task"]["base_parameters"]
    names = ("retention_days", "batch_retention_days", "predictive_optimization")
    given = {name: str(bundle["variables"][name]["default"]) for name in names}
    assert {name: defaults[name] for name in given} == {name: f"${{var.{name}}}" for name in given}
    settings = MaintenanceSettings.from_parameters("cat1", "sales", **given)
    assert (settings.retention_days, settings.batch_retention_days) == (7, 30)
