"""Numbers of persons: clusters keep the numbers of the persons that they overlap with most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdp_lib.identity.graph import Graph, Ints
from cdp_lib.identity.rules import SOURCES

NOBODY = -1
"""Number in place of the person of a record that had none."""


@dataclass(frozen=True)
class Persons:
    """Persons of the records of a graph.

    Attributes:
        person: Number of each record's person.
        before: Number of the person that each record had before. `NOBODY` for a new record.
        next_person_id: Number of the next new person.
        new_count: Number of new persons. Their numbers end before `next_person_id`.
    """

    person: Ints
    before: Ints
    next_person_id: int
    new_count: int


def number_persons(graph: Graph, label: Ints, previous: pa.Table, next_person_id: int) -> Persons:
    """Return the persons of the clusters. A number goes to one cluster at most, and is never used again.

    A cluster takes the number of the person whose records it has: the most customers, then the most contacts, then the
    most records of events, so that devices don't carry a number away from a customer. Ties go to the smallest, oldest
    number, then to the cluster with the smallest record key. Deleted records don't count. Other clusters get new
    numbers, ascending in the order of customer's number and record key.

    Args:
        graph: Records.
        label: Cluster of each record: the smallest record of the cluster.
        previous: One row per record that had a person: record_key, person_id.
        next_person_id: Number of the next new person.
    """
    before = _persons_before(graph, previous)
    number = np.full(len(graph), NOBODY)
    _keep_numbers(graph, label, before, number)
    is_cluster = label == np.arange(len(graph))
    new = np.flatnonzero(is_cluster & (number == NOBODY))
    no_customer = np.iinfo(np.int64).max
    customer = np.asarray(pc.fill_null(graph.customer_id, no_customer))
    smallest = np.full(len(graph), no_customer)
    np.minimum.at(smallest, label, customer)
    new = new[np.lexsort((new, smallest[new]))]
    number[new] = np.arange(next_person_id, next_person_id + len(new))
    return Persons(number[label], before, next_person_id + len(new), len(new))


def _persons_before(graph: Graph, previous: pa.Table) -> Ints:
    """Return the person that each record had before."""
    row = pc.index_in(graph.keys, value_set=previous["record_key"].combine_chunks())
    person = previous["person_id"].combine_chunks().take(row)
    return np.asarray(pc.fill_null(person.cast(pa.int64()), NOBODY))


def _keep_numbers(graph: Graph, label: Ints, before: Ints, number: Ints) -> None:
    """Give numbers of earlier persons to clusters, the largest overlap first."""
    known = np.flatnonzero(before != NOBODY)
    order = known[np.lexsort((before[known], label[known]))]
    cluster, person = label[order], before[order]
    starts = np.flatnonzero(np.append(True, (cluster[1:] != cluster[:-1]) | (person[1:] != person[:-1]))[: len(order)])
    cluster, person = cluster[starts], person[starts]
    source = graph.source[order]
    overlaps = [
        np.add.reduceat((source == position).astype(np.int64), starts) if len(starts) else starts
        for position in range(len(SOURCES))
    ]
    _, of_person, persons = np.unique(person, return_inverse=True, return_counts=True)
    clusters = np.bincount(cluster, minlength=len(graph))
    is_only = (persons[of_person] == 1) & (clusters[cluster] == 1) if len(cluster) else np.zeros(0, bool)
    number[cluster[is_only]] = person[is_only]
    rivals = np.flatnonzero(~is_only)
    rivals = rivals[np.lexsort((cluster[rivals], person[rivals], *(-each[rivals] for each in reversed(overlaps))))]
    taken = set()
    for each, old in zip(cluster[rivals].tolist(), person[rivals].tolist(), strict=True):
        if number[each] == NOBODY and old not in taken:
            number[each] = old
            taken.add(old)
