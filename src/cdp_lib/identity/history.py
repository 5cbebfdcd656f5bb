"""History of persons: which persons a change created, merged, split and ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa

from cdp_lib.identity.persons import NOBODY, Persons

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


def person_history(persons: Persons, previous: pa.Table, now: datetime) -> pa.Table:
    """One row per change of a person, in the order of persons, events and other persons.

    - created: all records of a new person, and the person that most of them came from
    - merged: records that an earlier person received from another person
    - split: records that went to another person
    - absorbed: records of a person that ended, which went to the other person that received the most of them
    - retired: earlier records of a person whose last record was deleted

    New records of an earlier person and deleted records of a person that goes on are no change of the person. So the
    records of a person are: created + merged - split - absorbed + new records - deleted records.

    Args:
        persons: Persons of the records.
        previous: One row per record that had a person: record_key, person_id.
        now: Start of the run, UTC.
    """
    rows = [*_moves(persons), *_retired(persons, previous)]
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    changes = pa.table(columns, schema=pa.schema(list(HISTORY_SCHEMA)[:4]))
    history = pa.concat_tables([_created(persons, changes.schema), changes])
    history = history.sort_by([(name, "ascending") for name in ("person_id", "event", "other_person_id")])
    return history.append_column(
        HISTORY_SCHEMA.field(4), pa.repeat(pa.scalar(now, HISTORY_SCHEMA.field(4).type), len(history))
    )


Row = tuple[int, str, int, int]
"""person_id, event, other_person_id, record_count."""


def _flows(persons: Persons) -> list[tuple[int, int, int]]:
    """Return (from, to, records) of records that went from one person to another, the most records first."""
    moved = (persons.before != NOBODY) & (persons.before != persons.person)
    pairs, counts = np.unique(np.stack([persons.before[moved], persons.person[moved]]), axis=1, return_counts=True)
    flows = zip(*pairs.tolist(), counts.tolist(), strict=True)
    return sorted(flows, key=lambda flow: (-flow[2], flow[1], flow[0]))


def _moves(persons: Persons) -> Iterator[Row]:
    """Yield the events of persons that exchanged records."""
    flows = _flows(persons)
    goes_on = set(np.unique(persons.person).tolist()) if flows else set()
    first_new = persons.next_person_id - persons.new_count
    for old, new, count in flows:
        event = "split"
        if old not in goes_on:
            event = "absorbed"
            goes_on.add(old)
        yield old, event, new, count
        if new < first_new:
            yield new, "merged", old, count


def _created(persons: Persons, schema: pa.Schema) -> pa.Table:
    """Return the events of new persons."""
    first_new = persons.next_person_id - persons.new_count
    counts = np.bincount(persons.person[persons.person >= first_new] - first_new, minlength=persons.new_count)
    origin = np.zeros(persons.new_count, np.int64)
    for old, new, _ in reversed(_flows(persons)):
        if new >= first_new:
            origin[new - first_new] = old
    created = pa.repeat(pa.scalar("created"), persons.new_count)
    numbers = np.arange(first_new, persons.next_person_id)
    return pa.table([numbers, created, origin, counts], schema=schema)


def _retired(persons: Persons, previous: pa.Table) -> Iterator[Row]:
    """Yield the persons whose records were all deleted."""
    earlier, counts = np.unique(previous["person_id"].to_numpy(), return_counts=True)
    ended = ~np.isin(earlier, persons.before)
    for person, count in zip(earlier[ended].tolist(), counts[ended].tolist(), strict=True):
        yield person, "retired", 0, count
