"""Identity resolution that is off: each customer is a person, and the number of the person is the customer's number."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER

_REASON = "customer_id"
"""Reason of every link: the record names the number of the customer."""


def links_of_customers(customers_silver: DataFrame, crm_contacts_silver: DataFrame) -> DataFrame:
    """Return one row per customer, and one row per contact that names the number of a known customer.

    An event whose customer is known needs no row of its own: its identity is the `record_key` of the customer. All
    other contacts and identities of events belong to nobody.

    Args:
        customers_silver: One row per customer.
        crm_contacts_silver: One row per contact.

    Returns:
        Columns of `person_links_silver`.
    """
    customers = customers_silver.select(
        "customer_id", identity_of("customer", sf.col("customer_id")).alias("customer_key")
    )
    of_customers = customers.select(
        sf.col("customer_key").alias("record_key"),
        sf.lit("customers").alias("source"),
        sf.col("customer_id").cast("bigint").alias("customer_id"),
        sf.col("customer_id").cast("bigint").alias("person_id"),
        sf.lit(None).cast("string").alias("linked_to"),
        sf.col("customer_key").alias("component"),
    )
    named = crm_contacts_silver.where("customer_id IS NOT NULL").select("contact_id", "customer_id")
    of_contacts = named.join(customers, "customer_id", how="inner").select(
        identity_of("contact", sf.col("contact_id")).alias("record_key"),
        sf.lit("crm_contacts").alias("source"),
        sf.lit(None).cast("bigint").alias("customer_id"),
        sf.col("customer_id").cast("bigint").alias("person_id"),
        sf.col("customer_key").alias("linked_to"),
        sf.col("customer_key").alias("component"),
    )
    return (
        of_customers.unionByName(of_contacts)
        .select(
            "*",
            sf.lit(_REASON).alias("reason"),
            sf.lit(None).cast("double").alias("weight"),
            sf.lit(None).cast("timestamp").alias("linked_at"),
        )
        .selectExpr(*PERSON_LINKS_SILVER.select_list)
    )
