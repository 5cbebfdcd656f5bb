"""Fixtures: the resources of the data factory, and simulated sources that its pipelines read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from .world import World

ADF = Path(__file__).resolve().parents[3] / "adf"
KINDS = ("linkedService", "dataset", "pipeline", "trigger", "factory")
GLOBAL_PARAMETERS = {
    "lake_account": "examplelake",
    "landing_container": "retail",
    "landing_folder": "landing",
    "incoming_container": "incoming",
    "api_url": "https://api.example.com/v1",
    "database_server": "example.database.windows.net",
    "database_name": "shop",
    "crm_url": "https://example.crm.dynamics.com",
    "crm_client_id": "11111111-1111-1111-1111-111111111111",
    "databricks_url": "https://adb-1.1.azuredatabricks.net",
    "databricks_resource_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w",
    "databricks_job_id": "42",
}


@pytest.fixture(scope="session")
def adf() -> Path:
    """Folder with the files of the data factory."""
    return ADF


@pytest.fixture(scope="session")
def resources(adf: Path) -> dict[str, dict[str, Any]]:
    """Content of each resource file, by kind and name of the resource."""
    return {
        kind: {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((adf / kind).glob("*.json"))}
        for kind in KINDS
    }


@pytest.fixture(scope="session")
def entities(adf: Path) -> dict[str, dict[str, Any]]:
    """Entities that the factory lands, by `<source>/<entity>`."""
    listed = json.loads((adf / "control" / "entities.json").read_text(encoding="utf-8"))
    return {f"{entity['source']}/{entity['entity']}": entity for entity in listed}


@pytest.fixture(scope="session")
def deployed(resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The resources after a deployment has set the values of the global parameters."""
    filled = deepcopy(resources)
    (factory,) = filled["factory"].values()
    parameters = factory["properties"]["globalParameters"]
    assert set(parameters) == set(GLOBAL_PARAMETERS)
    for name, value in GLOBAL_PARAMETERS.items():
        parameters[name]["value"] = value
    return filled


@pytest.fixture
def new_world(deployed: dict[str, Any], entities: dict[str, Any], tmp_path: Path) -> Callable[[], World]:
    """Return a function that creates sources with first records, a simulated factory and an empty data lake."""
    numbers = itertools.count(1)
    return lambda: World(deployed, list(entities.values()), tmp_path / str(next(numbers)))


@pytest.fixture
def world(new_world: Callable[[], World]) -> World:
    """Sources, a simulated factory and an empty data lake."""
    return new_world()
