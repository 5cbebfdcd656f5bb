"""Tests of the dashboard's file: it is in the format of the CLI, and names no catalog and no schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.first_engine

DASHBOARD = "resources/dashboards/cdp.lvdash.json"


def clean(project: Path, path: Path) -> str:
    """Run the tool on a file. Return the text of the file."""
    command = [sys.executable, str(project / "tools" / "clean_dashboard.py"), str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path.read_text(encoding="utf-8")


def test_generated_dashboard_differs_only_in_what_a_person_changed(project: Path, tmp_path: Path) -> None:
    committed = (project / DASHBOARD).read_text(encoding="utf-8")
    generated = json.loads(committed)
    # `databricks bundle generate dashboard` sorts the keys and adds the catalog and the schema of the target.
    for dataset in generated["datasets"]:
        dataset |= {"catalog": "cat1", "schema": "dev_jane_sales_serving"}
    generated["pages"][0]["displayName"] = "Übersicht <&>"
    path = tmp_path / "generated.lvdash.json"
    path.write_text(json.dumps(generated, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    changed = [
        (before, after)
        for before, after in zip(committed.splitlines(), clean(project, path).splitlines(), strict=True)
        if before != after
    ]

    assert [after.strip().rstrip(",") for _, after in changed] == ['"displayName": "Übersicht <&>"']


def test_cleaning_the_committed_dashboard_changes_nothing(project: Path, tmp_path: Path) -> None:
    committed = (project / DASHBOARD).read_text(encoding="utf-8")
    path = tmp_path / "cdp.lvdash.json"
    path.write_text(committed, encoding="utf-8")
    assert clean(project, path) == committed
