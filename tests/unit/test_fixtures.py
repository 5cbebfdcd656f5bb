"""Tests that the sample data agrees between sources and with the contracts, and contains no real person."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE, EVENTS_BRONZE, EXCHANGE_RATES_BRONZE, MARKETING_SPEND_BRONZE
from cdp_lib.contracts.table import BronzeContract

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
EVENT_FILES = sorted((FIXTURES / "events").iterdir())
SPEND_FILES = sorted((FIXTURES / "marketing_spend").iterdir())

Row = dict[str, Any]

CUSTOMERS: list[Row] = json.loads((FIXTURES / "customers.json").read_text(encoding="utf-8"))
CONTACTS: list[Row] = json.loads((FIXTURES / "crm_contacts.json").read_text(encoding="utf-8"))
EVENTS: list[Row] = [json.loads(line) for path in EVENT_FILES for line in path.read_bytes().splitlines()]
CUSTOMER_IDS = {customer["customer_id"] for customer in CUSTOMERS}


def _csv(*paths: Path) -> Iterator[Row]:
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file, strict=True)


SPEND = list(_csv(*SPEND_FILES))
RATES = list(_csv(FIXTURES / "exchange_rates.csv"))


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((FIXTURES / "database.sql").read_text(encoding="utf-8"))
        yield connection


def _names(contract: BronzeContract) -> list[str]:
    return [column.name for column in contract.received_columns if not column.on_request]


def _repeated(values: Iterator[Any]) -> list[Any]:
    return [value for value, times in Counter(values).items() if times > 1]


@pytest.mark.parametrize(
    "path", [FIXTURES / "crm_contacts.json", FIXTURES / "exchange_rates.csv", *EVENT_FILES, *SPEND_FILES]
)
def test_a_file_is_utf8_with_unix_line_ends_and_a_final_one(path: Path) -> None:
    content = path.read_bytes()
    assert content.decode("utf-8").endswith("\n") and not content.endswith(b"\n\n")
    assert b"\r" not in content and not content.startswith(b"\xef\xbb\xbf")


def test_files_have_the_columns_of_their_contracts() -> None:
    assert {tuple(contact) for contact in CONTACTS} == {tuple(_names(CRM_CONTACTS_BRONZE))}
    assert {tuple(row) for row in SPEND} == {tuple(_names(MARKETING_SPEND_BRONZE))}
    assert {tuple(row) for row in RATES} == {tuple(_names(EXCHANGE_RATES_BRONZE))}
    # An event omits fields without a value.
    assert {name for event in EVENTS for name in event} == set(_names(EVENTS_BRONZE))


@pytest.mark.parametrize(
    ("rows", "contract"),
    [
        (CONTACTS, CRM_CONTACTS_BRONZE),
        (EVENTS, EVENTS_BRONZE),
        (SPEND, MARKETING_SPEND_BRONZE),
        (RATES, EXCHANGE_RATES_BRONZE),
    ],
    ids=lambda value: value.entity if isinstance(value, BronzeContract) else "",
)
def test_a_record_key_names_one_record(rows: list[Row], contract: BronzeContract) -> None:
    assert rows and _repeated(tuple(row[name] for name in contract.record_key) for row in rows) == []


def test_files_are_named_for_the_month_in_them() -> None:
    months = [f"2025-{month:02d}" for month in range(4, 11)]
    assert [path.name for path in EVENT_FILES] == [f"{month}.jsonl" for month in months]
    assert [path.name for path in SPEND_FILES] == [f"{month}.csv" for month in months]
    for path in EVENT_FILES:
        assert {json.loads(line)["occurred_at"][:7] for line in path.read_bytes().splitlines()} == {path.stem}
    for path in SPEND_FILES:
        assert {row["month"] for row in _csv(path)} == {path.stem}


def test_nobody_in_them_is_real() -> None:
    addresses = {
        row[name] for rows, name in [(CONTACTS, "emailaddress1"), (EVENTS, "email")] for row in rows if row.get(name)
    }
    assert {address.lower().split("@")[1] for address in addresses} == {"example.com"}
    # Phone numbers whose subscriber part begins with three zeros are not assigned to anyone.
    digits = [re.sub(r"\D", "", contact["mobilephone"]) for contact in CONTACTS if contact["mobilephone"]]
    assert digits and [number for number in digits if not re.search(r"(100|50)0000[19]\d\d$", number)] == []


def test_contacts_name_customers_there_are() -> None:
    named = {int(contact["cdp_customerid"]) for contact in CONTACTS if contact["cdp_customerid"]}
    assert named < CUSTOMER_IDS
    addresses = {customer["email"]: customer["customer_id"] for customer in CUSTOMERS}
    unnamed = [contact for contact in CONTACTS if not contact["cdp_customerid"] and contact["emailaddress1"]]
    by_address = {addresses.get(contact["emailaddress1"].lower()) for contact in unnamed} - {None}
    # Two customers have no contact; some contacts belong to no customer.
    assert CUSTOMER_IDS - named - by_address == {119, 143}
    assert sum(contact["emailaddress1"].lower() not in addresses for contact in unnamed) >= 5


def test_some_contacts_are_one_person_twice_and_some_share_what_others_are_known_by() -> None:
    people = {contact["fullname"]: contact for contact in CONTACTS}
    for name, other in [("Dario Birkholm", "Dário Birkholm"), ("Henrik Jadeborg", "H. Jadeborg")]:
        assert people[name]["birthdate"] == people[other]["birthdate"]
        assert people[name]["mobilephone"] != people[other]["mobilephone"]
        assert people[name]["mobilephone"][-4:] == people[other]["mobilephone"][-4:]
    assert people["Linnea Tannwald"]["emailaddress1"] == people["Mikkel Tannwald"]["emailaddress1"]
    assert people["Linnea Tannwald"]["birthdate"] != people["Mikkel Tannwald"]["birthdate"]
    assert _repeated(contact["fullname"] for contact in CONTACTS) == ["Greta Casterley", "Lorenz Ravensund"]


def test_a_contact_is_never_changed_before_what_it_says() -> None:
    for contact in CONTACTS:
        assert contact["createdon"] <= contact["modifiedon"] < "2026"
        for channel in ("email", "sms", "phone"):
            said, on = contact[f"cdp_{channel}consent"], contact[f"cdp_{channel}consenton"]
            assert (said is None) == (on is None), contact["fullname"]
            assert on is None or on <= contact["modifiedon"]
    # At least three contacts change in the same second, to test a watermark in the middle of that second.
    assert max(Counter(contact["modifiedon"] for contact in CONTACTS).values()) > 2


def test_events_are_in_order_of_time() -> None:
    times = [datetime.fromisoformat(event["occurred_at"]) for event in EVENTS]
    assert times == sorted(times)


def test_events_name_customers_and_products_there_are(database: sqlite3.Connection) -> None:
    products = {product_id for (product_id,) in database.execute("SELECT product_id FROM products")}
    assert {event["customer_id"] for event in EVENTS if "customer_id" in event} < CUSTOMER_IDS
    assert {event["product_id"] for event in EVENTS if "product_id" in event} == products


def test_a_checkout_is_a_sale_of_that_day(database: sqlite3.Connection) -> None:
    sales = set(database.execute("SELECT customer_id, product_id, transaction_date FROM transactions"))
    checkouts = [event for event in EVENTS if event["event_type"] == "checkout"]
    assert checkouts
    assert {(e["customer_id"], e["product_id"], e["occurred_at"][:10]) for e in checkouts} < sales


def test_a_visit_begins_with_a_page_or_the_app_and_ends_within_the_hour() -> None:
    visits = [event for event in EVENTS if event["channel"] != "email"]
    steps = ["product_view", "add_to_cart", "checkout"]
    for session, group in groupby(
        sorted(visits, key=lambda e: (e["session_id"], e["occurred_at"])), lambda e: e["session_id"]
    ):
        events = list(group)
        first = {"web": "page_view", "app": "app_open"}[events[0]["channel"]]
        assert [event["event_type"] for event in events] == [first, *steps][: len(events)], session
        begin, end = (datetime.fromisoformat(events[place]["occurred_at"]) for place in (0, -1))
        assert (end - begin).total_seconds() < 3600
        assert len({(event["anonymous_id"], event["channel"]) for event in events}) == 1


def test_visitors_become_known() -> None:
    visits = [event for event in EVENTS if event["channel"] != "email"]
    seen: dict[str, set[int | None]] = {}
    for event in visits:
        seen.setdefault(event["anonymous_id"], set()).add(event.get("customer_id"))
    assert sum(event.get("customer_id") is None for event in EVENTS if event["channel"] != "email") > len(EVENTS) / 4
    assert sum(None in customers and len(customers) == 2 for customers in seen.values()) >= 4
    # Two customers share one device.
    assert [customers - {None} for customers in seen.values() if len(customers - {None}) > 1] == [{104, 110}]
    assert {event.get("consent") for event in visits} == {True, False, None}


def test_messages_go_to_addresses_of_contacts_who_did_not_refuse() -> None:
    contacts = {contact["emailaddress1"].lower(): contact for contact in reversed(CONTACTS) if contact["emailaddress1"]}
    unsubscribed: dict[str, str] = {}
    for event in EVENTS:
        if event["channel"] != "email":
            assert "email" not in event
            continue
        contact = contacts[event["email"].lower()]
        refused = contact["cdp_emailconsenton"] if contact["cdp_emailconsent"] is False else "9"
        assert event["campaign"] and event["occurred_at"] <= min(refused, unsubscribed.get(event["email"], "9"))
        if event["event_type"] == "unsubscribe":
            unsubscribed[event["email"]] = event["occurred_at"]
    # For one of these unsubscribe events, the CRM still has the consent.
    not_heard = [address for address in unsubscribed if contacts[address]["cdp_emailconsent"]]
    assert len(unsubscribed) == 4 and not_heard == ["vesna.hollbrook@example.com"]


def test_campaigns_of_events_were_paid_for_in_that_month() -> None:
    paid = {(row["month"], row["campaign"]) for row in SPEND}
    led_to = {(event["occurred_at"][:7], event["campaign"]) for event in EVENTS if "campaign" in event}
    assert led_to - paid == set()
    assert {campaign for _, campaign in led_to} == {campaign for _, campaign in paid}


def test_channels_of_spend_are_those_contacts_come_by() -> None:
    channels = {contact["cdp_acquisitionchannel"] for contact in CONTACTS} - {None}
    assert channels == {"organic", "paid_search", "paid_social", "email", "referral", "store"}
    assert {row["channel"] for row in SPEND} == channels - {"organic", "store"}


def test_spend_can_be_told_in_the_reporting_currency() -> None:
    rates = {(row["month"], row["currency"]): float(row["rate"]) for row in RATES}
    assert {row["currency"] for row in SPEND} == {"AED", "EGP", "EUR", "SAR", "USD"}
    assert {(row["month"], row["currency"]) for row in SPEND} - rates.keys() == set()
    assert all(rate == 1 if currency == "USD" else 0 < rate < 2 for (_, currency), rate in rates.items())
    assert all(re.fullmatch(r"\d+\.\d\d", row["amount"]) for row in SPEND)
