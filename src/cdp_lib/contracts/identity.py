"""Silver: the persons behind the records of all sources."""

from cdp_lib.contracts.table import Column, TableContract

_RECORD_KEY = Column(
    "record_key",
    "STRING",
    "customer:<customer_id>, contact:<contact_id>, email:<address> or device:<anonymous_id>",
    required=True,
    pii="email",
)
_SOURCE = Column("source", "STRING", "customers, crm_contacts, events or consents", required=True)
_CUSTOMER_ID = Column(
    "customer_id", "BIGINT", "customer's number if the record is in customers_silver; null for all other records"
)
_PERSON_ID = Column("person_id", "BIGINT", "number of the person, never reused", required=True)

IDENTITY_RECORDS_SILVER = TableContract(
    name="identity_records_silver",
    layer="silver",
    comment="One row per customer, contact of the CRM and identity in events, with the values that identity resolution"
    " compares.",
    columns=(
        _RECORD_KEY,
        _SOURCE,
        _CUSTOMER_ID,
        Column("first_name", "STRING", "first name, lower case, without accents; null if unknown", pii="name"),
        Column("last_name", "STRING", "last name, lower case, without accents; null if unknown", pii="name"),
        Column("birth_date", "DATE", "day of birth", pii="birth_date"),
        Column("gender", "STRING", "gender, as in crm_contacts_silver", pii="gender"),
        Column("street", "STRING", "street and number, lower case, without accents", pii="address"),
        Column("city", "STRING", "city, lower case, without accents", pii="address"),
        Column("postal_code", "STRING", "postal code, upper case, only letters and digits", pii="address"),
        Column("country_code", "STRING", "ISO 3166-1 alpha-2 code of the country; null if unknown"),
        Column("email", "STRING", "e-mail address in its normal form", pii="email"),
        Column("phone", "STRING", "phone number in E.164; null if it is not a possible number", pii="phone"),
        Column("household_id", "STRING", "household, as the source says"),
        Column(
            "identifiers",
            "ARRAY<STRING>",
            "identifiers that may join the record, as <kind>:<value>, sorted; without blocked values",
            pii="email",
        ),
        Column("blocks", "ARRAY<STRING>", "keys of the model: only records that share a key are compared", pii="name"),
        Column("changed_at", "TIMESTAMP", "time of the last change in the source, UTC; null if unknown"),
    ),
    key=("record_key",),
)

IDENTITY_EDGES_SILVER = TableContract(
    name="identity_edges_silver",
    layer="silver",
    comment="One row per pair of records with evidence that they are, or are not, records of one person.",
    columns=(
        Column("record_a", "STRING", "record_key of the record that sorts first", required=True, pii="email"),
        Column("record_b", "STRING", "record_key of the other record", required=True, pii="email"),
        Column("identifiers", "ARRAY<STRING>", "identifiers that both records have, as <kind>:<value>", pii="email"),
        Column("weight", "DOUBLE", "sum of the evidence, in bits", required=True),
        Column("evidence", "MAP<STRING,DOUBLE>", "evidence in bits, by kind of identifier or compared attribute"),
        Column(
            "is_contradiction",
            "BOOLEAN",
            "whether the records can't belong to one person, because their names and birth dates differ",
            required=True,
        ),
    ),
    key=("record_a", "record_b"),
)

IDENTITY_OVERRIDES_SILVER = TableContract(
    name="identity_overrides_silver",
    layer="silver",
    comment="One row per decision of a person about two records. The latest decision about a pair counts.",
    columns=(
        Column("record_a", "STRING", "record_key of the record that sorts first", required=True, pii="email"),
        Column("record_b", "STRING", "record_key of the other record", required=True, pii="email"),
        Column(
            "decision",
            "STRING",
            "always: one person; never: two persons; automatic: the earlier decision is withdrawn",
            required=True,
        ),
        Column("author", "STRING", "who decided", required=True, pii="name"),
        Column("reason", "STRING", "why, in words", required=True),
        Column("decided_at", "TIMESTAMP", "time of the decision, UTC", required=True),
    ),
    key=("record_a", "record_b", "decided_at"),
)

PERSON_LINKS_SILVER = TableContract(
    name="person_links_silver",
    layer="silver",
    comment="One row per record, with the person that the record belongs to. Only this table links records to persons.",
    columns=(
        _RECORD_KEY,
        _SOURCE,
        _CUSTOMER_ID,
        _PERSON_ID,
        Column(
            "reason",
            "STRING",
            "evidence of the strongest edge that ties the record to the person: kinds of identifiers joined by +,"
            " model or always; only_record: the person has no other record; shared_value: too many persons share the"
            " record's identifier; contradiction, never or limit: every edge of the record was cut",
            required=True,
        ),
        Column("linked_to", "STRING", "record_key of the other end of that edge; null without an edge", pii="email"),
        Column("weight", "DOUBLE", "weight of that edge in bits; null without an edge"),
        Column(
            "linked_at",
            "TIMESTAMP",
            "start of the run that gave the record this person, UTC; null if identity resolution is off",
        ),
        Column(
            "component",
            "STRING",
            "smallest record_key of the records that edges connect, before edges are cut",
            required=True,
            pii="email",
        ),
    ),
    key=("record_key",),
    clustered_by=("person_id",),
)

