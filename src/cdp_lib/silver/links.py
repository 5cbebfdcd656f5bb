"""customer_links_silver: the customer of each CRM contact and of each identity in events.

Only this module links contacts and identities to customers.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMER_LINKS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.pipeline.table import Table


def build_customer_links_silver(
    customers_silver: DataFrame, crm_contacts_silver: DataFrame, events_silver: DataFrame
) -> DataFrame:
    """Return one row per contact of the CRM and per identity in events, with the linked customer and the reason.

    A contact or identity is linked to the customer with the same customer number. If the number is missing or unknown,
    it is linked to the customer with the same e-mail address. A device alone creates no link.

    An ambiguous e-mail address creates no link, because several people, such as relatives, may share it. An address is
    ambiguous in two cases:

    - it belongs to several customers;
    - it belongs to several contacts whose customer number is missing or unknown.

    Args:
        customers_silver: One row per customer.
        crm_contacts_silver: One row per contact.
        events_silver: One row per event.

    Returns:
        Columns of `customer_links_silver`.
    """
    contacts = crm_contacts_silver.select(
        identity_of("contact", sf.col("contact_id")).alias("identity"), sf.col("customer_id").alias("named_id"), "email"
    )
    names_customer = sf.col("identity").startswith("customer:")
    names_email = sf.col("identity").startswith("email:")
    event_identities = events_silver.where("identity IS NOT NULL").select(
        "identity",
        sf.when(names_customer, sf.col("customer_id")).alias("named_id"),
        sf.when(names_email, sf.col("email")).alias("email"),
    )
    identities = contacts.unionByName(event_identities.distinct())
    known_ids = customers_silver.select(sf.col("customer_id").alias("known_id"))
    customers_by_email = _customers_by_email(customers_silver, crm_contacts_silver, known_ids)
    matches = identities.join(known_ids, identities.named_id == known_ids.known_id, how="left").join(
        customers_by_email, "email", how="left"
    )
    is_ambiguous = sf.col("is_ambiguous")
    return matches.select(
        "identity",
        sf.coalesce("known_id", sf.when(~is_ambiguous, sf.col("customer_of_email"))).alias("customer_id"),
        sf.when(sf.col("known_id").isNotNull(), "customer_id")
        .when(is_ambiguous, "ambiguous_email")
        .when(sf.col("customer_of_email").isNotNull(), "email")
        .when(sf.col("email").isNotNull(), "unknown_email")
        .when(sf.col("named_id").isNotNull(), "unknown_customer_id")
        .otherwise("no_id_or_email")
        .alias("reason"),
    ).selectExpr(*CUSTOMER_LINKS_SILVER.select_list)


CUSTOMER_LINKS = Table(
    CUSTOMER_LINKS_SILVER,
    build_customer_links_silver,
    reads=(CUSTOMERS_SILVER, CRM_CONTACTS_SILVER, EVENTS_SILVER),
)


def _customers_by_email(customers: DataFrame, contacts: DataFrame, known_ids: DataFrame) -> DataFrame:
    """Return one row per e-mail address of a customer, with the customer and whether the address is ambiguous."""
    customers_with_email = (
        customers.where("email IS NOT NULL")
        .groupBy("email")
        .agg(sf.min("customer_id").alias("customer_of_email"), sf.count("*").alias("customers"))
    )
    without_number = contacts.join(known_ids, contacts.customer_id == known_ids.known_id, how="left_anti")
    unnumbered = without_number.where("email IS NOT NULL").groupBy("email").agg(sf.count("*").alias("contacts"))
    is_shared = (sf.col("customers") > 1) | (sf.coalesce("contacts", sf.lit(0)) > 1)
    return customers_with_email.join(unnumbered, "email", how="left").select(
        "email", "customer_of_email", is_shared.alias("is_ambiguous")
    )
