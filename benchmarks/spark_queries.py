"""Count the SQL executions of job runs on local Spark. Each execution takes 0.1 to 1 s, even with few rows.

    .venv/bin/python benchmarks/spark_queries.py            # about 6 minutes
    .venv/bin/python benchmarks/spark_queries.py --tables   # executions of each table, one table at a time

The script runs the job on the sample data three times: in a new home folder, after 50 sales have been added, and with
no new data. Then it runs the job with no new data in a new process. The measurement of the new process includes the
start of the Spark session.
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
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from cdp_lib.pipeline import run as pipeline_run
from cdp_lib.sources_file import ENTITIES
from cdp_local.job_settings import new_run_start
from cdp_local.runner import TaskRun, run_job
from cdp_local.workspace import LocalWorkspace, open_workspace

RETAINED_EXECUTIONS = "100000"
"""Maximum number of executions that Spark keeps in its status store. The results lack any further executions."""


@dataclass(frozen=True)
class JobMeasurement:
    """Duration and SQL executions of one job run.

    Attributes:
        run: Name of the run.
        seconds: Duration of the job in seconds, without the start of the session.
        executions: Number of SQL executions of the job.
        process_seconds: Seconds from the start of the session to the end of the job; 0 when not measured.
        process_executions: Number of SQL executions from the start of the session to the end of the job.
    """

    run: str
    seconds: float
    executions: int
    process_seconds: float = 0.0
    process_executions: int = 0


def count_executions(spark: SparkSession) -> int:
    """Return the number of SQL executions that a Spark session has started."""
    spark._jsc.sc().listenerBus().waitUntilEmpty()
    return int(spark._jsparkSession.sharedState().statusStore().executionsCount())


def measure_run(workspace: LocalWorkspace, name: str, parameters: dict[str, str], *, by_table: bool) -> JobMeasurement:
    """Run the job and measure it.

    Args:
        workspace: Workspace to run the job in.
        name: Name of the run in the results.
        parameters: Job parameters that differ from their defaults.
        by_table: Whether to print, for each table, the number of executions and the duration in seconds.
    """
    job, logs = workspace.bundle.job("cdp_refresh"), workspace.home / "logs"
    on_event = _table_counter(workspace.session) if by_table else _ignore
    before, begin = count_executions(workspace.session), time.perf_counter()
    runs = run_job(job, parameters, workspace.notebooks, logs, new_run_start(), on_event)
    seconds = time.perf_counter() - begin
    failed = [f"{run.key}: {run.error}" for run in runs if run.error]
    assert not failed, failed
    return JobMeasurement(name, seconds, count_executions(workspace.session) - before)


def _ignore(run: TaskRun) -> None:
    """Do nothing. With this callback, the job prints no task runs."""


def _table_counter(spark: SparkSession) -> Callable[[TaskRun], None]:
    """Return a callback that prints the number of executions of each table.

    The function also makes later runs refresh one table at a time.
    """
    pipeline_run.TABLES_AT_ONCE = 1
    last: Counter[str] = Counter()

    def count(run: TaskRun) -> None:
        now = count_executions(spark)
        if run.seconds is not None:
            print(f"{run.key:<36} {now - last['all']:>5} {run.seconds:>7.1f} s")
        last["all"] = now

    return count


def add_sales(home: Path) -> None:
    """Insert 50 sales into the sample database.

    Call this function after each `open_workspace`, which recreates the database without these sales.
    """
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


def measure(home: Path, *, by_table: bool) -> list[JobMeasurement]:
    """Run the job three times in one session, and then once in a new process. Return the measurements."""
    with open_workspace("spark", home, {}, ENTITIES) as workspace:
        measured = [measure_run(workspace, "first", {}, by_table=by_table)]
        add_sales(home)
        measured.append(measure_run(workspace, "50 more sales", {}, by_table=by_table))
        measured.append(measure_run(workspace, "nothing due", {}, by_table=by_table))
    command = [sys.executable, __file__, "--home", str(home), "--again"]
    last_line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    return [*measured, JobMeasurement(**json.loads(last_line))]


def measure_new_session(home: Path) -> JobMeasurement:
    """Run and measure the job in a new session when no table is due."""
    with open_workspace("spark", home, {}, ENTITIES) as workspace:
        add_sales(home)
        begin = workspace.session._jsc.sc().startTime() / 1000
        measured = measure_run(workspace, "nothing due, new session", {}, by_table=False)
        process_seconds = time.time() - begin
        return replace(
            measured, process_seconds=process_seconds, process_executions=count_executions(workspace.session)
        )


def main() -> None:
    """Measure all runs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="print the executions of each table, one table at a time")
    parser.add_argument("--home", type=Path, help="home of the workspace; a temporary folder if not given")
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--conf spark.sql.ui.retainedExecutions={RETAINED_EXECUTIONS} pyspark-shell"
    if arguments.again:
        print(json.dumps(asdict(measure_new_session(arguments.home))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(
            "| run | seconds | SQL executions | since session start: seconds | SQL executions |\n|---|---|---|---|---|"
        )
        for measured in measure(arguments.home or Path(folder), by_table=arguments.tables):
            process = (
                f"{measured.process_seconds:.1f} | {measured.process_executions:,}"
                if measured.process_executions
                else " | "
            )
            print(f"| {measured.run} | {measured.seconds:.1f} | {measured.executions:,} | {process} |", flush=True)


if __name__ == "__main__":
    main()
