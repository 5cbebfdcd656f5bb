"""Records, edges and decisions as arrays: the input of clustering. This module uses no engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cdp_lib.identity.rules import SOURCES, IdentityRules

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Holdings:
    """Identifiers of records or edges. One element per (owner, value).

    Attributes:
        owner: Number of the record or edge.
        value: Number of the identifier in `Graph.values`.
    """

    owner: Ints
    value: Ints

    def of(self, chosen: Flags) -> Holdings:
        """Return the chosen elements."""
        return Holdings(self.owner[chosen], self.value[chosen])


@dataclass(frozen=True)
class Graph:
    """Records and their edges. A record's number is its position in the order of record keys.

    Edges are pairs with evidence, followed by pairs that a person decided to join always.

    Attributes:
        keys: Record keys, ascending.
        source: Position of each record's source in `SOURCES`.
        customer_id: Customer's number of each record, null for records of other sources.
        values: Distinct identifiers, as <kind>:<value>.
        kinds: Names of kinds: those of the rules, then kinds of identifiers that the rules lack.
        value_kind: Position of each identifier's kind in `kinds`.
        held: Identifiers of each record.
        a: Record of each edge with the smaller number.
        b: Other record of each edge.
        weight: Evidence of each edge in bits. Infinite for a decision to join.
        contradicts: Whether the records of each edge can't belong to one person.
        shared: Identifiers of each edge.
        never_a: First record of each pair that a person decided to keep apart.
        never_b: Second record of each pair that a person decided to keep apart.
        link_weight: Least evidence that joins two records, in bits.
    """

    keys: pa.Array
    source: Ints
    customer_id: pa.Array
    values: pa.Array
    kinds: tuple[str, ...]
    value_kind: Ints
    held: Holdings
    a: Ints
    b: Ints
    weight: Floats
    contradicts: Flags
    shared: Holdings
    never_a: Ints
    never_b: Ints
    link_weight: float

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.source)

    @cached_property
    def is_named(self) -> Flags:
        """Return whether each record is a customer or contact. Records of events and consents have no name."""
        is_named: Flags = self.source < SOURCES.index("events")
        return is_named

    @cached_property
    def is_decided(self) -> Flags:
        """Return whether each edge is a decision to join always."""
        return np.isinf(self.weight)

    @cached_property
    def joins(self) -> Flags:
        """Return whether each edge joins its records, before edges are cut."""
        return (self.weight >= self.link_weight) & ~self.contradicts

    @cached_property
    def component(self) -> Ints:
        """Return the smallest record that edges connect with each record, before edges are cut."""
        return connect(len(self), self.a[self.joins], self.b[self.joins])


def connect(count: int, a: Ints, b: Ints) -> Ints:
    """Return the smallest number in the connected component of each of the numbers below `count`."""
    edges = coo_array((np.ones(len(a), bool), (a, b)), shape=(count, count))
    _, label = connected_components(edges, directed=False)
    numbers = np.arange(count)
    smallest = np.empty(count, np.int64)
    # Assigned from the last number to the first, so that the smallest number of a component remains.
    smallest[label[::-1]] = numbers[::-1]
    connected: Ints = smallest[label]
    return connected


def distinct(numbers: Ints) -> Ints:
    """Return the distinct numbers, ascending. Faster than the hash table that `numpy.unique` uses for whole numbers."""
    numbers = np.sort(numbers)
    first: Ints = numbers[np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]]
    return first


def read_graph(records: pa.Table, edges: pa.Table, overrides: pa.Table, rules: IdentityRules) -> Graph:
    """Return the graph of records, edges and decisions. Edges and decisions with unknown records are left out.

    Args:
        records: One row per record: record_key, source, customer_id, identifiers.
        edges: One row per pair of records: record_a, record_b, identifiers, weight, is_contradiction.
        overrides: One row per pair of records, with the latest decision: record_a, record_b, decision.
        rules: Rules of identity resolution.

    Raises:
        ValueError: A record key occurs twice, or a source is unknown.
    """
    records = records.select(["record_key", "source", "customer_id", "identifiers"]).sort_by("record_key")
    records = records.combine_chunks()
    keys = texts(records["record_key"])
    if len(keys) > 1 and pc.any(pc.equal(keys[1:], keys[:-1])).as_py():
        raise ValueError("a record_key occurs twice")
    source = pc.index_in(records["source"], value_set=pa.array(SOURCES))
    if source.null_count:
        raise ValueError(f"the source of a record is none of {', '.join(SOURCES)}")
    edge_a, edge_b, edges = _pairs(edges, keys)
    always_a, always_b, _ = _pairs(_decided(overrides, "always"), keys)
    never_a, never_b, _ = _pairs(_decided(overrides, "never"), keys)
    decided = np.full(len(always_a), np.inf)
    values = pc.unique(
        pa.chunked_array([texts(pc.list_flatten(records["identifiers"])), texts(pc.list_flatten(edges["identifiers"]))])
    )
    value_kinds = pc.fill_null(pc.list_element(pc.split_pattern(values, ":", max_splits=1), 0), "")
    known = tuple(kind.name for kind in rules.kinds)
    kinds = (*known, *sorted(set(pc.unique(value_kinds).to_pylist()) - set(known)))
    return Graph(
        keys=keys,
        source=_ints(source),
        customer_id=_flat(records["customer_id"]).cast(pa.int64()),
        values=values,
        kinds=kinds,
        value_kind=_ints(pc.index_in(value_kinds, value_set=pa.array(kinds, pa.string()))),
        held=_holdings(records["identifiers"], values),
        a=np.concatenate([edge_a, always_a]),
        b=np.concatenate([edge_b, always_b]),
        weight=np.concatenate([_flat(edges["weight"]).to_numpy(zero_copy_only=False), decided]),
        contradicts=np.concatenate(
            [_flat(edges["is_contradiction"]).to_numpy(zero_copy_only=False).astype(bool), np.zeros(len(decided), bool)]
        ),
        shared=_holdings(edges["identifiers"], values),
        never_a=never_a,
        never_b=never_b,
        link_weight=rules.link_weight,
    )


def texts(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column of texts as one array. Engines differ in the types of texts."""
    return _flat(column).cast(pa.string())


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _ints(column: pa.ChunkedArray | pa.Array) -> Ints:
    """Return a column without nulls as whole numbers."""
    return np.asarray(_flat(column).to_numpy(zero_copy_only=False), np.int64)


def _decided(overrides: pa.Table, decision: str) -> pa.Table:
    """Return the pairs with a decision."""
    return overrides.filter(pc.equal(overrides["decision"], decision))


def _pairs(table: pa.Table, keys: pa.Array) -> tuple[Ints, Ints, pa.Table]:
    """Return the two records of each row, the smaller number first, and the rows whose records are both known."""
    a, b = (
        _ints(pc.fill_null(pc.index_in(texts(table[name]), value_set=keys), -1)) for name in ("record_a", "record_b")
    )
    known = (a >= 0) & (b >= 0) & (a != b)
    if not known.all():
        a, b, table = a[known], b[known], table.filter(pa.array(known))
    return np.minimum(a, b), np.maximum(a, b), table


def _holdings(lists: pa.ChunkedArray, values: pa.Array) -> Holdings:
    """Return the distinct elements of each list."""
    owner = _ints(pc.list_parent_indices(_flat(lists)))
    value = _ints(pc.index_in(texts(pc.list_flatten(lists)), value_set=values))
    pair = distinct(owner * len(values) + value)
    return Holdings(pair // max(len(values), 1), pair % max(len(values), 1))
