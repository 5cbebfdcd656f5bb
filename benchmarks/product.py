"""The product: a refresh as `cdp run` makes it, on what has landed.

    .venv/bin/python benchmarks/product.py HOME --landing LANDING           # the tasks of the tables baselines make too
    .venv/bin/python benchmarks/product.py HOME --landing LANDING --whole   # the whole job: customers, KPIs, views
    .venv/bin/python benchmarks/product.py HOME --whole                     # the shipped fixture, ingested

The last line printed is what it measured, as JSON. Seconds are those from the first task's start to the last task's
end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cdp_lib.errors import CdpError
from cdp_local.runner import TaskRun, new_run_start, run_job
from cdp_local.workspace import open_workspace

SALES_TASKS = (
    *("customers_bronze", "products_bronze", "store_bronze", "transactions_bronze"),
    *("customers_silver", "products_silver", "product_prices_silver", "stores_silver", "transactions_silver"),
    *("retails_silver", "reconciliation"),
    *("country_gold", "product_gold", "store_gold", "calendar_gold", "customer_gold"),
)
"""Tasks of the tables that the baselines make, quarantine and reconciliation included."""


def refresh(engine: str, home: Path, landing: Path | None, whole: bool) -> dict[str, object]:
    """Run the job cdp_refresh.

    Args:
        engine: `sail` or `spark`.
        home: Folder of the local workspace.
        landing: Where batches have landed; None for the fixture, which is ingested.
        whole: Whether to run all tasks.

    Returns:
        Seconds of the job and of each task.

    Raises:
        CdpError: A task has failed.
    """
    variables = {"landing": str(landing.resolve())} if landing else {}
    parameters = {"ingest": "false"} if landing else {}
    with open_workspace(engine, home, variables) as workspace:
        job = workspace.bundle.job("cdp_refresh")
        only = () if whole else SALES_TASKS
        runs = run_job(job, parameters, workspace.notebooks, workspace.home / "logs", new_run_start(), _ignore, only)
    for run in runs:
        if run.error:
            raise CdpError(f"task {run.key}: {run.error}")
    spans = {run.key: (run.started, run.started + run.seconds) for run in runs if run.started and run.seconds}
    seconds = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
    return {"seconds": seconds, "tasks": {key: end - start for key, (start, end) in spans.items()}}


def _ignore(run: TaskRun) -> None:
    """Of the run nothing is shown."""


def main() -> None:
    """Refresh once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--landing", type=Path)
    parser.add_argument("--engine", default="sail")
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    try:
        print(json.dumps(refresh(arguments.engine, arguments.home, arguments.landing, arguments.whole)))
    except CdpError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
