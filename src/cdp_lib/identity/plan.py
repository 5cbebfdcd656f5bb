"""Dry run of other rules of identity resolution: which persons would merge and split. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import (
    CONSENTS_SILVER,
    CRM_CONTACTS_SILVER,
    CUSTOMERS_SILVER,
    EVENTS_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.errors import CdpError
from cdp_lib.frames import frame_from_arrow, read_csv
from cdp_lib.identity.explain import IdentityTables
from cdp_lib.identity.resolution import resolve
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.silver.identity_edges import build_identity_edges_silver
from cdp_lib.silver.identity_records import build_identity_records_silver
from cdp_lib.silver.person_links import latest_decisions
from cdp_lib.storage import DeltaStore

_NO_TIME = datetime.min.replace(tzinfo=UTC)
"""Time of links that are not stored."""

_EXAMPLES = 10
"""Number of examples in a plan."""

_KEYS = 6
"""Number of record keys in an example."""


@dataclass(frozen=True)
class Example:
    """Person that would change.

    Attributes:
        event: `merged`: records of several persons would become one person. `split`: the person would become several.
        persons: Numbers of the present persons.
        records: Number of records.
        keys: First keys of the records.
    """

    event: str
    persons: tuple[int, ...]
    records: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Effect of other rules.

    Attributes:
        records: Records that would be resolved.
        persons_before: Present number of persons.
        persons_after: Number of persons under the other rules.
        merges: Persons under the other rules that unite records of several present persons.
        splits: Present persons whose records would belong to several persons.
        persons_affected: Present persons that take part in a merge or a split.
        moved_customers: Numbers of the customers who would belong to another person.
        examples: The largest merges and splits.
    """

    records: int
    persons_before: int
    persons_after: int
    merges: int
    splits: int
    persons_affected: int
    moved_customers: tuple[int, ...]
    examples: tuple[Example, ...]


def plan_rules(store: DeltaStore, rules: IdentityRules) -> tuple[Plan, Decimal]:
    """Return the effect of other rules, and the revenue of the customers who would belong to another person.

    Records and pairs are built again under the other rules, so a plan costs as much as a full refresh of identity
    resolution. Nothing is written.

    Args:
        store: Tables of the platform.
        rules: The other rules.

    Raises:
        CdpError: The rules are off, or a table does not exist yet.
    """
    if not rules.is_on:
        raise CdpError("These rules switch identity resolution off: each customer would be a person.")
    tables = IdentityTables.read(store)
    customers, contacts, events, consents = (
        store.read(each) for each in (CUSTOMERS_SILVER, CRM_CONTACTS_SILVER, EVENTS_SILVER, CONSENTS_SILVER)
    )
    countries, phone_plans = (
        read_csv(store.session, files("cdp_lib.reference") / name) for name in ("countries.csv", "phone_plans.csv")
    )
    records = build_identity_records_silver(customers, contacts, events, consents, countries, phone_plans, rules)
    edges = build_identity_edges_silver(records, rules).drop("evidence")
    needed = records.select("record_key", "source", "customer_id", "identifiers")
    planned = plan(needed.toArrow(), edges.toArrow(), tables.decisions.toArrow(), tables.links.toArrow(), rules)
    return planned, moved_revenue(store.read(RETAILS_SILVER), planned.moved_customers)


def plan(
    records: pa.Table,
    edges: pa.Table,
    decisions: pa.Table,
    links: pa.Table,
    rules: IdentityRules,
) -> Plan:
    """Resolve all records under other rules, and compare the persons with the present persons.

    Args:
        records: Rows of `identity_records_silver`, built under the other rules: `record_key`, `source`, `customer_id`
            and `identifiers`.
        edges: Rows of `identity_edges_silver`, built under the other rules.
        decisions: Rows of `identity_overrides_silver`.
        links: Present rows of `person_links_silver`.
        rules: The other rules.
    """
    highest = pc.max(links["person_id"]).as_py() or 0
    resolution = resolve(records, edges, latest_decisions(decisions), links, rules, highest + 1, _NO_TIME)
    return compare(links, resolution.links)


def compare(before: pa.Table, after: pa.Table) -> Plan:
    """Compare the persons of the same records before and after a change.

    Args:
        before: `record_key`, `person_id` and `customer_id` before.
        after: The same after. A record that is only on one side counts only for the numbers of persons.
    """
    place = pc.index_in(after["record_key"], value_set=before["record_key"].combine_chunks())
    known = pc.is_valid(place)
    keys, customers = (after[name].filter(known) for name in ("record_key", "customer_id"))
    new = after["person_id"].filter(known).to_numpy()
    old = before["person_id"].take(place.filter(known)).to_numpy()
    pairs = np.unique(np.stack([old, new], axis=1), axis=0) if len(new) else np.empty((0, 2), np.int64)
    merged, split = _repeated(pairs[:, 1]), _repeated(pairs[:, 0])
    is_affected = np.isin(pairs[:, 1], merged) | np.isin(pairs[:, 0], split)
    has_moved = pc.and_(pc.is_valid(customers), pa.array(old != new))
    return Plan(
        records=after.num_rows,
        persons_before=len(pc.unique(before["person_id"])),
        persons_after=len(pc.unique(after["person_id"])),
        merges=len(merged),
        splits=len(split),
        persons_affected=len(np.unique(pairs[is_affected, 0])),
        moved_customers=tuple(sorted(customers.filter(has_moved).to_pylist())),
        examples=tuple([*_examples("merged", merged, new, old, keys), *_examples("split", split, old, old, keys)]),
    )


def _repeated(values: np.ndarray) -> np.ndarray:
    """Return the values that occur more than once, ascending."""
    found, counts = np.unique(values, return_counts=True)
    return found[counts > 1]


def _examples(event: str, groups: np.ndarray, of_record: np.ndarray, old: np.ndarray, keys: pa.Array) -> list[Example]:
    """Return the groups with the most records, the largest first."""
    found, counts = np.unique(of_record[np.isin(of_record, groups)], return_counts=True)
    largest = np.lexsort((found, -counts))[:_EXAMPLES]
    examples = []
    for group, count in zip(found[largest].tolist(), counts[largest].tolist(), strict=True):
        chosen = np.flatnonzero(of_record == group)
        names = sorted(keys.take(pa.array(chosen)).to_pylist())[:_KEYS]
        examples.append(Example(event, tuple(np.unique(old[chosen]).tolist()), count, tuple(names)))
    return examples


def moved_revenue(retails_silver: DataFrame, customers: Sequence[int]) -> Decimal:
    """Return the revenue of all sales of customers, in the reporting currency.

    Args:
        retails_silver: One row per sale.
        customers: Numbers of the customers.
    """
    if not customers:
        return Decimal(0)
    numbers = frame_from_arrow(pa.table({"customer_id": pa.array(customers, pa.int64())}), retails_silver)
    moved = retails_silver.join(numbers, "customer_id", how="left_semi")
    [(revenue,)] = moved.agg(sf.sum("revenue")).collect()
    return Decimal(revenue or 0)
