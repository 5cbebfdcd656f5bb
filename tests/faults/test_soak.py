"""Batches that keep landing: nothing is lost, and neither memory nor the time of a batch grows.

A few seconds here; `CDP_SOAK_SECONDS=1800`, with a batch every 5 seconds, in `make torture`.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from deltalake import DeltaTable

from cdp_local.watch import refreshes
from cdp_local.workspace import open_workspace

SECONDS = float(os.environ.get("CDP_SOAK_SECONDS", "15"))
SECONDS_BETWEEN = 5.0 if SECONDS > 60 else 0.0


@pytest.fixture(scope="module")
def retail_data() -> ModuleType:
    """The generator of shops, which is no package's."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "retail_data.py"
    spec = importlib.util.spec_from_file_location("retail_data", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["retail_data"] = module
    spec.loader.exec_module(module)
    return module


def resident_megabytes() -> float:
    """Memory of this process, the embedded engine included."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def rows_of(home: Path, table: str) -> list[dict]:
    return DeltaTable(home / "warehouse" / "sales" / table).to_pyarrow_table().to_pylist()


@pytest.mark.first_engine
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="NOT CHECKED: memory is asked of Linux")
def test_batches_that_keep_landing_lose_nothing_and_cost_no_more(
    retail_data: ModuleType, tmp_path: Path, engine: str
) -> None:
    if engine != "sail":
        pytest.skip("the engine in this process is the embedded one")
    shop = retail_data.Shop(sales=20_000)
    cpu: list[float] = []
    memory: list[float] = []
    with open_workspace("sail", tmp_path, {}) as workspace:
        shop.land_history(workspace.landing)
        following = refreshes(workspace, workspace.bundle.job("cdp_stream"))
        assert not next(following).errors
        history = {row["table_name"]: row["rows_in"] for row in rows_of(tmp_path, "reconciliation_ops")}
        begin, number = time.monotonic(), 0
        while time.monotonic() - begin < SECONDS or number < 6:
            number += 1
            shop.land_small_batch(workspace.landing, number)
            before = time.process_time()
            refresh = next(following)
            assert refresh.errors == ()
            cpu.append(time.process_time() - before)
            memory.append(resident_megabytes())
            time.sleep(max(0.0, SECONDS_BETWEEN - refresh.seconds))
        following.close()
    accounts = rows_of(tmp_path, "reconciliation_ops")
    assert all(account["is_balanced"] for account in accounts)
    batches = [account for account in accounts if account["table_name"] == "transactions_bronze"]
    assert len(batches) == number + 1
    assert sum(account["rows_in"] for account in batches) == history["transactions_bronze"] + 50 * number
    third = max(2, number // 3)
    print(f"{number} batches; seconds of CPU {cpu[0]:.1f} … {cpu[-1]:.1f}; MB {memory[0]:.0f} … {memory[-1]:.0f}")
    # Seconds of CPU, which other work on this machine does not change; half a second is what they differ by anyway.
    assert statistics.median(cpu[-third:]) < 1.17 * statistics.median(cpu[:third]) + 0.5
    if SECONDS > 60:  # until then caches and code fill up
        assert statistics.median(memory[-third:]) < 1.17 * statistics.median(memory[third : 2 * third]) + 100
