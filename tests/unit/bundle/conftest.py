"""Fixtures: the bundle for each target. Files are merged as the Databricks CLI does; variables are not resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
CONFIGURATION: dict[str, Any] = yaml.safe_load((PROJECT / "databricks.yml").read_text(encoding="utf-8"))
OPTIONAL_FILES = sorted((PROJECT / "resources" / "optional").glob("*.yml"))

# The CLI merges the entries of these lists by name. It concatenates all other lists.
MERGED_BY = {"tasks": "task_key", "job_clusters": "job_cluster_key", "parameters": "name"}


@pytest.fixture(scope="session")
def project() -> Path:
    """Folder of the project."""
    return PROJECT


@pytest.fixture(scope="session")
def files(project: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The bundle's files, with the parsed content of each file."""
    paths = [project / "databricks.yml", *(path for glob in CONFIGURATION["include"] for path in project.glob(glob))]
    return [(path, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths]


@pytest.fixture(params=list(CONFIGURATION["targets"]))
def target(request: pytest.FixtureRequest) -> str:
    """Name of a target. A test with this fixture runs once per target."""
    return str(request.param)


@pytest.fixture
def bundle(files: list[tuple[Path, dict[str, Any]]], target: str) -> dict[str, Any]:
    """All files merged with the overrides of the target. Paths are relative to the project."""
    return _configuration(files, target)


@pytest.fixture
def whole_bundle(files: list[tuple[Path, dict[str, Any]]], target: str) -> dict[str, Any]:
    """The merged bundle with all optional files."""
    optional = [(path, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in OPTIONAL_FILES]
    return _configuration([*files, *optional], target)


def _configuration(files: list[tuple[Path, dict[str, Any]]], target: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path, content in files:
        merged = _merge(merged, _relative_to_project(content, path.parent))
    overrides = merged.pop("targets")[target]
    variables = overrides.pop("variables", {})
    merged = _merge(merged, overrides)
    # The CLI does not merge the value of a variable with its default.
    for name, value in variables.items():
        merged["variables"][name] = {**merged["variables"][name], "default": value}
    return dict(_without_empty_environments(merged))


@pytest.fixture
def jobs(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """Jobs of the target, with only their notebook tasks. A job without notebook tasks is left out."""
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


def _relative_to_project(value: Any, folder: Path, key: str = "") -> Any:
    """Make paths in a value relative to the project. In the file they are relative to the file's folder."""
    if isinstance(value, dict):
        return {key: _relative_to_project(entry, folder, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [_relative_to_project(entry, folder, key) for entry in value]
    if key in ("notebook_path", "requirements", "whl"):
        return str((folder / value).resolve().relative_to(PROJECT))
    if key == "dependencies" and value.startswith("-r "):
        return "-r " + _relative_to_project(value.removeprefix("-r "), folder, "requirements")
    if key == "dependencies" and value.startswith("."):
        return _relative_to_project(value, folder, "whl")
    return value


def _without_empty_environments(value: Any) -> Any:
    """Remove empty environment keys from a value, as the CLI does."""
    if isinstance(value, dict):
        return {
            key: _without_empty_environments(entry)
            for key, entry in value.items()
            if (key, entry) != ("environment_key", "")
        }
    return [_without_empty_environments(entry) for entry in value] if isinstance(value, list) else value
