"""Measure the time from a landed batch to changed KPI rows. Each batch starts a refresh, as in `cdp watch`.

    .venv/bin/python benchmarks/latency.py                      # 100 batches onto 1 million sales, about 15 minutes
    .venv/bin/python benchmarks/latency.py --batches 10 --sales 100000

The script uses the embedded engine. A batch has 20 events and 50 sales. Some of the sales are corrections, some are
late, and two are invalid.

- The measured time starts when the manifest of the sales is written.
- It ends when `kpi_monthly_gold` is reported as refreshed, just after the commit to this table.

The next batch lands when the refresh has ended. As in `cdp watch`, the engine restarts in a new process after 20
refreshes. If other programs use the machine, compare the CPU seconds of refreshes, because these vary less than the
durations.
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
from cdp_local.job_settings import new_run_start
from cdp_local.runner import TaskRun, run_job
from cdp_local.watch import RESTART_AFTER, Refresh, refreshes
from cdp_local.workspace import LocalWorkspace, open_workspace

QUANTILES = (0.5, 0.95, 1.0)


@dataclass
class LatencyMeasurements:
    """Measurements of refreshes. Each list has one value per batch.

    Attributes:
        latency: Seconds from the time of the manifest to the end of the refresh of `kpi_monthly_gold`.
        total: Duration of the whole refresh in seconds.
        cpu: CPU time of the refresh in seconds.
        memory: Resident memory after the refresh, in megabytes.
        tasks: Durations in seconds, by name of the task or table.
    """

    latency: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    tasks: defaultdict[str, list[float]] = field(default_factory=partial(defaultdict, list))

    def extend(self, later: LatencyMeasurements) -> None:
        """Append the measurements of later batches."""
        self.latency += later.latency
        self.total += later.total
        self.cpu += later.cpu
        self.memory += later.memory
        for key, seconds in later.tasks.items():
            self.tasks[key] += seconds


def land_and_load(workspace: LocalWorkspace, shop: Shop) -> None:
    """Land a shop's history and run the whole job once."""
    shop.land_history(workspace.landing)
    job = workspace.bundle.job("cdp_refresh")
    runs = run_job(job, {"ingest": "false"}, workspace.notebooks, workspace.home / "logs", new_run_start(), _ignore)
    failed = [f"{run.key}: {run.error}" for run in runs if run.error]
    assert not failed, failed


def measure_with_new_engine(home: Path, shop: Shop, batches: int) -> LatencyMeasurements:
    """Start an engine, land small batches one by one and refresh after each batch.

    Args:
        home: Home folder of a workspace that has loaded the shop's history.
        shop: Shop that generates the batches.
        batches: Number of batches.
    """
    measured = LatencyMeasurements()
    with open_workspace("sail", home, {}) as workspace:
        for _ in measure(workspace, shop, batches, measured):
            print(f"{measured.latency[-1]:.1f}", end=" ", flush=True)
    return measured


def measure(workspace: LocalWorkspace, shop: Shop, batches: int, measured: LatencyMeasurements) -> Iterator[Refresh]:
    """Land small batches one by one and refresh after each batch.

    Args:
        workspace: Workspace that has loaded the shop's history.
        shop: Shop that generates the batches.
        batches: Number of batches.
        measured: Object to which the function appends the measurements of each refresh.

    Yields:
        The refresh of each batch.
    """
    landing = workspace.landing
    next_refreshes = refreshes(workspace, workspace.bundle.job("cdp_stream"))
    next(next_refreshes)
    # A reused home folder already holds the shop's history and the batches of earlier runs.
    first = len(landing.batch_ids(TRANSACTIONS_BRONZE.source, TRANSACTIONS_BRONZE.entity))
    for number in range(first, first + batches):
        *_, sales = shop.land_small_batch(landing, number)
        landed_at = Path(landing.path_of(sales, MANIFEST)).stat().st_mtime
        cpu = time.process_time()
        refresh = next(next_refreshes)
        assert not refresh.failed, refresh.failed
        measured.cpu.append(time.process_time() - cpu)
        [kpis] = [run for run in refresh.runs if run.key == KPI_MONTHLY_GOLD.name]
        assert kpis.counts["rows"], f"batch {number} did not change the KPIs"
        seconds_since_kpis = time.monotonic() - (kpis.started + kpis.seconds)
        measured.latency.append(time.time() - seconds_since_kpis - landed_at)
        measured.total.append(refresh.seconds)
        measured.memory.append(resident_megabytes())
        for run in refresh.runs:
            measured.tasks[run.key].append(run.seconds or 0.0)
        yield refresh


def resident_megabytes() -> float:
    """Return the resident memory of this process in megabytes, including the engine."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _ignore(run: TaskRun) -> None:
    """Do nothing. With this callback, the job prints no task runs."""


def _quantiles(values: list[float]) -> str:
    return " | ".join(f"{np.quantile(values, q):.1f}" for q in QUANTILES)


def main() -> None:
    """Measure all batches and print quantiles of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--home", type=Path, help="home of an earlier run to reuse; default: a temporary folder")
    arguments = parser.parse_args()
    shop = Shop(sales=arguments.sales)
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        if not (home / "landing").exists():
            begin = time.monotonic()
            with open_workspace("sail", home, {}) as workspace:
                land_and_load(workspace, shop)
            print(f"{shop.sales:,} sales landed and loaded: {time.monotonic() - begin:.0f} s", flush=True)
        measured = LatencyMeasurements()
        while (remaining := arguments.batches - len(measured.latency)) > 0:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                task = process.submit(measure_with_new_engine, home, shop, min(remaining, RESTART_AFTER))
                measured.extend(task.result())
    print(f"\n\n{len(measured.latency)} batches onto {shop.sales:,} sales | p50 | p95 | max\n|---|---|---|---|")
    print(f"| batch landed → KPIs changed, seconds | {_quantiles(measured.latency)} |")
    print(f"| whole refresh, seconds | {_quantiles(measured.total)} |")
    print(f"| CPU, seconds | {_quantiles(measured.cpu)} |")
    print(f"| resident memory after the refresh, MB | {_quantiles(measured.memory)} |")
    for key, seconds in sorted(measured.tasks.items(), key=lambda item: -float(np.median(item[1]))):
        if np.median(seconds) >= 0.1:
            print(f"| {key} | {_quantiles(seconds)} |")


if __name__ == "__main__":
    main()
