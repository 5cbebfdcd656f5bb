"""Fixtures of the attacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_lib.storage import DeltaStore
from unit.warehouse import Warehouse


@pytest.fixture
def warehouse(store: DeltaStore, tmp_path: Path) -> Warehouse:
    """Return a warehouse without batches."""
    return Warehouse(store, tmp_path / "landing")
