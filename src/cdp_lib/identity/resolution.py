"""Identity resolution: links of records to persons, and edges that join nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdp_lib.identity.clusters import SHARED_VALUE, Clusters, cluster
from cdp_lib.identity.graph import Flags, Graph, Ints, read_graph, texts
from cdp_lib.identity.joins import CONTRADICTION, JOINED, NEVER, RECORDS, TWO_PERSONS, VALUES
from cdp_lib.identity.persons import NOBODY, Persons, number_persons
from cdp_lib.identity.rules import SOURCES, IdentityRules

_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Resolution:
    """Persons of the resolved records.

    Attributes:
        links: One row per record, with the columns of `person_links_silver`, in the order of record keys.
        cuts: One row per edge that joins nothing: record_a, record_b, identifiers, weight (bits; null for a decision to
            join always), and reason: never, contradiction, two_persons (a record of events ties two persons),
            limit records_per_person, limit values_per_person:<kind> or shared_value:<identifier>.
        next_person_id: Number of the next new person.
    """

    links: pa.Table
    cuts: pa.Table
    next_person_id: int


def resolve(
    records: pa.Table,
    edges: pa.Table,
    overrides: pa.Table,
    previous: pa.Table,
    rules: IdentityRules,
    next_person_id: int,
    now: datetime,
) -> Resolution:
    """Resolve whole components of records. The order of rows changes nothing.

    Resolve together all records that are, or were, in a component with a changed record, edge or decision. Their result
    equals the result of resolving all records.

    Args:
        records: One row per record: record_key, source, customer_id, identifiers.
        edges: One row per pair of records: record_a, record_b, identifiers, weight, is_contradiction. Edges with other
            records are left out.
        overrides: One row per pair of records, with the latest decision: record_a, record_b, decision.
        previous: Rows of `person_links_silver` of all records that were in these components, deleted records included:
            record_key, person_id, linked_at.
        rules: Rules of identity resolution.
        next_person_id: Number of the next new person, above all numbers ever used.
        now: Start of the run, UTC.

    Raises:
        ValueError: A record key occurs twice, a source is unknown, or `next_person_id` was used already.
    """
    used = pc.max(previous["person_id"]).as_py() or 0
    if used >= next_person_id:
        raise ValueError(f"next_person_id is {next_person_id}, but person {used} exists already")
    graph = read_graph(records, edges, overrides, rules)
    clusters = cluster(graph, rules)
    persons = number_persons(graph, clusters.label, previous, next_person_id)
    return Resolution(
        links=_links(graph, clusters, persons, previous, now),
        cuts=_cuts(graph, clusters),
        next_person_id=persons.next_person_id,
    )


def _links(graph: Graph, clusters: Clusters, persons: Persons, previous: pa.Table, now: datetime) -> pa.Table:
    """Return the rows of `person_links_silver`."""
    ties = graph.joins & (clusters.label[graph.a] == clusters.label[graph.b]) & (clusters.weight >= graph.link_weight)
    tie = _strongest(graph, clusters.weight, ties)
    is_tied = tie >= 0
    other = np.append(graph.a + graph.b, 0)[tie] - np.arange(len(graph))
    weight = np.append(clusters.weight, 0.0)[tie]
    return pa.table(
        {
            "record_key": graph.keys,
            "source": pa.array(SOURCES).take(pa.array(graph.source)),
            "customer_id": graph.customer_id,
            "person_id": persons.person,
            "reason": _reasons(graph, clusters, tie),
            "linked_to": graph.keys.take(pa.array(other, mask=~is_tied)),
            "weight": pa.array(weight, mask=~is_tied | np.isinf(weight)),
            "linked_at": _linked_at(graph, persons, previous, now),
            "component": graph.keys.take(pa.array(graph.component)),
        }
    )


def _strongest(graph: Graph, weight: np.ndarray, chosen: Flags) -> Ints:
    """Return for each record its strongest of the chosen edges. -1 for a record without one."""
    edges = np.flatnonzero(chosen)
    # Assigned from the weakest edge to the strongest, so that the strongest edge remains.
    edges = edges[np.lexsort((graph.b[edges], graph.a[edges], -weight[edges]))][::-1]
    strongest = np.full(len(graph), -1)
    strongest[np.stack([graph.a[edges], graph.b[edges]], axis=1).ravel()] = np.repeat(edges, 2)
    return strongest


def _reasons(graph: Graph, clusters: Clusters, tie: Ints) -> pa.Array:
    """Return why each record belongs to its person, or why it is the person's only record."""
    cut = _strongest(graph, graph.weight, (clusters.refused != 0) & (clusters.refused != TWO_PERSONS))
    why = np.where(cut >= 0, np.append(clusters.refused, JOINED)[cut], JOINED)
    reasons = {SHARED_VALUE: "shared_value", JOINED: "only_record", NEVER: "never", CONTRADICTION: "contradiction"}
    # The other reasons are limits.
    alone = pa.array([reasons.get(code, "limit") for code in range(SHARED_VALUE, RECORDS + 1)])
    code = np.minimum(why, RECORDS) - SHARED_VALUE
    kinds = np.zeros(max(len(graph.a), 1), np.int64)
    np.bitwise_or.at(kinds, clusters.counted.owner, 1 << graph.value_kind[clusters.counted.value])
    kinds[: len(graph.a)][graph.is_decided] = -1
    sets, of_edge = np.unique(kinds, return_inverse=True)
    evidence = pa.array([_evidence(graph, each) for each in sets.tolist()])
    return pc.coalesce(alone.take(pa.array(code, mask=tie >= 0)), evidence.take(pa.array(of_edge[tie])))


