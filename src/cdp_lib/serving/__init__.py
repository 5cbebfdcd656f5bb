"""Serving views for users and BI tools outside the team. A view is written if its definition has changed.

The SQL files of this package contain the queries, with short table names. A view stores no rows, so changed rows in the
underlying tables do not make the view due.

Views are in two schemas. Views with a row per customer have a schema of their own, so that a grant on the other schema
does not include them. They have only the persons whom the rule of their purpose allows. Views in the other schema show
no figures of fewer people than `minimum_cell_size`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

from cdp_lib.consent import rule_of
from cdp_lib.contracts import TABLES
from cdp_lib.contracts.kpis import PeriodName
from cdp_lib.metric_views import metric_views
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.storage import DeltaStore

_VIEW = re.compile(r"CREATE OR REPLACE VIEW (\w+) AS\n(.*?);\n", re.DOTALL)
_TABLE_REFERENCE = re.compile(r"\b(FROM|JOIN) (\w+)\b")
_FILE_OF_CUSTOMER_VIEWS = "single_customers.sql"
PURPOSES_OF_CUSTOMER_VIEWS = {"customers": "analytics"}
"""Purpose of each view with a row per customer."""

_MINIMUM = "minimum_cell_size()"
"""Text in a query that stands for the smallest number of people whose figures may be shown."""

_VIEWS_OF_KPIS: dict[PeriodName, str] = {"month": "kpis", "week": "kpis_by_week"}
"""Serving view that the metric views of a period read."""

_STATE_PREFIX, _STATE_PREFIX_OF_CUSTOMER_VIEWS = "view ", "customer view "


@dataclass(frozen=True)
class Serving:
    """Schemas of the views, and the settings that the definitions of the views depend on.

    Attributes:
        tables: Tables of the platform.
        views: Schema of the views for readers outside the team.
        customers: Schema of the views with a row per customer. None to create no such view.
        currency: ISO 4217 code of the reporting currency.
        minimum_cell_size: Smallest number of people whose figures `views` may show.
        analytics_needs_consent: Whether `customers` shows only persons who agreed to analytics.
    """

    tables: DeltaStore
    views: DeltaStore
    customers: DeltaStore | None
    currency: str
    minimum_cell_size: int
    analytics_needs_consent: bool = False


@dataclass(frozen=True)
class _View:
    """A view.

    Attributes:
        name: Name of the view.
        schema: Schema of the view.
        state_name: Name of the state that records the definition.
        definition: SQL query with full table names, or YAML of a metric view.
        reads: Names of the tables and views that must exist before the view is written.
        is_metric_view: Whether the view is a metric view.
    """

    name: str
    schema: DeltaStore
    state_name: str
    definition: str
    reads: frozenset[str]
    is_metric_view: bool = False


def serving_views() -> dict[str, str]:
    """Return the query of each view for readers outside the team, with short table names."""
    return _queries(of_customers=False)


def customer_views() -> dict[str, str]:
    """Return the query of each view with a row per customer, with short table names, before the rule of its purpose."""
    return _queries(of_customers=True)


def _queries(*, of_customers: bool) -> dict[str, str]:
    texts = [
        file.read_text(encoding="utf-8")
        for file in files(__name__).iterdir()
        if file.name.endswith(".sql") and (file.name == _FILE_OF_CUSTOMER_VIEWS) == of_customers
    ]
    return {name: query for text in sorted(texts) for name, query in _VIEW.findall(text)}


def definitions(serving: Serving) -> dict[str, str]:
    """Return the definition of each view for readers outside the team, by name, with full table names.

    The definition of a serving view is its SQL query. On Databricks, the result also has the YAML of the metric views.
    """
    return {view.name: view.definition for view in _views(serving) if view.schema is serving.views}


def due_views(states: Mapping[str, TableState], serving: Serving) -> list[str]:
    """Return the names of the views to write, because their definition has changed, and of the views to drop.

    Args:
        states: States of the tables and views.
        serving: Schemas of the views.
    """
    views = list(_views(serving))
    return [*(view.name for view in views if _has_changed(states, view)), *_dropped(states, views)]


def publish_views(serving: Serving) -> list[str]:
    """Write the views whose definition has changed, and the views that are missing. Drop the views that were removed.

    A serving view is written only if all its tables exist. A metric view is written only if its serving view of
    KPIs exists. States are written after the views. If a run is killed before it writes the states, the next run writes
    the same views again.

    Returns:
        Names of the views that were written or dropped.
    """
    states, views = read_states(serving.tables), list(_views(serving))
    # Drop first: a view that has moved to the schema of customers must not stay readable if a later write fails.
    dropped = _dropped(states, views)
    for name in dropped:
        serving.views.drop_view(name)
    written = {}
    for view in views:
        if not _has_changed(states, view) and view.schema.has_view(view.name):
            continue
        if not all(_exists(serving, name) for name in view.reads):
            continue
        if view.is_metric_view:
            view.schema.create_metric_view(view.name, view.definition)
        else:
            view.schema.create_view(view.name, view.definition)
        written[view.state_name] = TableState(fingerprint=_hash(view.definition))
    if written or dropped:
        gone = {f"{_STATE_PREFIX}{name}" for name in dropped}
        write_states(serving.tables, {name: state for name, state in states.items() if name not in gone} | written)
    return [*(view.name for view in views if view.state_name in written), *dropped]


def _views(serving: Serving) -> Iterator[_View]:
    for name, query in serving_views().items():
        shown = query.replace(_MINIMUM, str(serving.minimum_cell_size))
        definition = _with_full_names(serving, shown, serving.minimum_cell_size)
        yield _View(name, serving.views, f"{_STATE_PREFIX}{name}", definition, _tables_of(query))
    if serving.views.is_databricks:
        for period, view in _VIEWS_OF_KPIS.items():
            for name, definition in metric_views(serving.views.name_of(view), serving.currency, period).items():
                state_name = f"{_STATE_PREFIX}{name}"
                yield _View(name, serving.views, state_name, definition, frozenset({view}), is_metric_view=True)
    if serving.customers:
        for name, unrestricted in customer_views().items():
            purpose = PURPOSES_OF_CUSTOMER_VIEWS[name]
            rule = rule_of(purpose, analytics_needs_consent=serving.analytics_needs_consent)
            query = rule.restrict(unrestricted)
            state_name = f"{_STATE_PREFIX_OF_CUSTOMER_VIEWS}{name}"
            yield _View(name, serving.customers, state_name, _with_full_names(serving, query, 1), _tables_of(query))


def _with_full_names(serving: Serving, query: str, minimum_cell_size: int) -> str:
    """Return a query with full table names. Of a table that counts people, the query reads only the rows to show."""

    def table(match: re.Match[str]) -> str:
        keyword, name = match.groups()
        if name not in TABLES:
            return match[0]
        full_name, condition = serving.tables.name_of(name), TABLES[name].is_shown(minimum_cell_size)
        return f"{keyword} " + (f"(SELECT * FROM {full_name} WHERE {condition})" if condition else full_name)

    return _TABLE_REFERENCE.sub(table, query)


def _dropped(states: Mapping[str, TableState], views: list[_View]) -> list[str]:
    """Return the views for readers outside the team that an earlier version of the platform has written."""
    current = {view.state_name for view in views}
    names = [name for name in states if name.startswith(_STATE_PREFIX) and name not in current]
    return [name.removeprefix(_STATE_PREFIX) for name in names]


def _exists(serving: Serving, name: str) -> bool:
    return serving.tables.exists(TABLES[name]) if name in TABLES else serving.views.has_view(name)


def _has_changed(states: Mapping[str, TableState], view: _View) -> bool:
    return states.get(view.state_name, TableState()).fingerprint != _hash(view.definition)


def _tables_of(query: str) -> frozenset[str]:
    return frozenset({name for _, name in _TABLE_REFERENCE.findall(query)} & {*TABLES})


def _hash(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:16]
