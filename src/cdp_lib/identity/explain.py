"""Why two records belong to one person, or why they do not: the evidence, the way between them, and the decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.identity import (
    IDENTITY_EDGES_SILVER,
    IDENTITY_OVERRIDES_SILVER,
    IDENTITY_RECORDS_SILVER,
    PERSON_LINKS_SILVER,
)
from cdp_lib.errors import CdpError
from cdp_lib.identity.model import Model
from cdp_lib.identity.pairs import find_pairs, with_evidence
from cdp_lib.identity.resolution import resolve
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.identity.way import Step, cut_in_words, steps_of, strongest_way
from cdp_lib.silver.person_links import latest_decisions
from cdp_lib.storage import DeltaStore

_NO_TIME = datetime.min.replace(tzinfo=UTC)
"""Time of links that are not stored."""

COMPARED = (
    *("first_name", "last_name", "birth_date", "gender", "street", "city", "postal_code", "country_code"),
    *("email", "phone", "household_id", "identifiers"),
)
"""Values of both records that an explanation shows."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class IdentityTables:
    """Tables of identity resolution.

    Attributes:
        records: Rows of `identity_records_silver`.
        edges: Rows of `identity_edges_silver`.
        decisions: Rows of `identity_overrides_silver`.
        links: Rows of `person_links_silver`.
    """

    records: DataFrame
    edges: DataFrame
    decisions: DataFrame
    links: DataFrame

    @classmethod
    def read(cls, store: DeltaStore) -> IdentityTables:
        """Return the tables of a store.

        Raises:
            CdpError: A table does not exist yet.
        """
        contracts = (IDENTITY_RECORDS_SILVER, IDENTITY_EDGES_SILVER, IDENTITY_OVERRIDES_SILVER, PERSON_LINKS_SILVER)
        if missing := [contract.name for contract in contracts if not store.exists(contract)]:
            raise CdpError(f"{missing[0]} does not exist yet: a refresh creates it.")
        return cls(*(store.read(contract) for contract in contracts))


@dataclass(frozen=True)
class Explanation:
    """Why two records belong to one person, or why they do not.

    Attributes:
        record_a: First record.
        record_b: Second record.
        person_a: Person of the first record.
        person_b: Person of the second record.
        values: Values of both records, by attribute.
        bits: Evidence of the pair in bits, by kind of identifier or compared attribute.
        weight: Sum of the evidence.
        link_weight: Least evidence that joins two records.
        identifiers: Identifiers that both records have and that may join them.
        is_contradiction: Whether names or birth dates of the two records clearly differ.
        decision: `joined_directly`, `joined_through` other records, `cut`, or `no_evidence`.
        why: Reason in words.
        steps: Edges of the strongest way between the two records, cut edges included. Empty if there is no way.
        overrides: Decisions of people about the pair, the latest decision last.
    """

    record_a: str
    record_b: str
    person_a: int
    person_b: int
    values: Mapping[str, tuple[Any, Any]]
    bits: Mapping[str, float]
    weight: float
    link_weight: float
    identifiers: Sequence[str]
    is_contradiction: bool
    decision: str
    why: str
    steps: tuple[Step, ...]
    overrides: Sequence[Row]


def explain(tables: IdentityTables, a: str, b: str, rules: IdentityRules, model: Model | None) -> Explanation:
    """Explain why two records belong to one person, or why they do not.

    The pair is scored again, so that evidence below the limit is shown too. The component of the two records is
    resolved again, to find the edges that were cut. Nothing is written.

    Args:
        tables: Tables of identity resolution.
        a: Key of a record, such as `customer:101`, or the number of a person. A person stands for the record with the
            strongest edge to the other side.
        b: Key of another record, or the number of another person.
        rules: Rules of identity resolution.
        model: Model of the rules; None for none.

    Raises:
        CdpError: Identity resolution is off, a record or person does not exist, or `a` and `b` are the same record.
    """
    if not rules.is_on:
        raise CdpError("Identity resolution is off: each customer is a person, and nothing else joins records.")
    a, b = choose_records(tables, a, b)
    links = _component(tables.links, [a, b])
    person = dict(zip(links["record_key"].to_pylist(), links["person_id"].to_pylist(), strict=True))
    keys = sorted(person)
    records = tables.records.where(sf.col("record_key").isin(keys)).toArrow()
    edges = tables.edges.where(sf.col("record_a").isin(keys)).toArrow()
    decided = tables.decisions.where(sf.col("record_a").isin(keys) | sf.col("record_b").isin(keys)).toArrow()
    pair = _scored(tables.records, a, b, rules, model)
    latest = latest_decisions(decided)
    resolution = resolve(records, edges, latest, links, rules, max(person.values(), default=0) + 1, _NO_TIME)
    steps = strongest_way(steps_of(edges, latest, resolution.cuts), a, b)
    rows = {row["record_key"]: row for row in records.to_pylist()}
    overrides = [
        row for row in decided.sort_by("decided_at").to_pylist() if {row["record_a"], row["record_b"]} == {a, b}
    ]
    decision, why = _decision(person[a] == person[b], pair, steps, rules)
    return Explanation(
        *(a, b, person[a], person[b]),
        {name: (rows[a].get(name), rows[b].get(name)) for name in COMPARED} if {a, b} <= rows.keys() else {},
        dict(pair["evidence"] or {}),
        pair["weight"],
        rules.link_weight,
        pair["identifiers"],
        pair["is_contradiction"],
        decision,
        why,
        steps,
        overrides,
    )


