"""purchases_silver: purchases by person and day."""

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import PURCHASES_SILVER, RETAILS_SILVER
from cdp_lib.identity.customers import with_person_id
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys, TouchingLookup


def build_purchases_silver(
    retails_silver: DataFrame, person_links_silver: DataFrame, identity_rules: IdentityRules
) -> DataFrame:
    """Return one row per person and day with sales or returns. Anonymous sales are left out.

    Args:
        retails_silver: One row per line, with all lines of the months to compute.
        person_links_silver: One row per record.
        identity_rules: Rules of identity resolution.

    Returns:
        Columns of `purchases_silver`.
    """
    lines = with_person_id(retails_silver.where("customer_id IS NOT NULL"), person_links_silver, identity_rules)
    days = lines.groupBy("person_id", sf.col("transaction_date").alias("purchase_date"), "sale_month").agg(
        number_of_sales().alias("transaction_count"), sf.sum("revenue").alias("revenue")
    )
    return days.selectExpr(*PURCHASES_SILVER.select_list)


def months_of_moved_customers(changed_links: DataFrame, purchases_silver: DataFrame) -> DataFrame:
    """Return the months with purchases of persons who gained or lost a customer.

    The purchases of a customer that moved are in the table under the customer's earlier person. A customer without an
    earlier person has no purchases in the table yet: the months of new purchases are touched by `retails_silver`.

    Args:
        changed_links: Changed rows of `person_links_silver`, as they were before, and as they are now.
        purchases_silver: Rows of `purchases_silver` before the refresh.
    """
    persons_by_customer = (
        changed_links.where("source = 'customers'")
        .groupBy("record_key")
        .agg(sf.collect_set("person_id").alias("persons"))
    )
    moved = persons_by_customer.where(sf.size("persons") > 1).select(sf.explode("persons").alias("person_id"))
    return purchases_silver.join(moved.distinct(), "person_id", how="left_semi").select("sale_month")


def _depends_on_links(settings: Mapping[str, Any]) -> bool:
    """Return whether the persons of customers are read from `person_links_silver`."""
    rules: IdentityRules = settings["identity_rules"]
    return rules.is_on


PURCHASES = Table(
    PURCHASES_SILVER,
    build_purchases_silver,
    reads=(RETAILS_SILVER, PERSON_LINKS_SILVER),
    settings=("identity_rules",),
    materialization=TouchedKeys(
        by=("sale_month",),
        lookups=(TouchingLookup(PERSON_LINKS_SILVER, months_of_moved_customers, _depends_on_links),),
    ),
)
