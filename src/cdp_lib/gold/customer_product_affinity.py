"""customer_product_affinity_gold: sales by customer and product."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.gold import CUSTOMER_PRODUCT_AFFINITY_GOLD
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, PRODUCTS_SILVER, RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_customer_product_affinity_gold(
    retails_silver: DataFrame, customers_silver: DataFrame, products_silver: DataFrame, as_of: date | None
) -> DataFrame:
    """One row per customer and product the customer bought.

    Names are joined after the aggregation, because names in millions of rows would take most of the memory.

    Args:
        retails_silver: One row per line. The rows may be limited to some (customer, product) pairs, but include all
            lines of these pairs.
        customers_silver: One row per customer.
        products_silver: One row per product.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `customer_product_affinity_gold`.
    """
    pairs = (
        _lines_with_customer(lines_until(retails_silver, as_of))
        .groupBy("customer_id", "product_id")
        .agg(
            sf.sum("quantity").alias("total_quantity_purchased"),
            number_of_sales().alias("purchase_frequency"),
            number_of_lines().alias("_line_count"),
        )
    )
    customers = customers_silver.select("customer_id", "full_name")
    products = products_silver.select("product_id", "product_name", "category")
    named = pairs.join(customers, "customer_id", how="left").join(products, "product_id", how="left")
    return named.selectExpr(*CUSTOMER_PRODUCT_AFFINITY_GOLD.select_list)


def _lines_with_customer(lines: DataFrame, _: DataFrame | None = None) -> DataFrame:
    """Return the lines of known customers, without anonymous sales."""
    return lines.where("customer_id IS NOT NULL")


CUSTOMER_PRODUCT_AFFINITY = Table(
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    build_customer_product_affinity_gold,
    reads=(RETAILS_SILVER, CUSTOMERS_SILVER, PRODUCTS_SILVER),
    settings=("as_of",),
    materialization=TouchedKeys(by=("customer_id", "product_id"), keys_to_build=_lines_with_customer),
)
