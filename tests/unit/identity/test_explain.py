"""Tests of explanations: evidence, the way between two records, cuts and missing evidence."""

from __future__ import annotations

from functools import partial

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.identity.explain import choose_records, explain
from cdp_lib.identity.rules import OFF
from cdp_lib.identity.way import cut_in_words

from .resolved import RULES, resolved_tables


@pytest.fixture
def tables(frame_of):
    """Return a function that resolves records, given as key: (first name, identifiers)."""
    return partial(resolved_tables, frame_of)


@pytest.mark.first_engine
def test_records_with_a_shared_address_are_joined_directly(tables) -> None:
    shop = tables({"customer:1": ("nour", "email:n@x.com"), "contact:a": ("nour", "email:n@x.com", "phone:+43")})
    found = explain(shop, "customer:1", "contact:a", RULES, None)
    assert (found.record_a, found.record_b, found.person_a, found.person_b) == ("contact:a", "customer:1", 1, 1)
    assert found.decision == "joined_directly"
    assert found.bits == {"email": 16.0} and found.weight == 16.0
    assert found.identifiers == ["email:n@x.com"]
    assert found.values["first_name"] == ("nour", "nour")


def test_records_without_a_common_value_are_joined_through_others(tables) -> None:
    shop = tables(
        {
            "customer:1": ("nour", "email:n@x.com"),
            "contact:a": ("nour", "email:n@x.com", "phone:+43"),
            "customer:2": ("nour", "phone:+43"),
        }
    )
    found = explain(shop, "customer:1", "customer:2", RULES, None)
    assert found.decision == "joined_through"
    assert [(step.record_a, step.record_b, step.evidence, step.weight) for step in found.steps] == [
        ("customer:1", "contact:a", "email", 16.0),
        ("contact:a", "customer:2", "phone", 12.0),
    ]
    assert found.why == "They are one person through contact:a."


@pytest.mark.first_engine
def test_contradiction_is_a_cut(tables) -> None:
    shop = tables({"customer:1": ("nour", "email:n@x.com"), "customer:2": ("maximilian", "email:n@x.com")})
    found = explain(shop, "customer:1", "customer:2", RULES, None)
    assert found.decision == "cut" and found.is_contradiction
    assert found.why.endswith("their names or birth dates clearly differ.")
    assert found.person_a != found.person_b


@pytest.mark.first_engine
def test_decision_of_a_person_is_a_cut_with_its_author(tables) -> None:
    people = {"customer:1": ("nour", "email:n@x.com"), "customer:2": ("nour", "email:n@x.com")}
    found = explain(tables(people, [("customer:1", "customer:2", "never")]), "customer:1", "customer:2", RULES, None)
    assert found.decision == "cut" and "a person decided" in found.why
    assert [(row["decision"], row["author"]) for row in found.overrides] == [("never", "Ana")]


@pytest.mark.first_engine
def test_decision_to_join_is_a_step(tables) -> None:
    people = {"customer:1": ("nour", "email:n@x.com"), "customer:2": ("nour", "email:o@x.com")}
    found = explain(tables(people, [("customer:1", "customer:2", "always")]), "customer:1", "customer:2", RULES, None)
    assert found.decision == "joined_directly"
    assert [(step.evidence, step.weight) for step in found.steps] == [("always", None)]


@pytest.mark.first_engine
def test_missing_evidence_is_named(tables) -> None:
    shop = tables({"customer:1": ("nour", "weak:7"), "customer:2": ("nour", "weak:7")})
    found = explain(shop, "customer:1", "customer:2", RULES, None)
    assert found.decision == "no_evidence" and found.bits == {"weak": 3.0}
    assert found.why == "5.0 bits are missing. An equal email or phone would be enough."


@pytest.mark.first_engine
def test_person_stands_for_the_record_with_the_strongest_edge(tables) -> None:
    shop = tables(
        {
            "customer:1": ("nour",),
            "contact:a": ("nour", "email:n@x.com"),
            "customer:2": ("maximilian", "email:n@x.com", "phone:+43"),
        }
    )
    person = {row["record_key"]: str(row["person_id"]) for row in shop.links.collect()}
    assert choose_records(shop, person["contact:a"], person["customer:2"]) == ("contact:a", "customer:2")
    assert choose_records(shop, person["customer:1"], "customer:2") == ("customer:1", "customer:2")


@pytest.mark.first_engine
def test_unknown_records_are_errors(tables) -> None:
    shop = tables({"customer:1": ("nour",), "customer:2": ("nour",)})
    with pytest.raises(CdpError, match="There is no record contact:z"):
        explain(shop, "customer:1", "contact:z", RULES, None)
    with pytest.raises(CdpError, match="There is no person 99"):
        explain(shop, "customer:1", "99", RULES, None)
    with pytest.raises(CdpError, match="are the same record"):
        explain(shop, "customer:1", "customer:1", RULES, None)
    with pytest.raises(CdpError, match="is off"):
        explain(shop, "customer:1", "customer:2", OFF, None)


def test_every_cut_has_words() -> None:
    assert cut_in_words("shared_value:email:n@x.com") == "more persons than persons_per_value share email:n@x.com"
    assert cut_in_words("limit records_per_person").endswith("records_per_person")
