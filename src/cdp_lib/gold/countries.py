"""Marts by the customers' country."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import revenue
from cdp_lib.contracts.gold import (
    CATEGORY_COUNTRY_PERFORMANCE_GOLD,
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    SALES_BY_COUNTRY_GOLD,
)


def build_sales_by_country_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per country in which customers bought.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `sales_by_country_gold`.
    """
    sales = retails_silver.groupBy("country").agg(sf.count("*").alias("total_sales"))
    return sales.selectExpr(*SALES_BY_COUNTRY_GOLD.select_list)


def build_category_country_performance_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per country and product category bought there.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `category_country_performance_gold`.
    """
    performance = retails_silver.groupBy("country", "category").agg(
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("revenue"),
        sf.sum("quantity").alias("quantity_sold"),
        sf.countDistinct("product_id").alias("unique_products"),
    )
    return performance.selectExpr(*CATEGORY_COUNTRY_PERFORMANCE_GOLD.select_list)


def build_country_detailed_analysis_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per country in which customers bought.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `country_detailed_analysis_gold`.
    """
    analysis = retails_silver.groupBy("country").agg(
        sf.countDistinct("customer_id").alias("unique_customers"),
        sf.countDistinct("store_id").alias("unique_stores"),
        sf.count("*").alias("total_transactions"),
        sf.sum("quantity").alias("total_quantity_sold"),
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("total_revenue"),
        sf.countDistinct("product_id").alias("unique_products"),
    )
    average = sf.col("total_revenue").cast("double") / sf.col("total_transactions")
    return analysis.withColumn("avg_transaction_value", average).selectExpr(*COUNTRY_DETAILED_ANALYSIS_GOLD.select_list)
