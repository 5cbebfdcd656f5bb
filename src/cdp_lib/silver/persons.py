"""persons_silver: the best known values of each person, and the records that they come from.

Only this module chooses between the records of a person.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.identity import PERSON_GROUPS, PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMERS_SILVER
from cdp_lib.contracts.table import UNKNOWN
from cdp_lib.frames import union
from cdp_lib.identity.rules import AttributeGroup, IdentityRules
from cdp_lib.pipeline.follow_groups import FollowGroups, Reference
from cdp_lib.pipeline.table import Table
from cdp_lib.reference.countries import countries_by_name, country_key

_PROVENANCE = ("source", "record", "at", "rule", "link")
"""Parts of the columns that say where the values of a group come from."""

VALUES = {
    name: tuple(column.name for column in columns if column.name not in {f"{name}_{part}" for part in _PROVENANCE})
    for name, columns in PERSON_GROUPS.items()
}
"""Attributes of each group, by name of the group."""

_OPTIONAL = ("channel_date",)
"""Attributes that do not make a record a candidate: a day of acquisition without a channel says nothing."""

_COMPARED = ("birth_date", "city", "country", "gender")
"""Attributes whose values are compared between the records of a person."""

_SEPARATOR = "\x1e"
"""Separator of the parts of a candidate. It is removed from texts. It sorts before all characters of record keys."""

_LAST_MICROS = 9_000_000_000_000_000_000
"""Number of 19 digits, minus which the time of a change sorts the latest change first."""


def build_persons_silver(
    person_links_silver: DataFrame,
    customers_silver: DataFrame,
    crm_contacts_silver: DataFrame,
    countries: DataFrame,
    identity_rules: IdentityRules,
) -> DataFrame:
    """Return one row per person, with the values of the record that the rules of each group choose.

    A gender other than male or female is no value. A country of record that is missing is `unknown`.

    Args:
        person_links_silver: One row per record.
        customers_silver: One row per customer.
        crm_contacts_silver: One row per contact.
        countries: One row per country, all columns as text (`countries.csv`).
        identity_rules: Rules of identity resolution.

    Returns:
        Columns of `persons_silver`.
    """
    groups = identity_rules.all_groups
    records = _linked_records(person_links_silver, customers_silver, crm_contacts_silver, countries)
    candidates = records.select(
        "person_id",
        "customer_id",
        "registration_date",
        *(_candidate(group).alias(group.name) for group in groups),
        *(_compared(name).alias(f"compared_{name}") for name in _COMPARED),
    )
    # A minimum of texts is much faster than `min_by` on one engine, and a minimum of structs is slower still.
    persons = candidates.groupBy("person_id").agg(
        sf.sort_array(sf.collect_list("customer_id")).cast("array<string>").alias("customer_ids"),
        sf.count("*").alias("record_count"),
        sf.min("registration_date").alias("registration_date"),
        *(sf.min(group.name).alias(group.name) for group in groups),
        *(sf.count(group.name).alias(f"{group.name}_candidates") for group in groups),
        *((sf.min(f"compared_{name}") < sf.max(f"compared_{name}")).alias(f"is_disputed_{name}") for name in _COMPARED),
    )
    disputed = sf.array_compact(sf.array(*(sf.when(sf.col(f"is_disputed_{name}"), name) for name in _COMPARED)))
    return persons.select(
        "person_id",
        "customer_ids",
        "record_count",
        "registration_date",
        *(column for group in groups for column in _chosen(group)),
        disputed.alias("disputed"),
    ).selectExpr(*PERSONS_SILVER.select_list)


PERSONS = Table(
    PERSONS_SILVER,
    build_persons_silver,
    reads=(PERSON_LINKS_SILVER, CUSTOMERS_SILVER, CRM_CONTACTS_SILVER),
    settings=("identity_rules",),
    files=("countries.csv",),
    materialization=FollowGroups(
        "person_id",
        PERSON_LINKS_SILVER,
        (
            Reference("person_id", lambda: sf.col("person_id")),
            Reference("record_key", lambda: _key_of_customer()),
            Reference("record_key", lambda: _key_of_contact()),
        ),
        is_followed=True,
    ),
)


def _key_of_customer() -> Column:
    return identity_of("customer", sf.col("customer_id"))


def _key_of_contact() -> Column:
    return identity_of("contact", sf.col("contact_id"))


def _linked_records(links: DataFrame, customers: DataFrame, contacts: DataFrame, countries: DataFrame) -> DataFrame:
    """Return the records of all persons, with their attributes as text. Missing attributes are null."""
    codes = countries_by_name(countries).select("country_key", "country_code")
    records = union([_records_of_customers(customers), _records_of_contacts(contacts)])
    coded = records.join(
        sf.broadcast(codes), country_key(sf.col("any_country")) == sf.col("country_key"), how="left"
    ).drop("any_country", "country_key")
    linked = links.select("record_key", "source", "person_id", "customer_id", sf.col("reason").alias("link"))
    # An address in events is a record without any other attribute. A contact has the country of its address.
    of_events = sf.when(sf.col("record_key").startswith("email:"), sf.substring_index("record_key", "email:", -1))
    joined = linked.join(coded, "record_key", how="left")
    return joined.withColumn("email", sf.coalesce("email", of_events))


def _records_of_customers(customers: DataFrame) -> DataFrame:
    country = sf.nullif("country", sf.lit(UNKNOWN))
    return _as_records(
        customers,
        _key_of_customer(),
        "updated_at",
        {
            **{name: sf.col(name) for name in ("full_name", "email", "household_id", "registration_date")},
            "country": country,
            "any_country": country,
            "attributes": sf.to_json("attributes"),
        },
    )


def _records_of_contacts(contacts: DataFrame) -> DataFrame:
    same_name = ("full_name", "email", "phone", "birth_date", "city", "postal_code", "country", "loyalty_tier")
    return _as_records(
        contacts,
        _key_of_contact(),
        "modified_at",
        {
            **{name: sf.col(name) for name in (*same_name, "acquisition_channel", "household_id")},
            "gender": sf.when(sf.col("gender").isin("male", "female"), sf.col("gender")),
            "address_country": sf.col("country"),
            "any_country": sf.col("country"),
            "channel_date": sf.col("acquisition_date"),
            "attributes": sf.to_json("attributes"),
        },
    )


def _as_records(rows: DataFrame, record_key: Column, changed_at: str, values: dict[str, Column]) -> DataFrame:
    """Return rows as records with all attributes of persons. An attribute without an expression is null."""
    names = [name for names in VALUES.values() for name in names]
    texts = [values.get(name, sf.lit(None)).cast("string").alias(name) for name in (*names, "any_country")]
    registered = values.get("registration_date", sf.lit(None)).cast("date")
    return rows.select(
        record_key.alias("record_key"),
        sf.unix_micros(changed_at).alias("changed_micros"),
        registered.alias("registration_date"),
        *texts,
    )


def _candidate(group: AttributeGroup) -> Column:
    """Return a text of the order, the origin and the values of a record; null if it is no candidate of the group.

    The candidate of the best record sorts first. The first part has the same length for all candidates of a group.
    """
    names = VALUES[group.name]
    needed = [name for name in names if name not in _OPTIONAL]
    priority = sf.lit(None).cast("string")
    for number, source in enumerate(group.sources):
        priority = sf.when(sf.col("source") == source, f"{number}").otherwise(priority)
    is_candidate = priority.isNotNull() & sf.coalesce(*needed).isNotNull()
    parts = [sf.col("record_key"), sf.col("changed_micros").cast("string"), sf.col("link"), *map(sf.col, names)]
    cleaned = [sf.coalesce(sf.translate(part, _SEPARATOR, ""), sf.lit("")) for part in parts]
    return sf.when(is_candidate, sf.concat_ws(_SEPARATOR, sf.concat(*_order(group, names, priority)), *cleaned))


def _order(group: AttributeGroup, names: Sequence[str], priority: Column) -> list[Column]:
    """Return texts of fixed length by which the candidates of a group are sorted."""
    recency = sf.lpad((sf.lit(_LAST_MICROS) - sf.col("changed_micros")).cast("string"), 19, "0")
    latest_first = sf.coalesce(recency, sf.lit("9" * 19))
    earliest = sf.coalesce(sf.col("channel_date"), sf.lit("9999-12-31"))
    then = [earliest, latest_first] if group.name == "acquisition" else [latest_first]
    if group.rule == "recency":
        return [latest_first, priority]
    if group.rule == "completeness":
        missing = sum((sf.col(name).isNull().cast("int") for name in names), sf.lit(0))
        return [missing.cast("string"), priority, *then]
    return [priority, *then]


def _compared(name: str) -> Column:
    """Return an attribute in the form in which it is compared: cities in lower case, countries by code."""
    if name == "country":
        return sf.col("country_code")
    return sf.lower(name) if name == "city" else sf.col(name)


def _chosen(group: AttributeGroup) -> list[Column]:
    """Return the columns of a group: the values of the chosen record, and where they come from."""
    parts = sf.split(group.name, _SEPARATOR, -1)

    def part(number: int) -> Column:
        return sf.nullif(sf.get(parts, sf.lit(number)), sf.lit(""))

    record, names = part(1), VALUES[group.name]
    source = (
        sf.when(record.startswith("customer:"), "customers").when(record.startswith("contact:"), "crm_contacts")
    ).when(record.isNotNull(), "events")
    rule = sf.when(sf.col(f"{group.name}_candidates") == 1, "only_record").when(record.isNotNull(), group.rule)
    return [
        *(_typed(name, part(number)).alias(name) for number, name in enumerate(names, 4)),
        source.alias(f"{group.name}_source"),
        record.alias(f"{group.name}_record"),
        sf.timestamp_micros(part(2).cast("bigint")).alias(f"{group.name}_at"),
        rule.alias(f"{group.name}_rule"),
        part(3).alias(f"{group.name}_link"),
    ]


def _typed(name: str, text: Column) -> Column:
    """Return an attribute with the type that it has in the table."""
    if name == "attributes":
        return sf.from_json(text, "map<string,string>")
    return sf.coalesce(text, sf.lit(UNKNOWN)) if name == "country" else text.cast(PERSONS_SILVER.types[name])
