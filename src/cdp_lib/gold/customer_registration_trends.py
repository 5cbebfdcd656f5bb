"""customer_registration_trends_gold: registrations by month and country."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import is_on_or_before
from cdp_lib.contracts.gold import CUSTOMER_REGISTRATION_TRENDS_GOLD
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.pipeline.table import Table


def build_customer_registration_trends_gold(customers_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per month of registration and country of customers, with or without purchases.

    Customers without a day of registration are left out.

    Args:
        customers_silver: One row per customer.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `customer_registration_trends_gold`.
    """
    day = sf.col("registration_date")
    registered = customers_silver.where(day.isNotNull()).where(is_on_or_before("registration_date", as_of))
    trends = registered.groupBy(sf.year(day).alias("reg_year"), sf.month(day).alias("reg_month"), "country").agg(
        sf.count("*").alias("new_customers")
    )
    return trends.selectExpr(*CUSTOMER_REGISTRATION_TRENDS_GOLD.select_list)


CUSTOMER_REGISTRATION_TRENDS = Table(
    CUSTOMER_REGISTRATION_TRENDS_GOLD,
    build_customer_registration_trends_gold,
    reads=(CUSTOMERS_SILVER,),
    settings=("as_of",),
)
