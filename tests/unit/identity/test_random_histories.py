"""Random histories of records, decisions and rules, resolved in batches: only what a batch touches, and everything.

`make torture` runs 2,000 histories. Other test runs use a sample.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cdp_lib.identity.history import person_history
from cdp_lib.identity.resolution import Resolution, resolve
from cdp_lib.identity.rules import IdentityRules
from effort import IS_TORTURE

from .people import EDGES, LINKS, OVERRIDES, RECORDS, START, decision, edge, record, rules
from .reference import Reference, Row, components_of, pair_of

HISTORIES = 2_000 if IS_TORTURE else 30
STEPS = 8
RULES = (
    rules(),
    rules(email=(0, 1), phone=(0, 2), device=(0, 1)),
    rules(5, email=(2, 2), card=(1, 0), device=(0, 1)),
    rules(7, email=(3, 0), phone=(2, 1), device=(2, 2)),
)
NAMES = ("", "ana", "ben", "eva")


@dataclass
class Shop:
    """State of a random shop: its records, the names behind them, decisions and rules."""

    random: random.Random
    records: dict[str, Row] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    decisions: dict[tuple[str, str], str] = field(default_factory=dict)
    rules: IdentityRules = RULES[0]

    def change(self) -> set[str]:
        """Change something at random, and return the touched records."""
        action = self.random.choices(
            [self._add, self._edit, self._delete, self._decide, self._change_rules], [8, 4, 4, 3, 0.4]
        )[0]
        return action()

    def _identifiers(self, key: str) -> list[str]:
        kind, _, value = key.partition(":")
        if kind == "device":
            return [key]
        pick = self.random.randrange
        found = {f"email:{pick(4)}"} if pick(3) else set()
        if kind == "email":
            found = {key}
        else:
            found |= {f"phone:{pick(5)}"} if pick(2) else set()
            found |= {f"card:{pick(8)}" for _ in range(pick(3))}
        return [*found, *(f"device:{pick(5)}" for _ in range(pick(3) // 2))]

    def _add(self) -> set[str]:
        kind, count = self.random.choice([("customer", 12), ("contact", 12), ("email", 6), ("device", 5)])
        return self._write(f"{kind}:{self.random.randrange(count)}")

    def _write(self, key: str) -> set[str]:
        self.records[key] = record(key, *{*self._identifiers(key)})
        is_named = key.startswith(("customer", "contact"))
        self.names[key] = self.random.choice(NAMES) if is_named else ""
        return {key}

    def _edit(self) -> set[str]:
        return self._write(self._any()) if self.records else set()

    def _delete(self) -> set[str]:
        if not self.records:
            return set()
        key = self._any()
        del self.records[key]
        return {key}

    def _any(self) -> str:
        return self.random.choice(sorted(self.records))

    def _decide(self) -> set[str]:
        if len(self.records) < 2:
            return set()
        pair = tuple(sorted(self.random.sample(sorted(self.records), 2)))
        if self.decisions and self.random.random() < 0.5:
            pair = self.random.choice(sorted(self.decisions))
        self.decisions[pair] = self.random.choice(["always", "never", "automatic"])
        return {*pair}

    def _change_rules(self) -> set[str]:
        self.rules = self.random.choice(RULES)
        return {*self.records}

    def edges(self) -> list[Row]:
        """Return the edges of all records: shared identifiers, and the evidence of names."""
        found = []
        for a in sorted(self.records):
            for b in sorted(self.records):
                shared = {*self.records[a]["identifiers"]} & {*self.records[b]["identifiers"]}
                is_device = a.startswith("device") or b.startswith("device")
                shared -= set() if is_device else {value for value in shared if value.startswith("device")}
                one, other = self.names[a], self.names[b]
                bits = (5.0 if one == other else -6.0) if one and other else 0.0
                if a < b and (shared or bits > 0 and hash_of(a + b) % 3 == 0):
                    bits += 0 if shared else 4
                    found.append(edge(a, b, *shared, bits=bits, contradicts=bits < 0 and hash_of(b + a) % 4 > 0))
        return found


def hash_of(text: str) -> int:
    """Return a number that depends on the text alone."""
    return sum(map(ord, text))


@dataclass
class Links:
    """Links and history of all records, and the number of the next person."""

    links: pa.Table = field(default_factory=LINKS.empty_table)
    next_person_id: int = 1

    def resolve(self, shop: Shop, edges: list[Row], day: int, only: set[str] | None = None) -> Resolution:
        """Resolve all records, or only the given ones, in a random order of rows."""
        chosen = set(shop.records) if only is None else only & set(shop.records)
        previous = self.links if only is None else self._rows(only)
        decisions = [decision(*pair, decided) for pair, decided in shop.decisions.items()]
        shuffled = [shop.random.sample(rows, len(rows)) for rows in ([*shop.records.values()], edges, decisions)]
        return resolve(
            pa.Table.from_pylist([row for row in shuffled[0] if row["record_key"] in chosen], RECORDS),
            pa.Table.from_pylist([row for row in shuffled[1] if {*pair_of(row)} & chosen], EDGES),
            pa.Table.from_pylist(shuffled[2], OVERRIDES),
            previous.take(pa.array(shop.random.sample(range(len(previous)), len(previous)), pa.int64())),
            shop.rules,
            self.next_person_id,
            START + timedelta(days=day),
        )

    def _rows(self, keys: set[str], without: bool = False) -> pa.Table:
        found = pc.is_in(self.links["record_key"], value_set=pa.array(sorted(keys), pa.string()))
        return self.links.filter(pc.invert(found) if without else found)

    def after(self, result: Resolution, only: set[str]) -> pa.Table:
        """Return the links of all records after some were resolved."""
        if "component" not in self.links.column_names:
            return result.links
        return pa.concat_tables([self._rows(only, without=True), result.links]).sort_by("record_key")

    def column(self, name: str) -> dict[str, Any]:
        """Return a column, by record."""
        if name not in self.links.column_names:
            return {}
        return dict(zip(self.links["record_key"].to_pylist(), self.links[name].to_pylist(), strict=True))


def touched_records(links: Links, shop: Shop, edges: list[Row], touched: set[str]) -> set[str]:
    """Return all records that are or were in a component with a touched record."""
    before = links.column("component")
    always = [pair for pair, decided in shop.decisions.items() if decided == "always" and {*pair} <= {*shop.records}]
    positive = [
        pair_of(row) for row in edges if row["weight"] >= shop.rules.link_weight and not row["is_contradiction"]
    ]
    now = {key: min(found) for found in components_of(shop.records, [*positive, *always]) for key in found}
    while True:
        old = {before[key] for key in touched if key in before}
        new = {now[key] for key in touched if key in now}
        more = {key for key, name in before.items() if name in old} | {key for key, name in now.items() if name in new}
        if more <= touched:
            return touched
        touched = touched | more


def changed_ends(before: list[Row], after: list[Row]) -> set[str]:
    """Return the records of edges that came, went or changed."""
    one, other = ({pair_of(row): row for row in rows} for rows in (before, after))
    return {key for pair in one.keys() | other.keys() if one.get(pair) != other.get(pair) for key in pair}


def groups_of(person_of: dict[str, int]) -> dict[int, frozenset[str]]:
    """Return the records of each person."""
    found: dict[int, set[str]] = {}
    for key, person in person_of.items():
        found.setdefault(person, set()).add(key)
    return {person: frozenset(keys) for person, keys in found.items()}


def persons_of(links: pa.Table) -> set[frozenset[str]]:
    """Return the records of each person, without numbers."""
    return set(
        groups_of(dict(zip(links["record_key"].to_pylist(), links["person_id"].to_pylist(), strict=True))).values()
    )


def check_numbers(before: dict[str, int], after: dict[str, int], first_new: int) -> None:
    """No number moves to other people, and no record is renamed without need."""
    old, new = groups_of(before), groups_of(after)
    for person, keys in new.items():
        earlier = {key for key in keys if key in before}
        if person >= first_new:
            continue
        assert person in old
        remaining = {key for key in old[person] if key in after}
        strongest = min(rank_of(key) for key in remaining)
        assert {key for key in earlier & old[person] if rank_of(key) == strongest}
    for person, keys in old.items():
        remaining = {key for key in keys if key in after}
        strong = {key for key in remaining if rank_of(key) == min(map(rank_of, remaining))}
        homes = {after[key] for key in strong}
        if len(homes) == 1:
            assert person in homes or person not in new
        stays = [found for found in new.values() if {key for key in found if key in before} == remaining]
        if remaining and stays:
            assert {after[key] for key in remaining} == {person}


def rank_of(key: str) -> int:
    """Return the position of a record's source."""
    return {"customer": 0, "contact": 1}.get(key.split(":")[0], 2)


