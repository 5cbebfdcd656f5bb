"""Tests of the records that identity resolution compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from cdp_lib.contracts.identity import IDENTITY_RECORDS_SILVER
from cdp_lib.contracts.silver import CONSENTS_SILVER, CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.frames import read_csv
from cdp_lib.identity.rules import OFF, IdentifierKind, IdentityRules
from cdp_lib.silver.identity_records import build_identity_records_silver

AT = datetime(2026, 1, 1, tzinfo=UTC)

CARD = IdentifierKind("card", 30.0, attributes=(("crm_contacts", "Card"), ("customers", "card")))
RULES = IdentityRules(
    kinds=(
        IdentifierKind("customer_id", 40.0),
        CARD,
        IdentifierKind("email", 16.0, blocked=("test@*",)),
        IdentifierKind("phone", 12.0, blocked=("*000000*",)),
        IdentifierKind("device", 8.0, "anonymous", latest=2),
    )
)

Build = Callable[..., dict[str, Row]]


@pytest.fixture
def records(spark: SparkSession, frame_of: Callable[..., DataFrame]) -> Build:
    """Return a function that builds the records of customers, contacts and events, by key."""

    def build(
        customers: list[dict[str, Any]] = (),
        contacts: list[dict[str, Any]] = (),
        events: list[dict[str, Any]] = (),
        consents: list[dict[str, Any]] = (),
        rules: IdentityRules = RULES,
    ) -> dict[str, Row]:
        frame = build_identity_records_silver(
            frame_of(CUSTOMERS_SILVER.columns, *customers),
            frame_of(CRM_CONTACTS_SILVER.columns, *contacts),
            frame_of(EVENTS_SILVER.columns, *events),
            frame_of(CONSENTS_SILVER.columns, *consents),
            *(read_csv(spark, files("cdp_lib.reference") / name) for name in ("countries.csv", "phone_plans.csv")),
            identity_rules=rules,
        )
        columns = [(column.name, column.type.lower()) for column in IDENTITY_RECORDS_SILVER.columns]
        assert frame.dtypes == columns
        rows = frame.collect()
        found = {row.record_key: row for row in rows}
        assert len(found) == len(rows)
        return found

    return build


def seen(second: int, identity: str | None, **values: Any) -> dict[str, Any]:
    return {"event_id": str(second), "identity": identity, "occurred_at": AT + timedelta(seconds=second), **values}


def test_values_of_customers_and_contacts_are_normalised(records: Build) -> None:
    found = records(
        [{"customer_id": 1, "full_name": "Dr. Zoë Groß", "email": "Z.Gross+x@gmail.com", "country": "Österreich"}],
        [
            {
                "contact_id": "a",
                "full_name": "van der Berg, Jan",
                "phone": "0664/123 45 67",
                "country": "AT",
                "city": "Sankt Pölten",
                "postal_code": "a-3100",
                "modified_at": AT,
            }
        ],
    )
    customer, contact = found["customer:1"], found["contact:a"]
    assert (customer.source, customer.customer_id, customer.country_code) == ("customers", 1, "AT")
    assert (customer.first_name, customer.last_name, customer.email) == ("zoe", "gross", "zgross@gmail.com")
    assert (contact.source, contact.customer_id, contact.phone) == ("crm_contacts", None, "+436641234567")
    assert (contact.first_name, contact.last_name) == ("jan", "van der berg")
    assert (contact.city, contact.postal_code, contact.changed_at) == ("sankt polten", "A3100", AT.replace(tzinfo=None))


def test_identifiers_of_each_source_leave_out_blocked_values_and_kinds_without_rules(records: Build) -> None:
    customers = [{"customer_id": 1, "email": "test@example.com", "attributes": [("card", " AB 12 "), ("Card", "x")]}]
    contacts = [
        {"contact_id": "a", "customer_id": 1, "phone": "+43 664 0000001", "email": "a@example.com"},
        {"contact_id": "b", "phone": "+43 664 1234567", "attributes": [("Card", "ab12")]},
    ]
    found = {key: row.identifiers for key, row in records(customers, contacts).items()}
    assert found == {
        "customer:1": ["card:ab12", "customer_id:1"],
        "contact:a": ["customer_id:1", "email:a@example.com"],
        "contact:b": ["card:ab12", "phone:+436641234567"],
    }
    only_card = {
        key: row.identifiers for key, row in records(customers, contacts, rules=replace(RULES, kinds=(CARD,))).items()
    }
    assert only_card == {"customer:1": ["card:ab12"], "contact:a": [], "contact:b": ["card:ab12"]}


def test_customer_has_the_latest_devices_of_its_events(records: Build) -> None:
    events = [seen(n, "customer:1", customer_id=1, anonymous_id=f"d{n % 4}") for n in (0, 1, 2, 3, 5)]
    found = records([{"customer_id": 1}], events=events)
    assert {key: row.identifiers for key, row in found.items()} == {
        "customer:1": ["customer_id:1", "device:d1", "device:d3"]
    }


def test_identities_in_events_and_files_are_records_without_the_known_customers(records: Build) -> None:
    events = [
        seen(1, "customer:1", customer_id=1),
        seen(2, "customer:9", customer_id=9, anonymous_id="d9"),
        seen(3, "email:a+b@example.com", email="a+b@example.com", anonymous_id="d1"),
        seen(4, "device:d1", anonymous_id="d1"),
        seen(5, "device:d1", anonymous_id="d1"),
        seen(6, None, anonymous_id="d2"),
    ]
    decided = {"decided_at": AT + timedelta(seconds=9)}
    subjects = ("customer:1", "contact:a", "email:a+b@example.com", "email:c@example.com")
    found = records([{"customer_id": 1}], events=events, consents=[{"identity": key, **decided} for key in subjects])
    assert {key: (row.source, row.customer_id, row.identifiers) for key, row in found.items()} == {
        "customer:1": ("customers", 1, ["customer_id:1"]),
        "customer:9": ("events", None, ["customer_id:9", "device:d9"]),
        "email:a+b@example.com": ("events", None, ["email:a+b@example.com"]),
        "device:d1": ("events", None, ["device:d1"]),
        "email:c@example.com": ("consents", None, ["email:c@example.com"]),
    }
    assert found["device:d1"].changed_at == (AT + timedelta(seconds=4)).replace(tzinfo=None)


def test_phone_number_without_country_is_one_of_the_default_country(records: Build) -> None:
    contacts = [
        {"contact_id": "a", "phone": "0664 1234567"},
        {"contact_id": "b", "phone": "(212) 555-0123", "country": "USA"},
    ]
    assert [records(contacts=contacts)[f"contact:{name}"].phone for name in "ab"] == [None, "+12125550123"]
    found = records(contacts=contacts, rules=replace(RULES, country="AT"))
    assert [found[f"contact:{name}"].phone for name in "ab"] == ["+436641234567", "+12125550123"]


def test_no_records_while_identity_resolution_is_off(records: Build) -> None:
    assert records([{"customer_id": 1}], [{"contact_id": "a"}], [seen(1, "device:d1")], rules=OFF) == {}
