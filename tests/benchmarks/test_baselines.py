"""Tests that the baselines build the same tables as the product, so that their durations are comparable."""

from __future__ import annotations

from pathlib import Path

import pytest
from contestants import CONTESTANTS, Contestant, refresh, resident_megabytes
from product import LARGEST_MART
from same_tables import COMPARED, Contents, contents_of, ensure_same

from cdp_lib.errors import CdpError


def test_first_version_builds_the_tables_of_the_product(
    engine: str, landing: Path, product_contents: Contents, tmp_path: Path
) -> None:
    measured = refresh(CONTESTANTS[f"first-version-{engine}"], tmp_path / "home", landing)
    contents = contents_of(tmp_path / "home" / "warehouse" / "sales")

    rows = ensure_same({"product": product_contents, "first version": contents})
    assert (rows["transactions_bronze"], rows["retails_silver"]) == (2_000, 1_980)
    assert set(measured.tasks) == set(COMPARED)
    assert 0 < measured.seconds < measured.process_seconds
    assert measured.seconds == pytest.approx(sum(measured.tasks.values()), rel=0.05)


def test_product_builds_the_same_tables_with_the_largest_mart_last(
    landing: Path, product_contents: Contents, tmp_path: Path
) -> None:
    measured = refresh(CONTESTANTS["product-apart"], tmp_path / "home", landing)

    ensure_same({"product": product_contents, "apart": contents_of(tmp_path / "home" / "warehouse" / "sales")})
    assert set(measured.tasks) > {*COMPARED, "reconciliation"}
    assert list(measured.tasks).index(LARGEST_MART) > list(measured.tasks).index("store_product_performance_gold")


def test_duckdb_script_builds_the_tables_of_the_product(
    landing: Path, product_contents: Contents, tmp_path: Path
) -> None:
    refresh(CONTESTANTS["duckdb"], tmp_path / "home", landing)

    ensure_same({"product": product_contents, "duckdb": contents_of(tmp_path / "home" / "warehouse" / "sales")})


def test_tables_with_a_different_row_are_unequal() -> None:
    product = {"retails_silver": (1_980, 17), "sales_by_country_gold": (8, 5)}

    with pytest.raises(
        CdpError, match=r"sales_by_country_gold of product and of duckdb are not the same \(8 and 8 rows"
    ):
        ensure_same({"product": product, "duckdb": product | {"sales_by_country_gold": (8, 6)}})


def test_missing_table_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CdpError, match="customers_bronze was not made"):
        contents_of(tmp_path)


def test_failed_contestant_is_reported_in_one_line(tmp_path: Path) -> None:
    batch = tmp_path / "landing" / "customers_api" / "customers" / "2026-01-01" / "20260101T000000Z-1"
    batch.mkdir(parents=True)
    (batch / "manifest.json").write_text("{}")

    with pytest.raises(CdpError, match="^product, Sail ended with exit code 1: error: table customers_bronze: [^\n]+$"):
        refresh(CONTESTANTS["product"], tmp_path / "home", tmp_path / "landing")


CHILD_WITH_OWN_MEMORY = """
import json, subprocess, sys, time
hold = 'x = bytearray(150_000_000); import time; time.sleep(1.5)'
child = subprocess.Popen([sys.executable, '-c', hold])
x = bytearray(150_000_000)
child.wait()
print(json.dumps({'seconds': 1.5, 'tasks': {}}))
"""
FORKED_CHILD = """
import json, os, time
x = b'x' * 150_000_000
if child := os.fork():
    os.waitpid(child, 0)
    print(json.dumps({'seconds': 1.5, 'tasks': {}}))
else:
    time.sleep(1.5)
"""


@pytest.mark.parametrize(
    ("program", "least", "most"), [(CHILD_WITH_OWN_MEMORY, 300, 500), (FORKED_CHILD, 150, 250)], ids=["child", "fork"]
)
def test_memory_of_every_process_is_counted_once(tmp_path: Path, program: str, least: int, most: int) -> None:
    script = tmp_path / "contestant.py"
    script.write_text(program)
    measured = refresh(Contestant("contestant", str(script)), tmp_path / "home", tmp_path)

    assert measured.peak_megabytes is not None
    assert least < measured.peak_megabytes < most
    assert resident_megabytes(2**22) == 0
