"""Stages of a job, which the notebooks run: bronze, silver, gold and publish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

from cdp_lib.contracts.bronze import tables_of
from cdp_lib.erasure.erase import Erasure
from cdp_lib.erasure.suppressions import ERASURE_KEY
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.pipeline.run import Runner, TableRun
from cdp_lib.protection import protect
from cdp_lib.published import Copies, due_copies, publish_gold
from cdp_lib.reconciliation import describe_imbalance, has_imbalance, reconcile, record_reconciliation
from cdp_lib.secrets import find_secret, read_secret
from cdp_lib.serving import Serving, due_views, publish_views
from cdp_lib.settings import Settings, parse_flag
from cdp_lib.storage import open_store, release_lease, take_lease
from cdp_lib.task_values import report_due, report_held, report_rows, report_table
from cdp_lib.verification import verify

if TYPE_CHECKING:
    import pandas as pd

_SUCCEEDED = ("", "success", "excluded")
"""Result states of an ingest task that count as success. The state is empty if the notebook gets no state."""

_BY_HAND = "a notebook opened by hand"


class Stage:
    """Stage of a job. A notebook that a person has opened may run several stages with one object."""

    def __init__(self, dbutils: Any, spark: SparkSession) -> None:
        """Read the notebook's widgets and the states of the tables, and take the lease.

        Besides the widgets of `Settings`, the notebook has five widgets. If a widget has several values, they are
        separated by spaces:

        - `select`: tables and layers, as in `cdp run --select`;
        - `sources`: the result states of the ingest tasks, each as `<source>=<state>`;
        - `held`: tables that, according to earlier tasks, failed, were skipped, or have missing or surplus rows. Their
          downstream tables are held;
        - `job`: name of the job;
        - `repair`: whether `verify` rebuilds the tables that are wrong, `true` or `false`.

        Args:
            dbutils: The notebook's `dbutils`.
            spark: Spark session.

        Raises:
            CdpError: A parameter does not parse, a run of another job is writing the tables, or the identity of the run
                reads masks instead of personal data.
        """
        self._dbutils = dbutils
        for name in ("select", "sources", "held", "job", "repair"):
            dbutils.widgets.text(name, "")
        self._settings = Settings.from_widgets(dbutils)
        settings, catalog = self._settings, self._settings.catalog
        self._store = open_store(spark, catalog, settings.schema, settings.unmasked_group)
        self._serving: Serving | None = None
        if settings.serving_schema:
            self._serving = Serving(
                self._store,
                open_store(spark, catalog, settings.serving_schema),
                open_store(spark, catalog, settings.customers_schema) if settings.customers_schema else None,
                settings.reporting_currency,
                settings.minimum_cell_size,
                settings.analytics_needs_consent,
            )
        self._copies = Copies(
            settings.synapse_location,
            settings.minimum_cell_size,
            settings.synapse_customers,
            settings.analytics_needs_consent,
        )
        self._holder = dbutils.widgets.get("job") or _BY_HAND, self._settings.run_id
        take_lease(self._store, *self._holder)
        account_key = find_secret(dbutils, settings.secret_scope, "storage_account_key")
        erasure_key = find_secret(dbutils, settings.secret_scope, ERASURE_KEY)
        landing = Landing(settings.landing, account_key)
        self._runner = Runner(self._store, landing, settings, erasure_key=erasure_key)
        protect(self._store, self._runner.states)
        self._held = {*dbutils.widgets.get("held").split(), *_tables_of_failed(dbutils.widgets.get("sources"))}
        self._runs: list[TableRun] = []
        self._rows_copied: int | None = None
        self._imbalance = ""
        self._complaints: list[str] = []

    def refresh(self, layer: str, show: Callable[[str], object]) -> list[TableRun]:
        """Refresh the selected tables, or the tables of a layer if no tables are selected.

        Each table is reported when its refresh starts and ends.

        Args:
            layer: `bronze`, `silver` or `gold`.
            show: The notebook's `print`, called with one line per table.
        """
        selection = self._dbutils.widgets.get("select").split() or [layer]
        runs = self._runner.refresh(selection, self._held, lambda run: report_table(self._dbutils, run, show))
        self._held |= {run.table for run in runs if run.state in ("failed", "skipped")}
        self._runs += runs
        return runs

    def refresh_all(self, show: Callable[[str], object]) -> list[TableRun]:
        """Run all stages of a job, one after the other.

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

    def erase(self, show: Callable[[str], object]) -> list[TableRun]:
        """Fulfil the open requests of `erasure_requests_ops`, and refresh all tables.

        Args:
            show: The notebook's `print`.

        Raises:
            CdpError: The secret erasure_key is missing, a request names several persons, or a landed batch can't be
                rewritten.
        """
        key = read_secret(self._dbutils, self._settings.secret_scope, ERASURE_KEY)
        erasure = Erasure.open(self._runner, key)
        erasure.scrub(show)
        runs = self.refresh_all(show)
        # If a table failed, it may still have the persons: the next run of the job continues.
        if not (self._held or self._imbalance):
            erasure.finish(self._settings.run_started_at)
            show(f"{len(erasure.rows):,} requests fulfilled")
        return runs

    def is_anything_due(self) -> bool:
        """Return whether the stages after bronze have work to do, and report the result to the job.

        The stages have work to do if a table, view or copy is due, or if the last reconciliation found missing or
        surplus rows. If the stages have no work to do, the lease is released.
        """
        states = self._runner.states
        is_due = (
            any(self._runner.plan(["silver", "gold"]).values())
            or bool(self._serving and due_views(states, self._serving))
            or bool(self._copies.location and due_copies(states, self._copies))
            or has_imbalance(self._store)
        )
        report_due(self._dbutils, is_due=is_due)
        if not is_due:
            release_lease(self._store, *self._holder)
        return is_due

    def reconcile(self) -> None:
        """Reconcile the changed tables. If a table has missing or surplus rows, its downstream tables are held."""
        accounts = reconcile(self._store, self._runner.graph, self._held, only_changed=True)
        self._held |= {*record_reconciliation(self._store, accounts, self._runner.graph)}
        self._imbalance = describe_imbalance(accounts)

    def publish(self) -> list[str]:
        """Write each view whose definition changed, copy each gold table that changed, and register new fits of models.

        If a source or table failed, or a table has missing or surplus rows, no table is copied and no fit is
        registered. The lease is released at the end.

        Returns:
            One line for each written view, one line for the copies, and one line for each registered model.
        """
        done = [f"view {name}" for name in publish_views(self._serving)] if self._serving else list[str]()
        if self._copies.location and not self._held:
            self._rows_copied = publish_gold(self._store, self._copies, full_refresh=self._settings.full_refresh)
            done.append(f"copies for readers outside Unity Catalog: {self._rows_copied:,} rows")
        if self._settings.model_registry and not self._held:
            from cdp_lib.model_registry import register_fits  # imported here, because the import is slow

            done += register_fits(self._store, self._settings.model_registry)
        release_lease(self._store, *self._holder)
        return done

    def verify(self, show: Callable[[str], object]) -> None:
        """Compare every table with a rebuild, and rebuild the tables that are wrong if the widget `repair` is true.

        The lease is released at the end.

        Args:
            show: The notebook's `print`, called with one line per table that was wrong or not compared.
        """
        repair = parse_flag("repair", self._dbutils.widgets.get("repair"), default=False)
        try:
            verified = verify(self._runner, repair=repair)
        finally:
            release_lease(self._store, *self._holder)
        for each in verified:
            if each.is_different:
                show(f"{each.complaint}{'. Repaired.' if each.is_repaired else ''}")
            elif each.skip_reason:
                show(f"{each.table_name}: not compared: {each.skip_reason}")
        show(f"{len(verified):,} tables verified, {sum(each.is_different for each in verified):,} of them differ.")
        self._complaints = [each.complaint for each in verified if each.is_wrong]

    def end(self) -> None:
        """Report the results of the stage to the job.

        Raises:
            CdpError: A table failed, is wrong, or has missing or surplus rows.
        """
        if self._runs or self._rows_copied is not None:
            report_rows(self._dbutils, (self._rows_copied or 0) + sum(run.counts.rows for run in self._runs))
        report_held(self._dbutils, self._held)
        failed = [f"{run.table}: {run.error}" for run in self._runs if run.state == "failed"]
        failed += [self._imbalance] if self._imbalance else []
        failed += [f"{each}. To rebuild the wrong tables, run with repair=true" for each in self._complaints]
        if failed:
            raise CdpError(failed[0] + (f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""))


def table_of(runs: Sequence[TableRun]) -> pd.DataFrame:
    """Return the results of tables as a pandas data frame to display.

    Args:
        runs: Results of `Stage.refresh`.
    """
    import pandas as pd  # imported here, because the import is slow

    rows = [
        {"table": run.table, "state": run.state, "seconds": round(run.seconds, 1)}
        | asdict(run.counts)
        | {"why": run.reason}
        for run in runs
    ]
    return pd.DataFrame(rows)


def _tables_of_failed(sources: str) -> list[str]:
    """Return the bronze tables of failed sources.

    Args:
        sources: Result states of the ingest tasks, each as `<source>=<state>`, separated by spaces.
    """
    states = dict(each.partition("=")[::2] for each in sources.split())
    return [table.name for source, state in states.items() if state not in _SUCCEEDED for table in tables_of(source)]