PERSON_HISTORY_SILVER = TableContract(
    name="person_history_silver",
    layer="silver",
    comment="One row per change of the records of a person. Rows are never changed.",
    columns=(
        Column("links_version", "BIGINT", "version of person_links_silver that has the change", required=True),
        _PERSON_ID,
        Column(
            "event",
            "STRING",
            "created: new number, most of whose records came from other_person_id; merged: received records of"
            " other_person_id; absorbed: ended, and most records went to other_person_id; split: some records went to"
            " other_person_id; retired: the last record was deleted",
            required=True,
        ),
        Column("other_person_id", "BIGINT", "the other person; 0 without one", required=True),
        Column("record_count", "BIGINT", "records that came, went or were deleted", required=True),
        Column("happened_at", "TIMESTAMP", "start of the run, UTC", required=True),
    ),
    key=("links_version", "person_id", "event", "other_person_id"),
)

_PROVENANCE = {
    "source": ("STRING", "source of {noun}: customers, crm_contacts or events; null if unknown"),
    "record": ("STRING", "record_key of the record with {noun}"),
    "at": ("TIMESTAMP", "time of the last change of that record in its source, UTC; null if unknown"),
    "rule": ("STRING", "rule that chose the record: priority, recency, completeness or only_record"),
    "link": ("STRING", "reason in person_links_silver that ties that record to the person"),
}


def _group(name: str, noun: str, *columns: Column) -> tuple[Column, ...]:
    """Return the columns of a group of attributes, and the columns that say where its values come from."""
    origin = (
        Column(f"{name}_{part}", type_, meaning.format(noun=noun), pii="email" if part == "record" else None)
        for part, (type_, meaning) in _PROVENANCE.items()
    )
    return (*columns, *origin)


PERSON_GROUPS = {
    "name": _group("name", "the name", Column("full_name", "STRING", "name of the person", pii="name")),
    "email": _group("email", "the e-mail address", Column("email", "STRING", "e-mail address", pii="email")),
    "phone": _group("phone", "the phone number", Column("phone", "STRING", "phone number in E.164", pii="phone")),
    "birth": _group(
        "birth",
        "day of birth and gender",
        Column("birth_date", "DATE", "day of birth", pii="birth_date"),
        Column("gender", "STRING", "gender", pii="gender"),
    ),
    "address": _group(
        "address",
        "the address",
        Column("city", "STRING", "city of the address", pii="address"),
        Column("postal_code", "STRING", "postal code of the address", pii="address"),
        Column("address_country", "STRING", "country of the address, in the source's spelling"),
    ),
    "country": _group(
        "country",
        "the country of record",
        Column(
            "country",
            "STRING",
            "country of record, in the source's spelling; unknown if the source does not say. Sales are reported by the"
            " country of record of their customer",
            required=True,
        ),
    ),
    "acquisition": _group(
        "acquisition",
        "the acquisition",
        Column("acquisition_channel", "STRING", "marketing channel that acquired the person"),
        Column("channel_date", "DATE", "day of acquisition by the channel"),
    ),
    "loyalty": _group("loyalty", "the tier", Column("loyalty_tier", "STRING", "tier of the loyalty programme")),
    "household": _group("household", "the household", Column("household_id", "STRING", "household")),
    "attributes": _group(
        "attributes",
        "the retailer's own attributes",
        Column(
            "attributes",
            "MAP<STRING,STRING>",
            "the retailer's own attributes, as text by name; null if there are none",
            pii="attributes",
        ),
    ),
}
"""Columns of each group of attributes. The values of a group always come from one record."""

PERSONS_SILVER = TableContract(
    name="persons_silver",
    layer="silver",
    comment="One row per person, with the best known values. The values of a group always come from one record.",
    columns=(
        _PERSON_ID,
        Column("customer_ids", "ARRAY<STRING>", "numbers of the person's customers, ascending; empty without one"),
        Column("record_count", "BIGINT", "records of the person", required=True),
        Column("registration_date", "DATE", "earliest registration of the person's customers; null if unknown"),
        *(column for columns in PERSON_GROUPS.values() for column in columns),
        Column(
            "disputed",
            "ARRAY<STRING>",
            "attributes of which the person's records have different values, sorted: birth_date, city, country (by"
            " code) or gender",
        ),
    ),
    key=("person_id",),
    clustered_by=("person_id",),
    purpose="analytics",
)

IDENTITY_TABLES = (
    IDENTITY_RECORDS_SILVER,
    IDENTITY_EDGES_SILVER,
    IDENTITY_OVERRIDES_SILVER,
    PERSON_LINKS_SILVER,
    PERSON_HISTORY_SILVER,
    PERSONS_SILVER,
)
