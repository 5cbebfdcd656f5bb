"""The platform under test: a runner that refreshes all tables, from bronze to gold, in a new schema."""

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
from cdp_lib.pipeline.compaction import remove_old_batches
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.run import Runner
from cdp_lib.reconciliation import reconcile
from cdp_lib.settings import Settings
from cdp_lib.storage import DeltaStore, open_store
from cdp_lib.verification import verify
from cdp_local.bundle import Bundle
from cdp_local.job_settings import setting_values

PROJECT = Path(__file__).resolve().parents[2]
GROSS_MARGIN = "0.4"
FIRST_BATCH = "20260101T000000Z"
"""Name that sorts before the name of every batch."""
FIRST_RUN_AT = datetime(2026, 6, 1, tzinfo=UTC)


class Killed(BaseException):
    """Simulated death of a run's process. `except Exception` does not catch it."""


@dataclass(frozen=True)
class Refresh:
    """A run of all stages, and the events that happen before the run.

    `as_of` and `again` are parameters of all runs. The other attributes are the events, in the order in which they
    happen.

    Attributes:
        as_of: Day that figures refer to; empty for the latest business date in the data.
        again: `full_refresh` to rebuild every table, `replay_from` to load all batches again, empty for neither.
        is_compacted: Whether old batches are removed from the landing.
        lost: Table that is dropped; empty for no table. A bronze table is not dropped if batches have been removed,
            because it could not be rebuilt.
        edited: Table for an extra run in which its builder has a bug and returns no rows; empty for no extra run.
        selected: Selection of an extra run; empty for no extra run.
        dies_at: Number of commits after which an extra run is killed; None for no extra run. The run of `edited` is
            killed after the same number of commits.
    """

    as_of: str = ""
    again: str = ""
    lost: str = ""
    edited: str = ""
    selected: tuple[str, ...] = ()
    dies_at: int | None = None
    is_compacted: bool = False


@cache
def job_parameters() -> Mapping[str, str]:
    """Return the job's parameters as a local run sets them."""
    job = Bundle(PROJECT, {"landing": "/landing", "gross_margin": GROSS_MARGIN}).job("cdp_refresh")
    return setting_values(job, {}, FIRST_RUN_AT)


def graph_with_empty_builder(name: str) -> Graph:
    """Return the platform's graph, in which the builder of one table is replaced by a builder that returns no rows."""
    tables = dict(platform_graph().tables)
    table = tables[name]

    def build(*frames: DataFrame, **settings: Any) -> DataFrame:
        built: DataFrame = table.build(*frames, **settings)
        return built.where("false")

    return Graph((tables | {name: replace(table, build=build)}).values())


class Platform:
    """The tables of one schema, and the runs that refresh them."""

    def __init__(self, spark: SparkSession, catalog: str, folder: Path, runs: int = 0) -> None:
        """Open a folder that has tables in `tables` and landed batches in `landing`.

        Args:
            spark: Spark session.
            catalog: Catalog of the schema.
            folder: Folder of the platform; its name is the name of the schema.
            runs: Number of earlier runs on these tables.
        """
        self.folder = folder
        self.landing = Landing(str(folder / "landing"))
        self.runs = runs
        self._is_compacted = False
        self._tables = folder / "tables"
        self._spark = spark
        self._location = {"catalog": catalog, "schema": folder.name, "landing": self.landing.root}
        spark.sql(f"CREATE SCHEMA {catalog}.{folder.name} LOCATION '{self._tables}'").collect()
        for table in sorted(self._tables.glob("*")):
            spark.sql(f"CREATE TABLE {catalog}.{folder.name}.{table.name} USING delta LOCATION '{table}'").collect()

    def refresh(self, run: Refresh) -> None:
        """Apply the events before the run, then run all stages and reconcile.

        Raises:
            AssertionError: A table failed, or its rows do not reconcile.
        """
        parameters = {
            "as_of": run.as_of,
            "full_refresh": str(run.again == "full_refresh").lower(),
            "replay_from": FIRST_BATCH if run.again == "replay_from" else "",
        }
        if run.is_compacted:
            remove_old_batches(self._store(), self.landing, 7, self._latest_extraction())
            self._is_compacted = True
        if run.lost and not (self._is_compacted and run.lost.endswith("_bronze")):
            self._drop(run.lost)
        if run.edited:
            with _killed_at(run.dies_at):
                self._run(parameters, graph=graph_with_empty_builder(run.edited))
        if run.selected:
            self._run(parameters, run.selected)
        if run.dies_at is not None:
            with _killed_at(run.dies_at):
                self._run(parameters)
        self._run(parameters, has_to_succeed=True)
        store = self._store()
        complaints = [account.complaint for account in reconcile(store) if account.missing]
        assert not complaints, complaints
        verified = verify(self._runner({"as_of": run.as_of}), ["silver"])
        findings = [found.complaint for found in verified if found.is_different]
        assert not findings, findings

    def try_refresh(self) -> str:
        """Run all stages. Tables may fail. Return their errors."""
        return "; ".join(self._run({}))

    def _latest_extraction(self) -> datetime:
        names = [path.parent.name for path in Path(self.landing.root).rglob("manifest.json")]
        return datetime.strptime(max(names)[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    def _store(self) -> DeltaStore:
        return open_store(self._spark, self._location["catalog"], self._location["schema"])

    def _run(
        self,
        parameters: Mapping[str, str],
        selection: Sequence[str] = (),
        graph: Graph | None = None,
        *,
        has_to_succeed: bool = False,
    ) -> list[str]:
        runs = self._runner(parameters, graph).refresh(selection)
        failed = [f"{run.table}: {run.error}" for run in runs if run.state == "failed"]
        assert not (has_to_succeed and failed), failed
        return failed

    def _runner(self, parameters: Mapping[str, str], graph: Graph | None = None) -> Runner:
        self.runs += 1
        run_values = {
            "ingest": "false",
            "fit_models": "false",
            # The model does not resolve identities: each customer is a person.
            "identity_rules": "",
            "run_id": str(self.runs),
            "run_started_at": (FIRST_RUN_AT + timedelta(minutes=self.runs)).isoformat(),
        }
        values = {**job_parameters(), **self._location, **run_values, **parameters}
        return Runner(self._store(), self.landing, Settings.from_parameters(values), graph)

    def _drop(self, name: str) -> None:
        self._spark.sql(f"DROP TABLE IF EXISTS {self._location['catalog']}.{self._location['schema']}.{name}").collect()
        shutil.rmtree(self._tables / name, ignore_errors=True)

    def rows(self, contract: TableContract, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Read a table with delta-rs, without the engine, and return its rows."""
        return DeltaTable(self._tables / contract.name).to_pyarrow_table(columns=list(columns)).to_pylist()


@contextmanager
def _killed_at(commit: int | None) -> Iterator[None]:
    """Simulate a kill in the `with` block, just before the commit with this number, counted from 0.

    `Killed` ends the block, but is not raised outside of the block. If the block makes fewer commits, or if the number
    is None, the block ends normally.
    """
    if commit is None:
        yield
        return
    commits_left = commit
    real: Callable[..., Any] = DeltaStore._commit

    def dying(store: DeltaStore, contract: TableContract) -> Any:
        nonlocal commits_left
        if commits_left <= 0:
            raise Killed
        commits_left -= 1
        return real(store, contract)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(DeltaStore, "_commit", dying)
        try:
            yield
        except Killed:
            pass