def _evidence(graph: Graph, kinds: int) -> str:
    """Return the names of a set of kinds, given as bits."""
    if kinds < 0:
        return "always"
    return "+".join(kind for position, kind in enumerate(graph.kinds) if kinds >> position & 1) or "model"


def _linked_at(graph: Graph, persons: Persons, previous: pa.Table, now: datetime) -> pa.Array:
    """Return the time since when each record belongs to its person."""
    row = pc.index_in(graph.keys, value_set=texts(previous["record_key"]))
    since = previous["linked_at"].combine_chunks().cast(_TIME).take(row)
    stays = (persons.before != NOBODY) & (persons.before == persons.person)
    return pc.if_else(pa.array(stays), since, pa.scalar(now, _TIME))


def _cuts(graph: Graph, clusters: Clusters) -> pa.Table:
    """Return the edges that join nothing."""
    edges = np.flatnonzero(clusters.refused)
    edges = edges[np.lexsort((graph.weight[edges], graph.b[edges], graph.a[edges]))]
    return pa.table(
        {
            "record_a": graph.keys.take(pa.array(graph.a[edges])),
            "record_b": graph.keys.take(pa.array(graph.b[edges])),
            "identifiers": _identifiers(graph, edges),
            "weight": pa.array(graph.weight[edges], mask=np.isinf(graph.weight[edges])),
            "reason": _cut_reasons(graph, clusters, edges),
        }
    )


def _identifiers(graph: Graph, edges: Ints) -> pa.Array:
    """Return the identifiers of edges."""
    start = np.searchsorted(graph.shared.owner, edges)
    length = np.searchsorted(graph.shared.owner, edges, side="right") - start
    offsets = np.append(0, np.cumsum(length))
    positions = np.repeat(start - offsets[:-1], length) + np.arange(offsets[-1])
    values = graph.values.take(pa.array(graph.shared.value[positions]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _cut_reasons(graph: Graph, clusters: Clusters, edges: Ints) -> pa.Array:
    """Return why each edge joins nothing."""
    names = {
        NEVER: "never",
        CONTRADICTION: "contradiction",
        RECORDS: "limit records_per_person",
        TWO_PERSONS: "two_persons",
        **{VALUES + position: f"limit values_per_person:{kind}" for position, kind in enumerate(graph.kinds)},
    }
    reason = clusters.refused[edges]
    text = pa.array([names.get(code) for code in range(VALUES + len(graph.kinds))], pa.string())
    value = np.full(len(graph.a), -1)
    # Assigned from the last value to the first, so that the first value of an edge remains.
    value[clusters.shared.owner[::-1]] = clusters.shared.value[::-1]
    shared = graph.values.take(pa.array(value[edges], mask=reason != SHARED_VALUE))
    return pc.coalesce(
        pc.binary_join_element_wise("shared_value:", shared, ""), text.take(pa.array(reason, mask=reason < 0))
    )
