"""History of persons: which persons a change created, merged, split and ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import repeat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdp_lib.identity.graph import Ints
from cdp_lib.identity.persons import NOBODY

HISTORY_SCHEMA = pa.schema(
    {
        "person_id": pa.int64(),
        "event": pa.string(),
        "other_person_id": pa.int64(),
        "record_count": pa.int64(),
        "happened_at": pa.timestamp("us", tz="UTC"),
    }
)
"""Columns of `person_history_silver`, without the version of the links."""


def person_history(before: pa.Table, after: pa.Table, now: datetime) -> pa.Table:
    """One row per change of a person, in the order of persons, events and other persons.

    - created: all records of a new person, and the person that most of them came from
    - merged: records that an earlier person received from another person
    - split: records that went to another person
    - absorbed: records of a person that ended, which went to the other person that received the most of them
    - retired: earlier records of a person whose last record was deleted

    New records of an earlier person and deleted records of a person that goes on are no change of the person. So the
    records of a person are: created + merged - split - absorbed + new records - deleted records.

    Args:
        before: One row per record of the changed persons before the change: record_key, person_id.
        after: One row per record of the changed persons after the change: record_key, person_id.
        now: Start of the run, UTC.
    """
    place = pc.index_in(after["record_key"], value_set=before["record_key"].combine_chunks())
    old = np.asarray(pc.fill_null(before["person_id"].combine_chunks().take(place.combine_chunks()), NOBODY))
    new = after["person_id"].to_numpy()
    known, counts_before = np.unique(before["person_id"].to_numpy(), return_counts=True)
    persons, counts = np.unique(new, return_counts=True)
    is_new = ~np.isin(persons, known)
    flows = _flows(old, new)
    origin = {to: origin for origin, to, _ in reversed(flows)}
    ended = ~np.isin(known, old)
    rows = [
        *_moves(flows, goes_on={*persons.tolist()} if flows else set(), created={*persons[is_new].tolist()}),
        *zip(known[ended].tolist(), repeat("retired"), repeat(0), counts_before[ended].tolist(), strict=False),
    ]
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    schema = pa.schema(list(HISTORY_SCHEMA)[:4])
    created = [persons[is_new], ["created"] * is_new.sum(), [origin.get(each, 0) for each in persons[is_new].tolist()]]
    history = pa.concat_tables([pa.table([*created, counts[is_new]], schema=schema), pa.table(columns, schema=schema)])
    history = history.sort_by([(name, "ascending") for name in ("person_id", "event", "other_person_id")])
    return history.append_column(
        HISTORY_SCHEMA.field(4), pa.repeat(pa.scalar(now, HISTORY_SCHEMA.field(4).type), len(history))
    )


Row = tuple[int, str, int, int]
"""person_id, event, other_person_id, record_count."""

Flow = tuple[int, int, int]
"""Number of records that went from one person to another: from, to, records."""


def _flows(old: Ints, new: Ints) -> list[Flow]:
    """Return the flows of records between persons, the most records first."""
    moved = (old != NOBODY) & (old != new)
    pairs, counts = np.unique(np.stack([old[moved], new[moved]]), axis=1, return_counts=True)
    flows = zip(*pairs.tolist(), counts.tolist(), strict=True)
    return sorted(flows, key=lambda flow: (-flow[2], flow[1], flow[0]))


def _moves(flows: list[Flow], goes_on: set[int], created: set[int]) -> Iterator[Row]:
    """Yield the events of persons that exchanged records.

    Args:
        flows: Flows of records between persons.
        goes_on: Persons that have records after the change. A person is added once its end is told.
        created: Persons that are new.
    """
    for old, new, count in flows:
        event = "split"
        if old not in goes_on:
            event = "absorbed"
            goes_on.add(old)
        yield old, event, new, count
        if new not in created:
            yield new, "merged", old, count
