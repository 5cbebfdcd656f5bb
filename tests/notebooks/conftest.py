"""The nutter notebooks of this folder are run by test_nutter.py; pytest collects none of them itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

NOTEBOOKS = sorted(
    path
    for path in Path(__file__).parent.glob("test_*.py")
    if path.read_text(encoding="utf-8").startswith("# Databricks notebook source")
)
collect_ignore = [path.name for path in NOTEBOOKS]

# Nutter's fixtures import its command line, and that the client of a workspace, which is not installed: it would bring
# an old `databricks` command. No fixture uses it.
_client = ModuleType("databricks_api")
vars(_client)["DatabricksAPI"] = object
sys.modules.setdefault("databricks_api", _client)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a `notebook` runs for each of them."""
    if "notebook" in metafunc.fixturenames:
        metafunc.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
