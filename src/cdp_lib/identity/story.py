"""The story of one person for a notebook: the rows about the person in each table."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.identity import PERSON_HISTORY_SILVER, PERSON_LINKS_SILVER
from cdp_lib.contracts.profile import BUCKETS, CUSTOMER_PROFILE_GOLD, PERSON_LOOKUP_GOLD
from cdp_lib.contracts.silver import EVENTS_SILVER, ID_KEYS_SILVER, RETAILS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.frames import read_csv
from cdp_lib.identity.normalise import normal_email
from cdp_lib.identity.phones import with_e164
from cdp_lib.storage import DeltaStore

_LATEST = 20
"""Number of purchases, and of events, that a story has at most."""


def find_persons(store: DeltaStore, kind: str, typed: str, country: str = "") -> list[int]:
    """Return the numbers of the persons with an identifier, ascending.

    Args:
        store: Tables of the platform.
        kind: `email`, `phone` or `customer_id`.
        typed: The identifier as a person types it.
        country: ISO 3166-1 alpha-2 code of the country of a phone number without calling code. Empty if unknown.

    Raises:
        CdpError: The kind is unknown.
    """
    lookup = store.read(PERSON_LOOKUP_GOLD)
    typed_row = store.session.range(1).select(sf.lit(typed).alias("phone"))
    if kind == "email":
        identifier = typed_row.select(normal_email(sf.col("phone")).alias("value"))
    elif kind == "phone":
        plans = read_csv(store.session, files("cdp_lib.reference") / "phone_plans.csv")
        located = typed_row.withColumn("phone_country", sf.nullif(sf.lit(country), sf.lit("")))
        identifier = with_e164(located, plans).select(sf.col("phone").alias("value"))
    elif kind == "customer_id":
        identifier = typed_row.select(sf.lit(_number_of_customer(store, typed.strip())).alias("value"))
    else:
        raise CdpError(f"Unknown kind of identifier '{kind}': write email, phone or customer_id.")
    [(value,)] = identifier.collect()
    if value is None:
        return []
    key = f"{'customer' if kind == 'customer_id' else kind}:{value}"
    bucket = sf.pmod(sf.crc32(sf.lit(key).cast("binary")), sf.lit(BUCKETS))
    found = lookup.where((sf.col("bucket") == bucket) & (sf.col("identifier") == key)).select("person_id").distinct()
    return sorted(row["person_id"] for row in found.collect())


def _number_of_customer(store: DeltaStore, customer_id: str) -> str:
    """Return the number of a customer whose identifier in the source is text. A number is returned as it is."""
    if not store.exists(ID_KEYS_SILVER):
        return customer_id
    is_own = (sf.col("entity") == "customers") & (sf.col("source_id") == customer_id)
    numbers = store.read(ID_KEYS_SILVER).where(is_own).select("id").collect()
    return str(numbers[0]["id"]) if numbers else customer_id


def tables_of_person(store: DeltaStore, person_id: int) -> Mapping[str, DataFrame]:
    """Return the rows about a person: profile, records, history, latest purchases and latest events, by title.

    Args:
        store: Tables of the platform.
        person_id: Number of the person.
    """
    is_person = sf.col("person_id") == person_id
    links = store.read(PERSON_LINKS_SILVER).where(is_person)
    customers = links.where("customer_id IS NOT NULL").select("customer_id")
    keys = links.select(sf.col("record_key").alias("identity"))
    profile = store.read(CUSTOMER_PROFILE_GOLD).where((sf.col("bucket") == person_id % BUCKETS) & is_person)
    sales = store.read(RETAILS_SILVER).join(customers, "customer_id", how="left_semi")
    events = store.read(EVENTS_SILVER).join(keys, "identity", how="left_semi")
    return {
        "Profile": profile.drop("bucket"),
        "Records, and why they belong to the person": links.orderBy("source", "record_key"),
        "History": store.read(PERSON_HISTORY_SILVER).where(is_person).orderBy(sf.desc("happened_at")),
        "Latest purchases": sales.orderBy(sf.desc("transaction_date"), sf.desc("transaction_id")).limit(_LATEST),
        "Latest events": events.orderBy(sf.desc("occurred_at"), "event_id").limit(_LATEST),
    }
