"""Invented retail shop whose records are known to belong to which person, for tests of identity resolution.

    shop = make_shop(3_000, seed=1)
    shop.customers, shop.contacts, shop.events     # the rows of customers_silver, crm_contacts_silver and events_silver
    shop.records                                   # the same as rows of identity_records_silver
    shop.truth                                     # pandas Series: record_key → number of the person

The shop is hard but fair: a careful person who sees all columns could find the persons. `shop.hopeless` lists the
records for which this is impossible. They are less than 1 %:
    - A later record has another e-mail address than the first record of the person, and no phone, card, customer number
      or birth date in common with it.
    - A father and a son with the same name share an e-mail address, and the record has neither birth date nor card.
An event identity that several persons use, such as a family's e-mail address or a shop's terminal, belongs to nobody:
it is a person of its own in the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import pandas as pd
import pyarrow as pa

from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_local.demo.people import PeopleRates, make_people
from cdp_local.demo.records import RecordRates, draw_facts
from cdp_local.demo.typed import typed_records
from identity_events import EventRates, draw_events, truth_of_identities
from identity_tables import identity_records, table_of


@dataclass(frozen=True)
class ShopRates:
    """Rates of persons, of records and of events."""

    people: PeopleRates = field(default_factory=PeopleRates)
    records: RecordRates = field(default_factory=RecordRates)
    events: EventRates = field(default_factory=EventRates)


@dataclass(frozen=True)
class IdentityShop:
    """Tables of the shop, and the truth.

    Attributes:
        people: One row per person (see `make_people`).
        customers, contacts, events: Rows of the silver tables.
        records: Rows of identity_records_silver, normalised by this module and not by the platform.
        truth: Number of the person by record_key.
        hopeless: Keys of the records that even a careful person can't assign.
        rows: One row per customer and contact with its facts, to explain errors.
    """

    people: pd.DataFrame
    customers: pa.Table
    contacts: pa.Table
    events: pa.Table
    records: pa.Table
    truth: pd.Series
    hopeless: frozenset[str]
    rows: pd.DataFrame


def make_shop(persons: int = 3_000, seed: int = 1, rates: ShopRates | None = None) -> IdentityShop:
    """Return a shop. The same arguments give the same shop."""
    rates = rates or ShopRates()
    people = make_people(persons, seed, rates.people)
    facts = draw_facts(people, seed, rates.records)
    rows = typed_records(people, facts, seed)
    identities = draw_events(people, rows, seed, rates.events)
    truth = pd.concat([rows.set_index("record_key")["person"], truth_of_identities(identities, rows, persons)])
    customers, contacts = rows[rows["is_customer"]], rows[~rows["is_customer"]]
    return IdentityShop(
        people,
        table_of(CUSTOMERS_SILVER, customers.assign(registration_date=date(2024, 1, 1), is_active=True)),
        table_of(CRM_CONTACTS_SILVER, contacts.assign(customer_id=contacts["names_customer"])),
        table_of(EVENTS_SILVER, identities),
        identity_records(rows, identities),
        truth.sort_index(),
        frozenset(rows.loc[rows["is_hopeless"], "record_key"]),
        rows,
    )
