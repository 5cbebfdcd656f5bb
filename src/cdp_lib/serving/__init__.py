"""Views for people and BI tools outside the team: written where their definition has changed.

The queries stand in the SQL files of this package, over tables by their names. A view computes nothing, so a change of
the rows that it reads makes nothing due.
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
_TABLE = re.compile(r"\b(FROM|JOIN) (\w+)\b")


def serving_views() -> dict[str, str]:
    """Return the query of each view, over tables by their names."""
    texts = [each.read_text(encoding="utf-8") for each in files(__name__).iterdir() if each.name.endswith(".sql")]
    return {name: query for text in sorted(texts) for name, query in _VIEW.findall(text)}


def due_views(states: Mapping[str, TableState], definitions: Mapping[str, str]) -> list[str]:
    """Return the views whose definition is not the one that was written last.

    Args:
        states: States of the tables and views.
        definitions: As `definitions` gives them.
    """
    return [
        name
        for name, definition in definitions.items()
        if states.get(_state_name(name), TableState()).fingerprint != _hash(definition)
    ]


def definitions(store: DeltaStore, serving: DeltaStore, currency: str) -> dict[str, str]:
    """Return the definition of each view, with full names of tables: SQL, and YAML of the metric views of Databricks.

    Args:
        store: Tables of the platform.
        serving: Schema of the views.
        currency: ISO 4217 code of the reporting currency.
    """
    queries = {
        name: _TABLE.sub(lambda found: f"{found[1]} {_full_name(store, found[2])}", query)
        for name, query in serving_views().items()
    }
    return queries | (metric_views(serving.name_of("kpis"), currency) if serving.is_databricks else {})


def publish_views(store: DeltaStore, serving: DeltaStore, currency: str) -> list[str]:
    """Write the views whose definition has changed, and those that are missing.

    A view is written in one statement, and its state afterwards: a run that is killed in between writes it again.

    Args:
        store: Tables of the platform.
        serving: Schema of the views.
        currency: ISO 4217 code of the reporting currency.

    Returns:
        Names of the views that were written.
    """
    states, views = read_states(store), definitions(store, serving, currency)
    changed = set(due_views(states, views))
    due = [name for name in views if name in changed or not serving.has_view(name)]
    queries = serving_views()
    for name in due:
        if name in queries:
            serving.create_view(name, views[name])
        else:
            serving.create_metric_view(name, views[name])
    if due:
        written = {_state_name(name): TableState(fingerprint=_hash(views[name])) for name in due}
        write_states(store, states | written)
    return due


def _full_name(store: DeltaStore, name: str) -> str:
    return store.name_of(name) if name in TABLES else name


def _state_name(view: str) -> str:
    return f"view {view}"


def _hash(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:16]
