"""A stage of the job – bronze, silver or gold – as its notebook runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

from cdp_lib.contracts.bronze import tables_of
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.pipeline.run import Runner, TableRun
from cdp_lib.secrets import find_secret
from cdp_lib.settings import Settings
from cdp_lib.storage import open_store
from cdp_lib.task_values import report_held, report_rows, report_table

_SUCCEEDED = ("", "success", "excluded")
"""Result states of a task that landed what there was to land; empty where no job says."""


class Stage:
    """The tables of one layer in one run of the job, or those that a person selects."""

    def __init__(self, dbutils: Any, spark: SparkSession, layer: str) -> None:
        """Read the notebook's widgets and the state of the tables.

        Widgets besides those of `Settings`: `select`, tables and layers as `cdp run --select` takes them, separated by
        blanks; `sources`, `source=result state` of the tasks that land them; `held`, tables that failed before.

        Args:
            dbutils: The notebook's `dbutils`.
            spark: Session.
            layer: `bronze`, `silver` or `gold`.
        """
        self._dbutils = dbutils
        for name, default in (("select", layer), ("sources", ""), ("held", "")):
            dbutils.widgets.text(name, default)
        settings = Settings.from_widgets(dbutils)
        landing = Landing(settings.landing, find_secret(dbutils, settings.secret_scope, "storage_account_key"))
        self._runner = Runner(open_store(spark, settings.catalog, settings.schema), landing, settings)
        self._held = {*dbutils.widgets.get("held").split(), *_tables_of_failed(dbutils.widgets.get("sources"))}

    def refresh(self, show: Callable[[str], object]) -> list[TableRun]:
        """Bring the tables up to date; each is reported as it begins and ends.

        Args:
            show: The notebook's `print`, which gets a line for each table.
        """
        selection = self._dbutils.widgets.get("select").split()
        return self._runner.refresh(selection, self._held, lambda run: report_table(self._dbutils, run, show))

    def end(self, runs: Sequence[TableRun]) -> None:
        """Tell the job what the stage did.

        Args:
            runs: What `refresh` came to.

        Raises:
            CdpError: A table failed.
        """
        report_rows(self._dbutils, sum(run.counts.rows for run in runs))
        failed = [run for run in runs if run.state == "failed"]
        held = {*self._held, *(run.table for run in runs if run.state in ("failed", "skipped"))}
        report_held(self._dbutils, held)
        if failed:
            others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise CdpError(f"{failed[0].table}: {failed[0].error}{others}")


def table_of(runs: Sequence[TableRun]) -> pd.DataFrame:
    """Return what became of tables, to be displayed.

    Args:
        runs: What `Stage.refresh` came to.
    """
    rows = [
        {"table": run.table, "state": run.state, "seconds": round(run.seconds, 1)}
        | asdict(run.counts)
        | {"why": run.reason}
        for run in runs
    ]
    return pd.DataFrame(rows)


def _tables_of_failed(sources: str) -> list[str]:
    """Return the bronze tables of the sources whose task failed, from `source=result state` separated by blanks."""
    states = dict(each.partition("=")[::2] for each in sources.split())
    return [table.name for source, state in states.items() if state not in _SUCCEEDED for table in tables_of(source)]
