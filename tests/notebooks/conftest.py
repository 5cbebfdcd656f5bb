"""Keep pytest from collecting the nutter notebooks of this folder. test_nutter.py runs them."""

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

# The fixtures of nutter import its command line, which imports a workspace client. The client is not installed, because
# it brings an old `databricks` command. No fixture uses the client, so an empty module replaces it.
_client = ModuleType("databricks_api")
vars(_client)["DatabricksAPI"] = object
sys.modules.setdefault("databricks_api", _client)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that has an argument `notebook` once for every nutter notebook."""
    if "notebook" in metafunc.fixturenames:
        metafunc.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
