"""Marts by store."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import revenue
from cdp_lib.contracts.gold import STORE_CUSTOMER_ANALYSIS_GOLD, STORE_PRODUCT_PERFORMANCE_GOLD


def build_store_product_performance_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per store and product it sold.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `store_product_performance_gold`.
    """
    performance = retails_silver.groupBy("store_id", "store_name", "product_id", "product_name").agg(
        sf.sum("quantity").alias("quantity_sold"),
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("revenue_generated"),
    )
    return performance.selectExpr(*STORE_PRODUCT_PERFORMANCE_GOLD.select_list)


def build_store_customer_analysis_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per store that sold something.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `store_customer_analysis_gold`.
    """
    analysis = retails_silver.groupBy("store_id", "store_name", "location").agg(
        sf.countDistinct("customer_id").alias("unique_customers"),
        sf.count("*").alias("total_transactions"),
    )
    average = sf.col("total_transactions").cast("double") / sf.col("unique_customers")
    return analysis.withColumn("avg_transactions_per_customer", average).selectExpr(
        *STORE_CUSTOMER_ANALYSIS_GOLD.select_list
    )
