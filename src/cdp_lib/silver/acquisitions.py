"""customer_acquisitions_silver: the day each person was acquired."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, CUSTOMERS_SILVER, PURCHASES_SILVER
from cdp_lib.identity.customers import with_person_id
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.pipeline.table import Table


def build_customer_acquisitions_silver(
    customers_silver: DataFrame,
    purchases_silver: DataFrame,
    person_links_silver: DataFrame,
    identity_rules: IdentityRules,
) -> DataFrame:
    """Return one row per person with a customer, with the earlier of the first registration and the first purchase.

    The day is null if a person has neither a day of registration nor a purchase.

    The day of registration alone is not enough. Some sources do not have it. In the sample data, every buyer registered
    after the first purchase.

    Args:
        customers_silver: One row per customer.
        purchases_silver: One row per person and day of purchase.
        person_links_silver: One row per record.
        identity_rules: Rules of identity resolution.

    Returns:
        Columns of `customer_acquisitions_silver`.
    """
    first_purchases = (
        purchases_silver.where("transaction_count > 0")
        .groupBy("person_id")
        .agg(sf.min("purchase_date").alias("first_purchase_date"))
    )
    customers = customers_silver.select("customer_id", "registration_date")
    persons = with_person_id(customers, person_links_silver, identity_rules)
    if identity_rules.is_on:
        persons = persons.groupBy("person_id").agg(sf.min("registration_date").alias("registration_date"))
    return (
        persons.join(first_purchases, "person_id", how="left")
        .withColumn("acquisition_date", sf.least("registration_date", "first_purchase_date"))
        .selectExpr(*CUSTOMER_ACQUISITIONS_SILVER.select_list)
    )


CUSTOMER_ACQUISITIONS = Table(
    CUSTOMER_ACQUISITIONS_SILVER,
    build_customer_acquisitions_silver,
    reads=(CUSTOMERS_SILVER, PURCHASES_SILVER, PERSON_LINKS_SILVER),
    settings=("identity_rules",),
)
