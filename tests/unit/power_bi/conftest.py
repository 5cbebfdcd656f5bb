"""Fixtures for the tests of the Power BI project: its model and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .semantic_model import SemanticModel, read_model

POWER_BI = Path(__file__).resolve().parents[3] / "powerbi"
MODEL = POWER_BI / "retail-cdp.SemanticModel"
REPORT = POWER_BI / "retail-cdp.Report"


@pytest.fixture(scope="session")
def model() -> SemanticModel:
    """Return the semantic model."""
    return read_model(MODEL)


@pytest.fixture(scope="session")
def visuals() -> dict[str, dict[str, Any]]:
    """Return every visual of the report, by `page/name`."""
    paths = sorted(REPORT.glob("definition/pages/*/visuals/*/visual.json"))
    return {f"{p.parents[2].name}/{p.parent.name}": json.loads(p.read_text(encoding="utf-8")) for p in paths}
