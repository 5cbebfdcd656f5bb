"""The runner: brings tables up to date, in the order of the graph, each only where it is due."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import date
from graphlib import TopologicalSorter
from threading import RLock
from typing import Any, Literal

from cdp_lib import __version__
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.pipeline.adoption import adopt_warehouse
from cdp_lib.pipeline.change_sets import UnknownContentError, adopt_change_set
from cdp_lib.pipeline.fingerprint import fingerprint
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.pipeline.table import BUSINESS_DATE, Table
from cdp_lib.pipeline.work import Outcome, RowCounts, Work
from cdp_lib.settings import Settings
from cdp_lib.storage import DeltaStore

TABLES_AT_ONCE = min(4, max(2, os.cpu_count() or 2))
"""An engine keeps a core busy with each."""

TableRunState = Literal["running", "refreshed", "fresh", "failed", "skipped"]


@dataclass(frozen=True)
class TableRun:
    """One table in one run.

    Attributes:
        table: Name of the table.
        state: `running`; `refreshed`; `fresh`: nothing was due; `failed`; `skipped`: a table that it reads failed.
        reason: Why it was due.
        counts: What happened to rows.
        seconds: How long it took.
        new_columns: Columns that it gained.
        error: Why it failed, in one line.
    """

    table: str
    state: TableRunState
    reason: str = ""
    counts: RowCounts = RowCounts()
    seconds: float = 0.0
    new_columns: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Due:
    """Why a table is to be brought up to date.

    Attributes:
        reasons: In words; none where it is not due.
        is_rewrite: Whether one of them means that its rows can't be taken over.
    """

    reasons: tuple[str, ...] = ()
    is_rewrite: bool = False


class Runner:
    """Tables, their states and the settings of one run."""

    def __init__(self, store: DeltaStore, landing: Landing, settings: Settings, graph: Graph | None = None) -> None:
        """Read the state of every table.

        Args:
            store: Tables of the platform.
            landing: Where batches are landed.
            settings: Settings of the run.
            graph: Declarations of the tables; those of the platform if there is none.
        """
        self.store, self.landing, self.settings = store, landing, settings
        self.graph = graph or platform_graph()
        self.states = read_states(store)
        self._lock = RLock()

    def due(self, name: str) -> Due:
        """Return why a table is due, by the states that are known now."""
        table, state = self.graph.tables[name], self.states.get(name, TableState())
        if not state.version:
            return Due(("it is new",), is_rewrite=True)
        if self._is_off(table):
            return Due()
        rewrites = self._rewrites(table, state)
        inputs = [
            f"{contract.name} changed"
            for contract in table.reads
            if state.inputs.get(contract.name, (0, ""))[1] != self.states.get(contract.name, TableState()).token
        ]
        news = table.materialization.news(self._work(table, state, Due()))
        return Due((*rewrites, *inputs, *filter(None, [news])), bool(rewrites))

    def _is_off(self, table: Table) -> bool:
        """Return whether a setting keeps a table that exists as it is."""
        return bool(table.only_if) and not getattr(self.settings, table.only_if)

    def _rewrites(self, table: Table, state: TableState) -> list[str]:
        """Return why the rows of a table that exists can't be taken over, in words."""
        values = {key: str(value) for key, value in self._values(table).items()}
        return [
            *(["its rewrite was interrupted"] if state.is_rewriting else []),
            *(["a full refresh is asked for"] if self.settings.full_refresh else []),
            *([] if all(map(self.store.exists, table.contract.with_quarantine)) else ["the table is missing"]),
            *(["its code or contract changed"] if state.fingerprint != fingerprint(table) else []),
            *(
                f"setting {key} changed: {state.settings.get(key)} → {values.get(key)}"
                for key in sorted({*state.settings, *values})
                if state.settings.get(key) != values.get(key)
            ),
        ]

    def plan(self, selection: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """Return why each selected table is due, without running anything: also where only what it reads is due.

        Args:
            selection: As `Graph.select` takes it.
        """
        selected = self.graph.select(selection)
        plan: dict[str, tuple[str, ...]] = {}
        for name in self.graph.tables:
            if name in selected:
                upstream = [f"{each} is due" for each in self.graph.reads(name) if plan.get(each)]
                reasons = self.due(name).reasons
                plan[name] = reasons or (() if self._is_off(self.graph.tables[name]) else tuple(upstream))
        return plan

    def refresh(
        self,
        selection: Iterable[str] = (),
        held: Collection[str] = (),
        on_change: Callable[[TableRun], None] = lambda run: None,
    ) -> list[TableRun]:
        """Bring the selected tables up to date, those that do not wait for each other side by side.

        What is built from a table that fails is skipped; all else goes on. States are written at the end, and where a
        whole rewrite begins.

        Args:
            selection: As `Graph.select` takes it.
            held: Tables that failed before: what is built from them is skipped.
            on_change: Called, in this thread, with each table that begins or ends.

        Returns:
            What became of each table, in the order of the graph.
        """
        selected = self.graph.select(selection)
        names = [name for name in self.graph.tables if name in selected]
        if not self.states or PIPELINE_RUNS_OPS.name in self.states:
            if adopted := adopt_warehouse(self.store, self.landing):
                self.states = read_states(self.store)
                on_change(TableRun(PIPELINE_RUNS_OPS.name, "refreshed", adopted))
        # In one commit, as far as that can be told now.
        self._announce([name for name in names if self._is_to_be_rewritten(name)])
        runs: dict[str, TableRun] = {}
        failed = set(held)
        order = TopologicalSorter(
            {name: [each for each in self.graph.reads(name) if each in selected] for name in names}
        )
        order.prepare()
        ready: list[str] = []
        futures: dict[Future[TableRun], str] = {}
        try:
            with ThreadPoolExecutor(TABLES_AT_ONCE) as pool:
                while order.is_active():
                    ready += order.get_ready()
                    ready.sort(key=lambda name: (-self.graph.chain_behind(name), name))
                    while ready and len(futures) < TABLES_AT_ONCE:
                        name = ready.pop(0)
                        if name in failed or failed & set(self.graph.reads(name)):
                            failed.add(name)
                            runs[name] = TableRun(name, "skipped")
                            order.done(name)
                            on_change(runs[name])
                            continue
                        on_change(TableRun(name, "running"))
                        futures[pool.submit(self._run, name)] = name
                    # Not longer at a time: an engine in this process keeps Ctrl-C from waking a thread that waits.
                    done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = futures.pop(future)
                        runs[name] = future.result()
                        failed |= {name} if runs[name].state == "failed" else set()
                        order.done(name)
                        on_change(runs[name])
        finally:
            self._write(runs)
        return [runs[name] for name in names if name in runs]

    def business_date(self) -> date:
        """Return the day that figures refer to: the one a run is told, else the latest on which anything happened.

        Not the day of the run: in a workspace that was paused every customer would seem to have churned. It is, where
        nothing has happened yet, or a source's clock is ahead.
        """
        if self.settings.as_of:
            return self.settings.as_of
        of_run = self.settings.run_started_at.date()
        name = next((name for name in self.graph.tables if name.startswith(BUSINESS_DATE)), "")
        token = self.states.get(name, TableState()).token
        return min(date.fromisoformat(token), of_run) if token not in ("", "None") else of_run

    def _values(self, table: Table) -> dict[str, Any]:
        return {
            name: self.business_date() if name == BUSINESS_DATE else getattr(self.settings, name)
            for name in table.settings
        }

    def _work(self, table: Table, state: TableState, due: Due) -> Work:
        readers = [
            self.states.get(name, TableState()).inputs.get(table.name, (0, ""))[0]
            for name in self.graph.readers(table.name)
        ]
        return Work(
            table,
            self.store,
            self.landing,
            self.settings,
            state,
            {contract.name: self.states.get(contract.name, TableState()) for contract in table.reads},
            self._values(table),
            due.is_rewrite,
            lambda: self._announce([table.name]),
            tuple(readers),
        )

    def _run(self, name: str) -> TableRun:
        """Bring one table up to date, if it is due."""
        begin = time.perf_counter()
        reason = ""
        try:
            due = self.due(name)
            if not due.reasons:
                return TableRun(name, "fresh")
            reason = "; ".join(due.reasons)
            self._require_same_date(self.graph.tables[name])
            outcome = self._outcome(name, due)
        except Exception as error:
            return TableRun(name, "failed", reason, seconds=time.perf_counter() - begin, error=one_line(error))
        return TableRun(name, "refreshed", reason, outcome.counts, time.perf_counter() - begin, outcome.new_columns)

    def _outcome(self, name: str, due: Due) -> Outcome:
        table, state = self.graph.tables[name], self.states.get(name, TableState())
        adopted = RowCounts()
        if not due.is_rewrite:
            try:
                outcome = adopt_change_set(self._work(table, state, due))
            except UnknownContentError:
                due = Due((*due.reasons, "a change set of another history is stored"), is_rewrite=True)
            else:
                if outcome:
                    adopted, state = outcome.counts, self._keep(name, outcome.state)
                    due = self.due(name)
                    if not due.reasons:
                        return outcome
        if due.is_rewrite and state.version:
            self._announce([name])
        outcome = table.materialization.refresh(self._work(table, state, due))
        self._keep(name, outcome.state)
        return replace(outcome, counts=outcome.counts + adopted)

    def _require_same_date(self, table: Table) -> None:
        """Refuse to mix figures of different days."""
        for contract in table.reads:
            other = self.graph.tables.get(contract.name)
            if other and not other.only_if and {BUSINESS_DATE} <= {*table.settings} & {*other.settings}:
                day, of_input = str(self.business_date()), self.states[contract.name].settings.get(BUSINESS_DATE)
                if day != of_input:
                    raise CdpError(
                        f"{contract.name} has the figures of {of_input}, not of {day}: refresh it first, or everything."
                    )

    def _keep(self, name: str, state: TableState) -> TableState:
        with self._lock:
            self.states[name] = state
        return state

    def _is_to_be_rewritten(self, name: str) -> bool:
        """Return whether a table that exists is due for a rewrite, without a look at what has landed."""
        table, state = self.graph.tables[name], self.states.get(name, TableState())
        return bool(state.version) and not self._is_off(table) and bool(self._rewrites(table, state))

    def _announce(self, names: Iterable[str]) -> None:
        """Write down that tables are about to be rewritten: until that has ended, their rows are unknown."""
        with self._lock:
            states = {name: self.states.get(name, TableState()) for name in names}
            begun = {n: replace(s, is_rewriting=True) for n, s in states.items() if s.version and not s.is_rewriting}
            if begun:
                self.states |= begun
                write_states(self.store, self.states)

    def _write(self, runs: dict[str, TableRun]) -> None:
        """Write the states, then the log for people, of the tables that a run has changed."""
        reported = [run for run in runs.values() if run.state in ("refreshed", "failed")]
        if reported:
            with self._lock:
                write_states(self.store, self.states)
            self.store.create(PIPELINE_RUNS_OPS)
            self.store.append(
                PIPELINE_RUNS_OPS, self.store.frame(PIPELINE_RUNS_OPS, [self._log_row(run) for run in reported])
            )

    def _log_row(self, run: TableRun) -> dict[str, object]:
        state = self.states.get(run.table, TableState())
        return {
            "run_id": self.settings.run_id,
            "table_name": run.table,
            "state": run.state,
            "reason": run.reason,
            "error": run.error or None,
            "version": state.version,
            "latest_batch": state.details.get("newest"),
            "rows": run.counts.rows,
            "rows_removed": run.counts.removed,
            "rows_quarantined": run.counts.quarantined,
            "rows_superseded": run.counts.superseded,
            "rows_warned": run.counts.warned,
            "started_at": self.settings.run_started_at,
            "seconds": round(run.seconds, 3),
            "engine": self.store.engine,
            "code_version": __version__,
        }


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line; of an error of Java what Java says, which follows where it was called."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = lines[1].removeprefix(": ") if type(error).__name__ == "Py4JJavaError" and len(lines) > 1 else lines[0]
    return text if isinstance(error, CdpError) else f"{type(error).__name__}: {text}"
