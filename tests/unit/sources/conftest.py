"""Where a source under test lands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp_lib.landing import Extraction, Landing


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    """An empty landing location."""
    return Landing(str(tmp_path / "landing"))


@pytest.fixture
def extraction(landing: Landing) -> Extraction:
    """What one run lands."""
    return landing.extraction("source", "b1", datetime(2026, 1, 31, tzinfo=UTC))


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """Folder of the source's landed entities."""
    return tmp_path / "landing" / "source"
