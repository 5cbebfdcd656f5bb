"""Fixtures of the attacks: a warehouse, and home folders after a run on the sample data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cdp_lib.storage import DeltaStore
from unit.warehouse import Warehouse

from .commands import SELECTED, cdp


@pytest.fixture
def warehouse(store: DeltaStore, tmp_path: Path) -> Warehouse:
    """Return a warehouse without batches."""
    return Warehouse(store, tmp_path / "landing")


@pytest.fixture(scope="session")
def whole_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home folder after a run of the whole job. Tests must not change it."""
    home = tmp_path_factory.mktemp("whole") / "home"
    ended = cdp("run", "--home", home)
    assert ended.code == 0, ended.errors
    return home


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home folder with one mart and its upstream tables. Tests must not change it."""
    home = tmp_path_factory.mktemp("small") / "home"
    tasks = ("ingest_customers", "ingest_database", "ingest_events")
    for arguments in ([word for task in tasks for word in ("--only", task)], SELECTED):
        ended = cdp("run", "--home", home, *arguments)
        assert ended.code == 0, ended.errors
    return home


@pytest.fixture
def home(small_home: Path, tmp_path: Path) -> Path:
    """Copy of the home folder with one mart."""
    return Path(shutil.copytree(small_home, tmp_path / "home"))
