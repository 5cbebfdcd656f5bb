"""The platform in a schema of its own: the job's notebooks, from bronze to gold, over what has landed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from cdp_lib.contracts.table import TableContract
from cdp_lib.landing import Landing
from cdp_lib.tables import Tables
from cdp_local.bundle import Bundle, Task
from cdp_local.dbutils import SecretStore
from cdp_local.notebooks import Workspace, run_notebook

PROJECT = Path(__file__).resolve().parents[2]
GROSS_MARGIN = "0.4"
FIRST_BATCH = "20260101T000000Z"
"""Sorts before the name of any."""
FIRST_RUN_AT = datetime(2026, 6, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process of a run is gone; nothing of it cleans up."""


@dataclass(frozen=True)
class Refresh:
    """A run of the job.

    Attributes:
        as_of: Last day that counts, empty for the latest on which anything happened.
        again: What is done again: nothing, `full_refresh` every table, `replay_from` the first batch on.
        dies_at: The commit that a run before this one dies at, counted from 0; None where there is no such run.
    """

    as_of: str = ""
    again: str = ""
    dies_at: int | None = None


@cache
def tasks() -> tuple[Task, ...]:
    """The job's tasks from bronze to gold, each after those it waits for."""
    job = Bundle(PROJECT, {"landing": "/landing"}).job("cdp_refresh")
    of_tables = {
        key: task
        for key, task in job.tasks.items()
        if task.notebook.parent.name in ("bronze", "silver", "gold") or key == "reconciliation"
    }
    graph = {key: [before for before in task.depends_on if before in of_tables] for key, task in of_tables.items()}
    return tuple(of_tables[key] for key in TopologicalSorter(graph).static_order())


@cache
def job_parameters() -> Mapping[str, str]:
    """The job's parameters as a run on this machine has them."""
    return Bundle(PROJECT, {"landing": "/landing", "gross_margin": GROSS_MARGIN}).job("cdp_refresh").parameters


class Platform:
    """The tables, and the runs that refresh them."""

    def __init__(self, spark: SparkSession, catalog: str, folder: Path, runs: int = 0) -> None:
        """Open what a folder holds: tables in `tables`, batches in `landing`.

        Args:
            spark: Session.
            catalog: Catalog.
            folder: The folder; its name is that of the schema.
            runs: How many runs the tables have seen.
        """
        self.folder = folder
        self.landing = Landing(str(folder / "landing"))
        self.runs = runs
        self._tables = folder / "tables"
        self._workspace = Workspace(spark, SecretStore(folder / "no-secrets", {}), {}, folder / "views")
        self._place = {"catalog": catalog, "schema": folder.name, "landing": self.landing.root}
        spark.sql(f"CREATE SCHEMA {catalog}.{folder.name} LOCATION '{self._tables}'").collect()
        for table in sorted(self._tables.glob("*")):
            spark.sql(f"CREATE TABLE {catalog}.{folder.name}.{table.name} USING delta LOCATION '{table}'").collect()

    def refresh(self, run: Refresh) -> None:
        """Run the job, after one that dies where there is to be one."""
        parameters = {
            "as_of": run.as_of,
            "full_refresh": str(run.again == "full_refresh").lower(),
            "replay_from": FIRST_BATCH if run.again == "replay_from" else "",
        }
        if run.dies_at is not None:
            with _killed_at(run.dies_at):
                self._run(parameters)
        self._run(parameters)

    def _run(self, parameters: Mapping[str, str]) -> None:
        self.runs += 1
        of_run = {
            "ingest": "false",
            "fit_models": "false",
            "run_id": str(self.runs),
            "run_started_at": (FIRST_RUN_AT + timedelta(minutes=self.runs)).isoformat(),
        }
        for task in tasks():
            given = {**task.base_parameters, **job_parameters(), **self._place, **of_run, **parameters}
            run_notebook(task.notebook, given, self._workspace, io.StringIO(), task.key)

    def rows(self, contract: TableContract, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of a table as any other reader sees them."""
        return DeltaTable(self._tables / contract.name).to_pyarrow_table(columns=list(columns)).to_pylist()


@contextmanager
def _killed_at(commit: int) -> Iterator[None]:
    """Let the process die before a commit, counted from 0, if there are as many."""
    left = commit
    real: Callable[..., Any] = Tables._commit

    def dying(tables: Tables, contract: TableContract) -> Any:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return real(tables, contract)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Tables, "_commit", dying)
        try:
            yield
        except Killed:
            pass
