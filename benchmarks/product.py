"""The product: a refresh as `cdp run` makes it, on what has landed.

    .venv/bin/python benchmarks/product.py HOME --landing LANDING           # the tasks of the tables baselines make too
    .venv/bin/python benchmarks/product.py HOME --landing LANDING --whole   # the whole job: customers, KPIs, views
    .venv/bin/python benchmarks/product.py HOME --whole                     # the shipped fixture, ingested
    .venv/bin/python benchmarks/product.py HOME --landing LANDING --apart   # the largest mart after all others

The last line printed is what it measured, as JSON. Seconds are those from the first task's start to the last task's
end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from cdp_lib.errors import CdpError
from cdp_lib.gold.marts import CUSTOMER_PRODUCT_AFFINITY, MARTS_OF_TASK
from cdp_local.runner import TaskRun, new_run_start, run_job
from cdp_local.workspace import open_workspace

SALES_TASKS = (
    *("customers_bronze", "products_bronze", "store_bronze", "transactions_bronze"),
    *("customers_silver", "products_silver", "product_prices_silver", "stores_silver", "transactions_silver"),
    *("retails_silver", "reconciliation"),
    *("country_gold", "product_gold", "store_gold", "calendar_gold", "customer_gold"),
)
"""Tasks of the tables that the baselines make, quarantine and reconciliation included."""

LARGEST_MART = CUSTOMER_PRODUCT_AFFINITY.contract.name
LARGEST_MART_TASK = next(task for task, marts in MARTS_OF_TASK.items() if CUSTOMER_PRODUCT_AFFINITY in marts)
"""The mart that grows with customers × products, and not with months, and the task that writes it."""


def refresh(engine: str, home: Path, landing: Path | None, *, whole: bool, apart: bool) -> dict[str, object]:
    """Run the job cdp_refresh.

    Args:
        engine: `sail` or `spark`.
        home: Folder of the local workspace.
        landing: Where batches have landed; None for the fixture, which is ingested.
        whole: Whether to run all tasks.
        apart: Whether to run the task of the largest mart when all others have ended.

    Returns:
        Seconds of the job and of each task.

    Raises:
        CdpError: A task has failed.
    """
    variables = {"landing": str(landing.resolve())} if landing else {}
    parameters = {"ingest": "false"} if landing else {}
    with open_workspace(engine, home, variables) as workspace:
        job = workspace.bundle.job("cdp_refresh")
        tasks = tuple(job.tasks) if whole else SALES_TASKS
        runs: list[TaskRun] = []
        for only in _with_largest_mart_last(tasks) if apart else (tasks,):
            logs = workspace.home / "logs"
            runs += run_job(job, parameters, workspace.notebooks, logs, new_run_start(), _ignore, only)
    for run in runs:
        if run.error:
            raise CdpError(f"task {run.key}: {run.error}")
    spans = {run.key: (run.started, run.started + run.seconds) for run in runs if run.started and run.seconds}
    seconds = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
    return {"seconds": seconds, "tasks": {key: end - start for key, (start, end) in spans.items()}}


def _with_largest_mart_last(tasks: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(task for task in tasks if task != LARGEST_MART_TASK), (LARGEST_MART_TASK,)


def _ignore(run: TaskRun) -> None:
    """Of the run nothing is shown."""


def main() -> None:
    """Refresh once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--landing", type=Path)
    parser.add_argument("--engine", default="sail")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--apart", action="store_true")
    arguments = parser.parse_args()
    engine, home, landing = arguments.engine, arguments.home, arguments.landing
    try:
        print(json.dumps(refresh(engine, home, landing, whole=arguments.whole, apart=arguments.apart)))
    except CdpError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
