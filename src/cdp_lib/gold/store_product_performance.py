"""store_product_performance_gold: sales by store and product."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.gold import STORE_PRODUCT_PERFORMANCE_GOLD
from cdp_lib.contracts.silver import PRODUCTS_SILVER, RETAILS_SILVER, STORES_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines
from cdp_lib.pipeline.table import Table


def build_store_product_performance_gold(
    retails_silver: DataFrame, stores_silver: DataFrame, products_silver: DataFrame, as_of: date | None
) -> DataFrame:
    """One row per store and product that the store sold.

    Args:
        retails_silver: One row per line.
        stores_silver: One row per store.
        products_silver: One row per product.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `store_product_performance_gold`.
    """
    lines = lines_until(retails_silver, as_of)
    pairs = lines.groupBy("store_id", "product_id").agg(
        sf.sum("quantity").alias("quantity_sold"),
        sf.sum("revenue").alias("revenue_generated"),
        number_of_sales().alias("_transaction_count"),
        number_of_lines().alias("_line_count"),
    )
    stores = stores_silver.select("store_id", "store_name")
    products = products_silver.select("product_id", "product_name")
    named = pairs.join(stores, "store_id", how="left").join(products, "product_id", how="left")
    return named.selectExpr(*STORE_PRODUCT_PERFORMANCE_GOLD.select_list)


STORE_PRODUCT_PERFORMANCE = Table(
    STORE_PRODUCT_PERFORMANCE_GOLD,
    build_store_product_performance_gold,
    reads=(RETAILS_SILVER, STORES_SILVER, PRODUCTS_SILVER),
    settings=("as_of",),
)
