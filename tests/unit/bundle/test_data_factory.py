"""Tests of the optional file that lets a data factory start cdp_refresh."""

from __future__ import annotations

from typing import Any

import pytest
from databricks.bundles.jobs import Job

pytestmark = pytest.mark.first_engine

Bundle = dict[str, Any]


def test_no_job_has_a_permission_of_its_own_by_default(bundle: Bundle) -> None:
    assert "factory_service_principal" not in bundle["variables"]
    assert not [name for name, job in bundle["resources"]["jobs"].items() if "permissions" in job]


@pytest.mark.parametrize("target", ["staging", "prod", "adls"], indirect=True)
def test_the_factory_may_run_cdp_refresh_and_nothing_else(whole_bundle: Bundle) -> None:
    # The API refuses an empty name, so the variable has no default.
    assert whole_bundle["variables"]["factory_service_principal"].keys() == {"description"}
    permissions = {
        name: job["permissions"] for name, job in whole_bundle["resources"]["jobs"].items() if "permissions" in job
    }
    factory = {"service_principal_name": "${var.factory_service_principal}", "level": "CAN_MANAGE_RUN"}
    assert permissions == {"cdp_refresh": [factory]}
    assert Job.from_dict(whole_bundle["resources"]["jobs"]["cdp_refresh"]).as_dict()["permissions"] == [factory]
    # The CLI warns if a principal has both a permission on the bundle and one on a resource, and --strict fails then.
    names = {each.get("service_principal_name") for each in whole_bundle["permissions"]}
    assert factory["service_principal_name"] not in names


@pytest.mark.parametrize("target", ["dev"], indirect=True)
def test_development_gives_the_factory_no_right(whole_bundle: Bundle) -> None:
    assert not [name for name, job in whole_bundle["resources"]["jobs"].items() if "permissions" in job]
