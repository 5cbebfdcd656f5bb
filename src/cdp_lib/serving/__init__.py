"""Serving views for users and BI tools outside the team. A view is written if its definition has changed.

The SQL files of this package contain the queries, with short table names. A view stores no rows, so changed rows in the
underlying tables do not make the view due.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files

from cdp_lib.contracts import TABLES
from cdp_lib.metric_views import metric_views
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.storage import DeltaStore

_VIEW = re.compile(r"CREATE OR REPLACE VIEW (\w+) AS\n(.*?);\n", re.DOTALL)
_STATE_PREFIX = "view "
_TABLE_REFERENCE = re.compile(r"\b(FROM|JOIN) (\w+)\b")


def serving_views() -> dict[str, str]:
    """Return the query of each view, with short table names."""
    texts = [file.read_text(encoding="utf-8") for file in files(__name__).iterdir() if file.name.endswith(".sql")]
    return {name: query for text in sorted(texts) for name, query in _VIEW.findall(text)}


def due_views(states: Mapping[str, TableState], store: DeltaStore, serving: DeltaStore, currency: str) -> list[str]:
    """Return the views whose definition differs from the definition that was written last.

    Args:
        states: States of the tables and views.
        store: Tables of the platform.
        serving: Schema of the views.
        currency: ISO 4217 code of the reporting currency.
    """
    views = definitions(store, serving, currency)
    return [name for name, definition in views.items() if _has_changed(states, name, definition)]


def definitions(store: DeltaStore, serving: DeltaStore, currency: str) -> dict[str, str]:
    """Return the definition of each view, by name, with full table names.

    The definition of a serving view is its SQL query. On Databricks, the result also has the YAML of the metric views.

    Args:
        store: Tables of the platform.
        serving: Schema of the views.
        currency: ISO 4217 code of the reporting currency.
    """
    queries = {
        name: _TABLE_REFERENCE.sub(lambda match: f"{match[1]} {_full_name(store, match[2])}", query)
        for name, query in serving_views().items()
    }
    return queries | (metric_views(serving.name_of("kpis"), currency) if serving.is_databricks else {})


def publish_views(store: DeltaStore, serving: DeltaStore, currency: str) -> list[str]:
    """Write the views whose definition has changed, and the views that are missing.

    A serving view is written only if all its tables exist. A metric view is written only if the serving view `kpis`
    exists. States are written after the views. If a run is killed before it writes the states, the next run writes the
    same views again.

    Args:
        store: Tables of the platform.
        serving: Schema of the views.
        currency: ISO 4217 code of the reporting currency.

    Returns:
        Names of the views that were written.
    """
    states, queries = read_states(store), serving_views()
    written = {}
    for name, definition in definitions(store, serving, currency).items():
        if not _has_changed(states, name, definition) and serving.has_view(name):
            continue
        if name not in queries and serving.has_view("kpis"):
            serving.create_metric_view(name, definition)
        elif name in queries and all(store.exists(TABLES[table]) for table in _tables_of(queries[name])):
            serving.create_view(name, definition)
        else:
            continue
        written[_state_name(name)] = TableState(fingerprint=_hash(definition))
    if written:
        write_states(store, states | written)
    return [name.removeprefix(_STATE_PREFIX) for name in written]


def _has_changed(states: Mapping[str, TableState], name: str, definition: str) -> bool:
    return states.get(_state_name(name), TableState()).fingerprint != _hash(definition)


def _tables_of(query: str) -> set[str]:
    return {name for _, name in _TABLE_REFERENCE.findall(query)} & {*TABLES}


def _full_name(store: DeltaStore, name: str) -> str:
    return store.name_of(name) if name in TABLES else name


def _state_name(view: str) -> str:
    return f"{_STATE_PREFIX}{view}"


def _hash(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:16]
