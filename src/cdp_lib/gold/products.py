"""Marts by product."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import price_segment, revenue
from cdp_lib.contracts.gold import (
    CUSTOMER_PRODUCT_AFFINITY_GOLD,
    PRICE_SEGMENT_ANALYSIS_GOLD,
    PRODUCT_PERFORMANCE_GOLD,
)


def build_product_performance_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per product sold.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `product_performance_gold`.
    """
    performance = retails_silver.groupBy("product_id", "product_name", "category").agg(
        sf.sum("quantity").alias("total_quantity_sold"),
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("total_revenue"),
        sf.count("*").alias("unique_transactions"),
        sf.countDistinct("customer_id").alias("unique_customers"),
    )
    return performance.selectExpr(*PRODUCT_PERFORMANCE_GOLD.select_list)


def build_price_segment_analysis_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per price segment and product category sold.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `price_segment_analysis_gold`.
    """
    segments = retails_silver.groupBy(price_segment(sf.col("price")).alias("price_segment"), "category").agg(
        sf.count("*").alias("transaction_count"),
        sf.sum("quantity").alias("total_quantity"),
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("total_revenue"),
    )
    return segments.selectExpr(*PRICE_SEGMENT_ANALYSIS_GOLD.select_list)


def build_customer_product_affinity_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per customer and product the customer bought.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `customer_product_affinity_gold`.
    """
    affinity = retails_silver.groupBy("customer_id", "full_name", "product_id", "product_name", "category").agg(
        sf.sum("quantity").alias("total_quantity_purchased"),
        sf.count("*").alias("purchase_frequency"),
    )
    return affinity.selectExpr(*CUSTOMER_PRODUCT_AFFINITY_GOLD.select_list)