def choose_records(tables: IdentityTables, a: str, b: str) -> tuple[str, str]:
    """Return the keys of the two records that record keys or numbers of persons stand for, in order.

    Raises:
        CdpError: A record or person does not exist, or both are the same record.
    """
    sides = [records_of(tables.links, each) for each in (a, b)]
    if all(len(side) == 1 for side in sides):
        found = (sides[0][0], sides[1][0])
    else:
        first, second = (sf.col(name).isin(sides[0]) for name in ("record_a", "record_b"))
        third, fourth = (sf.col(name).isin(sides[1]) for name in ("record_a", "record_b"))
        between = tables.edges.where((first & fourth) | (second & third)).where("record_a <> record_b")
        best = between.orderBy(sf.desc("weight"), "record_a", "record_b").limit(1).collect()
        found = (best[0]["record_a"], best[0]["record_b"]) if best else (sides[0][0], sides[1][-1])
    if found[0] == found[1]:
        raise CdpError(f"{a} and {b} are the same record: name two.")
    return min(found), max(found)


def records_of(links: DataFrame, name: str) -> list[str]:
    """Return the keys of the records that a record key or the number of a person stands for, customers first.

    Raises:
        CdpError: There is no such record or person.
    """
    condition = sf.col("person_id") == int(name) if name.isdecimal() else sf.col("record_key") == name
    rows = links.where(condition).select("record_key", "source").collect()
    if not rows:
        kind = "person" if name.isdecimal() else "record"
        raise CdpError(f"There is no {kind} {name}: `cdp profile` shows the records of a person.")
    order = {"customers": 0, "crm_contacts": 1}
    return [row["record_key"] for row in sorted(rows, key=lambda row: (order.get(row["source"], 2), row["record_key"]))]


def _component(links: DataFrame, keys: Sequence[str]) -> pa.Table:
    """Return the links of all records in the components of the given records."""
    components = links.where(sf.col("record_key").isin(list(keys))).select("component").distinct()
    return links.join(components, "component", how="left_semi").toArrow()


def _scored(records: DataFrame, a: str, b: str, rules: IdentityRules, model: Model | None) -> Row:
    """Return the evidence of a pair, also if it shares nothing."""
    two = records.where(sf.col("record_key").isin([a, b]))
    shared = [each for row in find_pairs(two, rules).collect() for each in row["identifiers"]]
    pairs = two.where(sf.col("record_key") == a).select(
        sf.lit(a).alias("record_a"),
        sf.lit(b).alias("record_b"),
        sf.array(*map(sf.lit, shared)).cast("array<string>").alias("identifiers"),
    )
    rows = with_evidence(pairs, two, rules, model).collect()
    unknown = {"evidence": {}, "weight": 0.0, "identifiers": [], "is_contradiction": False}
    return rows[0].asDict() if rows else unknown


def _decision(is_one: bool, pair: Row, steps: Sequence[Step], rules: IdentityRules) -> tuple[str, str]:
    """Return the decision about a pair, and the reason in words."""
    cut = next((step for step in steps if step.cut), None)
    if is_one and len(steps) == 1 and not cut:
        return "joined_directly", f"They are one person by their own evidence: {steps[0].evidence}."
    if is_one:
        others = ", ".join(step.record_b for step in steps[:-1])
        return "joined_through", f"They are one person through {others or 'earlier evidence'}."
    if cut:
        return "cut", f"The edge {cut.record_a} – {cut.record_b} was cut: {cut_in_words(cut.cut)}."
    return "no_evidence", _missing(pair, rules)


def _missing(pair: Row, rules: IdentityRules) -> str:
    """Return what a pair lacks that no edge connects."""
    if pair["is_contradiction"]:
        return "Nothing joins them, and their names or birth dates clearly differ."
    lacking = rules.link_weight - pair["weight"]
    if lacking <= 0:
        return (
            "Their evidence is enough, but they are not compared: more records than records_per_value share their"
            " values, or the tables are not up to date."
        )
    enough = [kind.name for kind in rules.kinds if kind.weight >= lacking and kind.joins == "all"]
    return f"{lacking:.1f} bits are missing. An equal {' or '.join(enough) or 'identifier'} would be enough."
