"""Clusters: the records of each person, before persons get their numbers.

Records of customers and contacts are joined first. Records of events have no name, so they come last, and they never
join two persons. The clusters of a component depend on its records, edges and decisions alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from cdp_lib.identity.graph import Flags, Floats, Graph, Holdings, Ints
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

    A value joins nothing if the records that hold it end in more persons than its kind allows. Its edges lose the
    weight of its kind.

    - Edges between customers and contacts: all values count at first. Values of too many persons are left out, until no
      other value has too many persons.
    - Edges of records of events: values of too many persons are left out at first. A value counts again as soon as the
      other edges have joined its holders to few enough persons. The record of an e-mail address does not
      count as a holder of the address, nor the record of a device as a holder of the device: an address that only one
      person has belongs to this person.
    """
    limits = Limits.of(graph, rules)
    values = _SharedValues(graph, rules)
    named = graph.is_named[graph.a] & graph.is_named[graph.b]
    first = graph.joins & (named | graph.is_decided)
    last = graph.joins & ~first
    label = np.arange(len(graph))
    weight, refused = graph.weight.copy(), np.zeros(len(graph.a), np.int64)
    for is_last, edges in ((False, first), (True, last)):
        base = label
        counted = ~values.is_own if is_last else graph.is_named[values.held.owner]
        shared = values.excessive(base, counted) if is_last else np.zeros(len(values.most), bool)
        changed = np.ones(len(graph), bool)
        while changed.any():
            weight[edges] = values.reduced(shared)[edges]
            due = edges & changed[graph.component[graph.a]]
            refused[due] = JOINED
            start = np.where(changed[graph.component], base, label)
            label, blocked = join(
                limits, start, np.flatnonzero(due & (weight >= graph.link_weight)), weight, not is_last
            )
            refused[list(blocked)] = list(blocked.values())
            excessive = values.excessive(label, counted)
            turned = shared & ~excessive if is_last else excessive & ~shared
            shared = shared ^ turned
            changed = np.zeros(len(graph), bool)
            changed[values.component[turned]] = True
        refused[edges & (weight < graph.link_weight)] = SHARED_VALUE
        values.leave_out(shared, edges)
    apart = graph.contradicts & (graph.component[graph.a] == graph.component[graph.b]) & _has_values(graph)
    refused[apart] = CONTRADICTION
    refused[label[graph.a] == label[graph.b]] = JOINED
    left = values.left_out
    return Clusters(label, weight, refused, graph.shared.of(left), graph.shared.of(~left))


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
        left_out: Whether each element of `Graph.shared` joins nothing.
    """

    def __init__(self, graph: Graph, rules: IdentityRules) -> None:
        """Find the values that a component has more than once."""
        self._graph = graph
        unlimited = [0] * len(graph.kinds)
        persons = np.array([*(kind.persons_per_value for kind in rules.kinds), *unlimited], np.int64)
        self._kind_weight = np.array([*(kind.weight for kind in rules.kinds), *unlimited], np.float64)
        self.held = graph.held.of(persons[graph.value_kind[graph.held.value]] > 0)
        self.is_own = _kinds_of_keys(graph)[self.held.owner] == graph.value_kind[self.held.value]
        width = max(len(graph.values), 1)
        groups, self._of_held = np.unique(
            graph.component[self.held.owner] * width + self.held.value, return_inverse=True
        )
        self.component = groups // width
        self.most = persons[graph.value_kind[groups % width]]
        wanted = graph.component[graph.a[graph.shared.owner]] * width + graph.shared.value
        position = np.minimum(np.searchsorted(groups, wanted), max(len(groups) - 1, 0))
        is_known = groups[position] == wanted if len(groups) else np.zeros(len(wanted), bool)
        # The last element of the flags of values stands for values without a limit, which are never left out.
        self._of_shared = np.where(is_known, position, len(groups))
        kinds = max(len(graph.kinds), 1)
        edge_kind, self._of_kind = np.unique(
            graph.shared.owner * kinds + graph.value_kind[graph.shared.value], return_inverse=True
        )
        self._kind_edge, self._edge_kind = edge_kind // kinds, edge_kind % kinds
        self.left_out = np.zeros(len(wanted), bool)

    def excessive(self, label: Ints, counted: Flags) -> Flags:
        """Return which values are in more clusters than their kind allows.

        Args:
            label: Cluster of each record.
            counted: Elements of `held` that count.
        """
        pair = np.unique(self._of_held[counted] * len(label) + label[self.held.owner[counted]])
        is_excessive: Flags = np.bincount(pair // max(len(label), 1), minlength=len(self.most)) > self.most
        return is_excessive

    def reduced(self, shared: Flags) -> Floats:
        """Return the weight of each edge without the kinds all of whose values are shared by too many persons."""
        graph = self._graph
        out = np.append(shared, False)[self._of_shared]
        all_out = np.bincount(self._of_kind[~out], minlength=len(self._kind_edge)) == 0
        lost = np.bincount(
            self._kind_edge[all_out], self._kind_weight[self._edge_kind[all_out]], minlength=len(graph.a)
        )
        weight = graph.weight - lost
        # Without a value and without evidence of the model, nothing remains, whatever the least evidence is.
        nothing_left = (lost > 0) & (np.bincount(graph.shared.owner[~out], minlength=len(graph.a)) == 0)
        weight[nothing_left & (np.abs(weight) < 1e-9)] = -np.inf
        return weight

    def leave_out(self, shared: Flags, edges: Flags) -> None:
        """Remember which values of the given edges join nothing."""
        self.left_out |= np.append(shared, False)[self._of_shared] & edges[self._graph.shared.owner]
