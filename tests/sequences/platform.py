"""The platform in a schema of its own: the runner, from bronze to gold, over what has landed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from cdp_lib.contracts.table import TableContract
from cdp_lib.landing import Landing
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.run import Runner
from cdp_lib.reconciliation import reconcile, verify
from cdp_lib.settings import Settings
from cdp_lib.storage import DeltaStore, open_store
from cdp_local.bundle import Bundle
from cdp_local.runner import setting_values

PROJECT = Path(__file__).resolve().parents[2]
GROSS_MARGIN = "0.4"
FIRST_BATCH = "20260101T000000Z"
"""Sorts before the name of any."""
FIRST_RUN_AT = datetime(2026, 6, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process of a run is gone; nothing of it cleans up."""


@dataclass(frozen=True)
class Refresh:
    """A run of the stages, and what goes before it.

    Attributes:
        as_of: Last day that counts, empty for the latest on which anything happened.
        again: What is done again: nothing, `full_refresh` every table, `replay_from` the first batch on.
        lost: A table that is dropped first.
        edited: A table whose builder gives no rows in a run before this one, as by a mistake that is mended afterwards.
        selected: Tables that a run before this one refreshes, and no others.
        dies_at: The commit that a run before this one dies at, counted from 0; None where there is no such run.
    """

    as_of: str = ""
    again: str = ""
    lost: str = ""
    edited: str = ""
    selected: tuple[str, ...] = ()
    dies_at: int | None = None


@cache
def job_parameters() -> Mapping[str, str]:
    """The job's parameters as a run on this machine has them."""
    job = Bundle(PROJECT, {"landing": "/landing", "gross_margin": GROSS_MARGIN}).job("cdp_refresh")
    return setting_values(job, {}, FIRST_RUN_AT)


def with_edited(name: str) -> Graph:
    """The graph with a builder that gives no rows."""
    tables = dict(platform_graph().tables)
    table = tables[name]

    def build(*frames: DataFrame, **settings: Any) -> DataFrame:
        built: DataFrame = table.build(*frames, **settings)
        return built.where("false")

    return Graph((tables | {name: replace(table, build=build)}).values())


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
        self._spark = spark
        self._place = {"catalog": catalog, "schema": folder.name, "landing": self.landing.root}
        spark.sql(f"CREATE SCHEMA {catalog}.{folder.name} LOCATION '{self._tables}'").collect()
        for table in sorted(self._tables.glob("*")):
            spark.sql(f"CREATE TABLE {catalog}.{folder.name}.{table.name} USING delta LOCATION '{table}'").collect()

    def refresh(self, run: Refresh) -> None:
        """Run the stages, after what goes before them.

        Raises:
            AssertionError: A table failed, or does not hold the rows and keys that it has to.
        """
        parameters = {
            "as_of": run.as_of,
            "full_refresh": str(run.again == "full_refresh").lower(),
            "replay_from": FIRST_BATCH if run.again == "replay_from" else "",
        }
        if run.lost:
            self._drop(run.lost)
        if run.edited:
            with _killed_at(run.dies_at):
                self._run(parameters, graph=with_edited(run.edited))
        if run.selected:
            self._run(parameters, run.selected)
        if run.dies_at is not None:
            with _killed_at(run.dies_at):
                self._run(parameters)
        self._run(parameters, has_to_succeed=True)
        store = self._store()
        complaints = [account.complaint for account in reconcile(store) if account.missing]
        assert not complaints, complaints
        findings = [str(found) for found in verify(store) if found.missing or found.surplus]
        assert not findings, findings

    def _store(self) -> DeltaStore:
        return open_store(self._spark, self._place["catalog"], self._place["schema"])

    def _run(
        self,
        parameters: Mapping[str, str],
        selection: Sequence[str] = (),
        graph: Graph | None = None,
        *,
        has_to_succeed: bool = False,
    ) -> None:
        self.runs += 1
        of_run = {
            "ingest": "false",
            "fit_models": "false",
            "run_id": str(self.runs),
            "run_started_at": (FIRST_RUN_AT + timedelta(minutes=self.runs)).isoformat(),
        }
        values = {**job_parameters(), **self._place, **of_run, **parameters}
        settings = Settings.from_parameters(values)
        runs = Runner(self._store(), self.landing, settings, graph).refresh(selection)
        failed = [f"{run.table}: {run.error}" for run in runs if run.state == "failed"]
        assert not (has_to_succeed and failed), failed

    def _drop(self, name: str) -> None:
        self._spark.sql(f"DROP TABLE IF EXISTS {self._place['catalog']}.{self._place['schema']}.{name}").collect()
        shutil.rmtree(self._tables / name, ignore_errors=True)

    def rows(self, contract: TableContract, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of a table as any other reader sees them."""
        return DeltaTable(self._tables / contract.name).to_pyarrow_table(columns=list(columns)).to_pylist()


@contextmanager
def _killed_at(commit: int | None) -> Iterator[None]:
    """Let the process die before a commit, counted from 0, if there are as many."""
    if commit is None:
        yield
        return
    left = commit
    real: Callable[..., Any] = DeltaStore._commit

    def dying(store: DeltaStore, contract: TableContract) -> Any:
        nonlocal left
        if left <= 0:
            raise Killed
        left -= 1
        return real(store, contract)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(DeltaStore, "_commit", dying)
        try:
            yield
        except Killed:
            pass
