"""Run one refresh of the platform on landed batches, in the same way as `cdp run`.

    .venv/bin/python benchmarks/product.py HOME --landing LANDING           # only the baselines' tables
    .venv/bin/python benchmarks/product.py HOME --landing LANDING --whole   # whole job: customers, KPIs, views
    .venv/bin/python benchmarks/product.py HOME --whole                     # whole job on sample data
    .venv/bin/python benchmarks/product.py HOME --whole --identity-off      # without identity resolution
    .venv/bin/python benchmarks/product.py HOME --landing LANDING --apart   # the largest mart last

The last line of the output is the measurement as JSON. The duration is the time from the first read to the last commit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from baselines.marts import MARTS, SOURCES

from cdp_lib.errors import CdpError
from cdp_lib.pipeline.graph import LAYERS, platform_graph
from cdp_lib.pipeline.run import Runner
from cdp_lib.reconciliation import raise_on_imbalance, reconcile, record_reconciliation
from cdp_lib.sources_file import ENTITIES
from cdp_local.job_settings import new_run_start
from cdp_local.runner import TaskRun, open_runner, run_job, table_run
from cdp_local.workspace import LocalWorkspace, open_workspace

JOB = "cdp_refresh"
BASELINE_TABLES = (*(table for table, _ in SOURCES.values()), "retails_silver", *MARTS)

LARGEST_MART = "customer_product_affinity_gold"
"""The mart with one row per (customer, product) pair. Its number of rows grows with the history."""


def refresh(
    engine: str, home: Path, landing: Path | None, *, whole: bool, apart: bool, identity: bool
) -> dict[str, object]:
    """Run one refresh and measure it.

    Args:
        engine: `sail` or `spark`.
        home: Folder of the local workspace.
        landing: Folder of the landed batches. If None, the job ingests the sample data.
        whole: Whether to run the whole job cdp_refresh.
        apart: Whether to refresh the largest mart alone, after the other marts.
        identity: Whether to resolve customers to persons.

    Returns:
        `seconds` is the duration of the refresh. `tasks` has the duration of each table and of each task, in seconds.
        The tasks bronze, silver and gold are left out: `tasks` has their tables instead.

    Raises:
        CdpError: A table or task failed.
    """
    variables = {"landing": str(landing.resolve())} if landing else {}
    variables |= {} if identity else {"identity_rules": ""}
    parameters = {"ingest": "false"} if landing else {}
    with open_workspace(engine, home, variables, reading=() if landing else ENTITIES) as workspace:
        if whole:
            begin = time.perf_counter()
            runs = _run_job(workspace, parameters)
        else:
            runner = open_runner(workspace, JOB, parameters)
            begin = time.perf_counter()
            runs = _refresh_tables(runner, apart=apart)
        seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "tasks": {run.key: run.seconds for run in runs if run.seconds is not None and run.key not in LAYERS},
    }


def _run_job(workspace: LocalWorkspace, parameters: dict[str, str]) -> list[TaskRun]:
    job = workspace.bundle.job(JOB)
    runs = run_job(job, parameters, workspace.notebooks, workspace.home / "logs", new_run_start(), _ignore)
    _refuse_failures(runs)
    return runs


def _refresh_tables(runner: Runner, *, apart: bool) -> list[TaskRun]:
    """Refresh the tables that the baselines also build, and their upstream tables, stage by stage as in the job."""
    graph = platform_graph()
    tables = graph.upstream(BASELINE_TABLES)
    gold = {name for name in tables if name.endswith("_gold")}
    runs = _refresh(runner, tables - gold)
    begin = time.perf_counter()
    accounts = reconcile(runner.store)
    record_reconciliation(runner.store, accounts)
    raise_on_imbalance(accounts)
    runs.append(TaskRun("reconciliation", seconds=time.perf_counter() - begin))
    if not apart:
        return runs + _refresh(runner, gold)
    other_marts, readers = gold - graph.downstream([LARGEST_MART]), gold & set(graph.readers(LARGEST_MART))
    for names in filter(None, (other_marts, {LARGEST_MART}, readers)):
        runs += _refresh(runner, names)
    return runs


def _refresh(runner: Runner, tables: Collection[str]) -> list[TaskRun]:
    runs = [table_run(run) for run in runner.refresh(tables)]
    _refuse_failures(runs)
    return runs


def _refuse_failures(runs: Sequence[TaskRun]) -> None:
    for run in runs:
        if run.error:
            raise CdpError(f"{'table' if run.stage_report else 'task'} {run.key}: {run.error}")


def _ignore(run: TaskRun) -> None:
    """Do nothing. With this callback, the job prints no task runs."""


def main() -> None:
    """Run one refresh and print its measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--landing", type=Path)
    parser.add_argument("--engine", default="sail")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--identity-off", action="store_true")
    arguments = parser.parse_args()
    engine, home, landing = arguments.engine, arguments.home, arguments.landing
    try:
        switches = {"whole": arguments.whole, "apart": arguments.apart, "identity": not arguments.identity_off}
        print(json.dumps(refresh(engine, home, landing, **switches)))
    except CdpError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
