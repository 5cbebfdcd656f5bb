"""Tests that the lease lets only one job at a time write the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cdp_lib.contracts.ops import PIPELINE_LEASE_OPS
from cdp_lib.errors import CdpError
from cdp_lib.storage import DeltaStore, release_lease, take_lease


@pytest.fixture
def shared(store: DeltaStore) -> DeltaStore:
    """Return a store whose tables several jobs write."""
    store.needs_lease = True
    return store


def test_a_run_of_another_job_is_refused_until_the_lease_is_released(
    shared: DeltaStore, rows_of: Callable[..., Any]
) -> None:
    take_lease(shared, "refresh", "1")
    with pytest.raises(CdpError, match="Run 1 of refresh is writing the tables: wait until the run has ended"):
        take_lease(shared, "stream", "2")
    release_lease(shared, "refresh", "1")
    take_lease(shared, "stream", "2")
    assert rows_of(shared.read(PIPELINE_LEASE_OPS)) == [("tables", "stream", "2")]


def test_a_run_takes_the_lease_over_from_an_earlier_run_of_its_job(shared: DeltaStore) -> None:
    take_lease(shared, "refresh", "1")
    take_lease(shared, "refresh", "1")
    take_lease(shared, "refresh", "2")
    with pytest.raises(CdpError, match="Run 2 of refresh"):
        take_lease(shared, "stream", "3")


def test_a_run_does_not_release_the_lease_of_another_run(shared: DeltaStore) -> None:
    release_lease(shared, "refresh", "1")
    take_lease(shared, "refresh", "2")
    release_lease(shared, "refresh", "1")
    release_lease(shared, "stream", "2")
    with pytest.raises(CdpError, match="Run 2 of refresh"):
        take_lease(shared, "stream", "3")


def test_a_local_home_needs_no_lease(store: DeltaStore) -> None:
    take_lease(store, "refresh", "1")
    take_lease(store, "stream", "2")
    assert not store.exists(PIPELINE_LEASE_OPS)