def check_history(before: dict[str, int], after: dict[str, int], history: list[Row], counts: dict[int, int]) -> None:
    """The history, new records and deleted records give the records of each person."""
    ended = {row["person_id"] for row in history if row["event"] == "retired"}
    for row in history:
        sign = {"created": 1, "merged": 1, "split": -1, "absorbed": -1, "retired": -1}[row["event"]]
        counts[row["person_id"]] = counts.get(row["person_id"], 0) + sign * row["record_count"]
    created = {row["person_id"] for row in history if row["event"] == "created"}
    for key, person in after.items():
        if key not in before and person not in created:
            counts[person] += 1
    for key, person in before.items():
        if key not in after and person not in ended:
            counts[person] -= 1
    assert {person: count for person, count in counts.items() if count} == {
        person: len(keys) for person, keys in groups_of(after).items()
    }


def check_decisions(reference: Reference, person_of: dict[str, int], cuts: list[Row]) -> None:
    """Limits and decisions hold, or the report says which one did not."""
    for keys in groups_of(person_of).values():
        assert len(keys) == 1 or reference.holds_limits(keys)
        assert not reference.breaks(keys)
    cut = {pair_of(row): row["reason"] for row in cuts if row["weight"] is None}
    for a, b in reference.always:
        assert person_of[a] == person_of[b] or cut[(a, b)].split()[0] in ("never", "limit")
    for row in reference.positive:
        is_cut = pair_of(row) in {pair_of(each) for each in cuts}
        assert is_cut or person_of[row["record_a"]] == person_of[row["record_b"]]


