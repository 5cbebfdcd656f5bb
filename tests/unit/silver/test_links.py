from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMER_LINKS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.silver.links import build_customer_links_silver

Links = dict[str, tuple[int | None, str]]

ALBA, BRUNO = (101, "alba@example.com"), (102, "bruno@example.com")


@pytest.fixture
def links(frame_of: Callable[..., DataFrame]) -> Callable[..., Links]:
    """Return a function that builds links. It returns the (customer, reason) pair of each identity.

    Its arguments are customers as (id, e-mail), contacts as (GUID, customer id, e-mail), and rows of events.
    """

    def build(
        customers: list[tuple[int, str | None]],
        contacts: list[tuple[str, int | None, str | None]] = (),
        events: list[dict[str, Any]] = (),
    ) -> Links:
        frame = build_customer_links_silver(
            frame_of(CUSTOMERS_SILVER.columns, *({"customer_id": n, "email": email} for n, email in customers)),
            frame_of(
                CRM_CONTACTS_SILVER.columns,
                *({"contact_id": guid, "customer_id": n, "email": email} for guid, n, email in contacts),
            ),
            frame_of(EVENTS_SILVER.columns, *events),
        )
        assert frame.dtypes == [(column.name, column.type.lower()) for column in CUSTOMER_LINKS_SILVER.columns]
        rows = frame.collect()
        found = {row.identity: (row.customer_id, row.reason) for row in rows}
        assert len(found) == len(rows)
        return found

    return build


def test_contact_belongs_to_the_customer_with_its_number(links) -> None:
    assert links([ALBA, BRUNO], [("c1", 101, None)]) == {"contact:c1": (101, "customer_id")}


def test_number_of_a_contact_takes_precedence_over_its_address(links) -> None:
    assert links([ALBA, BRUNO], [("c1", 102, "alba@example.com")]) == {"contact:c1": (102, "customer_id")}


def test_contact_without_a_known_number_belongs_to_the_customer_with_its_address(links) -> None:
    contacts = [("c1", None, "alba@example.com"), ("c2", 999, "bruno@example.com")]
    assert links([ALBA, BRUNO], contacts) == {"contact:c1": (101, "email"), "contact:c2": (102, "email")}


def test_address_of_several_customers_links_nobody(links) -> None:
    customers = [ALBA, (103, "alba@example.com")]
    contacts = [("c1", None, "alba@example.com"), ("c2", 103, "alba@example.com")]
    assert links(customers, contacts) == {
        "contact:c1": (None, "ambiguous_email"),
        "contact:c2": (103, "customer_id"),
    }


@pytest.mark.parametrize("number", [None, 999])
def test_address_of_several_contacts_without_a_known_number_links_nobody(links, number) -> None:
    contacts = [("c1", None, "alba@example.com"), ("c2", number, "alba@example.com")]
    assert links([ALBA], contacts) == dict.fromkeys(("contact:c1", "contact:c2"), (None, "ambiguous_email"))


def test_contact_with_a_known_number_does_not_make_its_address_ambiguous(links) -> None:
    contacts = [("c1", 101, "alba@example.com"), ("c2", None, "alba@example.com")]
    assert links([ALBA], contacts) == {"contact:c1": (101, "customer_id"), "contact:c2": (101, "email")}


def test_contact_without_a_customer_has_a_reason(links) -> None:
    contacts = [
        ("c1", None, "nour@example.com"),
        ("c2", 999, None),
        ("c3", None, None),
        ("c4", 999, "nour@example.com"),
    ]
    assert links([ALBA, (102, None)], contacts) == {
        "contact:c1": (None, "unknown_email"),
        "contact:c2": (None, "unknown_customer_id"),
        "contact:c3": (None, "no_id_or_email"),
        "contact:c4": (None, "unknown_email"),
    }


def test_missing_addresses_do_not_match_each_other(links) -> None:
    assert links([(101, None), (102, None)], [("c1", None, None), ("c2", None, None)]) == {
        "contact:c1": (None, "no_id_or_email"),
        "contact:c2": (None, "no_id_or_email"),
    }


def test_identity_in_several_events_has_one_link_by_number_or_address(links) -> None:
    logged_in = {"identity": "customer:101", "customer_id": 101, "email": "bruno@example.com", "anonymous_id": "d1"}
    events = [
        {"event_id": "e1", **logged_in},
        {"event_id": "e2", "identity": "customer:101", "customer_id": 101},
        {"event_id": "e3", "identity": "customer:999", "customer_id": 999},
        {"event_id": "e4", "identity": "email:bruno@example.com", "email": "bruno@example.com"},
        {"event_id": "e5", "identity": "email:bruno@example.com", "email": "bruno@example.com", "anonymous_id": "d1"},
        {"event_id": "e6", "identity": "email:nour@example.com", "email": "nour@example.com"},
        {"event_id": "e7"},
    ]
    assert links([ALBA, BRUNO], events=events) == {
        "customer:101": (101, "customer_id"),
        "customer:999": (None, "unknown_customer_id"),
        "email:bruno@example.com": (102, "email"),
        "email:nour@example.com": (None, "unknown_email"),
    }


def test_event_with_an_unknown_number_is_not_linked_by_its_address(links) -> None:
    event = {"identity": "customer:999", "customer_id": 999, "email": "alba@example.com"}
    assert links([ALBA], events=[event]) == {"customer:999": (None, "unknown_customer_id")}


def test_device_alone_links_nobody(links) -> None:
    events = [
        {"identity": "device:d1", "anonymous_id": "d1"},
        {"identity": "customer:101", "customer_id": 101, "anonymous_id": "d1"},
    ]
    found = links([ALBA], events=events)
    assert found["device:d1"] == (None, "no_id_or_email")


def test_event_address_of_several_contacts_links_nobody(links) -> None:
    contacts = [("c1", None, "alba@example.com"), ("c2", None, "alba@example.com")]
    event = {"identity": "email:alba@example.com", "email": "alba@example.com"}
    assert links([ALBA], contacts, [event])["email:alba@example.com"] == (None, "ambiguous_email")


def test_customers_without_contacts_and_events_have_no_link(links) -> None:
    assert links([ALBA, BRUNO]) == {}
