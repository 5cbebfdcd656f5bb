"""Finds the records and identifiers of the persons to erase."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from pyspark.sql import functions as sf

from cdp_lib.contracts.identity import IDENTITY_RECORDS_SILVER, PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER, ID_KEYS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.erasure.names import CONTACT, CUSTOMER, DEVICE, EMAIL, KINDS, Names, normal_text
from cdp_lib.errors import CdpError
from cdp_lib.identity.rules import PLATFORM_KINDS
from cdp_lib.storage import DeltaStore

NamedBy = Literal["customer_id", "email", "person_id"]
"""How a request names a person: by a customer's identifier as in the source, an e-mail address, or the number of the
person in `person_links_silver`."""

_KEYS = {CUSTOMERS_SILVER: ("customer_id", CUSTOMER), CRM_CONTACTS_SILVER: ("contact_id", CONTACT)}
"""Key column and kind of the records, by table."""

_ATTRIBUTES = {
    CUSTOMERS_SILVER: ("full_name", "email"),
    CRM_CONTACTS_SILVER: ("full_name", "email", "phone", "birth_date", "city"),
}
"""Columns that describe a person, by table."""

_IDENTITY = ("phone", "identifiers")
"""Columns of `identity_records_silver` that describe a person: the number in E.164, and identifiers such as a card."""


@dataclass(frozen=True)
class Request:
    """Request to erase a person.

    Attributes:
        named_by: How the request names the person.
        name: The value that names the person.
    """

    named_by: NamedBy
    name: str

    def __post_init__(self) -> None:
        """Validate the request.

        Raises:
            CdpError: The kind of name is unknown, or the name can't be a name of this kind.
        """
        if self.named_by not in get_args(NamedBy):
            raise CdpError(f"A request names a person by {', '.join(get_args(NamedBy))}, not by '{self.named_by}'.")
        if not self.name.strip() or (self.named_by == "person_id" and not self.name.strip().isdecimal()):
            raise CdpError(f"The request has no usable {self.named_by}.")

    def normal(self, *, has_text_ids: bool) -> Request:
        """Return the request with its name in the normal form.

        Args:
            has_text_ids: Whether the identifiers of customers are text.
        """
        kind = {"customer_id": CUSTOMER, "email": EMAIL, "person_id": CUSTOMER}[self.named_by]
        is_number = self.named_by == "person_id" or not has_text_ids
        return replace(self, name=normal_text(kind, self.name, is_number=is_number))


@dataclass(frozen=True)
class Found:
    """Identifiers of one person.

    Attributes:
        names: Names by kind, as in received rows (`Names`).
        numbers: Numbers of the person's customers in all tables.
        record_keys: Keys of the person's records.
        values: Other values that describe the person and nobody else, by column, such as `full_name`.
        rows_only: Values that describe others as well, by column. Only rows of the person can be searched for them.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    numbers: Sequence[int] = ()
    record_keys: Sequence[str] = ()
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rows_only: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the identifiers as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Found:
        """Return the identifiers from their JSON."""
        content = json.loads(text)
        return cls(**{each.name: content[each.name] for each in fields(cls)})


def names_of(persons: Collection[Found]) -> Names:
    """Return the names of all persons together."""
    return Names({kind: {text for each in persons for text in each.names.get(kind, ())} for kind in KINDS})


def find_persons(store: DeltaStore, requests: Mapping[str, Request], *, has_text_ids: bool) -> dict[str, Found]:
    """Return the identifiers of the persons of requests, by the key of the request.

    A person without any record gets only the name in the request: records of the person may be in quarantine, or sales
    may name a customer whom no source has.

    Cost: the number of queries does not depend on the number of requests.

    Args:
        store: Tables of the platform.
        requests: Requests by a key of the caller's choice.
        has_text_ids: Whether the identifiers of customers are text.

    Raises:
        CdpError: An e-mail address belongs to several persons, or a person does not exist.
    """
    tables = _Tables(store, has_text_ids=has_text_ids)
    requests = {key: each.normal(has_text_ids=has_text_ids) for key, each in requests.items()}
    numbers = tables.numbers_of({each.name for each in requests.values() if each.named_by == "customer_id"})
    addresses = {each.name for each in requests.values() if each.named_by == "email"}
    keys_of_address = tables.keys_with_email(addresses)
    keys = {key: _keys_of(each, numbers, keys_of_address) for key, each in requests.items()}
    persons_of_key = tables.persons_of({each for found in keys.values() for each in found})
    persons = {
        key: {int(each.name)}
        if each.named_by == "person_id"
        else {persons_of_key[record] for record in keys[key] if record in persons_of_key}
        for key, each in requests.items()
    }
    for key, each in requests.items():
        if len(persons[key]) > 1:
            listed = ", ".join(str(person) for person in sorted(persons[key]))
            raise CdpError(f"Several persons have this {each.named_by}: name one of them by person_id: {listed}.")
    records_of = tables.records_of({person for found in persons.values() for person in found})
    records = {
        key: sorted({*keys[key], *(record for person in persons[key] for record in records_of.get(person, ()))})
        for key in requests
    }
    for key, each in requests.items():
        if each.named_by == "person_id" and not records[key]:
            raise CdpError(f"There is no person {each.name}.")
    return _with_values(tables, requests, records, numbers)


