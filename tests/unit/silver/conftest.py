"""Bronze rows written down in a test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.table import BronzeContract

_LINEAGE = {
    "_record_hash": "h",
    "_batch_id": "b1",
    "_source_file": "f",
    "_ingested_at": datetime(2026, 1, 31, tzinfo=UTC),
}


@pytest.fixture
def bronze_rows(frame_of: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
    """Rows of a bronze table; lineage is filled in where a test leaves it out."""

    def build(contract: BronzeContract, *rows: dict[str, Any]) -> DataFrame:
        return frame_of(contract.columns, *(_LINEAGE | row for row in rows))

    return build
