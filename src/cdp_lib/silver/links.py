"""customer_links_silver: which customer a contact or an event belongs to. The only place that decides."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.silver import CRM_CONTACTS_SILVER, CUSTOMER_LINKS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_lib.pipeline.table import Table


def build_customer_links_silver(
    customers_silver: DataFrame, crm_contacts_silver: DataFrame, events_silver: DataFrame
) -> DataFrame:
    """One row per contact of the CRM and per identity that events name, with the customer it belongs to, and why.

    It belongs to the customer whose number it has; without a known number, to the customer who has its e-mail
    address. An address is ambiguous, and links nobody, when several customers have it, or several contacts who are
    not known by number: relatives share addresses. A device alone links nobody.

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
    is_of_customer = sf.col("identity").startswith("customer:")
    is_of_email = sf.col("identity").startswith("email:")
    in_events = events_silver.where("identity IS NOT NULL").select(
        "identity",
        sf.when(is_of_customer, sf.col("customer_id")).alias("named_id"),
        sf.when(is_of_email, sf.col("email")).alias("email"),
    )
    identities = contacts.unionByName(in_events.distinct())
    known = customers_silver.select(sf.col("customer_id").alias("known_id"))
    addressees = _addressees(customers_silver, crm_contacts_silver, known)
    found = identities.join(known, identities.named_id == known.known_id, how="left").join(
        addressees, "email", how="left"
    )
    is_ambiguous = sf.col("is_ambiguous")
    return found.select(
        "identity",
        sf.coalesce("known_id", sf.when(~is_ambiguous, sf.col("addressee_id"))).alias("customer_id"),
        sf.when(sf.col("known_id").isNotNull(), "customer_id")
        .when(is_ambiguous, "ambiguous_email")
        .when(sf.col("addressee_id").isNotNull(), "email")
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


def _addressees(customers: DataFrame, contacts: DataFrame, known: DataFrame) -> DataFrame:
    """One row per e-mail address of a customer: whose it is, and whether that is uncertain."""
    of_customers = (
        customers.where("email IS NOT NULL")
        .groupBy("email")
        .agg(sf.min("customer_id").alias("addressee_id"), sf.count("*").alias("customers"))
    )
    without_number = contacts.join(known, contacts.customer_id == known.known_id, how="left_anti")
    strangers = without_number.where("email IS NOT NULL").groupBy("email").agg(sf.count("*").alias("strangers"))
    shared = (sf.col("customers") > 1) | (sf.coalesce("strangers", sf.lit(0)) > 1)
    return of_customers.join(strangers, "email", how="left").select(
        "email", "addressee_id", shared.alias("is_ambiguous")
    )
