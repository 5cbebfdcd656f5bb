"""Figures of identity resolution for the report. They contain no personal data: kinds of identifiers, never values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.identity.explain import IdentityTables
from cdp_lib.identity.resolution import resolve
from cdp_lib.identity.rules import IdentityRules
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
    links = tables.links
    # Sail can't group by a count if the table has one row: it takes the count of one row for nullable.
    sizes = links.groupBy("person_id").agg(sf.sum(sf.lit(1)).alias("records"))
    counts = {
        row["records"]: row["persons"] for row in sizes.groupBy("records").agg(sf.count("*").alias("persons")).collect()
    }
    sources = links.groupBy("source").agg(sf.count("*").alias("records")).orderBy("source").collect()
    return IdentitySummary(
        records={row["source"]: row["records"] for row in sources},
        persons=sum(counts.values()),
        sizes=_by_class(counts),
        largest=_largest(links, sizes),
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
    top = sizes.orderBy(sf.desc("records"), "person_id").limit(_LARGEST).collect()
    numbers = [row["person_id"] for row in top]
    reasons = (
        links.where(sf.col("person_id").isin(numbers)).groupBy("person_id", "reason").agg(sf.count("*").alias("n"))
    )
    by_person: dict[int, dict[str, int]] = {number: {} for number in numbers}
    for row in reasons.orderBy(sf.desc("n"), "reason").collect():
        by_person[row["person_id"]][row["reason"]] = row["n"]
    return [LargePerson(row["person_id"], row["records"], by_person[row["person_id"]]) for row in top]


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
    edges = _with_persons(tables.edges, tables.links)
    apart = edges.where("person_a <> person_b")
    simple = apart.where("component_a <> component_b AND is_contradiction").count()
    components = apart.where("component_a = component_b").select(sf.col("component_a").alias("component")).distinct()
    links = tables.links.join(components, "component", how="left_semi")
    keys = links.select("record_key")
    records = tables.records.join(keys, "record_key", how="left_semi").toArrow()
    inside = tables.edges.join(keys.select(sf.col("record_key").alias("record_a")), "record_a", how="left_semi")
    decided = latest_decisions(tables.decisions.toArrow())
    previous = links.toArrow()
    next_id = max(previous["person_id"].to_pylist(), default=0) + 1
    cuts = resolve(records, inside.toArrow(), decided, previous, rules, next_id, datetime.now(UTC)).cuts
    found = Counter(_kind_of_cut(reason) for reason in cuts["reason"].to_pylist())
    if simple:
        found["contradiction"] += simple
    return dict(found.most_common())


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
    named = edges.select(
        sf.array_join(kinds, "+").alias("kinds"),
        "record_a",
        "record_b",
        "evidence",
        (sf.col("person_a") == sf.col("person_b")).cast("int").alias("is_joined"),
    )
    counts = named.groupBy("kinds").agg(sf.count("*").alias("pairs"), sf.sum("is_joined").alias("joined"))
    top = counts.orderBy(sf.desc("pairs"), "kinds").limit(_PATTERNS).collect()
    chosen = named.where(sf.col("kinds").isin([row["kinds"] for row in top])).select("kinds", sf.explode("evidence"))
    means: dict[str, dict[str, float]] = {}
    for row in chosen.groupBy("kinds", "key").agg(sf.avg("value").alias("bits")).collect():
        means.setdefault(row["kinds"], {})[row["key"]] = row["bits"]
    return [Pattern(_strongest_first(means.get(row["kinds"], {})), row["pairs"], row["joined"]) for row in top]


def _strongest_first(bits: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(((name, value) for name, value in bits.items() if value), key=lambda each: (-each[1], each[0])))
