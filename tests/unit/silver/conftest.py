"""Bronze rows written down in a test, and what the checks of silver make of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row

from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.quality import check_versions

_LINEAGE = {
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


@pytest.fixture
def verdicts() -> Callable[[DataFrame, TableContract], list[Row]]:
    """Typed rows after the check, in the order of their records: `broken_rules`, `_warnings` and the rest."""

    def check(rows: DataFrame, contract: TableContract) -> list[Row]:
        return check_versions(rows, contract).orderBy("record").collect()

    return check
