"""Waits for batches to land, as a file arrival trigger does in a workspace."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from threading import Event

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.landing import Landing

SECONDS_BETWEEN_LOOKS = 0.2
"""At a folder; a storage account is asked less often, as each look is a request for every entity."""

_SECONDS_BETWEEN_REQUESTS = 5.0


def landed_batches(landing: Landing) -> Iterator[int]:
    """How many batches have landed since the last time, each time that some have.

    The first number is that of all batches there are. A batch is seen when its manifest is there: the folder is looked
    at, for its own notices of new files miss those in a folder that is as new. Ctrl-C while it waits ends it; what is
    done with batches, it does not disturb.

    Args:
        landing: Where batches are landed.

    Raises:
        CdpError: The landing can't be read.
    """
    stop = Event()
    pause = _SECONDS_BETWEEN_REQUESTS if "://" in landing.root else SECONDS_BETWEEN_LOOKS
    seen = _batches(landing)
    yield len(seen)
    while not stop.is_set():
        before = signal.signal(signal.SIGINT, lambda *_: stop.set())
        try:
            stop.wait(pause)
        finally:
            signal.signal(signal.SIGINT, before)
        if not stop.is_set() and (new := (there := _batches(landing)) - seen):
            seen = there
            yield len(new)


def _batches(landing: Landing) -> set[tuple[str, str]]:
    return {
        (table.name, batch_id) for table in BRONZE_TABLES for batch_id in landing.batch_ids(table.source, table.entity)
    }
