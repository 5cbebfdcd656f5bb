"""Identity resolution: links of records to persons, the history of persons, and edges that join nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdp_lib.identity.clusters import SHARED_VALUE, Clusters, cluster
from cdp_lib.identity.graph import Flags, Graph, Ints, read_graph
from cdp_lib.identity.history import person_history
from cdp_lib.identity.joins import CONTRADICTION, NEVER, RECORDS, TWO_PERSONS, VALUES
from cdp_lib.identity.persons import NOBODY, Persons, number_persons
from cdp_lib.identity.rules import SOURCES, IdentityRules

_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Resolution:
    """Persons of the resolved records.

    Attributes:
        links: One row per record, with the columns of `person_links_silver`, in the order of record keys.
        history: One row per change of a person, with the columns of `person_history_silver` but `links_version`.
        cuts: One row per edge that joins nothing: record_a, record_b, identifiers, weight (bits; null for a decision to
            join always), and reason: never, contradiction, two_persons (a record of events ties two persons),
            limit records_per_person, limit values_per_person:<kind> or shared_value:<identifier>.
        next_person_id: Number of the next new person.
    """

    links: pa.Table
    history: pa.Table
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
    links = _links(graph, clusters, persons, previous, now)
    return Resolution(
        links=links,
        history=person_history(previous, links, now),
        cuts=_cuts(graph, clusters),
        next_person_id=persons.next_person_id,
    )


def _links(graph: Graph, clusters: Clusters, persons: Persons, previous: pa.Table, now: datetime) -> pa.Table:
    """Return the rows of `person_links_silver`."""
    ties = graph.joins & (clusters.label[graph.a] == clusters.label[graph.b]) & (clusters.weight >= graph.link_weight)
    tie = _strongest(graph, clusters.weight, ties)
    is_tied = tie >= 0
    other = np.where(graph.a[tie] == np.arange(len(graph)), graph.b[tie], graph.a[tie]) if len(graph.a) else tie
    weight = clusters.weight[tie] if len(graph.a) else tie.astype(float)
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
    why = clusters.refused[cut] if len(graph.a) else cut
    why = np.select([tie >= 0, cut < 0], [0, 1], np.where(why == SHARED_VALUE, 2, 3 + np.minimum(why, RECORDS)))
    alone = {1: "only_record", 2: "shared_value", 3 + NEVER: "never", 3 + CONTRADICTION: "contradiction"}
    alone[3 + RECORDS] = "limit"
    names = pa.array([alone.get(position) for position in range(3 + RECORDS + 1)], pa.string())
    kinds = np.zeros(max(len(graph.a), 1), np.int64)
    np.bitwise_or.at(kinds, clusters.counted.owner, 1 << graph.value_kind[clusters.counted.value])
    kinds[: len(graph.a)][graph.is_decided] = -1
    sets, of_edge = np.unique(kinds, return_inverse=True)
    texts = pa.array([_evidence(graph, each) for each in sets.tolist()])
    return pc.coalesce(names.take(pa.array(why)), texts.take(pa.array(of_edge[tie])))


def _evidence(graph: Graph, kinds: int) -> str:
    """Return the names of a set of kinds, given as bits."""
    if kinds < 0:
        return "always"
    return "+".join(kind for position, kind in enumerate(graph.kinds) if kinds >> position & 1) or "model"


def _linked_at(graph: Graph, persons: Persons, previous: pa.Table, now: datetime) -> pa.Array:
    """Return the time since when each record belongs to its person."""
    row = pc.index_in(graph.keys, value_set=previous["record_key"].combine_chunks())
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
            "reason": pa.array(_cut_reasons(graph, clusters, edges), pa.string()),
        }
    )


def _identifiers(graph: Graph, edges: Ints) -> pa.Array:
    """Return the identifiers of edges."""
    start = np.searchsorted(graph.shared.owner, edges)
    length = np.searchsorted(graph.shared.owner, edges, side="right") - start
    offsets = np.append(0, np.cumsum(length))
    positions = np.repeat(start - offsets[:-1], length) + np.arange(offsets[-1])
    texts = graph.values.take(pa.array(graph.shared.value[positions]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts)


def _cut_reasons(graph: Graph, clusters: Clusters, edges: Ints) -> list[str]:
    """Return why each edge joins nothing."""
    names = {
        NEVER: "never",
        CONTRADICTION: "contradiction",
        RECORDS: "limit records_per_person",
        TWO_PERSONS: "two_persons",
        **{VALUES + position: f"limit values_per_person:{kind}" for position, kind in enumerate(graph.kinds)},
    }
    shared: dict[int, int] = {}
    for edge, value in zip(clusters.shared.owner.tolist(), clusters.shared.value.tolist(), strict=True):
        shared.setdefault(edge, value)
    return [
        f"shared_value:{graph.values[shared[edge]].as_py()}" if reason == SHARED_VALUE else names[reason]
        for edge, reason in zip(edges.tolist(), clusters.refused[edges].tolist(), strict=True)
    ]
