"""product_performance_gold: sales by product."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.gold import (
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
    STORE_PRODUCT_PERFORMANCE_GOLD,
)
from cdp_lib.contracts.silver import PRODUCTS_SILVER
from cdp_lib.gold.mart import number_with_sales
from cdp_lib.pipeline.table import Table


def build_product_performance_gold(
    customer_product_affinity_gold: DataFrame, store_product_performance_gold: DataFrame, products_silver: DataFrame
) -> DataFrame:
    """One row per product that was sold.

    The figures come from two marts, so the lines are not read again. Only the mart of stores includes anonymous sales.

    Args:
        customer_product_affinity_gold: One row per customer and product.
        store_product_performance_gold: One row per store and product.
        products_silver: One row per product.

    Returns:
        Columns of `product_performance_gold`.
    """
    by_customer = customer_product_affinity_gold.groupBy("product_id").agg(
        number_with_sales("purchase_frequency").alias("buyers")
    )
    by_store = store_product_performance_gold.groupBy("product_id").agg(
        sf.sum("quantity_sold").alias("total_quantity_sold"),
        sf.sum("revenue_generated").alias("total_revenue"),
        sf.sum("_transaction_count").alias("unique_transactions"),
        sf.sum("_line_count").alias("_line_count"),
    )
    names = products_silver.select("product_id", "product_name", "category")
    products = by_store.join(by_customer, "product_id", how="left").join(names, "product_id", how="left")
    unique_customers = sf.coalesce("buyers", sf.lit(0)).alias("unique_customers")
    return products.select("*", unique_customers).selectExpr(*PRODUCT_PERFORMANCE_GOLD.select_list)


PRODUCT_PERFORMANCE = Table(
    PRODUCT_PERFORMANCE_GOLD,
    build_product_performance_gold,
    reads=(CUSTOMER_PRODUCT_AFFINITY_GOLD, STORE_PRODUCT_PERFORMANCE_GOLD, PRODUCTS_SILVER),
)
