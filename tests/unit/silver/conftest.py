"""Fixtures: functions that build bronze rows from values of a test and that check silver rows."""

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
    """Function that builds bronze rows from dicts. Missing lineage columns get default values."""

    def build(contract: BronzeContract, *rows: dict[str, Any]) -> DataFrame:
        return frame_of(contract.columns, *(_LINEAGE | row for row in rows))

    return build


@pytest.fixture
def verdicts() -> Callable[[DataFrame, TableContract], list[Row]]:
    """Function that adds `broken_rules` and `_warnings` to typed rows and returns the rows, ordered by record."""

    def check(rows: DataFrame, contract: TableContract) -> list[Row]:
        return check_versions(rows, contract).orderBy("record").collect()

    return check
