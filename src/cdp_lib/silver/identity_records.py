"""identity_records_silver: the customers, contacts and other identities that identity resolution compares."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, identity_of
from cdp_lib.contracts.identity import IDENTITY_RECORDS_SILVER
from cdp_lib.contracts.silver import CONSENTS_SILVER, CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.frames import in_steps, nulls, union
from cdp_lib.identity.evidence import blocks
from cdp_lib.identity.model_file import load_model
from cdp_lib.identity.normalise import (
    EMAIL_STEPS,
    FOLD_STEPS,
    NAME_STEPS,
    first_name,
    is_blocked,
    last_name,
    normal_postal_code,
)
from cdp_lib.identity.pairs import BLOCK
from cdp_lib.identity.phones import with_e164
from cdp_lib.identity.rules import IdentifierKind, IdentityRules
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.union_touched import UnionTouched
from cdp_lib.reference.countries import countries_by_name, country_key

_RECEIVED = {
    "record_key": "STRING",
    "source": "STRING",
    "customer_id": "BIGINT",
    "named_customer": "BIGINT",
    "full_name": "STRING",
    "birth_date": "DATE",
    "gender": "STRING",
    "street": "STRING",
    "city": "STRING",
    "postal_code": "STRING",
    "country": "STRING",
    "email": "STRING",
    "phone": "STRING",
    "household_id": "STRING",
    "attributes": "MAP<STRING,STRING>",
    "devices": "ARRAY<STRING>",
    "changed_at": "TIMESTAMP",
}
"""Columns of a record before its values are normalised, with their types."""


def build_identity_records_silver(
    customers_silver: DataFrame,
    crm_contacts_silver: DataFrame,
    events_silver: DataFrame,
    consents_silver: DataFrame,
    countries: DataFrame,
    phone_plans: DataFrame,
    identity_rules: IdentityRules,
) -> DataFrame:
    """Return one row per customer, contact and event identity, with normalised values and identifiers.

    The events of a known customer belong to the record of the customer: they only add the customer's devices. An
    unknown customer number in events is a record of its own. Events whose visitor refused tracking have no identity, so
    they have no record.

    A person in a file of decisions is a record in the same way, so that the decision reaches the person. A contact in
    such a file is no record of its own: the CRM has the record.

    The values of an event identity never change. Therefore, its `changed_at` is the time of its first event.

    Args:
        customers_silver: One row per customer.
        crm_contacts_silver: One row per contact.
        events_silver: One row per event, with all events of the identities to compute.
        consents_silver: One row per decision in files, with all decisions of the identities to compute.
        countries: One row per country, as in `countries.csv`.
        phone_plans: One row per numbering plan, as in `phone_plans.csv`.
        identity_rules: Rules of identity resolution. If they are off, no row is returned.

    Returns:
        Columns of `identity_records_silver`.
    """
    kinds = {kind.name: kind for kind in identity_rules.kinds}
    events = _identities(events_silver, consents_silver, kinds.get("device"))
    received = union([_customers_and_events(customers_silver, events), _contacts(crm_contacts_silver)])
    if not identity_rules.is_on:
        received = received.limit(0)
    names = countries_by_name(countries).select("country_key", "country_code")
    # Normalise before the joins: an engine copies an expression to each of its uses, but not through a join.
    default = sf.nullif(sf.lit(identity_rules.country), sf.lit(""))
    placed = (
        _normalised(received)
        .join(names, "country_key", how="left")
        .withColumn("phone_country", sf.coalesce("country_code", default))
    )
    return (
        with_e164(placed, phone_plans)
        .select("*", _identifiers(kinds).alias("identifiers"), _blocks(identity_rules).alias("blocks"))
        .selectExpr(*IDENTITY_RECORDS_SILVER.select_list)
    )


def _customer_key() -> Column:
    return identity_of("customer", sf.col("customer_id"))


def _contact_key() -> Column:
    return identity_of("contact", sf.col("contact_id"))


def _event_key() -> Column:
    return sf.col("identity")


def _consent_key() -> Column:
    return sf.when(~sf.col("identity").startswith("contact:"), sf.col("identity"))


def _is_off(settings: Mapping[str, IdentityRules]) -> bool:
    return not settings["identity_rules"].is_on


IDENTITY_RECORDS = Table(
    IDENTITY_RECORDS_SILVER,
    build_identity_records_silver,
    reads=(CUSTOMERS_SILVER, CRM_CONTACTS_SILVER, EVENTS_SILVER, CONSENTS_SILVER),
    settings=("identity_rules",),
    files=("countries.csv", "phone_plans.csv"),
    materialization=UnionTouched(key_of=(_customer_key, _contact_key, _event_key, _consent_key), is_empty=_is_off),
)


def _blocks(rules: IdentityRules) -> Column:
    """Return the keys of the model, each with a prefix that no identifier has; no key without a model."""
    if not rules.model:
        return sf.array().cast("array<string>")
    return sf.transform(blocks(load_model(rules.model)), lambda key: sf.concat(sf.lit(f"{BLOCK}:"), key))


def _received(rows: DataFrame, **columns: Column) -> DataFrame:
    """Return records with the columns of `_RECEIVED`. A column that is not given is null."""
    missing = {name: type_ for name, type_ in _RECEIVED.items() if name not in columns}
    filled = {**columns, **dict(zip(missing, nulls(missing), strict=True))}
    return rows.select(*(filled[name].cast(type_).alias(name) for name, type_ in _RECEIVED.items()))


def _customers_and_events(customers: DataFrame, events: DataFrame) -> DataFrame:
    """Return one record per customer and per event identity. The identity of a known customer is the customer's record.

    Args:
        customers: One row per customer.
        events: One row per identity in events and files of decisions (`_identities`).
    """
    key = sf.col("record_key")
    is_customer = sf.col("customer_id").isNotNull()
    named_customer = sf.when(key.startswith("customer:"), _value_of(key).try_cast("bigint"))
    address_in_events = sf.when(key.startswith("email:"), _value_of(key))
    device_in_events = sf.when(key.startswith("device:"), sf.array(_value_of(key)))
    return _received(
        customers.withColumn("record_key", _customer_key()).join(events, "record_key", how="full_outer"),
        record_key=key,
        source=sf.when(is_customer, "customers").otherwise(sf.col("source")),
        named_customer=named_customer,
        email=sf.when(is_customer, sf.col("email")).otherwise(address_in_events),
        devices=sf.coalesce(device_in_events, "devices"),
        changed_at=sf.when(is_customer, sf.col("updated_at")).otherwise(sf.col("first_at")),
        **_columns("customer_id", "full_name", "country", "household_id", "attributes"),
    )


def _contacts(contacts: DataFrame) -> DataFrame:
    """Return one record per contact."""
    same = ("full_name", "email", "phone", "birth_date", "gender", "city", "postal_code", "country", "household_id")
    return _received(
        contacts,
        record_key=_contact_key(),
        source=sf.lit("crm_contacts"),
        named_customer=sf.col("customer_id"),
        changed_at=sf.col("modified_at"),
        **_columns(*same, "attributes"),
    )


def _normalised(received: DataFrame) -> DataFrame:
    """Return records with normalised values, except for the phone number, and with `country_key`."""
    same = ("record_key", "source", "customer_id", "named_customer", "attributes", "devices", "birth_date", "gender")
    split = sf.col("split")
    steps = {"split": NAME_STEPS, "email": EMAIL_STEPS, "street": FOLD_STEPS, "city": FOLD_STEPS}
    return in_steps(received.withColumn("split", sf.col("full_name")), steps).select(
        *same,
        *("phone", "household_id", "changed_at"),
        first_name(split).alias("first_name"),
        last_name(split).alias("last_name"),
        *("street", "city", "email"),
        normal_postal_code(sf.col("postal_code")).alias("postal_code"),
        country_key(sf.col("country")).alias("country_key"),
    )


def _identities(events: DataFrame, consents: DataFrame, device: IdentifierKind | None) -> DataFrame:
    """Return one row per identity in events and files of decisions.

    The columns are `record_key`, `source`, the time of the first event or decision, and a customer's latest devices.
    """
    is_customer = sf.col("identity").startswith("customer:")
    of_events = (
        events.where("identity IS NOT NULL")
        .groupBy(sf.col("identity").alias("record_key"), sf.when(is_customer, sf.col("anonymous_id")).alias("device"))
        .agg(sf.min("occurred_at").alias("first_at"), sf.max("occurred_at").alias("last_at"))
        .withColumn("source", sf.lit("events"))
    )
    of_files = consents.withColumn("record_key", _consent_key()).where("record_key IS NOT NULL")
    of_files = of_files.select(
        "record_key",
        sf.lit(None).cast("string").alias("device"),
        sf.col("decided_at").alias("first_at"),
        sf.col("decided_at").alias("last_at"),
        sf.lit("consents").alias("source"),
    )
    at_and_device = sf.when(sf.col("device").isNotNull(), sf.struct("last_at", "device"))
    grouped = (
        union([of_events, of_files])
        .groupBy("record_key")
        .agg(
            sf.min("first_at").alias("first_at"),
            # The larger text: an identity in both is one of events.
            sf.max("source").alias("source"),
            sf.collect_list(at_and_device).alias("seen"),
        )
    )
    latest_first = sf.sort_array("seen", asc=False)
    latest = sf.slice(latest_first, 1, device.latest) if device and device.latest else latest_first
    return grouped.select(
        "record_key",
        "source",
        "first_at",
        sf.when(sf.size("seen") > 0, sf.transform(latest, lambda each: each["device"])).alias("devices"),
    )


def _identifiers(kinds: Mapping[str, IdentifierKind]) -> Column:
    """Return the identifiers of a record, sorted, without blocked values. Kinds without rules are left out."""
    values = {
        "customer_id": sf.array(sf.col("named_customer").cast("string")),
        "email": sf.array("email"),
        "phone": sf.array("phone"),
        "device": sf.coalesce("devices", sf.array().cast("array<string>")),
    }
    arrays = [_named(kind, values[name] if name in values else _own_values(kind)) for name, kind in kinds.items()]
    found = sf.concat(sf.array().cast("array<string>"), *arrays)
    return sf.sort_array(sf.array_distinct(sf.filter(found, lambda each: each.isNotNull())))


def _named(kind: IdentifierKind, values: Column) -> Column:
    """Return values as `<kind>:<value>`. A blocked value becomes null."""

    def named(value: Column) -> Column:
        return sf.when(~is_blocked(value, kind.blocked), sf.concat(sf.lit(f"{kind.name}:"), value))

    return sf.transform(values, named)


def _own_values(kind: IdentifierKind) -> Column:
    """Return the value of an own attribute, in lower case and without blanks, as an array."""
    value = sf.lit(None).cast("string")
    for source, attribute in kind.attributes:
        own = sf.replace(sf.lower(clean_text(sf.col("attributes")[attribute])), sf.lit(" "), sf.lit(""))
        value = sf.when(sf.col("source") == source, own).otherwise(value)
    return sf.array(value)


def _columns(*names: str) -> dict[str, Column]:
    return {name: sf.col(name) for name in names}


def _value_of(key: Column) -> Column:
    """Return the value in an identity such as `email:<address>`."""
    return sf.regexp_replace(key, "^[a-z]+:", "")
