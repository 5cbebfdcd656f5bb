"""From "batch landed" to "KPI row changed", on the embedded engine, as `cdp watch` does it.

    .venv/bin/python benchmarks/latency.py                      # 100 batches onto 1 million sales, about 15 minutes
    .venv/bin/python benchmarks/latency.py --batches 10 --sales 100000

A batch is 50 sales, some of them corrections, late or no good, and 20 events. The clock starts when the manifest of
the sales is written and stops when `kpi_monthly_gold` is told to be refreshed, a moment after its commit. The next
batch lands when the refresh has ended. As often as `cdp watch` does, a new process with a new engine goes on. Seconds
of CPU say what a machine that does nothing else would need at least.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from retail_data import Shop

from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD
from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.landing import MANIFEST
from cdp_local.runner import TaskRun, new_run_start, run_job
from cdp_local.watch import RESTART_AFTER, Refresh, refreshes
from cdp_local.workspace import LocalWorkspace, open_workspace

QUANTILES = (0.5, 0.95, 1.0)


@dataclass
class Measured:
    """What was measured, a value a batch.

    Attributes:
        latency: Seconds from the manifest to the end of the table of KPIs.
        total: Seconds of the whole refresh.
        cpu: Seconds of CPU.
        memory: Resident megabytes after it.
        tasks: Seconds of each table and task.
    """

    latency: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    tasks: defaultdict[str, list[float]] = field(default_factory=partial(defaultdict, list))

    def add(self, other: Measured) -> None:
        """Put what was measured afterwards behind it."""
        self.latency += other.latency
        self.total += other.total
        self.cpu += other.cpu
        self.memory += other.memory
        for key, seconds in other.tasks.items():
            self.tasks[key] += seconds


def land_and_load(workspace: LocalWorkspace, shop: Shop) -> None:
    """Land a shop's history, and run the whole job on it once."""
    shop.land_history(workspace.landing)
    job = workspace.bundle.job("cdp_refresh")
    runs = run_job(job, {"ingest": "false"}, workspace.notebooks, workspace.home / "logs", new_run_start(), _ignore)
    failed = [f"{run.key}: {run.error}" for run in runs if run.error]
    assert not failed, failed


def measure_afresh(home: Path, shop: Shop, batches: int) -> Measured:
    """Land small batches one by one and refresh after each, with an engine that has done nothing yet.

    Args:
        home: Home that holds the shop's history.
        shop: The shop.
        batches: How many.
    """
    measured = Measured()
    with open_workspace("sail", home, {}) as workspace:
        for _ in measure(workspace, shop, batches, measured):
            print(f"{measured.latency[-1]:.1f}", end=" ", flush=True)
    return measured


def measure(workspace: LocalWorkspace, shop: Shop, batches: int, measured: Measured) -> Iterator[Refresh]:
    """Land small batches one by one and refresh after each.

    Args:
        workspace: Workspace that holds the shop's history.
        shop: The shop.
        batches: How many.
        measured: Gets what is measured.

    Yields:
        Each refresh.
    """
    landing = workspace.landing
    following = refreshes(workspace, workspace.bundle.job("cdp_stream"))
    next(following)
    # A home that is kept has its history and the batches of the runs before.
    first = len(landing.batch_ids(TRANSACTIONS_BRONZE.source, TRANSACTIONS_BRONZE.entity))
    for number in range(first, first + batches):
        *_, sales = shop.land_small_batch(landing, number)
        landed = Path(landing.path_of(sales, MANIFEST)).stat().st_mtime
        cpu = time.process_time()
        refresh = next(following)
        assert not refresh.failed, refresh.failed
        measured.cpu.append(time.process_time() - cpu)
        [kpis] = [run for run in refresh.runs if run.key == KPI_MONTHLY_GOLD.name]
        assert kpis.counts["rows"], f"batch {number} has not changed the KPIs"
        since = time.monotonic() - (kpis.started + kpis.seconds)
        measured.latency.append(time.time() - since - landed)
        measured.total.append(refresh.seconds)
        measured.memory.append(resident_megabytes())
        for run in refresh.runs:
            measured.tasks[run.key].append(run.seconds or 0.0)
        yield refresh


def resident_megabytes() -> float:
    """Memory of this process, the engine included."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _ignore(run: TaskRun) -> None:
    """Of the first run nothing is shown."""


def _quantiles(values: list[float]) -> str:
    return " | ".join(f"{np.quantile(values, q):.1f}" for q in QUANTILES)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--home", type=Path, help="home with the history of such a run, kept; a new one otherwise")
    arguments = parser.parse_args()
    shop = Shop(sales=arguments.sales)
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        if not (home / "landing").exists():
            begin = time.monotonic()
            with open_workspace("sail", home, {}) as workspace:
                land_and_load(workspace, shop)
            print(f"{shop.sales:,} sales landed and loaded: {time.monotonic() - begin:.0f} s", flush=True)
        measured = Measured()
        while (left := arguments.batches - len(measured.latency)) > 0:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                measured.add(process.submit(measure_afresh, home, shop, min(left, RESTART_AFTER)).result())
    print(f"\n\n{len(measured.latency)} batches onto {shop.sales:,} sales | p50 | p95 | max\n|---|---|---|---|")
    print(f"| batch landed → KPIs changed, seconds | {_quantiles(measured.latency)} |")
    print(f"| whole refresh, seconds | {_quantiles(measured.total)} |")
    print(f"| CPU, seconds | {_quantiles(measured.cpu)} |")
    print(f"| resident memory after it, MB | {_quantiles(measured.memory)} |")
    for key, seconds in sorted(measured.tasks.items(), key=lambda item: -float(np.median(item[1]))):
        if np.median(seconds) >= 0.1:
            print(f"| {key} | {_quantiles(seconds)} |")


if __name__ == "__main__":
    main()
