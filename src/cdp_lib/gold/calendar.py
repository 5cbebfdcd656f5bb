"""Marts by season and month of the sale."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import revenue, season
from cdp_lib.contracts.gold import MONTHLY_SALES_GOLD, SEASONAL_ANALYSIS_GOLD


def build_seasonal_analysis_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per season and product category sold in it, over all years.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `seasonal_analysis_gold`.
    """
    seasons = retails_silver.groupBy(season(sf.col("transaction_date")).alias("season"), "category").agg(
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("seasonal_revenue"),
        sf.sum("quantity").alias("seasonal_quantity"),
    )
    return seasons.selectExpr(*SEASONAL_ANALYSIS_GOLD.select_list)


def build_monthly_sales_gold(retails_silver: DataFrame) -> DataFrame:
    """One row per month in which something was sold.

    Args:
        retails_silver: One row per sale.

    Returns:
        Columns of `monthly_sales_gold`.
    """
    day = sf.col("transaction_date")
    months = retails_silver.groupBy(
        sf.year(day).alias("transaction_year"),
        sf.quarter(day).alias("transaction_quarter"),
        sf.month(day).alias("transaction_month"),
    ).agg(
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("monthly_revenue"),
        sf.sum("quantity").alias("monthly_quantity"),
        sf.count("*").alias("monthly_transactions"),
        sf.countDistinct("customer_id").alias("monthly_customers"),
    )
    return months.selectExpr(*MONTHLY_SALES_GOLD.select_list)
