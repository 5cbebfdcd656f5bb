"""Soak test: `cdp watch` loads many batches, loses no row, and does not use more and more memory or time.

By default the test lands a few batches. `make torture` sets `CDP_SOAK_SECONDS=1800`, with a batch every 5 seconds.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.landing import Landing
from cdp_lib.reconciliation import WHOLE_TABLE

SECONDS = float(os.environ.get("CDP_SOAK_SECONDS", "0"))
IS_LONG = SECONDS > 60
RESTART_AFTER = 20 if IS_LONG else 3
REFRESH_TIMEOUT = 120
"""Maximum time in seconds to wait for one refresh, even on a busy machine."""


@pytest.fixture(scope="module")
def retail_data(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    """The module `benchmarks/retail_data.py`."""
    return benchmark_module("retail_data")


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process in megabytes, including the embedded engine."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def rows_of(home: Path, table: str) -> list[dict[str, Any]]:
    return DeltaTable(home / "warehouse" / "sales" / table).to_pyarrow_table().to_pylist()


def batch_accounts(accounts: list[dict[str, Any]], table: str) -> list[dict[str, Any]]:
    """Return the reconciliation rows of the batches of a table, without the row of the whole table.

    All batches but the newest have one row together.
    """
    return [each for each in accounts if each["table_name"] == table and each["batch_id"] != WHOLE_TABLE]


def wait_until_loaded(home: Path, batch_id: str, log: Path) -> None:
    """Wait until a batch of sales is reconciled."""
    deadline = time.monotonic() + REFRESH_TIMEOUT
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8")
        assert "failed" not in text and "error" not in text, text
        with suppress(TableNotFoundError):
            accounts = batch_accounts(rows_of(home, "reconciliation_ops"), "retails_silver")
            if batch_id in (each["batch_id"] for each in accounts):
                return
        time.sleep(0.3)
    raise AssertionError(log.read_text(encoding="utf-8"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="NOT CHECKED: reading memory needs Linux")
def test_watch_loads_many_batches_without_losing_rows_or_slowing_down(retail_data: ModuleType, tmp_path: Path) -> None:
    shop, landing, log = retail_data.Shop(sales=20_000), Landing(str(tmp_path / "landing")), tmp_path / "watch.log"
    shop.land_history(landing)
    [history] = landing.batch_ids(TRANSACTIONS_BRONZE.source, TRANSACTIONS_BRONZE.entity)
    command = [Path(sys.executable).parent / "cdp", "watch", "--home", tmp_path, "--restart-after", f"{RESTART_AFTER}"]
    memory: list[float] = []
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.STDOUT) as watch,
    ):
        try:
            wait_until_loaded(tmp_path, history, log)
            begin, number = time.monotonic(), 0
            while time.monotonic() - begin < SECONDS or number < 5:
                number += 1
                landed_at = time.monotonic()
                *_, batch = shop.land_small_batch(landing, number)
                wait_until_loaded(tmp_path, batch.batch_id, log)
                memory.append(resident_megabytes(watch.pid))
                if IS_LONG:
                    time.sleep(max(0.0, 5 - (time.monotonic() - landed_at)))
        finally:
            watch.kill()
    assert log.read_text(encoding="utf-8").count("Watching") > 1, "the engine was not restarted"
    accounts = rows_of(tmp_path, "reconciliation_ops")
    assert all(account["is_balanced"] for account in accounts)
    sales = batch_accounts(accounts, "transactions_silver")
    # Only the newest batches have rows of their own. A short test has no others.
    assert IS_LONG or len(sales) == number + 1
    assert sum(account["rows_in"] for account in sales) == 20_000 + 50 * number
    lines = re.findall(r"batch(?:es)?, .* after ([\d.]+) s", log.read_text(encoding="utf-8"))
    seconds = [float(text) for text in lines]
    print(f"{number} batches; seconds {seconds[0]} … {seconds[-1]}; MB {memory[0]:.0f} … {memory[-1]:.0f}")
    if IS_LONG:
        third = number // 3
        assert statistics.median(seconds[-third:]) < 1.3 * statistics.median(seconds[:third]) + 1
        assert max(memory[-third:]) < 1.3 * max(memory[:third])
