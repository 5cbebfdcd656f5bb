"""A second implementation of the clusters, slow and obvious: it tests every limit again for every edge."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from cdp_lib.identity.rules import IdentityRules

Group = frozenset[str]
Row = dict[str, Any]


def components_of(keys: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Return the records that pairs connect."""
    found = {key: {key} for key in keys}
    for a, b in pairs:
        if found[a] is not found[b]:
            found[a] |= found[b]
            for key in found[b]:
                found[key] = found[a]
    return [component for key, component in found.items() if key == min(component)]


class Reference:
    """The clusters of all records."""

    def __init__(self, records: dict[str, Row], edges: list[Row], decisions: list[Row], rules: IdentityRules) -> None:
        self.records, self.rules = records, rules
        self.kinds = {kind.name: kind for kind in rules.kinds}
        known = [row for row in (*edges, *decisions) if {row["record_a"], row["record_b"]} <= records.keys()]
        self.always = sorted(pair_of(row) for row in known if row.get("decision") == "always")
        self.never = {pair_of(row) for row in known if row.get("decision") == "never"}
        self.contradicting = {pair_of(row) for row in known if row.get("is_contradiction")}
        self.positive = [
            row
            for row in known
            if "weight" in row and row["weight"] >= rules.link_weight and not row["is_contradiction"]
        ]
        self.named = {key for key, row in records.items() if row["source"] != "events"}
        self.components = components_of(records, [*map(pair_of, self.positive), *self.always])

    def clusters(self) -> set[Group]:
        """Return the records of each person."""
        return {cluster for component in self.components for cluster in self._clusters_of(component)}

    def _clusters_of(self, component: set[str]) -> set[Group]:
        inside = [row for row in self.positive if row["record_a"] in component]
        always = [pair for pair in self.always if pair[0] in component]
        named = [row for row in inside if {*pair_of(row)} <= self.named]
        bare = [row for row in inside if row not in named]
        clusters: set[Group] = set()
        for part in components_of(component, [*map(pair_of, named), *always]):
            shared: set[str] = set()
            while True:
                pairs = [pair for pair in always if pair[0] in part]
                rows = [row for row in named if row["record_a"] in part]
                found = self._joined({frozenset([key]) for key in part}, pairs, rows, shared, is_last=False)
                excessive = self._excessive(found, self.named)
                if excessive <= shared:
                    break
                shared |= excessive
            clusters |= found
        shared = self._excessive(clusters, None)
        while True:
            found = self._joined(clusters, [], bare, shared, is_last=True)
            still = shared & self._excessive(found, None)
            if still == shared:
                return found
            shared = still

    def _joined(
        self, start: set[Group], always: list[tuple[str, str]], rows: list[Row], shared: set[str], is_last: bool
    ) -> set[Group]:
        groups = set(start)
        weighted = sorted((-self._weight(row, shared), *pair_of(row)) for row in rows)
        steps = [(a, b, True) for a, b in always]
        steps += [(a, b, False) for weight, a, b in weighted if -weight >= self.rules.link_weight]
        for a, b, is_decided in steps:
            one, other = (next(group for group in groups if key in group) for key in (a, b))
            if one != other and self._may_join(one, other, is_decided, is_last):
                groups = (groups - {one, other}) | {one | other}
        return groups

    def _may_join(self, one: Group, other: Group, is_decided: bool, is_last: bool) -> bool:
        pairs = {tuple(sorted((a, b))) for a in one for b in other}
        if pairs & self.never or (pairs & self.contradicting and not is_decided):
            return False
        if is_last and one & self.named and other & self.named:
            return False
        return self.holds_limits(one | other)

    def holds_limits(self, group: Group) -> bool:
        """Return whether a person may have the records."""
        return len(group) <= self.rules.records_per_person and all(
            len({value for key in group for value in self.records[key]["identifiers"] if value.startswith(f"{kind}:")})
            <= limits.values_per_person
            for kind, limits in self.kinds.items()
            if limits.values_per_person
        )

    def _weight(self, row: Row, shared: set[str]) -> float:
        kinds = {value.split(":")[0] for value in row["identifiers"]}
        remaining = {value.split(":")[0] for value in row["identifiers"] if value not in shared}
        return row["weight"] - sum(self.kinds[kind].weight for kind in kinds - remaining)

    def _excessive(self, groups: set[Group], only: set[str] | None) -> set[str]:
        """Return the values of more groups than their kind allows. `only` are the records that count as holders.

        Without it, all records count, but the own values of records of events don't.
        """
        holders: dict[str, set[Group]] = {}
        for group in groups:
            for key in group:
                for value in self.records[key]["identifiers"]:
                    kind = value.split(":")[0]
                    is_own = key not in self.named and key.startswith(f"{kind}:")
                    if self.kinds[kind].persons_per_value and (key in only if only is not None else not is_own):
                        holders.setdefault(value, set()).add(group)
        return {
            value for value, found in holders.items() if len(found) > self.kinds[value.split(":")[0]].persons_per_value
        }

    def breaks(self, group: Group) -> bool:
        """Return whether a decision keeps two records of a group apart."""
        return any(pair in self.never for pair in combinations(sorted(group), 2))


def pair_of(row: Row) -> tuple[str, str]:
    """Return the records of an edge or a decision."""
    return row["record_a"], row["record_b"]
