"""Persons of customers."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.identity.rules import IdentityRules


def with_person_id(rows: DataFrame, person_links_silver: DataFrame, rules: IdentityRules) -> DataFrame:
    """Return rows with `person_id`, the person of their `customer_id`. Rows of unknown customers are left out.

    If identity resolution is off, the number of the person is the number of the customer: the rows are not joined.

    Args:
        rows: Rows with a `customer_id`.
        person_links_silver: One row per record.
        rules: Rules of identity resolution.
    """
    if not rules.is_on:
        return rows.withColumn("person_id", sf.col("customer_id"))
    persons = person_links_silver.where("source = 'customers'").select("customer_id", "person_id")
    return rows.join(persons, "customer_id", how="inner")