@pytest.mark.torture
@pytest.mark.parametrize("first", range(0, HISTORIES, 10))
def test_random_histories_are_stable_and_incremental(first: int) -> None:
    for seed in range(first, first + 10):
        run_history(seed)


def run_history(seed: int) -> None:
    """Run a history. After each step, resolving the touched components equals resolving everything."""
    shop, links = Shop(random.Random(seed)), Links()
    edges: list[Row] = []
    counts: dict[int, int] = {}
    for day in range(STEPS):
        changes = shop.random.choice([1, 1, 2, 4, 12] if day else [15])
        touched = {key for _ in range(changes) for key in shop.change()}
        earlier, edges = edges, shop.edges()
        only = touched_records(links, shop, edges, touched | changed_ends(earlier, edges))
        full = links.resolve(shop, edges, day)
        part = links.resolve(shop, edges, day, only)
        message = f"seed {seed}, day {day}"
        assert links.after(part, only).equals(full.links), message
        history = person_history(links.links, full.links, START).to_pylist()
        assert person_history(links._rows(only), part.links, START).to_pylist() == history, message
        assert part.next_person_id == full.next_person_id, message
        fresh = Links().resolve(shop, edges, day)
        reference = Reference(
            shop.records, edges, [decision(*pair, d) for pair, d in shop.decisions.items()], shop.rules
        )
        before, first_new = links.column("person_id"), links.next_person_id
        links.links, links.next_person_id = full.links, full.next_person_id
        after = links.column("person_id")
        assert set(groups_of(after).values()) == reference.clusters(), message
        assert persons_of(fresh.links) == persons_of(full.links), message
        for name in ("record_key", "reason", "linked_to", "weight", "component"):
            assert fresh.links[name].equals(full.links[name]), message
        check_numbers(before, after, first_new)
        check_history(before, after, history, counts)
        check_decisions(reference, after, full.cuts.to_pylist())
    assert persons_of(land_in_other_batches(shop)) == persons_of(links.links), f"seed {seed}"


def land_in_other_batches(shop: Shop) -> pa.Table:
    """Return the links of the shop's records if they come in three other batches."""
    links, edges = Links(), []
    waiting = shop.random.sample(sorted(shop.records), len(shop.records))
    part = Shop(shop.random, {}, shop.names, shop.decisions, shop.rules)
    for batch in (waiting[::3], waiting[1::3], waiting[2::3]):
        part.records |= {key: shop.records[key] for key in batch}
        earlier, edges = edges, part.edges()
        decided = {key for pair in shop.decisions for key in pair} & part.records.keys()
        only = touched_records(links, part, edges, {*batch} | decided | changed_ends(earlier, edges))
        result = links.resolve(part, edges, 0, only)
        links.links, links.next_person_id = links.after(result, only), result.next_person_id
    return links.links
