"""Tests of when serving views are written: if a view is new, changed or dropped, and only after its tables exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cdp_lib import serving
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.serving import definitions, due_views, publish_views
from cdp_lib.storage import DeltaStore, open_store

QUERIES = {
    "runs": "SELECT run_id, state FROM pipeline_runs_ops",
    "late_runs": "SELECT r.run_id FROM pipeline_runs_ops AS r\nINNER JOIN (SELECT 1 AS n) AS one ON r.seconds > one.n",
}


@pytest.fixture
def queries(store: DeltaStore, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Queries of two views on a table that exists."""
    queries = dict(QUERIES)
    monkeypatch.setattr(serving, "serving_views", lambda: queries)
    store.create(PIPELINE_RUNS_OPS)
    return queries


def test_view_is_written_if_it_is_new_or_its_definition_has_changed(
    store: DeltaStore, queries: dict[str, str], rows_of: Callable[..., Any]
) -> None:
    assert sorted(publish_views(store, store, "USD")) == ["late_runs", "runs"]
    assert store.session.table(store.name_of("runs")).columns == ["run_id", "state"]
    assert publish_views(store, store, "USD") == []

    queries["runs"] = "SELECT run_id FROM pipeline_runs_ops"
    assert due_views(read_states(store), store, store, "USD") == ["runs"]
    assert publish_views(store, store, "USD") == ["runs"]
    assert store.session.table(store.name_of("runs")).columns == ["run_id"]


def test_dropped_view_is_written_again(store: DeltaStore, queries: dict[str, str], catalog: str, schema: str) -> None:
    publish_views(store, store, "USD")
    name = store.name_of("runs")
    store.session.sql(f"DROP VIEW {name.partition('.')[2] if 'spark' in store.engine else name}")
    assert publish_views(store, open_store(store.session, catalog, schema), "USD") == ["runs"]


def test_view_is_written_only_after_its_tables_exist(store: DeltaStore, queries: dict[str, str]) -> None:
    queries["rejected"] = "SELECT record_key FROM customers_silver_quarantine"
    assert "rejected" not in publish_views(store, store, "USD")
    store.create(CUSTOMERS_SILVER.quarantine)
    assert publish_views(store, store, "USD") == ["rejected"]


def test_publishing_views_keeps_the_states_of_tables(store: DeltaStore, queries: dict[str, str]) -> None:
    write_states(store, {"a_silver": TableState(3, "x")})
    publish_views(store, store, "USD")
    assert read_states(store)["a_silver"] == TableState(3, "x")


def test_only_tables_get_their_full_name(store: DeltaStore, queries: dict[str, str]) -> None:
    queries["odd"] = "SELECT 'FROM pipeline_runs_ops' AS text, x.n FROM x"
    assert definitions(store, store, "USD")["odd"].endswith("x.n FROM x")
    assert store.name_of("pipeline_runs_ops") in definitions(store, store, "USD")["late_runs"]
