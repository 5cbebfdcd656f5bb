"""Tests of persons: which record gives the values of each group, and what is said about their origin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any

import pytest
from pyspark.sql import Row

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER
from cdp_lib.frames import read_csv
from cdp_lib.identity.off import links_of_customers
from cdp_lib.identity.rules import OFF, AttributeGroup, IdentifierKind, IdentityRules
from cdp_lib.silver.persons import build_persons_silver

ON = IdentityRules(kinds=(IdentifierKind("email", 16),))
Persons = Callable[..., dict[int, Row]]


@pytest.fixture
def persons(spark, frame_of) -> Persons:
    """Return a function that builds rows of persons_silver, by person.

    A record has its person in `of`; the default is person 1. Contacts have the ids 1, 2 and so on.
    """

    def build(customers: list[dict[str, Any]], contacts: list[dict[str, Any]], *events: str, rules=OFF):
        named = [{"customer_id": n, "country": "unknown"} | row for n, row in enumerate(customers, 1)]
        numbered = [{"contact_id": f"{n}"} | row for n, row in enumerate(contacts, 1)]
        links = [
            *((f"customer:{row['customer_id']}", "customers", row["customer_id"], row.get("of", 1)) for row in named),
            *((f"contact:{row['contact_id']}", "crm_contacts", None, row.get("of", 1)) for row in numbered),
            *((key, "events", None, 1) for key in events),
        ]
        names = ("record_key", "source", "customer_id", "person_id")
        linked = [{"reason": "customer_id"} | dict(zip(names, link, strict=True)) for link in links]
        rows = build_persons_silver(
            frame_of(PERSON_LINKS_SILVER.columns, *linked),
            frame_of(CUSTOMERS_SILVER.columns, *({k: v for k, v in row.items() if k != "of"} for row in named)),
            frame_of(CRM_CONTACTS_SILVER.columns, *({k: v for k, v in row.items() if k != "of"} for row in numbered)),
            read_csv(spark, files("cdp_lib.reference") / "countries.csv"),
            rules,
        )
        assert rows.dtypes == [(column.name, column.type.lower()) for column in PERSONS_SILVER.columns]
        return {row.person_id: row for row in rows.collect()}

    return build


def changed(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def with_rule(name: str, rule: str, *sources: str) -> IdentityRules:
    return IdentityRules(kinds=ON.kinds, groups=(AttributeGroup(name, rule, sources or OFF.all_groups[0].sources),))


def test_person_lists_customers_and_counts_records(persons) -> None:
    customers = [
        {"customer_id": 10, "registration_date": date(2026, 2, 1)},
        {"customer_id": 9, "registration_date": date(2026, 1, 1)},
    ]
    row = persons(customers, [{}], "email:a@example.com", rules=ON)[1]
    assert (row.customer_ids, row.record_count, row.registration_date) == (["9", "10"], 4, date(2026, 1, 1))
    assert (row.email, row.email_source, row.email_record) == ("a@example.com", "events", "email:a@example.com")
    assert (row.country, row.country_source, row.full_name, row.name_rule) == ("unknown", None, None, None)


def test_values_have_their_source_record_time_and_rule(persons) -> None:
    customers = [{"full_name": "Alba", "updated_at": changed(1), "attributes": {"a": "x"}, "country": "Egypt"}]
    contacts = [{"full_name": "Nour", "phone": "+43", "modified_at": changed(2)}]
    row = persons(customers, contacts)[1]
    assert (row.full_name, row.name_source, row.name_record) == ("Alba", "customers", "customer:1")
    assert (row.name_at.astimezone(UTC), row.name_rule, row.name_link) == (changed(1), "priority", "customer_id")
    assert (row.phone, row.phone_source, row.phone_record) == ("+43", "crm_contacts", "contact:1")
    assert (row.phone_rule, row.attributes, row.country) == ("only_record", {"a": "x"}, "Egypt")


def test_latest_record_wins_by_recency_and_breaks_ties_of_priority(persons) -> None:
    customers = [{"full_name": "Alba", "updated_at": changed(1)}]
    contacts = [{"full_name": "Nour", "modified_at": changed(3)}, {"full_name": "Lara", "modified_at": changed(2)}]
    assert persons(customers, contacts)[1].full_name == "Alba"
    assert persons(customers, contacts, rules=with_rule("name", "recency"))[1].full_name == "Nour"
    rules = with_rule("name", "priority", "crm_contacts")
    assert persons(customers, contacts, rules=rules)[1].full_name == "Nour"
    assert persons(customers, [{"full_name": name} for name in ("B", "A")], rules=rules)[1].full_name == "B"


def test_complete_address_wins_and_is_never_mixed(persons) -> None:
    contacts = [
        {"city": "Cairo", "modified_at": changed(2)},
        {"city": "Giza", "postal_code": "1", "country": "Egypt", "modified_at": changed(1)},
    ]
    row = persons([{}], contacts)[1]
    assert (row.city, row.postal_code, row.address_country) == ("Cairo", None, None)
    row = persons([{}], contacts, rules=with_rule("address", "completeness"))[1]
    assert (row.city, row.postal_code, row.address_country) == ("Giza", "1", "Egypt")
    assert row.disputed == ["city"]


def test_earliest_acquisition_wins(persons) -> None:
    contacts = [
        {"acquisition_channel": "search", "acquisition_date": date(2026, 1, 1), "modified_at": changed(1)},
        {"acquisition_channel": "social", "acquisition_date": date(2026, 1, 2), "modified_at": changed(9)},
        {"acquisition_date": date(2025, 1, 1)},
    ]
    row = persons([{}], contacts)[1]
    assert (row.acquisition_channel, row.channel_date) == ("search", date(2026, 1, 1))


def test_separators_in_values_change_no_other_value(persons) -> None:
    row = persons([{}], [{"city": "Ca\x1eiro", "postal_code": "1"}])[1]
    assert (row.city, row.postal_code) == ("Cairo", "1")


def test_other_genders_are_no_value_and_countries_are_compared_by_code(persons) -> None:
    contacts = [{"gender": "803750000", "country": "EG", "modified_at": changed(2)}, {"gender": "male"}]
    row = persons([{"country": "Egypt"}], contacts)[1]
    assert (row.gender, row.disputed) == ("male", [])
    assert persons([{"country": "UAE"}], contacts)[1].disputed == ["country"]


def test_each_customer_is_a_person_if_identity_resolution_is_off(frame_of, rows_of) -> None:
    customers = frame_of(CUSTOMERS_SILVER.columns, {"customer_id": 1}, {"customer_id": 2})
    contacts = frame_of(
        CRM_CONTACTS_SILVER.columns,
        {"contact_id": "a", "customer_id": 2},
        {"contact_id": "b", "customer_id": 9},
        {"contact_id": "c"},
    )
    links = links_of_customers(customers, contacts)
    assert rows_of(links.select("record_key", "source", "customer_id", "person_id", "linked_to")) == [
        ("contact:a", "crm_contacts", None, 2, "customer:2"),
        ("customer:1", "customers", 1, 1, None),
        ("customer:2", "customers", 2, 2, None),
    ]
