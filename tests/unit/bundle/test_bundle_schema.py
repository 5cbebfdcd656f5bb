"""Validate the bundle against the JSON schema of the Databricks CLI, if the CLI is on PATH."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CLI = shutil.which("databricks")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File with the bundle's JSON schema, written by the CLI."""
    if CLI is None:
        pytest.skip("NOT CHECKED against the CLI's schema: there is no `databricks` command on PATH")
    answer = subprocess.run([CLI, "bundle", "schema"], capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode != 0:
        pytest.skip(f"NOT CHECKED against the CLI's schema: `{CLI} bundle schema` fails (an old CLI?)")
    path = tmp_path_factory.mktemp("schema") / "bundle.schema.json"
    path.write_text(answer.stdout, encoding="utf-8")
    return path


def check(schema: Path, content: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "databricks.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def without_overrides(files: list[tuple[Path, dict[str, Any]]], target: str) -> dict[str, Any]:
    """Return a target of databricks.yml without its overrides of resources.

    An override has only some fields of a resource, but the schema requires all of them. The merged resources are
    checked instead.
    """
    return {key: value for key, value in files[0][1]["targets"][target].items() if key != "resources"}


def test_every_target_is_valid(
    schema: Path, bundle: dict[str, Any], files: list[tuple[Path, dict[str, Any]]], target: str, tmp_path: Path
) -> None:
    sections = {
        key: bundle[key] for key in ("bundle", "include", "artifacts", "experimental", "sync", "variables", "resources")
    }
    answer = check(schema, sections | {"targets": {target: without_overrides(files, target)}}, tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("target", ["dev"], indirect=True)
def test_typo_is_rejected(schema: Path, bundle: dict[str, Any], tmp_path: Path) -> None:
    bundle["bundle"]["databricks_cli_versoin"] = "1.0.0"
    answer = check(schema, {"bundle": bundle["bundle"]}, tmp_path)
    assert answer.returncode != 0
    assert "databricks_cli_versoin" in answer.stdout + answer.stderr
