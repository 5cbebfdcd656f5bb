"""Fixtures: published tables for the tests of the views."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from cdp_lib.contracts.analytics import MODEL_FITS_GOLD
from cdp_lib.contracts.table import TableContract
from cdp_lib.published import PUBLISHED_TABLES
from cdp_lib.storage import open_store

# Values that a conversion can easily change: ends of a type's range, many digits, strings with many bytes.
VALUES: dict[str, tuple[Any, ...]] = {
    "BIGINT": (2**63 - 1, -(2**62), 0),
    "BOOLEAN": (True, False, True),
    "DATE": (date(9999, 12, 31), date(1900, 1, 1), date(2024, 2, 29)),
    "DECIMAL(38,3)": (Decimal("9" * 35 + ".999"), Decimal("-0.001"), Decimal(0)),
    "DECIMAL(38,4)": (Decimal("9" * 34 + ".9999"), Decimal("-0.0001"), Decimal(0)),
    "DOUBLE": (0.1, -1.7e308, 1 / 3),
    "INT": (2**31 - 1, -(2**31), 0),
    "STRING": ("القاهرة – 'Zürich' \\ [a] $(b)", "", "x" * 5000),
    "TIMESTAMP": (
        datetime(2026, 1, 31, 23, 59, 59, 999999, UTC),
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=UTC),
    ),
}


def rows_of(contract: TableContract) -> list[dict[str, Any]]:
    """Return four rows of a table: three rows without nulls, and a row in which every optional column is null.

    Columns that are not published are always null.
    """
    columns = [column for column in contract.columns if column.pii is None or column.required]
    rows = [{column.name: VALUES[column.type][number] for column in columns} for number in range(3)]
    # A row of fewer than 0 people is not copied.
    rows[1] |= {contract.counts_people: 2**62} if contract.counts_people else {}
    return [*rows, {column.name: VALUES[column.type][2] for column in columns if column.required}]


ALL_ROWS = ("--var", "synapse_customers=true", "--var", "minimum_cell_size=1")
"""Options of a run that copies every row of every table."""


@dataclass(frozen=True)
class Gold:
    """Gold tables and their published copies.

    Attributes:
        tables: Folder of the tables.
        published: Folder of the copies.
    """

    tables: Path
    published: Path


@pytest.fixture(scope="session")
def written(spark: SparkSession, catalog: str, tmp_path_factory: pytest.TempPathFactory) -> Gold:
    """Tables written as the job does: with `replace`, and model_fits_gold also with `merge_rows`."""
    gold = Gold(tmp_path_factory.mktemp("gold"), tmp_path_factory.mktemp("published"))
    spark.sql(f"CREATE SCHEMA {catalog}.cdp_test_synapse LOCATION '{gold.tables}'").collect()
    store = open_store(spark, catalog, "cdp_test_synapse")

    def write(contract: TableContract) -> None:
        store.replace(contract, store.frame(contract, rows_of(contract)))
        if contract == MODEL_FITS_GOLD:
            store.merge_rows(contract, store.frame(contract, rows_of(contract)[:1]))
        store.publish(contract, store.read(contract), str(gold.published))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, PUBLISHED_TABLES))
    return gold


@pytest.fixture(scope="session")
def refreshed(cdp: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Gold:
    """Tables that the job builds from the sample data."""
    home = tmp_path_factory.mktemp("refreshed")
    gold = Gold(home / "warehouse" / "sales", home / "gold")
    run = cdp("run", "--home", home, *ALL_ROWS, "--var", f"synapse_location={gold.published}")
    assert run.returncode == 0, run.stderr
    return gold
