"""Fixtures of the attacks: a warehouse, and a home folder after a run on the sample data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cdp_lib.storage import DeltaStore
from unit.warehouse import Warehouse

from .commands import cdp


@pytest.fixture
def warehouse(store: DeltaStore, tmp_path: Path) -> Warehouse:
    """Return a warehouse without batches."""
    return Warehouse(store, tmp_path / "landing")


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home folder after a run. Tests must not change it."""
    home = tmp_path_factory.mktemp("sample") / "home"
    ended = cdp("run", "--home", home)
    assert ended.code == 0, ended.errors
    return home


@pytest.fixture
def home(sample_home: Path, tmp_path: Path) -> Path:
    """Copy of the home folder after a run."""
    return Path(shutil.copytree(sample_home, tmp_path / "home"))
