"""The stages of a job – bronze, silver, gold, publish – as its notebooks run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

from cdp_lib.contracts.bronze import tables_of
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.pipeline.run import Runner, TableRun
from cdp_lib.published import due_copies, publish_gold
from cdp_lib.reconciliation import complaint_about, has_imbalance, reconcile, record_reconciliation
from cdp_lib.secrets import find_secret
from cdp_lib.serving import due_views, publish_views
from cdp_lib.settings import Settings
from cdp_lib.storage import open_store, release_lease, take_lease
from cdp_lib.task_values import report_due, report_held, report_rows, report_table

if TYPE_CHECKING:
    import pandas as pd

_SUCCEEDED = ("", "success", "excluded")
"""Result states of a task that landed what there was to land; empty where no job says."""

_BY_HAND = "a notebook opened by hand"


class Stage:
    """One task of a job, or a notebook that a person has opened."""

    def __init__(self, dbutils: Any, spark: SparkSession) -> None:
        """Read the notebook's widgets and the state of the tables.

        Widgets besides those of `Settings`: `select`, tables and layers as `cdp run --select` takes them, separated by
        blanks; `sources`, `source=result state` of the tasks that land them; `held`, tables that failed before; `job`,
        name of the job.

        Args:
            dbutils: The notebook's `dbutils`.
            spark: Session.

        Raises:
            CdpError: A parameter does not parse, or a run of another job is writing the tables.
        """
        self._dbutils = dbutils
        for name in ("select", "sources", "held", "job"):
            dbutils.widgets.text(name, "")
        self._settings = Settings.from_widgets(dbutils)
        self._store = open_store(spark, self._settings.catalog, self._settings.schema)
        serving = self._settings.serving_schema
        self._serving = open_store(spark, self._settings.catalog, serving) if serving else None
        self._holder = dbutils.widgets.get("job") or _BY_HAND, self._settings.run_id
        take_lease(self._store, *self._holder)
        account_key = find_secret(dbutils, self._settings.secret_scope, "storage_account_key")
        self._runner = Runner(self._store, Landing(self._settings.landing, account_key), self._settings)
        self._held = {*dbutils.widgets.get("held").split(), *_tables_of_failed(dbutils.widgets.get("sources"))}
        self._runs: list[TableRun] = []
        self._rows_copied: int | None = None
        self._complaint = ""

    def refresh(self, layer: str, show: Callable[[str], object]) -> list[TableRun]:
        """Bring the tables of a layer up to date, or those that are selected; each is reported as it begins and ends.

        Args:
            layer: `bronze`, `silver` or `gold`.
            show: The notebook's `print`, which gets a line for each table.
        """
        selection = self._dbutils.widgets.get("select").split() or [layer]
        runs = self._runner.refresh(selection, self._held, lambda run: report_table(self._dbutils, run, show))
        self._held |= {run.table for run in runs if run.state in ("failed", "skipped")}
        self._runs += runs
        return runs

    def refresh_all(self, show: Callable[[str], object]) -> list[TableRun]:
        """Do what the stages of a job do, one after the other.

        Args:
            show: The notebook's `print`.
        """
        runs = self.refresh("bronze", show)
        if self.is_anything_due():
            runs += self.refresh("silver", show)
            self.reconcile()
            runs += self.refresh("gold", show)
            for line in self.publish():
                show(line)
        return runs

    def is_anything_due(self) -> bool:
        """Tell the job, and return, whether there is anything to do behind bronze; if not, the run ends here."""
        states, settings = self._runner.states, self._settings
        is_due = (
            any(self._runner.plan(["silver", "gold"]).values())
            or bool(self._serving and due_views(states, self._store, self._serving, settings.reporting_currency))
            or bool(settings.synapse_location and due_copies(states, settings.synapse_location))
            or has_imbalance(self._store)
        )
        report_due(self._dbutils, is_due=is_due)
        if not is_due:
            release_lease(self._store, *self._holder)
        return is_due

    def reconcile(self) -> None:
        """Compare what tables hold with what they received; what does not add up is held back from gold."""
        accounts = reconcile(self._store, self._runner.graph, self._held, only_changed=True)
        self._held |= {*record_reconciliation(self._store, accounts, self._runner.graph)}
        self._complaint = complaint_about(accounts)

    def publish(self) -> list[str]:
        """Write the views whose definition has changed, and the copies of gold tables that have changed.

        Copies are left as they are where a table failed.

        Returns:
            A line for each view that was written, and for the copies.
        """
        settings, done = self._settings, list[str]()
        if self._serving:
            written = publish_views(self._store, self._serving, settings.reporting_currency)
            done += [f"view {name}" for name in written]
        if settings.synapse_location and not self._held:
            self._rows_copied = publish_gold(self._store, settings.synapse_location, full_refresh=settings.full_refresh)
            done.append(f"copies for readers outside Unity Catalog: {self._rows_copied:,} rows")
        release_lease(self._store, *self._holder)
        return done

    def end(self) -> None:
        """Tell the job what the stage did.

        Raises:
            CdpError: A table failed, or does not add up.
        """
        if self._runs or self._rows_copied is not None:
            report_rows(self._dbutils, (self._rows_copied or 0) + sum(run.counts.rows for run in self._runs))
        report_held(self._dbutils, self._held)
        failed = [f"{run.table}: {run.error}" for run in self._runs if run.state == "failed"]
        failed += [self._complaint] if self._complaint else []
        if failed:
            raise CdpError(failed[0] + (f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""))


def table_of(runs: Sequence[TableRun]) -> pd.DataFrame:
    """Return what became of tables, to be displayed.

    Args:
        runs: What `Stage.refresh` came to.
    """
    import pandas as pd  # takes half as long as a run with nothing to do

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
