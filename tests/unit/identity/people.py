"""Records, edges and decisions for tests of identity resolution without an engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from cdp_lib.identity.history import person_history
from cdp_lib.identity.resolution import Resolution, resolve
from cdp_lib.identity.rules import IdentifierKind, IdentityRules

RECORDS = pa.schema(
    {"record_key": pa.string(), "source": pa.string(), "customer_id": pa.int64(), "identifiers": pa.list_(pa.string())}
)
EDGES = pa.schema(
    {
        "record_a": pa.string(),
        "record_b": pa.string(),
        "identifiers": pa.list_(pa.string()),
        "weight": pa.float64(),
        "is_contradiction": pa.bool_(),
    }
)
OVERRIDES = pa.schema({"record_a": pa.string(), "record_b": pa.string(), "decision": pa.string()})
LINKS = pa.schema({"record_key": pa.string(), "person_id": pa.int64(), "linked_at": pa.timestamp("us", tz="UTC")})

WEIGHTS = {"customer_id": 40.0, "card": 30.0, "email": 16.0, "phone": 12.0, "device": 8.0}
START = datetime(2026, 1, 1, tzinfo=UTC)


def rules(records_per_person: int = 100, **limits: tuple[int, int]) -> IdentityRules:
    """Return rules with limits by kind: (values_per_person, persons_per_value)."""
    kinds = (
        IdentifierKind(name, weight, values_per_person=limits.get(name, (0, 0))[0], persons_per_value=limit)
        for name, weight in WEIGHTS.items()
        for limit in [limits.get(name, (0, 0))[1]]
    )
    return IdentityRules(kinds=tuple(kinds), records_per_person=records_per_person)


def record(key: str, *identifiers: str) -> dict[str, Any]:
    """Return a record. Its source and customer's number come from its key."""
    kind, _, value = key.partition(":")
    source = {"customer": "customers", "contact": "crm_contacts"}.get(kind, "events")
    customer_id = int(value) if kind == "customer" else None
    return {"record_key": key, "source": source, "customer_id": customer_id, "identifiers": sorted(identifiers)}


def edge(a: str, b: str, *identifiers: str, bits: float = 0, contradicts: bool = False) -> dict[str, Any]:
    """Return an edge. Its weight is that of its kinds of identifiers, and `bits` of the model."""
    weight = bits + sum(WEIGHTS[kind] for kind in {each.split(":")[0] for each in identifiers})
    a, b = sorted((a, b))
    names = ("record_a", "record_b", "identifiers", "weight", "is_contradiction")
    return dict(zip(names, (a, b, sorted(identifiers), weight, contradicts), strict=True))


def edges_of(records: Iterable[dict[str, Any]], contradicting: Iterable[set[str]] = ()) -> list[dict[str, Any]]:
    """Return an edge for each pair of records that share an identifier."""
    rows = sorted(records, key=lambda row: row["record_key"])
    apart = [*contradicting]
    return [
        edge(a["record_key"], b["record_key"], *shared, contradicts={a["record_key"], b["record_key"]} in apart)
        for position, a in enumerate(rows)
        for b in rows[position + 1 :]
        if (shared := {*a["identifiers"]} & {*b["identifiers"]})
    ]


def decision(a: str, b: str, decided: str) -> dict[str, str]:
    """Return the latest decision about two records."""
    a, b = sorted((a, b))
    return {"record_a": a, "record_b": b, "decision": decided}


@dataclass
class People:
    """Persons that are resolved again and again, each time with the links of the time before."""

    rules: IdentityRules
    links: pa.Table = field(default_factory=LINKS.empty_table)
    next_person_id: int = 1
    day: int = 0
    last: Resolution | None = None
    changes: pa.Table | None = None

    def resolve(
        self,
        records: Sequence[dict[str, Any]],
        edges: Sequence[dict[str, Any]],
        *overrides: dict[str, str],
    ) -> list[set[str]]:
        """Resolve all records a day later, and return the records of each person."""
        self.day += 1
        self.last = resolve(
            pa.Table.from_pylist([*records], RECORDS),
            pa.Table.from_pylist([*edges], EDGES),
            pa.Table.from_pylist([*overrides], OVERRIDES),
            self.links,
            self.rules,
            self.next_person_id,
            START + timedelta(days=self.day),
        )
        self.changes = person_history(self.links, self.last.links, START + timedelta(days=self.day))
        self.links, self.next_person_id = self.last.links, self.last.next_person_id
        return [*self.records_of.values()]

    @property
    def person_of(self) -> dict[str, int]:
        """Person of each record."""
        return dict(zip(self.links["record_key"].to_pylist(), self.links["person_id"].to_pylist(), strict=True))

    @property
    def records_of(self) -> dict[int, set[str]]:
        """Records of each person."""
        found: dict[int, set[str]] = {}
        for key, person in self.person_of.items():
            found.setdefault(person, set()).add(key)
        return found

    def column(self, name: str) -> dict[str, Any]:
        """Return a column of the links, by record."""
        return dict(zip(self.links["record_key"].to_pylist(), self.links[name].to_pylist(), strict=True))

    @property
    def cuts(self) -> dict[tuple[str, str], str]:
        """Reason of each edge that joins nothing."""
        assert self.last is not None
        return {(row["record_a"], row["record_b"]): row["reason"] for row in self.last.cuts.to_pylist()}

    @property
    def history(self) -> list[tuple[int, str, int, int]]:
        """Changes of the last resolution: (person_id, event, other_person_id, record_count)."""
        assert self.changes is not None
        names = ("person_id", "event", "other_person_id", "record_count")
        return [tuple(row[name] for name in names) for row in self.changes.to_pylist()]  # type: ignore[misc]
