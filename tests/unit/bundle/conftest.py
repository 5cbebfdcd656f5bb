"""The bundle's configuration as the Databricks CLI sees it for each target, before it resolves variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
CONFIGURATION: dict[str, Any] = yaml.safe_load((PROJECT / "databricks.yml").read_text(encoding="utf-8"))

# Lists of a job whose entries are merged by name; any other list grows.
MERGED_BY = {"tasks": "task_key", "job_clusters": "job_cluster_key", "parameters": "name"}


@pytest.fixture(scope="session")
def project() -> Path:
    """Folder of the project."""
    return PROJECT


@pytest.fixture(scope="session")
def files(project: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The bundle's files and what stands in them."""
    paths = [project / "databricks.yml", *(path for glob in CONFIGURATION["include"] for path in project.glob(glob))]
    return [(path, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths]


@pytest.fixture(params=list(CONFIGURATION["targets"]))
def target(request: pytest.FixtureRequest) -> str:
    """Name of a target: the test runs for each."""
    return str(request.param)


@pytest.fixture
def bundle(files: list[tuple[Path, dict[str, Any]]], target: str) -> dict[str, Any]:
    """All files and the target's overrides as one; its paths are relative to the project."""
    together: dict[str, Any] = {}
    for path, content in files:
        together = _merge(together, _from_project(content, path.parent))
    overrides = together.pop("targets")[target]
    variables = {name: {"default": value} for name, value in overrides.get("variables", {}).items()}
    return dict(_without_dropped(_merge(together, overrides | {"variables": variables})))


@pytest.fixture
def jobs(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """Jobs of the target that run notebooks, which is all but those of other tools; each with these tasks alone."""
    jobs = []
    for job in bundle["resources"]["jobs"].values():
        tasks = [task for task in job["tasks"] if "notebook_task" in task]
        jobs += [job | {"tasks": tasks}] if tasks else []
    return jobs


@pytest.fixture
def refresh(bundle: dict[str, Any]) -> dict[str, Any]:
    """The job cdp_refresh of the target, with all its tasks."""
    return dict(bundle["resources"]["jobs"]["cdp_refresh"])


def _merge(base: Any, override: Any, name: str = "") -> Any:
    if isinstance(base, dict) and isinstance(override, dict):
        return base | {key: _merge(base[key], value, key) if key in base else value for key, value in override.items()}
    if isinstance(base, list) and isinstance(override, list):
        if name not in MERGED_BY:
            return base + override
        by_name = [{entry[MERGED_BY[name]]: entry for entry in entries} for entries in (base, override)]
        return list(_merge(*by_name).values())
    return override


def _from_project(value: Any, folder: Path, key: str = "") -> Any:
    """The value with paths that are relative to the project, not to the file they stand in."""
    if isinstance(value, dict):
        return {key: _from_project(entry, folder, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [_from_project(entry, folder, key) for entry in value]
    if key in ("notebook_path", "requirements", "whl"):
        return str((folder / value).resolve().relative_to(PROJECT))
    if key == "dependencies" and value.startswith("-r "):
        return "-r " + _from_project(value.removeprefix("-r "), folder, "requirements")
    if key == "dependencies" and value.startswith("."):
        return _from_project(value, folder, "whl")
    return value


def _without_dropped(value: Any) -> Any:
    """The value without the empty text that takes a task off its environment, which the CLI drops."""
    if isinstance(value, dict):
        return {key: _without_dropped(entry) for key, entry in value.items() if (key, entry) != ("environment_key", "")}
    return [_without_dropped(entry) for entry in value] if isinstance(value, list) else value
