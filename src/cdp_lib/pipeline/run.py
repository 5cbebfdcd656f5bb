"""The runner: refreshes the tables that are due, in the order of the graph."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cached_property
from graphlib import TopologicalSorter
from threading import RLock
from typing import Any, Literal

from pyspark.errors import PySparkException

from cdp_lib import __version__
from cdp_lib.columns import is_on_or_before
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import ID_KEYS_SILVER
from cdp_lib.contracts.sums import DAY_COLUMNS, SUMS
from cdp_lib.contracts.table import BronzeContract, TableContract
from cdp_lib.erasure.suppressions import Suppressions, read_suppressions
from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_lib.mapping import Mapping
from cdp_lib.pipeline.adoption import adopt_warehouse
from cdp_lib.pipeline.change_sets import UnknownContentError, delete_change_sets, finish_change_set
from cdp_lib.pipeline.fingerprint import fingerprint
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.guards import RefusedBatchError, with_refused_batches
from cdp_lib.pipeline.load_batches import LoadedBatches
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.pipeline.sums import read_sums
from cdp_lib.pipeline.table import BUSINESS_DATE, UPSTREAM_CODE, Append, Table
from cdp_lib.pipeline.work import IDS_SINCE, REFUSED, Outcome, RowCounts, Work, setting_texts
from cdp_lib.redaction import redact
from cdp_lib.settings import Settings
from cdp_lib.sources_file import read_sources
from cdp_lib.storage import DeltaStore

TABLES_AT_ONCE = min(4, max(2, os.cpu_count() or 2))
"""Number of tables refreshed in parallel. Each refresh keeps one core busy."""

TableRunState = Literal["running", "refreshed", "fresh", "failed", "skipped"]


@dataclass(frozen=True)
class TableRun:
    """Result of one table in one run.

    Attributes:
        table: Name of the table.
        state: `running`, `refreshed`, `fresh` (the table was not due), `failed` or `skipped` (an upstream table
            failed).
        reason: Why the table was due.
        counts: Numbers of rows that the refresh wrote, removed and refused.
        seconds: Duration of the refresh in seconds.
        notes: Sentences about the refresh that a person should read.
        error: Error message in one line. Empty if the table did not fail.
    """

    table: str
    state: TableRunState
    reason: str = ""
    counts: RowCounts = RowCounts()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Due:
    """Reasons why a table is due.

    Attributes:
        reasons: Reasons in words. Empty if the table is not due.
        is_rewrite: Whether the whole table must be rewritten.
    """

    reasons: tuple[str, ...] = ()
    is_rewrite: bool = False


class DifferingSumsError(CdpError):
    """Error of a table whose rows do not add up to the same sums as the rows of its input."""


class Runner:
    """Runner that refreshes the tables of a graph in one run."""

    def __init__(
        self,
        store: DeltaStore,
        landing: Landing,
        settings: Settings,
        graph: Graph | None = None,
        erasure_key: str | None = None,
    ) -> None:
        """Read the state of every table.

        Args:
            store: Tables of the platform.
            landing: Landed batches.
            settings: Settings of the run.
            graph: Graph of the tables. None for the graph of the platform.
            erasure_key: Key of the digests in `suppressions_ops`. None if nobody was erased.
        """
        self.store, self.landing, self.settings, self._erasure_key = store, landing, settings, erasure_key
        self.graph = graph or platform_graph()
        self.sources = read_sources(settings.sources_file, asdict(settings), settings.business_time_zone)
        self.states = read_states(store)
        self._lock = RLock()
        self._sums_until_day: dict[str, dict[str, str]] = {}  # by token of the summed version

    def due(self, name: str) -> Due:
        """Return the reasons why a table is due, according to the current states of all tables."""
        table, state = self.graph.tables[name], self.states.get(name, TableState())
        if not state.version:
            return Due(("the table is new",), is_rewrite=True)
        if self._is_switched_off(table):
            return Due()
        rewrite_reasons, work = self._rewrite_reasons(table, state), self._work(table, state, Due())
        changed_inputs = [
            f"{contract.name} changed"
            for contract in table.reads
            if state.inputs.get(contract.name, (0, ""))[1] != self.states.get(contract.name, TableState()).token
        ]
        if not rewrite_reasons and (describe_need := self._describe_need(table)):
            is_changed = changed_inputs or state.settings != setting_texts(table, work.values, work.mappings)
            return Due(tuple(filter(None, [describe_need(work)])) if is_changed else ())
        new_input = table.materialization.describe_new_input(work)
        return Due((*rewrite_reasons, *changed_inputs, *filter(None, [new_input])), bool(rewrite_reasons))

    def _select(self, selection: Iterable[str]) -> set[str]:
        """Return the selected tables and the tables that they have to follow, without tables that are not used."""
        selected = self.graph.select(selection)
        selected |= {contract.name for name in selected for contract in self.graph.tables[name].follows}
        return {name for name in selected if self._is_used(self.graph.tables[name])}

    def _is_used(self, table: Table) -> bool:
        has_text_ids = any(mapping.text_ids for mapping in self._mappings(table).values())
        return has_text_ids or not table.materialization.is_for_text_ids

    def _is_switched_off(self, table: Table) -> bool:
        """Return whether a setting prevents the refresh of a table that already exists."""
        return bool(table.only_if) and getattr(self.settings, table.only_if) is False

    def _describe_need(self, table: Table) -> Callable[[Work], str] | None:
        """Return the function that decides whether an existing ledger needs new rows, or None: changes need rows."""
        is_decided = bool(table.only_if) and getattr(self.settings, table.only_if) is None
        return table.materialization.describe_need if is_decided and isinstance(table.materialization, Append) else None

    def _upstream_code(self, table: Table) -> str:
        """Return a hash of the code and settings that all upstream tables of a ledger were built with."""
        if not isinstance(table.materialization, Append):
            return ""
        states = {
            name: self.states.get(name, TableState()) for name in self.graph.upstream([c.name for c in table.reads])
        }
        code = {
            name: [state.fingerprint, {key: text for key, text in state.settings.items() if key != BUSINESS_DATE}]
            for name, state in states.items()
        }
        return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:16]

    def _rewrite_reasons(self, table: Table, state: TableState) -> list[str]:
        """Return the reasons why an existing table must be rewritten, in words."""
        before, values = dict(state.settings), setting_texts(table, self._values(table), self._mappings(table))
        is_upstream_changed = False
        if self._describe_need(table):
            # Another business date alone is no reason: `due` asks whether new rows are needed.
            values.pop(BUSINESS_DATE, None)
            before.pop(BUSINESS_DATE, None)
            is_upstream_changed = state.details.get(UPSTREAM_CODE) != self._upstream_code(table)
        return [
            *(["an earlier rewrite was interrupted"] if state.is_rewriting else []),
            *(["a full refresh was requested"] if self.settings.full_refresh else []),
            *(
                []
                if all(map(self.store.exists, table.contract.with_quarantine))
                else ["the table or its quarantine is missing"]
            ),
            *(["the code or contract changed"] if state.fingerprint != fingerprint(table) else []),
            *(["the code or a setting of an upstream table changed"] if is_upstream_changed else []),
            *(
                f"setting {key} changed: {before.get(key)} → {values.get(key)}"
                for key in sorted({*before, *values})
                if before.get(key) != values.get(key)
            ),
        ]

    def plan(self, selection: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """Return the reasons why each selected table is due. No table is refreshed.

        A table is also due if one of its selected inputs is due.

        Args:
            selection: Names of tables or layers, as in `Graph.select`.
        """
        selected = self._select(selection)
        plan: dict[str, tuple[str, ...]] = {}
        for name in self.graph.tables:
            if name in selected:
                may_wait = " (refreshed if enough changes)" if self._describe_need(self.graph.tables[name]) else ""
                upstream = [f"{each} is due{may_wait}" for each in self.graph.reads(name) if plan.get(each)]
                reasons = self.due(name).reasons
                plan[name] = reasons or (() if self._is_switched_off(self.graph.tables[name]) else tuple(upstream))
        return plan

    def refresh(
        self,
        selection: Iterable[str] = (),
        held: Collection[str] = (),
        on_change: Callable[[TableRun], None] = lambda run: None,
    ) -> list[TableRun]:
        """Refresh the selected tables. Tables that do not depend on each other are refreshed in parallel.

        If a table fails, its downstream tables are skipped and the other tables continue. The states are written at the
        end of the run, and whenever the rewrite of a whole table starts.

        Args:
            selection: Names of tables or layers, as in `Graph.select`.
            held: Names of tables that failed earlier. These tables and their downstream tables are skipped.
            on_change: Function that is called in the caller's thread each time the refresh of a table starts or ends.

        Returns:
            The result of each table, in the order of the graph.

        Raises:
            CdpError: Batches from `replay_from` on are to be loaded again, but no such batch has landed.
        """
        selected = self._select(selection)
        names = [name for name in self.graph.tables if name in selected]
        self._require_replayed_batch(names)
        if not self.states or PIPELINE_RUNS_OPS.name in self.states:
            if adopted := adopt_warehouse(self.store, self.landing):
                self.states = read_states(self.store)
                on_change(TableRun(PIPELINE_RUNS_OPS.name, "refreshed", adopted))
        # Use one commit to mark all tables that are already known to need a rewrite.
        self._mark_rewriting([name for name in names if self._needs_rewrite(name)])
        runs: dict[str, TableRun] = {}
        # A held table may be far upstream: the tables between may have been refreshed from its rows already.
        failed = self.graph.downstream({name for name in held if name in self.graph.tables})
        order = TopologicalSorter(
            {name: [each for each in self.graph.waits_for(name) if each in selected] for name in names}
        )
        order.prepare()
        ready: list[str] = []
        futures: dict[Future[TableRun], str] = {}
        try:
            with ThreadPoolExecutor(TABLES_AT_ONCE) as pool:
                while order.is_active():
                    ready += order.get_ready()
                    ready.sort(key=lambda name: (-self.graph.longest_chain(name), name))
                    while ready and len(futures) < TABLES_AT_ONCE:
                        name = ready.pop(0)
                        if name in failed or failed & set(self.graph.waits_for(name)):
                            failed.add(name)
                            runs[name] = TableRun(name, "skipped")
                            order.done(name)
                            on_change(runs[name])
                            continue
                        on_change(TableRun(name, "running"))
                        futures[pool.submit(self._run, name)] = name
                    # Use a short timeout: if the engine runs in this process, Ctrl-C does not interrupt a waiting
                    # thread.
                    done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = futures.pop(future)
                        runs[name] = future.result()
                        failed |= {name} if runs[name].state == "failed" else set()
                        order.done(name)
                        on_change(runs[name])
        finally:
            self._record(runs)
        return [runs[name] for name in names if name in runs]

    def work_of_current_version(self, name: str) -> Work | None:
        """Return the work that builds the current version of a table again, from the inputs that it was built from.

        A bronze input may have new batches: their rows are left out. This is usual while a guard refuses a batch.

        Args:
            name: Name of the table.

        Returns:
            The work, of which nothing has been done. None if the table has to be refreshed first, because its code, a
            setting or another input has changed, because an input is being rewritten, or because it does not exist.
        """
        table, state = self.graph.tables[name], self.states.get(name, TableState())
        if not state.version or self._rewrite_reasons(table, state):
            return None
        work, inputs = self._work(table, state, Due(is_rewrite=True)), dict[str, TableState]()
        for contract in table.reads:
            now, (seen, token) = work.inputs[contract.name], state.inputs.get(contract.name, (0, ""))
            if now.is_rewriting:
                return None
            if now.token != token:
                if not isinstance(contract, BronzeContract) or now.rewritten_at > seen or "newest" not in state.details:
                    return None
                loaded = LoadedBatches.of(now).up_to(seen, state.details["newest"], state.details.get("snapshot", ""))
                now = replace(now, version=seen, token=token, details=asdict(loaded))
            inputs[contract.name] = now
        # The version before the current one, so that the work makes the current version.
        return replace(work, state=replace(state, version=state.version - 1), inputs=inputs, is_rebuild=True)

    def rebuild(self, name: str, reason: str) -> TableRun:
        """Build the current version of a table again, and replace its rows.

        The table keeps its version, because the version has the same rows as when it was built first. Therefore, no
        downstream table becomes due. If the run is killed, the next run rewrites the table and its downstream tables.

        Args:
            name: Name of the table.
            reason: Why the table is built again, for the log of runs.
        """
        table, state, work = self.graph.tables[name], self.states[name], self.work_of_current_version(name)
        if work is None:
            return TableRun(name, "failed", reason, error="the table is due: run the job first")
        started, error, counts = time.perf_counter(), "", RowCounts()
        is_bronze = isinstance(table.contract, BronzeContract)
        try:
            if not is_bronze:  # a bronze table is compared with the landing, before its rewrite starts
                self._mark_rewriting([name])
            outcome = table.materialization.refresh(work)
            counts = outcome.counts
            refused = {key: state.details[key] for key in (REFUSED,) if key in state.details}
            rebuilt = replace(
                outcome.state,
                token=state.token,
                base=state.base,
                inputs=state.inputs,
                details={**outcome.state.details, **refused},
                summed_token=state.token,
            )
            if is_bronze and state.rows not in (None, rebuilt.rows):
                # Keep the expected number of rows, so that each reconciliation reports the missing rows.
                self._set_state(name, replace(rebuilt, rows=state.rows))
                raise CdpError(
                    f"{name} has {rebuilt.rows} rows after it was loaded again from the landed batches, but it should"
                    f" have {state.rows}. Restore the table, or its landed batches, from a backup"
                )
            self._set_state(name, rebuilt)
        except Exception as caught:
            error = one_line(caught)
            if isinstance(caught, RefusedBatchError):  # no row has changed
                self._set_state(name, state)
        seconds = time.perf_counter() - started
        run = TableRun(name, "failed" if error else "refreshed", reason, counts, seconds, error=error)
        self._record({name: run})
        return run

    def _require_replayed_batch(self, names: Iterable[str]) -> None:
        """Raise an error if no batch from `replay_from` on has landed.

        Raises:
            CdpError: No such batch has landed.
        """
        contracts = [self.graph.tables[name].contract for name in names]
        bronze = [each for each in contracts if isinstance(each, BronzeContract)]
        if not (self.settings.replay_from and bronze):
            return
        newest = max(next(self.landing.batch_ids_newest_first(each.source, each.entity), "") for each in bronze)
        if newest < self.settings.replay_from:
            raise CdpError(
                f"No batch from {self.settings.replay_from} on has landed, so replay_from loads nothing again:"
                f" {f'the newest batch is {newest}' if newest else 'no batch has landed yet'}. Write the name of a"
                " landed batch, or the beginning of its name."
            )

    def require_rewrite(self, names: Iterable[str]) -> None:
        """Record that the rows of tables are no longer right, so that the next refresh builds them again as a whole."""
        self._mark_rewriting(names)

    @contextmanager
    def changed_rows(self, name: str) -> Iterator[None]:
        """Count the rows of a table again, after the caller has changed them outside a refresh.

        The table keeps its version. The caller sees to it that the tables that read it are built again.
        """
        state = self.states[name]
        # If the process is killed before the count, the number of rows is unknown, and not wrong.
        self._set_state(name, replace(state, rows=None))
        write_states(self.store, self.states)
        yield
        contract = self.graph.tables[name].contract
        self._set_state(name, replace(state, rows=self.store.count([contract])[contract.name]))
        write_states(self.store, self.states)

    def drop_change_sets(self) -> None:
        """Delete the stored changes of all tables. A table that has not read some of them is built again as a whole."""
        changed = {name: state for name, state in self.states.items() if state.change_sets}
        for name, state in changed.items():
            self._set_state(name, replace(state, change_sets={}))
        write_states(self.store, self.states)
        for table in self.graph.tables.values():
            delete_change_sets(self.store, table.contract)

    @cached_property
    def _suppressions(self) -> Suppressions | None:
        """Digests of the names of erased persons. None if nobody was erased."""
        return read_suppressions(self.store, self._erasure_key)

    def business_date(self) -> date:
        """Return the day that figures refer to: the setting `as_of`, or else the latest business date in the data.

        The day of the run is used in only two cases: the data has no date yet, or the latest date in the data is after
        the day of the run. In all other cases, the day of the run would be wrong. For example, if no data arrived for a
        long time, every customer would seem to have churned.
        """
        if self.settings.as_of:
            return self.settings.as_of
        run_day = self.settings.run_started_at.date()
        name = next((name for name in self.graph.tables if name.startswith(BUSINESS_DATE)), "")
        token = self.states.get(name, TableState()).token
        return min(date.fromisoformat(token), run_day) if token not in ("", "None") else run_day

    def _values(self, table: Table) -> dict[str, Any]:
        return {
            name: self.business_date() if name == BUSINESS_DATE else getattr(self.settings, name)
            for name in table.settings
        }

    def _mappings(self, table: Table) -> dict[str, Mapping]:
        """Return the mappings of the bronze inputs of a table, or of the bronze table itself, by table name."""
        ids_since = self.states.get(ID_KEYS_SILVER.name, TableState()).details.get(IDS_SINCE, "")
        mappings = {
            each.name: self.sources.mapping(each.entity)
            for each in (table.contract, *table.reads)
            if isinstance(each, BronzeContract)
        }
        return {
            name: replace(mapping, ids_since=ids_since) if mapping.text_ids and table.follows else mapping
            for name, mapping in mappings.items()
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
            lambda: self._mark_rewriting([table.name]),
            tuple(readers),
            self._mappings(table),
            upstream_code=self._upstream_code(table),
            find_suppressions=lambda: self._suppressions,
        )

    def _run(self, name: str) -> TableRun:
        """Refresh one table if it is due."""
        started = time.perf_counter()
        reason = ""
        try:
            due = self.due(name)
            if not due.reasons:
                return TableRun(name, "fresh")
            reason = "; ".join(due.reasons)
            self._require_same_date(self.graph.tables[name])
            outcome = self._outcome(name, due)
        except Exception as error:
            state = self.states.get(name, TableState())
            if isinstance(error, RefusedBatchError):
                self._set_state(name, with_refused_batches(state, error.batches))
            elif isinstance(error, DifferingSumsError) and state.version:
                self._set_state(name, replace(state, is_rewriting=True))
            message = one_line(error)
            if isinstance(error, PySparkException):
                table = self.graph.tables[name]
                message = self.store.find_damage((table.contract, *table.reads)) or message
            return TableRun(name, "failed", reason, seconds=time.perf_counter() - started, error=message)
        return TableRun(name, "refreshed", reason, outcome.counts, time.perf_counter() - started, outcome.notes)

    def _outcome(self, name: str, due: Due) -> Outcome:
        table, state = self.graph.tables[name], self.states.get(name, TableState())
        finished = RowCounts()
        if not due.is_rewrite:
            try:
                outcome = finish_change_set(self._work(table, state, due))
            except UnknownContentError:
                due = Due(
                    (*due.reasons, "a stored change set does not continue the table's current version"), is_rewrite=True
                )
            else:
                if outcome:
                    finished, state = outcome.counts, self._set_state(name, outcome.state)
                    due = self.due(name)
                    if not due.reasons:
                        return outcome
        if due.is_rewrite and state.version:
            self._mark_rewriting([name])
        outcome = table.materialization.refresh(self._work(table, state, due))
        self._require_equal_sums(table, outcome.state)
        self._set_state(name, outcome.state)
        return replace(outcome, counts=outcome.counts + finished)

    def _require_equal_sums(self, table: Table, state: TableState) -> None:
        """Raise an error if the rows of a table do not add up to the same sums as the rows of its input (`SUMS`).

        Cost: the sums of most tables are computed while their rows are written. A small query sums each mart that is
        rebuilt for some keys only. The sums of silver follow from its change sets.

        Args:
            table: Declaration of the table.
            state: State of the table after its refresh.

        Raises:
            DifferingSumsError: A sum differs.
        """
        for measure, found in state.known_sums.items():
            source = next((each for each in table.reads if measure in SUMS.get(each.name, {})), None)
            if source and Decimal(found) != Decimal(expected := self._sums_of(source, table)[measure]):
                raise DifferingSumsError(
                    f"{table.name} does not add up: its {measure} ({SUMS[table.name][measure]}) is {found}, but"
                    f" {source.name} has {expected}. Something other than this platform has changed one of the two"
                    f" tables. The next run rebuilds {table.name}. If it fails again, run `cdp verify --repair`, or in"
                    " a workspace the job cdp_verify with repair=true."
                )

    def _sums_of(self, source: TableContract, table: Table) -> dict[str, str]:
        """Return the sums of an input, up to the day `as_of` if the table depends on it."""
        as_of = self.settings.as_of if "as_of" in table.settings else None
        with self._lock:
            state = self.states[source.name]
            if as_of and source.name in DAY_COLUMNS:
                if state.token not in self._sums_until_day:
                    rows = self.store.read(source).where(is_on_or_before(DAY_COLUMNS[source.name], as_of))
                    self._sums_until_day[state.token] = read_sums(rows, source)
                return self._sums_until_day[state.token]
            if not SUMS[source.name].keys() <= state.known_sums.keys():
                # An earlier version of the platform, which kept no sums, has written the table.
                state = self._set_state(source.name, state.with_sums(read_sums(self.store.read(source), source)))
            return dict(state.known_sums)

    def _require_same_date(self, table: Table) -> None:
        """Raise an error if an input was computed for a day other than the current business date.

        Raises:
            CdpError: An input was computed for another day.
        """
        for contract in table.reads:
            source = self.graph.tables.get(contract.name)
            if source and not source.only_if and {BUSINESS_DATE} <= {*table.settings} & {*source.settings}:
                day, old_day = str(self.business_date()), self.states[contract.name].settings.get(BUSINESS_DATE)
                if day != old_day:
                    raise CdpError(
                        f"{contract.name} was computed as of {old_day}, not {day}:"
                        f" refresh {contract.name} first, or refresh all tables."
                    )

    def _set_state(self, name: str, state: TableState) -> TableState:
        with self._lock:
            self.states[name] = state
        return state

    def _needs_rewrite(self, name: str) -> bool:
        """Return whether an existing table must be rewritten. This check does not list landed batches."""
        table, state = self.graph.tables[name], self.states.get(name, TableState())
        return bool(state.version) and not self._is_switched_off(table) and bool(self._rewrite_reasons(table, state))

    def _mark_rewriting(self, names: Iterable[str]) -> None:
        """Record that the rewrite of whole tables starts.

        The rows of these tables are unknown until the rewrite ends.
        """
        with self._lock:
            states = {name: self.states.get(name, TableState()) for name in names}
            marked = {n: replace(s, is_rewriting=True) for n, s in states.items() if s.version and not s.is_rewriting}
            if marked:
                self.states |= marked
                write_states(self.store, self.states)

    def _record(self, runs: dict[str, TableRun]) -> None:
        """Write the states of all tables, then a log row for each refreshed or failed table."""
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
    """Return the message of an error in one line, without secrets.

    The message of a Java error is on the second line of its text.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = lines[1].removeprefix(": ") if type(error).__name__ == "Py4JJavaError" and len(lines) > 1 else lines[0]
    return redact(text if isinstance(error, CdpError) else f"{type(error).__name__}: {text}")
