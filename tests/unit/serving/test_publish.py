"""Tests of when serving views are written: if a view is new, changed or dropped, and only after its tables exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cdp_lib import serving
from cdp_lib.contracts.analytics import (
    CUSTOMER_DEMOGRAPHICS_GOLD,
    CUSTOMER_SEGMENTS_GOLD,
    CUSTOMER_VALUE_GOLD,
    SEGMENT_MOVEMENTS_GOLD,
)
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.identity import PERSONS_SILVER
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.pipeline.state import TableState, read_states, write_states
from cdp_lib.serving import Serving, definitions, due_views, publish_views
from cdp_lib.storage import DeltaStore, open_store

QUERIES = {
    "runs": "SELECT run_id, state FROM pipeline_runs_ops",
    "late_runs": "SELECT r.run_id FROM pipeline_runs_ops AS r\nINNER JOIN (SELECT 1 AS n) AS one ON r.seconds > one.n",
}


def served(store: DeltaStore, minimum_cell_size: int = 5) -> Serving:
    """Return views in the schema of the tables, without views of single customers."""
    return Serving(store, store, None, "USD", minimum_cell_size)


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
    assert sorted(publish_views(served(store))) == ["late_runs", "runs"]
    assert store.session.table(store.name_of("runs")).columns == ["run_id", "state"]
    assert publish_views(served(store)) == []

    queries["runs"] = "SELECT run_id FROM pipeline_runs_ops"
    assert due_views(read_states(store), served(store)) == ["runs"]
    assert publish_views(served(store)) == ["runs"]
    assert store.session.table(store.name_of("runs")).columns == ["run_id"]


def test_dropped_view_is_written_again(store: DeltaStore, queries: dict[str, str], catalog: str, schema: str) -> None:
    publish_views(served(store))
    name = store.name_of("runs")
    store.session.sql(f"DROP VIEW {name.partition('.')[2] if 'spark' in store.engine else name}")
    assert publish_views(replace(served(store), views=open_store(store.session, catalog, schema))) == ["runs"]


def test_view_is_written_only_after_its_tables_exist(store: DeltaStore, queries: dict[str, str]) -> None:
    queries["rejected"] = "SELECT record_key FROM customers_silver_quarantine"
    assert "rejected" not in publish_views(served(store))
    store.create(CUSTOMERS_SILVER.quarantine)
    assert publish_views(served(store)) == ["rejected"]


def test_publishing_views_keeps_the_states_of_tables(store: DeltaStore, queries: dict[str, str]) -> None:
    write_states(store, {"a_silver": TableState(3, "x")})
    publish_views(served(store))
    assert read_states(store)["a_silver"] == TableState(3, "x")


def test_only_tables_get_their_full_name(store: DeltaStore, queries: dict[str, str]) -> None:
    queries["odd"] = "SELECT 'FROM pipeline_runs_ops' AS text, x.n FROM x"
    assert definitions(served(store))["odd"].endswith("x.n FROM x")
    assert store.name_of("pipeline_runs_ops") in definitions(served(store))["late_runs"]


def test_view_that_was_removed_is_dropped(
    store: DeltaStore, queries: dict[str, str], catalog: str, schema: str
) -> None:
    publish_views(served(store))
    del queries["late_runs"]
    assert due_views(read_states(store), served(store)) == ["late_runs"]
    assert publish_views(served(store)) == ["late_runs"]
    assert not open_store(store.session, catalog, schema).has_view("late_runs")
    assert publish_views(served(store)) == []


def test_view_of_customers_is_written_in_its_own_schema_only(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "serving_views", dict)
    for contract in (PERSONS_SILVER, CUSTOMER_VALUE_GOLD, CUSTOMER_DEMOGRAPHICS_GOLD, CUSTOMER_SEGMENTS_GOLD):
        store.create(contract)
    assert publish_views(served(store)) == []
    assert publish_views(replace(served(store), customers=store)) == []  # without consents, nobody is shown
    store.create(CONSENT_CURRENT_SILVER)
    assert publish_views(replace(served(store), customers=store)) == ["customers"]
    assert publish_views(replace(served(store), customers=store)) == []


def test_view_becomes_due_if_the_minimum_cell_size_changes(store: DeltaStore) -> None:
    store.create(SEGMENT_MOVEMENTS_GOLD)
    store.create(PIPELINE_RUNS_OPS)
    publish_views(served(store))
    assert "segment_movements" not in due_views(read_states(store), served(store))
    due = due_views(read_states(store), served(store, 6))
    assert "segment_movements" in due and "table_freshness" not in due
