from __future__ import annotations

import zlib
from datetime import date
from decimal import Decimal
from importlib.resources import files

import pytest

from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.identity import IDENTITY_RECORDS_SILVER, PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.profile import BUCKETS, CUSTOMER_PROFILE_GOLD, PROFILE_DEMOGRAPHICS, PROFILE_VALUE
from cdp_lib.contracts.silver import ACTIVITIES_SILVER
from cdp_lib.contracts.table import Column
from cdp_lib.frames import read_csv
from cdp_lib.gold.profile import build_customer_profile_gold, build_person_lookup_gold

AS_OF = date(2026, 6, 30)
_PERSON_ID = Column("person_id", "BIGINT", "")
_LINKS = (
    {"record_key": "customer:101", "source": "customers", "customer_id": 101, "person_id": 1},
    {"record_key": "customer:102", "source": "customers", "customer_id": 102, "person_id": 1},
    {"record_key": "contact:a", "source": "crm_contacts", "person_id": 1},
    {"record_key": "contact:b", "source": "crm_contacts", "person_id": 1},
    {"record_key": "device:d", "source": "events", "person_id": 1},
    {"record_key": "contact:c", "source": "crm_contacts", "person_id": 70},
)
_PERSONS = (
    {"person_id": 1, "email": "Nour@Example.com", "phone": "0664 1234567", "country": "Austria", "record_count": 5},
    {"person_id": 70, "email": "maya@example.com", "record_count": 1},
)


@pytest.fixture
def profiles(frame_of, sales):
    """Return a function that builds the profiles of two persons, with other contacts, sales and days of activity."""

    def build(consents=(), sold=(), days=()):
        return build_customer_profile_gold(
            frame_of(PERSONS_SILVER.columns, *_PERSONS),
            frame_of(PERSON_LINKS_SILVER.columns, *_LINKS),
            frame_of(CONSENT_CURRENT_SILVER.columns, *consents),
            frame_of((_PERSON_ID, *PROFILE_DEMOGRAPHICS), {"person_id": 1, "age_band": "35-44"}),
            frame_of((_PERSON_ID, *PROFILE_VALUE), {"person_id": 1, "segment": "Loyal"}),
            sales(*sold),
            frame_of(ACTIVITIES_SILVER.columns, *days),
            AS_OF,
        )

    return build


def test_prospect_has_a_profile_without_figures(profiles, rows_of) -> None:
    rows = profiles().select("person_id", "bucket", "email", "age_band", "segment", "as_of")
    assert sorted(rows_of(rows)) == [
        (1, 1, "Nour@Example.com", "35-44", "Loyal", AS_OF),
        (70, 6, "maya@example.com", None, None, AS_OF),
    ]


def test_profile_has_the_columns_of_its_contract(profiles) -> None:
    assert profiles().columns == list(CUSTOMER_PROFILE_GOLD.column_names)
    personal = {column.name: column.pii for column in CUSTOMER_PROFILE_GOLD.personal_columns}
    assert personal["email"] == "email" and personal["full_name"] == "name"


def test_profile_has_the_current_consent_to_marketing(profiles, rows_of) -> None:
    decisions = (
        {"person_id": 1, "purpose": "marketing", "channel": "email", "is_allowed": False},
        {"person_id": 1, "purpose": "marketing", "channel": "sms", "is_allowed": True},
        {"person_id": 1, "purpose": "tracking", "channel": "phone", "is_allowed": True},
    )
    columns = ("person_id", "is_email_allowed", "is_sms_allowed", "is_phone_allowed")
    expected = [(1, False, True, None), (70, None, None, None)]
    assert sorted(rows_of(profiles(decisions).select(*columns))) == expected


def test_favourites_have_the_largest_revenue_of_all_customers_of_the_person(profiles, rows_of) -> None:
    rows = profiles(
        sold=[
            {"customer_id": 101, "category": "Fitness", "price": Decimal(30), "store_name": "B"},
            {"customer_id": 101, "category": "Home", "price": Decimal(20), "store_name": "A"},
            {"customer_id": 102, "category": "Home", "price": Decimal(20), "store_name": "B", "channel": "web"},
            {"customer_id": 102, "category": "Toys", "price": Decimal(99), "transaction_date": date(2026, 7, 1)},
        ]
    )
    favourites = rows.select("person_id", "favourite_category", "favourite_store", "favourite_channel")
    assert sorted(rows_of(favourites)) == [(1, "Home", "B", "web"), (70, None, None, None)]


def test_equal_favourites_are_decided_by_name(profiles, rows_of) -> None:
    sold = [{"customer_id": 101, "category": name, "price": Decimal(5)} for name in ("Toys", "Home")]
    assert rows_of(profiles(sold=sold).where("person_id = 1").select("favourite_category")) == [("Home",)]


def test_activity_counts_purchases_and_events_up_to_the_business_date(profiles, rows_of) -> None:
    days = [
        {"identity": identity, "activity_date": date(2026, month, day)}
        for identity, month, day in (
            ("device:d", 1, 5),
            ("customer:102", 5, 3),
            ("device:d", 7, 1),
            ("device:other", 6, 1),
        )
    ]
    sold = [{"customer_id": 101, "transaction_date": date(2025, 12, 1)}]
    rows = profiles(sold=sold, days=days).select("person_id", "first_activity_date", "last_activity_date")
    assert sorted(rows_of(rows)) == [(1, date(2025, 12, 1), date(2026, 5, 3)), (70, None, None)]


def test_lookup_finds_a_person_by_every_identifier(spark, frame_of, rows_of) -> None:
    records = frame_of(
        IDENTITY_RECORDS_SILVER.columns,
        {"record_key": "contact:a", "identifiers": ["email:nour@example.com", "loyalty_card:77"]},
        {"record_key": "contact:c", "identifiers": ["email:nour@example.com"]},
    )
    persons, links = frame_of(PERSONS_SILVER.columns, *_PERSONS), frame_of(PERSON_LINKS_SILVER.columns, *_LINKS)
    references = [read_csv(spark, files("cdp_lib.reference") / name) for name in ("countries.csv", "phone_plans.csv")]
    found = rows_of(build_person_lookup_gold(persons, links, records, *references))
    expected = {(link["record_key"], link["person_id"]) for link in _LINKS} | {
        ("email:nour@example.com", 1),
        ("email:nour@example.com", 70),
        ("email:maya@example.com", 70),
        ("phone:+436641234567", 1),
        ("loyalty_card:77", 1),
    }
    assert sorted(found) == sorted((zlib.crc32(key.encode()) % BUCKETS, key, person) for key, person in expected)
