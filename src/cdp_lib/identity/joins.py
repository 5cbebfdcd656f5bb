"""Groups of records: join the strongest edges first, as long as every limit of a person holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdp_lib.identity.graph import Flags, Floats, Graph, Holdings, Ints, connect, distinct
from cdp_lib.identity.rules import IdentityRules

JOINED, NEVER, CONTRADICTION, RECORDS, TWO_PERSONS, VALUES = range(6)
"""Reasons why an edge joins nothing. `VALUES` plus the position of a kind: the kind has too many values."""


@dataclass(frozen=True)
class Limits:
    """Limits of a person. Each limit stays broken whatever else is joined.

    Attributes:
        graph: Records, edges and decisions.
        records: Most records of a person.
        values: Most values of a person, by kind. 0 for no limit.
        held: Identifiers of each record whose kind has a limit.
        contradict_a: First record of each pair that can't belong to one person.
        contradict_b: Second record of each pair that can't belong to one person.
    """

    graph: Graph
    records: int
    values: Ints
    held: Holdings
    contradict_a: Ints
    contradict_b: Ints

    @classmethod
    def of(cls, graph: Graph, rules: IdentityRules) -> Limits:
        """Return the limits of the rules. The rules' limit of records counts from 1; 0 is no limit."""
        values = np.array([*(kind.values_per_person for kind in rules.kinds)] + [0] * len(graph.kinds), np.int64)
        held = graph.held.of(values[graph.value_kind[graph.held.value]] > 0)
        apart = graph.contradicts
        records = rules.records_per_person or len(graph)
        return cls(graph, records, values, held, graph.a[apart], graph.b[apart])

    def broken(self, label: Ints, base: Ints, may_merge_named: bool) -> Flags:
        """Return which groups, by label, break a limit.

        Args:
            label: Group of each record.
            base: Group of each record before the edges were joined.
            may_merge_named: Whether edges may join two earlier groups with names.
        """
        count = len(label)
        size = np.bincount(label, minlength=count)
        broken = size > self.records
        for a, b in ((self.graph.never_a, self.graph.never_b), (self.contradict_a, self.contradict_b)):
            broken[label[a[label[a] == label[b]]]] = True
        several = self.held.of(size[label[self.held.owner]] > 1)
        values = max(len(self.graph.values), 1)
        pair = distinct(label[several.owner] * values + several.value)
        kinds = len(self.graph.kinds)
        group_kind, found = np.unique(pair // values * kinds + self.graph.value_kind[pair % values], return_counts=True)
        broken[group_kind[found > self.values[group_kind % max(kinds, 1)]] // max(kinds, 1)] = True
        if not may_merge_named:
            named = distinct(base[self.graph.is_named])
            broken |= np.bincount(label[named], minlength=count) > 1
        return broken


def join(
    limits: Limits, base: Ints, edges: Ints, weight: Floats, may_merge_named: bool = True
) -> tuple[Ints, dict[int, int]]:
    """Join groups of records by edges, the strongest edge first, unless the joined group breaks a limit.

    Components that break no limit are joined at once, because a limit that holds for a component holds for each part of
    it. The other components are joined edge by edge.

    Args:
        limits: Limits of a person.
        base: Group of each record: the smallest record of the group.
        edges: Numbers of the edges that may join.
        weight: Evidence of each edge of the graph, in bits.
        may_merge_named: Whether edges may join two groups that both have customers or contacts.

    Returns:
        Group of each record, the smallest record of the group; and for each edge that joins nothing the reason.
    """
    graph = limits.graph
    if not len(edges):
        return base, {}
    a, b = base[graph.a[edges]], base[graph.b[edges]]
    whole = connect(len(base), a, b)
    label = whole[base]
    has_edges = np.zeros(len(base), bool)
    has_edges[whole[a]] = True
    broken = limits.broken(label, base, may_merge_named) & has_edges
    if not broken.any():
        return label, {}
    slow = edges[broken[whole[a]]]
    slow = slow[np.lexsort((graph.b[slow], graph.a[slow], -weight[slow]))]
    records = np.flatnonzero(broken[label])
    groups = _Groups(limits, base, records, may_merge_named)
    refused: dict[int, int] = {}
    pairs = zip(slow.tolist(), base[graph.a[slow]].tolist(), base[graph.b[slow]].tolist(), strict=True)
    decided = graph.is_decided
    for edge, one, other in pairs:
        reason = groups.join(one, other, bool(decided[edge]))
        if reason:
            refused[edge] = reason
    smallest = np.arange(len(base))
    members = distinct(base[records])
    smallest[members] = groups.smallest(members.tolist())
    label[records] = smallest[base[records]]
    return label, refused


class _Groups:
    """Groups of records that edges join one by one."""

    def __init__(self, limits: Limits, base: Ints, records: Ints, may_merge_named: bool) -> None:
        graph = limits.graph
        self._most_records = limits.records
        self._most_values = limits.values.tolist()
        self._may_merge_named = may_merge_named
        chosen = np.zeros(len(base), bool)
        chosen[records] = True
        members, sizes = np.unique(base[records], return_counts=True)
        self._parent = {group: group for group in members.tolist()}
        self._smallest = dict(self._parent)
        self._size: dict[int, int] = dict(zip(members.tolist(), sizes.tolist(), strict=True))
        self._named = set(base[records[graph.is_named[records]]].tolist())
        self._values: dict[int, dict[int, set[int]]] = {group: {} for group in self._parent}
        held = limits.held.of(chosen[limits.held.owner])
        kinds = graph.value_kind[held.value].tolist()
        for group, kind, value in zip(base[held.owner].tolist(), kinds, held.value.tolist(), strict=True):
            self._values[group].setdefault(kind, set()).add(value)
        self._never = self._enemies(base, chosen, graph.never_a, graph.never_b)
        self._contradicting = self._enemies(base, chosen, limits.contradict_a, limits.contradict_b)

    def _enemies(self, base: Ints, chosen: Flags, a: Ints, b: Ints) -> dict[int, set[int]]:
        """Return for each group the groups that it may not be joined with."""
        enemies: dict[int, set[int]] = {group: set() for group in self._parent}
        inside = chosen[a] & chosen[b] & (base[a] != base[b])
        for one, other in zip(base[a[inside]].tolist(), base[b[inside]].tolist(), strict=True):
            enemies[one].add(other)
            enemies[other].add(one)
        return enemies

    def _find(self, group: int) -> int:
        """Return the group that a group belongs to now."""
        parent = self._parent
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    def join(self, one: int, other: int, is_decided: bool) -> int:
        """Join two groups, or return the reason why they can't be joined. A decision overrules contradictions."""
        one, other = self._find(one), self._find(other)
        if one == other:
            return JOINED
        reason = self._refusal(one, other, is_decided)
        if not reason:
            self._merge(one, other)
        return reason

    def _refusal(self, one: int, other: int, is_decided: bool) -> int:
        """Return the limit that the joined group would break."""
        if other in self._never[one]:
            return NEVER
        if not is_decided and other in self._contradicting[one]:
            return CONTRADICTION
        values = self._values[other]
        for kind, own in self._values[one].items():
            if kind in values and len(own | values[kind]) > self._most_values[kind]:
                return VALUES + kind
            if len(own) > self._most_values[kind]:
                return VALUES + kind
        for kind, theirs in values.items():
            if len(theirs) > self._most_values[kind]:
                return VALUES + kind
        if self._size[one] + self._size[other] > self._most_records:
            return RECORDS
        if not self._may_merge_named and one in self._named and other in self._named:
            return TWO_PERSONS
        return JOINED

    def _merge(self, one: int, other: int) -> None:
        """Move the records of the group with fewer enemies and records to the other group."""
        if self._effort(one) < self._effort(other):
            one, other = other, one
        self._parent[other] = one
        self._smallest[one] = min(self._smallest[one], self._smallest[other])
        self._size[one] += self._size[other]
        if other in self._named:
            self._named.add(one)
        for kind, theirs in self._values.pop(other).items():
            self._values[one].setdefault(kind, set()).update(theirs)
        for enemies in (self._never, self._contradicting):
            for enemy in enemies[other]:
                enemies[enemy].remove(other)
                if enemy != one:
                    enemies[enemy].add(one)
            enemies[one] |= enemies.pop(other) - {one}

    def _effort(self, group: int) -> int:
        """Return the number of entries that a merge moves."""
        return self._size[group] + len(self._never[group]) + len(self._contradicting[group])

    def smallest(self, groups: list[int]) -> list[int]:
        """Return the smallest record of the groups that the given groups belong to now."""
        return [self._smallest[self._find(group)] for group in groups]
