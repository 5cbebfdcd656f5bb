"""Tests of waiting for batches to land."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import EVENTS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import Landing
from cdp_local.watch import landed_batches


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "landing"))


def land(landing: Landing, contract: BronzeContract, minute: int) -> None:
    """Land a batch of one record."""
    at = datetime(2026, 6, 30, 12, minute, tzinfo=UTC)
    extraction = landing.extraction(contract.source, f"{at:%Y%m%dT%H%M%SZ}-1", at)
    with extraction.new_batch(contract.entity, "increment") as batch, batch.open_data("part.jsonl", "jsonl") as data:
        data.write(b'{"a": 1}\n')
        batch.add(1, ["a"])


def test_existing_batches_are_the_first_set(landing: Landing) -> None:
    land(landing, EVENTS_BRONZE, 1)
    land(landing, TRANSACTIONS_BRONZE, 1)
    assert next(landed_batches(landing)) == {
        (EVENTS_BRONZE.name, "20260630T120100Z-1"),
        (TRANSACTIONS_BRONZE.name, "20260630T120100Z-1"),
    }


def test_missing_landing_has_no_batches(landing: Landing) -> None:
    assert next(landed_batches(landing)) == set()


def test_batches_landed_between_two_polls_are_found(landing: Landing) -> None:
    batches = landed_batches(landing)
    assert next(batches) == set()
    land(landing, EVENTS_BRONZE, 1)
    land(landing, TRANSACTIONS_BRONZE, 1)
    assert {table for table, _ in next(batches)} == {EVENTS_BRONZE.name, TRANSACTIONS_BRONZE.name}


def test_batch_counts_as_landed_once_its_manifest_exists(landing: Landing) -> None:
    land(landing, EVENTS_BRONZE, 1)
    [manifest] = Path(landing.root).rglob("manifest.json")
    text = manifest.read_text(encoding="utf-8")
    manifest.unlink()
    batches = landed_batches(landing)
    assert next(batches) == set()
    timer = threading.Timer(0.5, lambda: manifest.write_text(text, encoding="utf-8"))
    timer.start()
    assert {table for table, _ in next(batches)} == {EVENTS_BRONZE.name}
    timer.join()


def test_ctrl_c_during_a_wait_ends_the_iteration_and_restores_the_handler(landing: Landing) -> None:
    before = signal.getsignal(signal.SIGINT)
    batches = landed_batches(landing)
    next(batches)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    assert list(batches) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_during_a_poll_ends_the_iteration(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = landed_batches(landing)
    next(batches)
    batch_ids = Landing.batch_ids

    def interrupted(*arguments: Any) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        return batch_ids(*arguments)

    monkeypatch.setattr(Landing, "batch_ids", interrupted)
    assert list(batches) == []
