"""Tests of the part of the report about identity resolution."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_local.identity_summary import IdentitySummary, LargePerson, Pattern, summarize
from cdp_local.report.identity import identity_html, waterfall

from ...identity.resolved import RULES, resolved_tables

PEOPLE = {
    "customer:1": ("nour", "email:n@x.com"),
    "contact:a": ("nour", "email:n@x.com", "phone:+43"),
    "customer:2": ("nour", "phone:+43"),
    "customer:3": ("maximilian", "email:n@x.com"),
    "customer:4": ("maya", "email:m@x.com"),
}


@pytest.fixture
def summary(frame_of) -> IdentitySummary:
    return summarize(resolved_tables(frame_of, PEOPLE), RULES)


def test_summary_counts_records_persons_and_cuts(summary) -> None:
    assert summary.records == {"crm_contacts": 1, "customers": 4}
    assert summary.persons == 3
    assert summary.sizes == {"1": 2, "2": 0, "3": 1}
    assert summary.largest[0].records == 3
    assert summary.largest[0].reasons == {"email": 2, "phone": 1}
    assert summary.cuts == {"contradiction": 2}


def test_summary_of_one_stored_record(frame_of, store) -> None:
    tables = resolved_tables(frame_of, {"customer:1": ("nour",)})
    store.replace(PERSON_LINKS_SILVER, tables.links)
    summary = summarize(replace(tables, links=store.read(PERSON_LINKS_SILVER)), RULES)
    assert (summary.persons, summary.sizes, summary.cuts, summary.patterns) == (1, {"1": 1}, {}, [])


@pytest.mark.first_engine
def test_patterns_have_the_bits_of_each_kind_of_evidence(summary) -> None:
    assert summary.patterns == [Pattern({"email": 16.0}, 3, 1), Pattern({"phone": 12.0}, 1, 1)]


@pytest.mark.first_engine
def test_section_has_no_personal_data(summary) -> None:
    page = identity_html(summary)
    assert not [value for value in ("n@x.com", "+43", "nour", "maximilian", "customer:", "contact:") if value in page]
    assert page.startswith('<section id="identity"')
    assert "Records per person" in page and "2 apart" in page


@pytest.mark.first_engine
def test_shared_values_are_cuts_without_their_value(frame_of) -> None:
    rules = replace(RULES, kinds=(replace(RULES.kinds[0], persons_per_value=1),))
    people = {
        "customer:1": ("nour", "email:n@x.com"),
        "customer:2": ("maximilian", "email:n@x.com"),
        "email:n@x.com": (None, "email:n@x.com"),
    }
    found = summarize(resolved_tables(frame_of, people, rules=rules), rules)
    assert set(found.cuts) == {"contradiction", "shared_value of email"}


def test_names_are_escaped_in_pictures() -> None:
    summary = IdentitySummary({"events": 1}, 1, {"1": 1}, [LargePerson(1, 1, {"<b>": 1})], {"<i>": 2}, [], 8.0)
    page = identity_html(summary)
    assert "<b>" not in page and "<i>" not in page


@pytest.mark.parametrize("bits", [{"email": 16.0, "birth_date": -5.5}, {}, {"prior": -20.0, "first_name": 6.0}])
def test_waterfall_shows_each_value_and_the_sum(bits) -> None:
    picture = ElementTree.fromstring(waterfall(bits, 8.0))
    texts = [each.text for each in picture.iter("text")]
    assert texts[:-1] == [
        text for name, value in [*bits.items(), ("sum", sum(bits.values()))] for text in (name, f"{value:+.1f}")
    ]
    assert texts[-1] == "needed: 8"
    assert all(float(each.get("width")) >= 0 for each in picture.iter("rect"))
