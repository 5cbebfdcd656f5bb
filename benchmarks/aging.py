"""Compare the cost of a small refresh in a new warehouse with the cost after many batches have been loaded.

    .venv/bin/python benchmarks/aging.py                        # 20 refreshes after 20 batches and after 2,000
    .venv/bin/python benchmarks/aging.py --batches 200 --refreshes 6 --engine spark

The default engine is the embedded engine.

- A batch has 50 sales and 20 events. It is extracted five minutes after the previous batch.
- A measured phase has 20 refreshes (`--refreshes`). Each refresh loads one batch. The phase runs in its own process.
- Between the measured phases, each refresh loads 50 batches, so that the script reaches 2,000 batches sooner.

Small files are compacted as in `cdp watch`. The duration of a refresh does not include compaction.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from latency import land_and_load, resident_megabytes
from retail_data import Shop

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_local.watch import refreshes
from cdp_local.workspace import open_workspace

AT_ONCE = 50
"""Number of batches in each refresh between the measured phases."""


@dataclass
class Phase:
    """Measurements of a phase. Each list has one value per refresh.

    Attributes:
        seconds: Duration of the refresh in seconds.
        cpu_seconds: CPU time of the process during the refresh, in seconds. It includes the engine.
        megabytes_read: Megabytes that the process read during the refresh.
        memory: Resident memory of the process after the refresh, in megabytes.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    megabytes_read: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def refresh_batches(engine: str, home: Path, shop: Shop, refreshed: int, batches: int) -> Phase:
    """Land batches, refresh after each group of batches, and measure each refresh.

    Args:
        engine: Engine of the workspace.
        home: Home folder of a workspace that has loaded the shop's history.
        shop: Shop that generates the batches.
        refreshed: Number of refreshes.
        batches: Number of batches in each refresh.
    """
    phase = Phase()
    with open_workspace(engine, home, {}) as workspace:
        following = refreshes(workspace, workspace.bundle.job("cdp_stream"))
        next(following)
        number = len(workspace.landing.batch_ids(TRANSACTIONS_BRONZE.source, TRANSACTIONS_BRONZE.entity))
        for _ in range(refreshed):
            for _ in range(batches):
                shop.land_small_batch(workspace.landing, number)
                number += 1
            read, cpu = _bytes_read(), time.process_time()
            refresh = next(following)
            assert not refresh.failed, refresh.failed
            phase.seconds.append(refresh.seconds)
            phase.cpu_seconds.append(time.process_time() - cpu)
            phase.megabytes_read.append((_bytes_read() - read) / 1e6)
            phase.memory.append(resident_megabytes())
    return phase


def _bytes_read() -> int:
    """Return the number of bytes that this process has read, including reads from the page cache."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def main() -> None:
    """Measure the phase with few batches and the phase with many batches. Print their medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=200_000)
    parser.add_argument("--batches", type=int, default=2_000)
    help_text = "refreshes in a phase; the same number of batches is loaded before the first measured phase"
    parser.add_argument("--refreshes", type=int, default=20, help=help_text)
    parser.add_argument("--engine", default="sail")
    arguments = parser.parse_args()
    shop, phases, begin = Shop(sales=arguments.sales), [], time.monotonic()
    number = arguments.refreshes
    left = (arguments.batches - 2 * number) // AT_ONCE
    between = [(min(number, left - done), AT_ONCE) for done in range(0, left, number)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with open_workspace(arguments.engine, home, {}) as workspace:
            land_and_load(workspace, shop)
        for refreshed, batches in [(number, 1), (number, 1), *between, (number, 1)]:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                task = process.submit(refresh_batches, arguments.engine, home, shop, refreshed, batches)
                phases.append(task.result())
            seconds = np.median(phases[-1].seconds)
            print(f"{time.monotonic() - begin:5.0f} s: {refreshed} × {batches}, median {seconds:.2f} s", flush=True)
    young, old = phases[1], phases[-1]
    print(f"\n| median of {number} refreshes | after {number} batches | after {arguments.batches:,} | ratio |")
    print("|---|---|---|---|")
    for name in ("seconds", "cpu_seconds", "megabytes_read", "memory"):
        before, after = (float(np.median(getattr(each, name))) for each in (young, old))
        print(f"| {name.replace('_', ' ')} | {before:,.1f} | {after:,.1f} | {after / before:.2f} × |")


if __name__ == "__main__":
    main()
