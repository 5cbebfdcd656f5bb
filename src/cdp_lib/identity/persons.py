"""Numbers of persons: clusters keep the numbers of the persons that they overlap with most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdp_lib.identity.graph import Graph, Ints, texts
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
    most records of events. Ties go to the smallest, oldest number, then to the cluster with the smallest record key. A
    number never leaves the customers of its person for a contact or a device: it ends if all clusters with these
    customers take other numbers. Deleted records don't count. Other clusters get new numbers, ascending in the order of
    customer's number and record key.

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
    row = pc.index_in(graph.keys, value_set=texts(previous["record_key"]))
    person = previous["person_id"].combine_chunks().take(row)
    return np.asarray(pc.fill_null(person.cast(pa.int64()), NOBODY))


def _keep_numbers(graph: Graph, label: Ints, before: Ints, number: Ints) -> None:
    """Give numbers of earlier persons to clusters, the largest overlap first."""
    cluster, person, records = _overlaps(graph, label, before)
    _, of_person, clusters_of_person = np.unique(person, return_inverse=True, return_counts=True)
    # A number stays with the most reliable source of its records, or ends.
    best = np.argmax(records > 0, axis=1)
    best_of_person = np.full(len(clusters_of_person), len(SOURCES))
    np.minimum.at(best_of_person, of_person, best)
    persons_of_cluster = np.bincount(cluster, minlength=len(graph))
    has_rivals = (clusters_of_person[of_person] > 1) | (persons_of_cluster[cluster] > 1)
    number[cluster[~has_rivals]] = person[~has_rivals]
    rivals = np.flatnonzero(has_rivals & (best == best_of_person[of_person]))
    rivals = rivals[np.lexsort((cluster[rivals], person[rivals], *-records[rivals].T[::-1]))]
    taken = set()
    for each, old in zip(cluster[rivals].tolist(), person[rivals].tolist(), strict=True):
        if number[each] == NOBODY and old not in taken:
            number[each] = old
            taken.add(old)


def _overlaps(graph: Graph, label: Ints, before: Ints) -> tuple[Ints, Ints, Ints]:
    """Return clusters and earlier persons that share records, and the number of these records by source."""
    known = np.flatnonzero(before != NOBODY)
    known = known[np.lexsort((before[known], label[known]))]
    cluster, person = label[known], before[known]
    is_first = np.append(True, (cluster[1:] != cluster[:-1]) | (person[1:] != person[:-1]))[: len(known)]
    position = np.cumsum(is_first) - 1
    pairs = int(is_first.sum())
    records = np.bincount(position * len(SOURCES) + graph.source[known], minlength=pairs * len(SOURCES))
    return cluster[is_first], person[is_first], records.reshape(pairs, len(SOURCES))
