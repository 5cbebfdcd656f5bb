"""Measure the erasure of one person and of a thousand from a home of a million customers, and the certificate.

    .venv/bin/python benchmarks/erasure.py                                    # 1 million customers, Sail
    .venv/bin/python benchmarks/erasure.py --customers 20000 --sales 200000   # about 2 minutes
    .venv/bin/python benchmarks/erasure.py --home FOLDER                      # keeps the filled home for the next run

The script fills a home folder with the data of a generated shop, and runs the whole job once. Then it erases customers
as `cdp forget` does: it adds requests, runs the job `cdp_erasure`, removes old versions and searches all files. It
prints a line for each step, with the peak of the resident memory of all processes of the run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from identity import peak_memory
from retail_data import Shop

from cdp_lib.erasure.certificate import traces_to_search
from cdp_lib.erasure.erase import request_erasure
from cdp_lib.erasure.persons import Request
from cdp_local.certificates import search_home
from cdp_local.erasure_key import create_erasure_key
from cdp_local.job_settings import new_run_start
from cdp_local.maintenance import forget_history
from cdp_local.runner import open_runner, run_job
from cdp_local.workspace import open_workspace

JOB, ERASURE = "cdp_refresh", "cdp_erasure"


@contextmanager
def measured(title: str) -> Iterator[None]:
    """Print duration and peak memory of a step."""
    with peak_memory() as peak:
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
    print(f"{title}: {seconds:.1f} s, peak memory {peak[0]:.2f} GB", flush=True)


def run(engine: str, home: Path, job: str, parameters: dict[str, str]) -> None:
    """Run a job. Print the duration of its slowest tables."""
    with open_workspace(engine, home, {}) as workspace:
        definition = workspace.bundle.job(job)
        runs = run_job(definition, parameters, workspace.notebooks, home / "logs", new_run_start(), lambda task: None)
    failed = [f"{each.key}: {each.error}" for each in runs if each.error]
    assert not failed, failed
    slowest = sorted((each for each in runs if each.stage_report and each.seconds), key=lambda each: -each.seconds)[:8]
    print("    " + ", ".join(f"{each.key} {each.seconds:.1f} s" for each in slowest))


def fill(engine: str, home: Path, shop: Shop) -> None:
    """Land the data of a shop, and run the whole job, unless the home has it."""
    if (home / "warehouse").exists():
        return
    with open_workspace(engine, home, {}) as workspace:
        shop.land_history(workspace.landing)
    with measured("first run of the whole job"):
        run(engine, home, JOB, {"ingest": "false"})


def erase(engine: str, home: Path, customers: Sequence[int]) -> None:
    """Erase customers as `cdp forget` does."""
    key = create_erasure_key(home)
    title = f"{len(customers):,} person{'s' if len(customers) > 1 else ''}"
    with open_workspace(engine, home, {}) as workspace:
        with measured(f"{title}: find"):
            runner = open_runner(workspace, JOB, {})
            wanted = [Request("customer_id", str(customer)) for customer in customers]
            traces = traces_to_search(runner, wanted, key)
            request_erasure(runner, wanted, new_run_start())
    with measured(f"{title}: job cdp_erasure"):
        run(engine, home, ERASURE, {})
    with measured(f"{title}: removal of old versions"):
        forget_history(home)
    with measured(f"{title}: search"):
        searched = search_home(home, "", traces)
    certificate = searched.certificate
    print(
        f"    {certificate.files:,} files, {certificate.bytes / 1e9:.2f} GB, {certificate.spellings:,} spellings,"
        f" {certificate.hits} traces",
        flush=True,
    )
    assert certificate.is_clean, (searched.places, searched.unreadable)


def main() -> None:
    """Measure each step and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--sales", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--engine", default="sail")
    parser.add_argument("--home", type=Path, help="home folder that is kept; default: a temporary folder")
    arguments = parser.parse_args()
    # The memory of the session is measured, so the session must have no other process.
    with suppress(OSError):
        os.setsid()
    shop = Shop(sales=arguments.sales, customers=arguments.customers, events=arguments.customers)
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder) / "home"
        fill(arguments.engine, home, shop)
        erase(arguments.engine, home, [7])
        erase(arguments.engine, home, range(1_001, 1_001 + arguments.requests))


if __name__ == "__main__":
    main()
