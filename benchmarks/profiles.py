"""Measure `cdp profile` at a million persons: write the tables of invented persons, and look up some of them.

20 persons are looked up in this process, and 10 by the command, in a process each.

Run: `python benchmarks/profiles.py [--persons 1000000]`. The tables are written with deltalake, with one file per
partition. Persons have 1.3 records and 8 sales on average.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from cdp_lib.contracts.identity import PERSON_HISTORY_SILVER, PERSON_LINKS_SILVER
from cdp_lib.contracts.profile import BUCKETS, CUSTOMER_PROFILE_GOLD, PERSON_LOOKUP_GOLD
from cdp_lib.contracts.silver import EVENTS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.frames import ARROW_TYPES
from cdp_local.bundle import PROJECT, Bundle
from cdp_local.profile import Profiles

_NOW = datetime(2026, 7, 1, tzinfo=UTC)
_MONTHS = [date(2024 + month // 12, month % 12 + 1, 1) for month in range(30)]
_TYPES = ARROW_TYPES | {"ARRAY<STRING>": pa.list_(pa.string()), "BOOLEAN": pa.bool_()}
_FILES = 8
"""Files of a table without partitions."""


def main() -> None:
    """Write the tables, look persons up, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=1_000_000)
    persons = parser.parse_args().persons
    with TemporaryDirectory() as home:
        folder = Path(home, "warehouse", Bundle(PROJECT, {}).variable("schema"))
        begin = time.monotonic()
        write_tables(folder, persons)
        print(f"tables of {persons:,} persons written in {time.monotonic() - begin:.0f} s")
        chosen = np.random.default_rng(7).integers(0, persons, 20).tolist()
        seconds, cpu_seconds = [], []
        for person in chosen:
            begin, cpu_begin = time.monotonic(), time.process_time()
            profiles = Profiles(folder)
            [found] = profiles.persons_with(f"email:person{person}@example.com")
            story = profiles.story_of(found)
            seconds.append(time.monotonic() - begin)
            cpu_seconds.append(time.process_time() - cpu_begin)
            assert story and story.person_id == person and story.records and story.purchases and story.events
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"look-up and story: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s,"
            f" {statistics.median(cpu_seconds):.2f} s of CPU;"
            f" peak memory with writing {peak:,.0f} MB"
        )
        commands = [command_seconds(home, person) for person in chosen[:10]]
        print(f"command: median {statistics.median(commands):.2f} s, slowest {max(commands):.2f} s")


def command_seconds(home: str, person: int) -> float:
    """Return the duration of `cdp profile` for a person, from the start of the process to its end, in seconds."""
    code = "from cdp_local.cli import main; main()"
    command = [sys.executable, "-c", code, "profile", "--home", home, "--email", f"person{person}@example.com"]
    begin = time.monotonic()
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - begin
    assert f"Person {person}" in shown.stdout
    return seconds


def write_tables(folder: Path, persons: int) -> None:
    """Write the tables that a story is read from.

    Args:
        folder: Folder of the tables.
        persons: Number of persons.
    """
    ids = np.arange(persons)
    emails = [f"person{each}@example.com" for each in range(persons)]
    records = [f"customer:{each}" for each in range(persons)]
    contacts = [f"contact:{each:032x}" for each in range(persons // 3)]
    keys = [*(f"email:{each}" for each in emails), *records, *contacts]
    owners = np.concatenate([ids, ids, ids[: len(contacts)]])
    buckets = np.array([zlib.crc32(key.encode()) % BUCKETS for key in keys])
    _write(folder, PERSON_LOOKUP_GOLD, bucket=buckets, identifier=keys, person_id=owners)
    _write(
        folder,
        CUSTOMER_PROFILE_GOLD,
        **{name: [f"{name} {each % 5000}" for each in ids.tolist()] for name in ("full_name", "city", "name_record")},
        bucket=ids % BUCKETS,
        person_id=ids,
        email=emails,
        customer_ids=[[str(each)] for each in range(persons)],
        record_count=np.ones(persons, int),
        last_purchase_date=[_MONTHS[-1]] * persons,
        last_activity_date=[date(2026, 6, 20)] * persons,
    )
    every = [*records, *contacts]
    link = {"source": ["customers"] * len(every), "reason": ["email"] * len(every), "component": every}
    _write(
        folder, PERSON_LINKS_SILVER, record_key=every, person_id=owners[persons:], linked_at=[_NOW] * len(every), **link
    )
    _write(
        folder,
        PERSON_HISTORY_SILVER,
        links_version=np.ones(persons, int),
        person_id=ids,
        event=["created"] * persons,
        happened_at=[_NOW] * persons,
    )
    _write_sales(folder, ids)
    _write_events(folder, records)


def _write_sales(folder: Path, ids: np.ndarray) -> None:
    """Write eight sales per person: one in the last month, and the others spread over all months."""
    customers = np.concatenate([ids, np.random.default_rng(1).permutation(np.repeat(ids, 7))])
    months = [*([_MONTHS[-1]] * len(ids)), *(_MONTHS[each % len(_MONTHS)] for each in range(7 * len(ids)))]
    _write(
        folder,
        RETAILS_SILVER,
        transaction_id=np.arange(len(customers)),
        customer_id=customers,
        product_name=["Yoga Mat"] * len(customers),
        transaction_date=months,
        sale_month=months,
    )


def _write_events(folder: Path, records: list[str]) -> None:
    """Write two events per person; the files of earlier days are skipped by their times."""
    for day in (1, 19):
        at = [datetime(2026, 6 if day == 19 else 3, day, tzinfo=UTC)] * len(records)
        kinds = ["page_view"] * len(records)
        _write(folder, EVENTS_SILVER, event_id=records, event_type=kinds, occurred_at=at, identity=records)


def _write(folder: Path, contract: TableContract, **values: object) -> None:
    """Append rows to a table; columns without values are null."""
    count = len(next(iter(values.values())))  # type: ignore[arg-type]
    schema = pa.schema([(name, _TYPES.get(type_, pa.string())) for name, type_ in contract.types.items()])
    arrays = [
        pa.array(values[field.name], field.type) if field.name in values else pa.nulls(count, field.type)
        for field in schema
    ]
    rows = pa.Table.from_arrays(arrays, schema=schema)
    parts = 1 if contract.partitioned_by else _FILES
    size = -(-count // parts)
    for part in range(parts):
        write_deltalake(
            folder / contract.name,
            rows.slice(part * size, size),
            mode="append",
            partition_by=list(contract.partitioned_by) or None,
        )


if __name__ == "__main__":
    main()
