"""Clusters: the records of each person, before persons get their numbers.

Records of customers and contacts are joined first. Records of events have no name, so they come last, and they never
join two persons. The clusters of a component depend on its records, edges and decisions alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from cdp_lib.identity.graph import Flags, Floats, Graph, Holdings, Ints, connect, distinct
from cdp_lib.identity.joins import CONTRADICTION, JOINED, Limits, join
from cdp_lib.identity.rules import IdentityRules

SHARED_VALUE = -1
"""Reason why an edge joins nothing: too many persons share its identifiers."""


@dataclass(frozen=True)
class Clusters:
    """Clusters of the records of a graph.

    Attributes:
        label: Cluster of each record: the smallest record of the cluster.
        weight: Evidence of each edge in bits, without values that too many persons share. Infinite for a decision.
        refused: Reason why each edge joins nothing, of `cdp_lib.identity.joins` or `SHARED_VALUE`. 0 for other edges.
        shared: Identifiers of each edge that too many persons share.
        counted: Identifiers of each edge that count as evidence.
    """

    label: Ints
    weight: Floats
    refused: Ints
    shared: Holdings
    counted: Holdings


def cluster(graph: Graph, rules: IdentityRules) -> Clusters:
    """Return the clusters of the records.

    A value joins nothing if the records that hold it end in more persons than its kind allows. Its edges then lose the
    weight of its kind.

    - Edges between customers and contacts: all values count at first. Values of too many persons are left out, until no
      other value has too many persons. Only records that such edges connect are compared: a value still joins the
      records of a person if all other holders contradict all of these records.
    - Edges of records of events: values of too many persons are left out at first. A value counts again as soon as the
      other edges have joined its holders to few enough persons. The record of an e-mail address does not
      count as a holder of the address, nor the record of a device as a holder of the device: an address that only one
      person has belongs to this person.
    """
    limits = Limits.of(graph, rules)
    is_named = graph.is_named[graph.a] & graph.is_named[graph.b]
    first = graph.joins & (is_named | graph.is_decided)
    # Records of events must not change which customers and contacts are compared.
    values = _SharedValues(graph, rules, connect(len(graph), graph.a[first], graph.b[first]))
    named = _join_edges(limits, values, np.arange(len(graph)), first, is_last=False)
    values = _SharedValues(graph, rules, graph.component)
    clusters = _join_edges(limits, values, named.label, graph.joins & ~first, is_last=True)
    weight = np.where(first, named.weight, clusters.weight)
    refused = np.where(first, named.refused, clusters.refused)
    is_inside = graph.component[graph.a] == graph.component[graph.b]
    refused[graph.contradicts & is_inside & _has_values(graph)] = CONTRADICTION
    refused[clusters.label[graph.a] == clusters.label[graph.b]] = JOINED
    shared = np.where(first[graph.shared.owner], named.shared, clusters.shared)
    return Clusters(clusters.label, weight, refused, graph.shared.of(shared), graph.shared.of(~shared))


@dataclass(frozen=True)
class _Joined:
    """Clusters after some edges: the columns of `Clusters`, with a flag for each element of `Graph.shared`."""

    label: Ints
    weight: Floats
    refused: Ints
    shared: Flags


def _join_edges(limits: Limits, values: _SharedValues, base: Ints, edges: Flags, is_last: bool) -> _Joined:
    """Join clusters by edges, and find out which values too many persons share.

    Args:
        limits: Limits of a person.
        values: Values whose kind limits the persons that share a value.
        base: Cluster of each record before.
        edges: Edges that may join.
        is_last: Whether the edges are those of records of events.
    """
    graph = limits.graph
    label, refused = base, np.zeros(len(graph.a), np.int64)
    counted = ~values.is_own if is_last else graph.is_named[values.held.owner]
    shared = values.excessive(base, counted) if is_last else np.zeros(len(values.most), bool)
    changed = np.ones(len(graph), bool)
    while True:
        weight = values.reduced(shared)
        is_due = edges & changed[graph.a]
        due = np.flatnonzero(is_due & (weight >= graph.link_weight))
        refused[is_due] = JOINED
        label, blocked = join(limits, np.where(changed, base, label), due, weight, may_merge_named=not is_last)
        refused[list(blocked)] = list(blocked.values())
        excessive = values.excessive(label, counted)
        turned = shared & ~excessive if is_last else excessive & ~shared
        if not turned.any():
            break
        shared = shared ^ turned
        changed = np.isin(values.component_of, values.component[turned])
    refused[edges & (weight < graph.link_weight)] = SHARED_VALUE
    return _Joined(label, weight, refused, values.of_edges(shared))


def _kinds_of_keys(graph: Graph) -> Ints:
    """Return the position of the kind that each record of events stands for: email or device. -1 for other records."""
    kind_of = np.full(len(graph), -1)
    for position, kind in enumerate(graph.kinds):
        kind_of[pc.starts_with(graph.keys, f"{kind}:").to_numpy(zero_copy_only=False) & ~graph.is_named] = position
    return kind_of


def _has_values(graph: Graph) -> Flags:
    """Return whether the records of each edge share identifiers."""
    has_values = np.zeros(len(graph.a), bool)
    has_values[graph.shared.owner] = True
    return has_values


class _SharedValues:
    """Values whose kind limits the persons that share a value, one element per value and component.

    Components are independent of each other, so that a refresh of some components equals a refresh of all.

    Attributes:
        held: Records that hold such a value.
        is_own: Whether each element of `held` is the address or device that its record of events stands for.
        most: Most persons, by value and component.
        component: Component, by value and component.
        component_of: Component of each record.
    """

    def __init__(self, graph: Graph, rules: IdentityRules, component_of: Ints) -> None:
        """Number the values of each component."""
        self._graph = graph
        self.component_of = component_of
        unlimited = [0] * len(graph.kinds)
        persons = np.array([*(kind.persons_per_value for kind in rules.kinds), *unlimited], np.int64)
        self._kind_weight = np.array([*(kind.weight for kind in rules.kinds), *unlimited], np.float64)
        self.held = graph.held.of(persons[graph.value_kind[graph.held.value]] > 0)
        self.is_own = _kinds_of_keys(graph)[self.held.owner] == graph.value_kind[self.held.value]
        width = max(len(graph.values), 1)
        groups, self._of_held = np.unique(component_of[self.held.owner] * width + self.held.value, return_inverse=True)
        self.component = groups // width
        self.most = persons[graph.value_kind[groups % width]]
        wanted = component_of[graph.a[graph.shared.owner]] * width + graph.shared.value
        position = np.searchsorted(groups, wanted)
        # The last element of the flags of values stands for values without a limit, which are never left out.
        self._of_shared = np.where(np.append(groups, -1)[position] == wanted, position, len(groups))
        kinds = max(len(graph.kinds), 1)
        edge_kind, self._of_kind = np.unique(
            graph.shared.owner * kinds + graph.value_kind[graph.shared.value], return_inverse=True
        )
        self._kind_edge, self._edge_kind = edge_kind // kinds, edge_kind % kinds

    def of_edges(self, shared: Flags) -> Flags:
        """Return the flags of values as flags of `Graph.shared`."""
        return np.append(shared, False)[self._of_shared]

    def excessive(self, label: Ints, counted: Flags) -> Flags:
        """Return which values are in more clusters than their kind allows.

        Args:
            label: Cluster of each record.
            counted: Elements of `held` that count.
        """
        pair = distinct(self._of_held[counted] * len(label) + label[self.held.owner[counted]])
        is_excessive: Flags = np.bincount(pair // max(len(label), 1), minlength=len(self.most)) > self.most
        return is_excessive

    def reduced(self, shared: Flags) -> Floats:
        """Return the weight of each edge without the kinds all of whose values are shared by too many persons."""
        graph = self._graph
        out = self.of_edges(shared)
        all_out = np.bincount(self._of_kind[~out], minlength=len(self._kind_edge)) == 0
        lost = np.bincount(
            self._kind_edge[all_out], self._kind_weight[self._edge_kind[all_out]], minlength=len(graph.a)
        )
        weight = graph.weight - lost
        # Without a value and without evidence of the model, nothing remains, whatever the least evidence is.
        nothing_left = (lost > 0) & (np.bincount(graph.shared.owner[~out], minlength=len(graph.a)) == 0)
        weight[nothing_left & (np.abs(weight) < 1e-9)] = -np.inf
        return weight