def persons_of(store: DeltaStore, record_keys: Collection[str]) -> dict[str, int]:
    """Return the persons of records, by record key. A record without a person is left out."""
    return _Tables(store, has_text_ids=False).persons_of(record_keys)


def _keys_of(request: Request, numbers: Mapping[str, int], keys_of_address: Mapping[str, set[str]]) -> set[str]:
    """Return the keys of the records that a request names."""
    if request.named_by == "customer_id":
        return {f"customer:{numbers[request.name]}"} if request.name in numbers else set()
    return keys_of_address.get(request.name, set()) if request.named_by == "email" else set()


def _with_values(
    tables: _Tables,
    requests: Mapping[str, Request],
    records: Mapping[str, Sequence[str]],
    numbers: Mapping[str, int],
) -> dict[str, Found]:
    """Return the identifiers of persons from the keys of their records."""
    owner = {record: key for key, keys in records.items() for record in keys}
    described: dict[str, dict[str, set[str]]] = {key: defaultdict(set) for key in requests}
    for record, column, text in tables.attributes_of(owner):
        described[owner[record]][column].add(text)
    for record, device in tables.devices_of(owner):
        described[owner[record]][DEVICE].add(device)
    for record, key in owner.items():
        kind, _, value = record.partition(":")
        if kind in (EMAIL, DEVICE):
            described[key][kind].add(value)
    for key, each in requests.items():
        if each.named_by == "email":
            described[key][EMAIL].add(each.name)
    shared = tables.shared_values(described.values(), set(owner))
    customers = {record.partition(":")[2] for record in owner if record.startswith("customer:")}
    source_ids = tables.source_ids({int(number) for number in customers})
    found = {}
    for key, each in requests.items():
        names: dict[str, set[str]] = {kind: set() for kind in KINDS}
        own_numbers = set[int]()
        for record in records[key]:
            kind, _, value = record.partition(":")
            if kind == CUSTOMER:
                own_numbers.add(int(value))
                names[CUSTOMER].add(source_ids.get(int(value), value))
            elif kind == CONTACT:
                names[CONTACT].add(value)
        if each.named_by == "customer_id":
            names[CUSTOMER].add(each.name)
            own_numbers |= {numbers[each.name]} if each.name in numbers else set()
        for kind in (EMAIL, DEVICE):
            names[kind] = {text for text in described[key][kind] if (kind, text) not in shared}
        others = {column: texts for column, texts in described[key].items() if column not in (EMAIL, DEVICE)}
        found[key] = Found(
            {kind: sorted(texts) for kind, texts in names.items()},
            sorted(own_numbers),
            list(records[key]),
            {
                column: sorted(text for text in texts if (column, text) not in shared)
                for column, texts in others.items()
            },
            {column: sorted(text for text in texts if (column, text) in shared) for column, texts in others.items()},
        )
    return found


