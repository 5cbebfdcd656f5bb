"""SQL executions and seconds that a run of the job takes local Spark: each costs it 0.1 to 1 s, however few the rows.

    .venv/bin/python benchmarks/spark_queries.py            # about 6 minutes
    .venv/bin/python benchmarks/spark_queries.py --tables   # executions of each table, one after the other

The job runs on the samples three times: first; after 50 more sales have landed; with nothing new. The last is also
measured in a process of its own, as whoever starts it waits for it: from the moment that it has a session.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from cdp_lib.pipeline import run as pipeline_run
from cdp_local.runner import TaskRun, new_run_start, run_job
from cdp_local.workspace import LocalWorkspace, open_workspace

KEPT = "100000"
"""Executions that Spark remembers, and so counts."""


@dataclass(frozen=True)
class Measured:
    """What one run took.

    Attributes:
        run: Which run.
        seconds: Seconds of the job alone.
        executions: SQL executions of the job alone.
        process_seconds: Seconds from the session's start to the end of the process; 0 where it has not been measured.
        process_executions: SQL executions in that time.
    """

    run: str
    seconds: float
    executions: int
    process_seconds: float = 0.0
    process_executions: int = 0


def executions(spark: SparkSession) -> int:
    """Return how many SQL executions a session has begun."""
    spark._jsc.sc().listenerBus().waitUntilEmpty()
    return int(spark._jsparkSession.sharedState().statusStore().executionsCount())


def run_measured(workspace: LocalWorkspace, name: str, parameters: dict[str, str], *, by_table: bool) -> Measured:
    """Run the job, and count.

    Args:
        workspace: Where it runs.
        name: What to call the run.
        parameters: Values of its parameters.
        by_table: Whether to print what each table took.
    """
    job, logs = workspace.bundle.job("cdp_refresh"), workspace.home / "logs"
    counter = _table_counter(workspace.session) if by_table else _nothing
    before, begin = executions(workspace.session), time.perf_counter()
    runs = run_job(job, parameters, workspace.notebooks, logs, new_run_start(), counter)
    seconds = time.perf_counter() - begin
    failed = [f"{run.key}: {run.error}" for run in runs if run.error]
    assert not failed, failed
    return Measured(name, seconds, executions(workspace.session) - before)


def _nothing(run: TaskRun) -> None:
    """Print nothing."""


def _table_counter(spark: SparkSession) -> Callable[[TaskRun], None]:
    pipeline_run.TABLES_AT_ONCE = 1
    last: Counter[str] = Counter()

    def count(run: TaskRun) -> None:
        now = executions(spark)
        if run.seconds is not None:
            print(f"{run.key:<36} {now - last['all']:>5} {run.seconds:>7.1f} s")
        last["all"] = now

    return count


def sell_more(home: Path) -> None:
    """Add 50 sales to the sample database, which each session makes afresh."""
    rows = [
        (1_000_000 + n, 101 + n % 10, 1 + n % 5, 1 + n % 3, 1 + n % 4, str(date(2025, 1, 1) + timedelta(days=n)))
        for n in range(50)
    ]
    with closing(sqlite3.connect(home / "sources" / "database.sqlite")) as database, database:
        database.executemany(
            "INSERT INTO transactions (transaction_id, customer_id, product_id, store_id, quantity, transaction_date)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )


def measure(home: Path, *, by_table: bool) -> list[Measured]:
    """Run the job three times in one session, and once more in a session of its own."""
    with open_workspace("spark", home, {}) as workspace:
        measured = [run_measured(workspace, "first", {}, by_table=by_table)]
        sell_more(home)
        measured.append(run_measured(workspace, "50 more sales", {}, by_table=by_table))
        measured.append(run_measured(workspace, "nothing due", {}, by_table=by_table))
    command = [sys.executable, __file__, "--home", str(home), "--again"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    return [*measured, Measured(**json.loads(answer))]


def measure_again(home: Path) -> Measured:
    """Run the job in a session of its own, in which nothing is due."""
    with open_workspace("spark", home, {}) as workspace:
        sell_more(home)
        begin = workspace.session._jsc.sc().startTime() / 1000
        ran = run_measured(workspace, "nothing due, new session", {}, by_table=False)
        return Measured(ran.run, ran.seconds, ran.executions, time.time() - begin, executions(workspace.session))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="print executions of each table, one after the other")
    parser.add_argument("--home", type=Path, help="home of the workspace; a new one if there is none")
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--conf spark.sql.ui.retainedExecutions={KEPT} pyspark-shell"
    if arguments.again:
        print(json.dumps(asdict(measure_again(arguments.home))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print("| run | seconds | SQL executions | with the session: seconds | SQL executions |\n|---|---|---|---|---|")
        for each in measure(arguments.home or Path(folder), by_table=arguments.tables):
            of_process = (
                f"{each.process_seconds:.1f} | {each.process_executions:,}" if each.process_executions else " | "
            )
            print(f"| {each.run} | {each.seconds:.1f} | {each.executions:,} | {of_process} |", flush=True)


if __name__ == "__main__":
    main()
