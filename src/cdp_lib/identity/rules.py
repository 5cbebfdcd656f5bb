"""Rules of identity resolution: which identifiers join records, and where the values of a person come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SOURCES_OF_VALUES = ("customers", "crm_contacts", "events")
"""Sources whose records give values of a person, the most reliable source first."""

SOURCES = (*SOURCES_OF_VALUES, "consents")
"""Sources of records. A file of decisions says what persons decided, and nothing else about them."""

PLATFORM_KINDS = ("customer_id", "email", "phone", "device")
"""Kinds of identifiers that the platform reads from its own columns. All other kinds are attributes of a source."""


@dataclass(frozen=True)
class IdentifierKind:
    """Kind of identifier, such as e-mail addresses.

    Attributes:
        name: Name of the kind, such as `email`.
        weight: Evidence of two records with the same value, in bits: the logarithm to base 2 of the Bayes factor.
        joins: Records that a shared value may join. `all`: any records. `anonymous`: a record without customer number,
            contact or e-mail address, such as a device, and one other record.
        values_per_person: Most distinct values of a person. 0 for no limit.
        persons_per_value: Most persons that may share a value. If more persons share a value, the value joins nothing.
            0 for no limit.
        latest: Number of the latest values of a record that count. 0 for all values.
        blocked: Values that join nothing. `*` stands for any characters.
        attributes: Own attribute that holds the identifier, by source. Empty for a kind of the platform.
    """

    name: str
    weight: float
    joins: Literal["all", "anonymous"] = "all"
    values_per_person: int = 0
    persons_per_value: int = 0
    latest: int = 0
    blocked: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class AttributeGroup:
    """Attributes of a person that always come from the same record, such as the parts of an address.

    Attributes:
        name: Name of the group: a key of `PERSON_GROUPS`, such as `address`.
        rule: Record that gives the values: `priority`: the record of the first of `sources`; `recency`: the record that
            was changed last; `completeness`: the record with the most values. Records without a value never count. Ties
            are decided by the other rules in this order: priority, recency, record key. In the group `acquisition`, the
            earliest acquisition comes before recency: a later change of a record does not change who acquired a person.
        sources: Sources in order of priority. A source that is missing gives no values.
    """

    name: str
    rule: Literal["priority", "recency", "completeness"] = "priority"
    sources: tuple[str, ...] = SOURCES_OF_VALUES


DEFAULT_GROUPS = (
    AttributeGroup("name"),
    AttributeGroup("email"),
    AttributeGroup("phone"),
    AttributeGroup("birth"),
    AttributeGroup("address", sources=("crm_contacts", "customers", "events")),
    AttributeGroup("country", sources=("customers",)),
    AttributeGroup("acquisition"),
    AttributeGroup("loyalty"),
    AttributeGroup("household"),
    AttributeGroup("attributes"),
)
"""Groups of attributes if the rules declare none.

Sales are reported by the country that the customers API says, so only customers give the country of record.
"""


@dataclass(frozen=True)
class IdentityRules:
    """Rules of identity resolution.

    Attributes:
        kinds: Kinds of identifiers, the strongest kind first. Empty if identity resolution is off: then, each customer
            is a person, and the number of the person is the number of the customer.
        groups: Groups of attributes of a person. `DEFAULT_GROUPS` has the groups that are not declared.
        link_weight: Least evidence that joins two records, in bits.
        records_per_value: Most records that share a value. A value of more records joins nothing.
        records_per_person: Most records of a person.
        model: Name or path of the trained model that compares names, birth dates and addresses. Empty for none. It is
            not part of the text of the rules, which table states store: `model_version` is.
        model_version: Version of the model, so that tables are rebuilt if the file of the model changes.
        country: ISO 3166-1 alpha-2 code of the country of phone numbers without country, if the record has no country.
    """

    kinds: tuple[IdentifierKind, ...] = ()
    groups: tuple[AttributeGroup, ...] = ()
    link_weight: float = 8.0
    records_per_value: int = 20
    records_per_person: int = 100
    model: str = field(default="", repr=False)
    model_version: str = ""
    country: str = ""

    @property
    def is_on(self) -> bool:
        """Return whether identity resolution is on."""
        return bool(self.kinds)

    @property
    def all_groups(self) -> tuple[AttributeGroup, ...]:
        """Return every group of attributes: as declared, or else as in `DEFAULT_GROUPS`."""
        declared = {group.name: group for group in self.groups}
        return tuple(declared.get(group.name, group) for group in DEFAULT_GROUPS)


OFF = IdentityRules()
"""Rules under which each customer is a person."""
