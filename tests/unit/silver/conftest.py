"""Fixtures: bronze rows from the values in a test, and the results of checking silver rows."""

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
    """Builder of bronze rows from dicts; missing lineage columns get default values."""

    def build(contract: BronzeContract, *rows: dict[str, Any]) -> DataFrame:
        return frame_of(contract.columns, *(_LINEAGE | row for row in rows))

    return build


@pytest.fixture
def verdicts() -> Callable[[DataFrame, TableContract], list[Row]]:
    """Check of typed rows: returns them ordered by record, with `broken_rules` and `_warnings`."""

    def check(rows: DataFrame, contract: TableContract) -> list[Row]:
        return check_versions(rows, contract).orderBy("record").collect()

    return check
