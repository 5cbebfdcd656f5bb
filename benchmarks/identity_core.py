"""Measure identity resolution without an engine: clusters, numbers of persons, links and history.

    .venv/bin/python benchmarks/identity_core.py                     # 1 million records, 700,000 edges
    .venv/bin/python benchmarks/identity_core.py --records 100000

The records are customers, contacts and identities in events. Most edges join two to four records of a person. Some
records share a phone number of many, and some pairs contradict each other. The first resolution has no earlier persons,
and the second one finds the persons of the first. Each runs in a process of its own. The memory is the peak memory of
the process, including the input.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cdp_lib.identity.resolution import resolve
from cdp_lib.identity.rules import IdentifierKind, IdentityRules

RULES = IdentityRules(
    kinds=(
        IdentifierKind("customer_id", 40),
        IdentifierKind("email", 16, values_per_person=4, persons_per_value=1),
        IdentifierKind("phone", 12, persons_per_value=3),
        IdentifierKind("device", 8, joins="anonymous", persons_per_value=1),
    )
)
OVERRIDES = pa.schema({"record_a": pa.string(), "record_b": pa.string(), "decision": pa.string()})
LINKS = pa.schema({"record_key": pa.string(), "person_id": pa.int64(), "linked_at": pa.timestamp("us", tz="UTC")})


def _texts(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(prefix), pa.array(numbers).cast(pa.string()), "")


def records_and_edges(count: int, seed: int = 1) -> tuple[pa.Table, pa.Table]:
    """Return records, and edges between records of the same person or with the same value.

    Args:
        count: Number of records. The number of edges is about 0.7 times as large.
        seed: Seed of the random numbers.
    """
    random = np.random.default_rng(seed)
    source = random.choice(3, count, p=[0.5, 0.3, 0.2])
    # The number of addresses is 0.85 times the number of records, a phone number for every second record.
    email = random.integers(0, int(count * 0.85), count)
    phone = np.where(random.random(count) < 0.5, random.integers(0, int(count / 0.5), count), -1)
    busy = random.random(count) < 0.002
    phone[busy] = random.integers(0, max(count // 5000, 1), busy.sum())
    number = pa.array(np.arange(count))
    keys = pc.if_else(
        pa.array(source == 0),
        pc.binary_join_element_wise("customer:", number.cast(pa.string()), ""),
        pc.if_else(
            pa.array(source == 1),
            pc.binary_join_element_wise("contact:", number.cast(pa.string()), ""),
            pc.binary_join_element_wise("device:", number.cast(pa.string()), ""),
        ),
    )
    has_phone = phone >= 0
    offsets = np.append(0, np.cumsum(1 + has_phone))
    values = np.empty(offsets[-1], object)
    values[offsets[:-1]] = _texts("email:", email).to_numpy(zero_copy_only=False)
    values[offsets[1:][has_phone] - 1] = _texts("phone:", phone[has_phone]).to_numpy(zero_copy_only=False)
    records = pa.table(
        {
            "record_key": keys,
            "source": pa.array(["customers", "crm_contacts", "events"]).take(pa.array(source)),
            "customer_id": pa.array(np.arange(count), mask=source != 0),
            "identifiers": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.string())),
        }
    )
    pairs = [(*_pairs_of(email), "email:", 16.0), (*_pairs_of(phone), "phone:", 12.0)]
    a, b, value = (np.concatenate([pair[position] for pair in pairs]) for position in range(3))
    text = pa.concat_arrays([_texts(prefix, values) for _, _, values, prefix, _ in pairs])
    edges = pa.table(
        {
            "record_a": keys.take(pa.array(a)),
            "record_b": keys.take(pa.array(b)),
            "identifiers": pa.ListArray.from_arrays(pa.array(np.arange(len(value) + 1), pa.int32()), text),
            "weight": np.concatenate([np.full(len(values), weight) for _, _, values, _, weight in pairs]),
            "is_contradiction": random.random(len(value)) < 0.05,
        }
    )
    return records, edges


def _pairs_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of records with the same value, of at most 20 records. -1 is no value."""
    order = np.argsort(values, kind="stable")
    order = order[values[order] >= 0]
    found: list[np.ndarray] = []
    _, group, counts = np.unique(values[order], return_inverse=True, return_counts=True)
    for distance in range(1, 20):
        same = (group[distance:] == group[:-distance]) & (counts[group[distance:]] <= 20)
        found.append(np.stack([order[:-distance][same], order[distance:][same]]))
    a, b = np.concatenate(found, axis=1)
    return a, b, values[a]


def measure(folder: Path, has_persons: bool) -> None:
    """Resolve the stored records, print seconds and peak memory, and store the links."""
    records, edges = (pq.read_table(folder / f"{name}.parquet") for name in ("records", "edges"))
    previous = pq.read_table(folder / "links.parquet") if has_persons else LINKS.empty_table()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    next_person_id = (pc.max(previous["person_id"]).as_py() or 0) + 1
    start, cpu_start = time.perf_counter(), time.process_time()
    result = resolve(
        records, edges, OVERRIDES.empty_table(), previous, RULES, next_person_id, datetime(2026, 1, 1, tzinfo=UTC)
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pq.write_table(result.links, folder / "links.parquet")
    print(
        f"{'with' if has_persons else 'without'} earlier persons: {len(records):,} records, {len(edges):,} edges, "
        f"{pc.count_distinct(result.links['person_id']).as_py():,} persons, {len(result.cuts):,} cuts, "
        f"{len(result.history):,} changes: "
        f"{seconds:.1f} s ({cpu:.1f} s of CPU), peak {peak / 1024:,.0f} MB (input {before / 1024:,.0f} MB)"
    )


def main() -> None:
    """Measure a resolution without earlier persons and one with earlier persons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as name:
        for table, columns in zip(("records", "edges"), records_and_edges(arguments.records), strict=True):
            pq.write_table(columns, Path(name) / f"{table}.parquet")
        for has_persons in (False, True):
            process = context.Process(target=measure, args=(Path(name), has_persons))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