class _Tables:
    """Queries of the tables that tell who a person is. Each query is about all requests."""

    def __init__(self, store: DeltaStore, *, has_text_ids: bool) -> None:
        self._store, self._has_text_ids = store, has_text_ids

    def _rows(self, contract: TableContract, columns: Sequence[str], **wanted: Collection[Any]) -> list[Any]:
        """Return rows with one of the wanted values in one of the columns."""
        conditions = [sf.col(name).isin(*sorted(values)) for name, values in wanted.items() if values]
        if not conditions or not self._store.exists(contract):
            return []
        condition = conditions[0]
        for other in conditions[1:]:
            condition = condition | other
        return self._store.read(contract).where(condition).select(*columns).collect()

    def numbers_of(self, source_ids: Collection[str]) -> dict[str, int]:
        """Return the numbers of customers by their identifiers in the source."""
        if not self._has_text_ids:
            return {text: int(text) for text in source_ids if text.isascii() and text.isdecimal()}
        keyed = self._rows(ID_KEYS_SILVER, ["entity", "source_id", "id"], source_id=source_ids)
        return {row["source_id"]: row["id"] for row in keyed if row["entity"] == "customers"}

    def source_ids(self, numbers: Collection[int]) -> dict[int, str]:
        """Return the text identifiers of customers by number. It is empty if the source has numbers."""
        keyed = self._rows(ID_KEYS_SILVER, ["entity", "source_id", "id"], id=numbers if self._has_text_ids else ())
        return {row["id"]: row["source_id"] for row in keyed if row["entity"] == "customers"}

    def keys_with_email(self, addresses: Collection[str]) -> dict[str, set[str]]:
        """Return the keys of the records that have an e-mail address, by address."""
        keys: dict[str, set[str]] = {address: {f"email:{address}"} for address in addresses}
        for contract, (column, kind) in _KEYS.items():
            for row in self._rows(contract, [column, "email"], email=addresses):
                keys[row["email"]].add(f"{kind}:{row[column]}")
        return keys

    def persons_of(self, keys: Collection[str]) -> dict[str, int]:
        """Return the persons of records, by record key."""
        rows = self._rows(PERSON_LINKS_SILVER, ["record_key", "person_id"], record_key=keys)
        return {row["record_key"]: row["person_id"] for row in rows}

    def records_of(self, persons: Collection[int]) -> dict[int, list[str]]:
        """Return the keys of the records of persons."""
        keys = defaultdict[int, list[str]](list)
        for row in self._rows(PERSON_LINKS_SILVER, ["record_key", "person_id"], person_id=persons):
            keys[row["person_id"]].append(row["record_key"])
        return keys

    def attributes_of(self, keys: Collection[str]) -> Iterable[tuple[str, str, str]]:
        """Yield record key, column and text of the values that describe records."""
        of_kind = {kind: {key.partition(":")[2] for key in keys if key.startswith(f"{kind}:")} for kind in KINDS}
        for contract, (column, kind) in _KEYS.items():
            names = _ATTRIBUTES[contract]
            values: Collection[Any] = of_kind[kind]
            values = {int(value) for value in values} if kind == CUSTOMER else values
            for row in self._rows(contract, [column, *names], **{column: values}):
                for name in names:
                    if row[name] is not None:
                        yield f"{kind}:{row[column]}", name, str(row[name])
        for row in self._rows(IDENTITY_RECORDS_SILVER, ["record_key", *_IDENTITY], record_key=keys):
            for column, text in _identity_values(row):
                yield row["record_key"], column, text

    def devices_of(self, keys: Collection[str]) -> Iterable[tuple[str, str]]:
        """Yield record key and device of the events of records."""
        rows = self._rows(EVENTS_SILVER, ["identity", "anonymous_id"], identity=keys)
        yield from {(row["identity"], row["anonymous_id"]) for row in rows if row["anonymous_id"]}

    def shared_values(
        self, described: Iterable[Mapping[str, Collection[str]]], own_keys: Collection[str]
    ) -> set[tuple[str, str]]:
        """Return the pairs of column and text that a record of another person has as well."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for texts in described:
            for column, values in texts.items():
                wanted[column] |= {*values}
        shared = {("city", text) for text in wanted["city"]} | {("birth_date", text) for text in wanted["birth_date"]}
        for contract, (column, kind) in _KEYS.items():
            names = [name for name in _ATTRIBUTES[contract] if name not in ("city", "birth_date")]
            for row in self._rows(contract, [column, *names], **{name: wanted[name] for name in names}):
                if f"{kind}:{row[column]}" not in own_keys:
                    shared |= {(name, row[name]) for name in names if row[name] in wanted[name]}
        identifiers = [f"{kind}:{text}" for kind, texts in wanted.items() for text in texts]
        for row in self._identity_records_with(identifiers, wanted["phone"]):
            if row["record_key"] not in own_keys:
                shared |= {(name, text) for name, text in _identity_values(row) if text in wanted[name]}
        in_events = {f"{kind}:{text}" for kind in (EMAIL, DEVICE) for text in wanted[kind]}
        shared |= {
            (key.partition(":")[0], key.partition(":")[2]) for key in self.persons_of(in_events) if key not in own_keys
        }
        rows = self._rows(EVENTS_SILVER, ["identity", "anonymous_id"], anonymous_id=wanted[DEVICE])
        others = {row["anonymous_id"] for row in rows if row["identity"] and row["identity"] not in own_keys}
        return shared | {(DEVICE, device) for device in others}

    def _identity_records_with(self, identifiers: Sequence[str], phones: Collection[str]) -> list[Any]:
        """Return the records with one of the identifiers or phone numbers."""
        if not identifiers or not self._store.exists(IDENTITY_RECORDS_SILVER):
            return []
        has_identifier = sf.arrays_overlap("identifiers", sf.lit(sorted(identifiers)))
        has_phone = sf.col("phone").isin(*sorted(phones)) if phones else sf.lit(False)
        records = self._store.read(IDENTITY_RECORDS_SILVER).where(has_identifier | has_phone)
        return records.select("record_key", *_IDENTITY).collect()


def _identity_values(row: Any) -> Iterator[tuple[str, str]]:
    """Yield column and text of the values of a record that only identity resolution has."""
    if row["phone"] is not None:
        yield "phone", row["phone"]
    for identifier in row["identifiers"] or ():
        kind, _, text = identifier.partition(":")
        if kind not in PLATFORM_KINDS:
            yield kind, text
