"""Check of a deployment in a workspace: `make smoke TARGET=dev`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deployment import JOB, check_deployment, connect

from cdp_local.bundle import Bundle

PROJECT = Path(__file__).resolve().parents[2]
TARGET = os.environ.get("CDP_SMOKE_TARGET")


def test_deployment_has_no_findings() -> None:
    if not TARGET:
        pytest.skip("NOT CHECKED in a workspace: run `make smoke TARGET=dev` after a deployment")
    try:
        client = connect()
    except ValueError as error:
        # Fail if a workspace is configured, because the user expects the check to run.
        if os.environ.get("DATABRICKS_HOST") or os.environ.get("DATABRICKS_CONFIG_PROFILE"):
            raise
        pytest.skip(f"NOT CHECKED in a workspace: set DATABRICKS_HOST, or log in with the Databricks CLI ({error})")
    assert check_deployment(client, TARGET, Bundle(PROJECT, {}).job(JOB).parameters) == []
