"""Marts of customers, whether or not they bought."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.gold import CUSTOMER_REGISTRATION_TRENDS_GOLD


def build_customer_registration_trends_gold(customers_silver: DataFrame) -> DataFrame:
    """One row per month and country in which customers registered.

    Args:
        customers_silver: One row per customer.

    Returns:
        Columns of `customer_registration_trends_gold`.
    """
    day = sf.col("registration_date")
    trends = customers_silver.groupBy(sf.year(day).alias("reg_year"), sf.month(day).alias("reg_month"), "country").agg(
        sf.count("*").alias("new_customers")
    )
    return trends.selectExpr(*CUSTOMER_REGISTRATION_TRENDS_GOLD.select_list)
