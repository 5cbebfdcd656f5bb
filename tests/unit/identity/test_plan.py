"""Tests of dry runs of other rules, and of decisions of people."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from cdp_lib.contracts.identity import IDENTITY_OVERRIDES_SILVER, PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.identity.overrides import append_decisions, other_records, split_decisions
from cdp_lib.identity.plan import Example, compare, moved_revenue, plan
from cdp_lib.identity.rules import IdentifierKind, IdentityRules

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def links(**persons):
    """Return links: record `c1` is customer 1, record `x1` is no customer."""
    keys = sorted(persons)
    customers = [int(key[1:]) if key.startswith("c") else None for key in keys]
    return pa.table(
        {
            "record_key": pa.array(keys, pa.string()),
            "customer_id": pa.array(customers, pa.int64()),
            "person_id": pa.array([persons[key] for key in keys], pa.int64()),
        }
    )


def test_equal_links_change_nobody() -> None:
    same = compare(links(c1=1, c2=2), links(c2=2, c1=1))
    assert (same.persons_before, same.persons_after, same.merges, same.splits, same.persons_affected) == (2, 2, 0, 0, 0)
    assert same.moved_customers == () and same.examples == ()


def test_merge_and_split_are_counted_with_their_largest_examples() -> None:
    before = links(c1=1, x1=1, c2=2, c3=3, c4=3, c5=3, c6=6)
    after = links(c1=1, x1=1, c2=1, c3=3, c4=3, c5=9, c6=6)
    changed = compare(before, after)
    assert (changed.persons_before, changed.persons_after) == (4, 4)
    assert (changed.merges, changed.splits, changed.persons_affected) == (1, 1, 3)
    assert changed.moved_customers == (2, 5)
    assert changed.examples == (
        Example("merged", (1, 2), 3, ("c1", "c2", "x1")),
        Example("split", (3,), 3, ("c3", "c4", "c5")),
    )


def test_new_and_lost_records_count_only_for_persons() -> None:
    changed = compare(links(c1=1, c2=2), links(c1=1, x7=7))
    assert (changed.persons_before, changed.persons_after, changed.merges, changed.splits) == (2, 2, 0, 0)


def test_plan_resolves_under_the_other_rules() -> None:
    rules = IdentityRules(kinds=(IdentifierKind("email", 16.0),))
    records = pa.table(
        {
            "record_key": ["customer:1", "customer:2"],
            "source": ["customers", "customers"],
            "customer_id": pa.array([1, 2], pa.int64()),
            "identifiers": [["email:n@x.com"], ["email:n@x.com"]],
        }
    )
    edges = pa.table(
        {
            "record_a": ["customer:1"],
            "record_b": ["customer:2"],
            "identifiers": [["email:n@x.com"]],
            "weight": [16.0],
            "is_contradiction": [False],
        }
    )
    decisions = pa.table(
        {name: pa.array([], pa.string()) for name in ("record_a", "record_b", "decision")}
        | {"decided_at": pa.array([], pa.timestamp("us", "UTC"))}
    )
    present = pa.table(
        {
            "record_key": ["customer:1", "customer:2"],
            "person_id": pa.array([1, 2], pa.int64()),
            "linked_at": pa.array([NOW, NOW], pa.timestamp("us", "UTC")),
        }
    )
    planned = plan(records, edges, decisions, present, rules)
    assert (planned.persons_before, planned.persons_after, planned.merges) == (2, 1, 1)
    assert planned.moved_customers == (2,)


def test_revenue_of_moved_customers(frame_of) -> None:
    sold = [
        {
            "transaction_id": number,
            "customer_id": customer,
            "revenue": Decimal(10),
            "transaction_date": date(2026, 1, 1),
        }
        for number, customer in enumerate((1, 2, 2, None))
    ]
    sales = frame_of(RETAILS_SILVER.columns, *sold)
    assert moved_revenue(sales, [2, 3]) == 20
    assert moved_revenue(sales, []) == 0


def test_split_separates_records_from_the_others() -> None:
    assert split_decisions(["b", "c"], ["a"]) == [
        {"record_a": "a", "record_b": "b", "decision": "never"},
        {"record_a": "a", "record_b": "c", "decision": "never"},
    ]
    assert len(split_decisions(["a", "b", "c"], [])) == 3


def test_decisions_are_appended_with_author_and_reason(store) -> None:
    append_decisions(store, split_decisions(["b"], ["a"]), " Ana ", "two sisters", NOW)
    append_decisions(store, split_decisions(["b"], ["c"]), "Ana", "two sisters", NOW)
    rows = store.read(IDENTITY_OVERRIDES_SILVER).orderBy("record_b").collect()
    assert [(row["record_a"], row["record_b"], row["decision"], row["author"]) for row in rows] == [
        ("a", "b", "never", "Ana"),
        ("b", "c", "never", "Ana"),
    ]
    with pytest.raises(CdpError, match="an author and a reason"):
        append_decisions(store, split_decisions(["b"], ["a"]), "Ana", " ", NOW)
    with pytest.raises(CdpError, match="nothing to decide"):
        append_decisions(store, [], "Ana", "why", NOW)


def test_other_records_share_the_person(frame_of) -> None:
    rows = [{"record_key": key, "person_id": person} for key, person in (("a", 1), ("b", 1), ("c", 1), ("d", 2))]
    linked = frame_of(PERSON_LINKS_SILVER.columns, *rows)
    assert other_records(linked, ["b"]) == ["a", "c"]
    with pytest.raises(CdpError, match="no record z"):
        other_records(linked, ["z"])
