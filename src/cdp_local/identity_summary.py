"""Figures of identity resolution for the report. They contain no personal data: kinds of identifiers, never values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.frames import frame_from_arrow
from cdp_lib.identity.explain import IdentityTables
from cdp_lib.identity.resolution import resolve
from cdp_lib.identity.rules import SOURCES, IdentityRules
from cdp_lib.silver.person_links import latest_decisions

_LARGEST = 10
"""Number of persons with the most records that are shown."""

_PATTERNS = 6
"""Number of kinds of evidence that are shown as waterfalls."""

_SIZES = ((1, "1"), (2, "2"), (3, "3"), (5, "4–5"), (10, "6–10"), (20, "11–20"))
"""Classes of records per person, each with its last number. The last class has no end."""


@dataclass(frozen=True)
class LargePerson:
    """Person with many records.

    Attributes:
        person_id: Number of the person.
        records: Number of records.
        reasons: Number of records by the evidence that ties them to the person.
    """

    person_id: int
    records: int
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class Pattern:
    """Kind of evidence that many pairs have.

    Attributes:
        bits: Bits of a typical pair, by kind of identifier or compared attribute, the strongest first.
        pairs: Number of pairs with evidence of exactly these kinds.
        joined: Number of these pairs whose records belong to one person.
    """

    bits: Mapping[str, float]
    pairs: int
    joined: int


@dataclass(frozen=True)
class IdentitySummary:
    """Figures of identity resolution.

    Attributes:
        records: Number of records by source.
        persons: Number of persons.
        sizes: Number of persons by class of records per person.
        largest: Persons with the most records.
        cuts: Number of edges that join nothing, by reason.
        patterns: Most frequent kinds of evidence.
        link_weight: Least evidence that joins two records, in bits.
    """

    records: Mapping[str, int]
    persons: int
    sizes: Mapping[str, int]
    largest: Sequence[LargePerson]
    cuts: Mapping[str, int]
    patterns: Sequence[Pattern]
    link_weight: float


def summarize(tables: IdentityTables, rules: IdentityRules) -> IdentitySummary:
    """Return the figures of identity resolution.

    Args:
        tables: Tables of identity resolution.
        rules: Rules of identity resolution.
    """
    # Sail can't group by a count if the table has one row: it takes the count of one row for nullable.
    number = sf.sum(sf.lit(1)).alias("records")
    of_source = [sf.count(sf.when(sf.col("source") == source, 1)).alias(source) for source in SOURCES]
    sizes = tables.links.groupBy("person_id").agg(number, *of_source)
    by_size = sizes.groupBy("records").agg(
        sf.count("*").alias("persons"), *(sf.sum(each).alias(each) for each in SOURCES)
    )
    rows = by_size.collect()
    counts = {row["records"]: row["persons"] for row in rows}
    records = {source: sum(row[source] for row in rows) for source in sorted(SOURCES)}
    return IdentitySummary(
        records={source: count for source, count in records.items() if count},
        persons=sum(counts.values()),
        sizes=_by_class(counts),
        largest=_largest(tables.links, sizes),
        cuts=_cuts(tables, rules),
        patterns=_patterns(tables),
        link_weight=rules.link_weight,
    )


def _by_class(counts: Mapping[int, int]) -> dict[str, int]:
    """Return numbers of persons by class of records per person, without empty classes at the end."""
    found: Counter[str] = Counter()
    for records, persons in counts.items():
        found[next((name for last, name in _SIZES if records <= last), f"over {_SIZES[-1][0]}")] += persons
    names = [*(name for _, name in _SIZES), f"over {_SIZES[-1][0]}"]
    while names and not found[names[-1]]:
        names.pop()
    return {name: found[name] for name in names}


def _largest(links: DataFrame, sizes: DataFrame) -> list[LargePerson]:
    """Return the persons with the most records, and the evidence that ties their records."""
    top = sizes.orderBy(sf.desc("records"), "person_id").select("person_id", "records").limit(_LARGEST)
    reasons = links.join(top, "person_id").groupBy("person_id", "records", "reason").agg(sf.count("*").alias("number"))
    by_person: dict[tuple[int, int], dict[str, int]] = {}
    for row in sorted(
        reasons.collect(), key=lambda row: (-row["records"], row["person_id"], -row["number"], row["reason"])
    ):
        by_person.setdefault((row["person_id"], row["records"]), {})[row["reason"]] = row["number"]
    return [LargePerson(person, records, of_person) for (person, records), of_person in by_person.items()]


def _with_persons(edges: DataFrame, links: DataFrame) -> DataFrame:
    """Return edges with the persons and the component of their two records."""
    for side in ("a", "b"):
        edges = edges.join(
            links.select(
                sf.col("record_key").alias(f"record_{side}"),
                sf.col("person_id").alias(f"person_{side}"),
                sf.col("component").alias(f"component_{side}"),
            ),
            f"record_{side}",
            how="inner",
        )
    return edges


def _cuts(tables: IdentityTables, rules: IdentityRules) -> dict[str, int]:
    """Return the number of edges that join nothing, by reason. Only components with such an edge are resolved again."""
    apart = _with_persons(tables.edges, tables.links).where("person_a <> person_b")
    component = sf.when(sf.col("component_a") == sf.col("component_b"), sf.col("component_a")).alias("component")
    by_component = apart.groupBy(component).agg(
        sf.sum(sf.col("is_contradiction").cast("bigint")).alias("contradictions")
    )
    # Other edges between components are newer than the links: the next refresh resolves them.
    rows = by_component.toArrow()
    between = pc.is_null(rows["component"])
    found = Counter(contradiction=pc.sum(rows["contradictions"].filter(between)).as_py() or 0)
    found += _cuts_inside(tables, rules, rows.filter(pc.invert(between)).select(["component"]))
    return dict(found.most_common())


def _cuts_inside(tables: IdentityTables, rules: IdentityRules, components: pa.Table) -> Counter[str]:
    """Resolve components again, and return the number of edges that join nothing, by reason."""
    if not components.num_rows:
        return Counter()
    links = tables.links.join(frame_from_arrow(components, tables.links), "component", how="left_semi")
    keys = links.select("record_key")
    records = tables.records.join(keys, "record_key", how="left_semi").toArrow()
    inside = tables.edges.join(keys.select(sf.col("record_key").alias("record_a")), "record_a", how="left_semi")
    decided = latest_decisions(tables.decisions.toArrow())
    previous = links.toArrow()
    next_id = max(previous["person_id"].to_pylist(), default=0) + 1
    cuts = resolve(records, inside.toArrow(), decided, previous, rules, next_id, datetime.now(UTC)).cuts
    return Counter(_kind_of_cut(reason) for reason in cuts["reason"].to_pylist())


def _kind_of_cut(reason: str) -> str:
    """Return the reason of a cut without the shared value, which is personal data.

    >>> _kind_of_cut("shared_value:email:nour@example.com"), _kind_of_cut("limit values_per_person:email")
    ('shared_value of email', 'limit values_per_person:email')
    """
    kind, _, value = reason.partition(":")
    return f"shared_value of {value.partition(':')[0]}" if kind == "shared_value" else reason


def _patterns(tables: IdentityTables) -> list[Pattern]:
    """Return the most frequent kinds of evidence, with the mean bits of their pairs."""
    edges = _with_persons(tables.edges, tables.links)
    kinds = sf.array_sort(sf.map_keys("evidence"))
    is_joined = (sf.col("person_a") == sf.col("person_b")).cast("int").alias("is_joined")
    named = edges.select(sf.array_join(kinds, "+").alias("kinds"), is_joined, sf.explode("evidence"))
    figures = (sf.count("*").alias("pairs"), sf.sum("is_joined").alias("joined"), sf.avg("value").alias("bits"))
    # Each pair has an entry of each of its kinds, so the number of pairs is that of any entry.
    patterns: dict[tuple[str, int, int], dict[str, float]] = {}
    for row in named.groupBy("kinds", "key").agg(*figures).collect():
        patterns.setdefault((row["kinds"], row["pairs"], row["joined"]), {})[row["key"]] = row["bits"]
    top = sorted(patterns.items(), key=lambda item: (-item[0][1], item[0][0]))[:_PATTERNS]
    return [Pattern(_strongest_first(bits), pairs, joined) for (_, pairs, joined), bits in top]


def _strongest_first(bits: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(((name, value) for name, value in bits.items() if value), key=lambda each: (-each[1], each[0])))
