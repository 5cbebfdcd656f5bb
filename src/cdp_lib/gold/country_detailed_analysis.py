"""country_detailed_analysis_gold: sales by country of customers."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.gold import COUNTRY_DETAILED_ANALYSIS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import ratio, sales_until, total
from cdp_lib.pipeline.table import Table


def build_country_detailed_analysis_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per country of customers who bought.

    Args:
        retails_silver: One row per sale.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `country_detailed_analysis_gold`.
    """
    countries = (
        sales_until(retails_silver, as_of)
        .groupBy("country")
        .agg(
            sf.countDistinct("customer_id").alias("unique_customers"),
            sf.countDistinct("store_id").alias("unique_stores"),
            sf.countDistinct("product_id").alias("unique_products"),
            sf.count("*").alias("total_transactions"),
            total("quantity").alias("total_quantity_sold"),
            total("revenue").alias("total_revenue"),
        )
    )
    average = ratio("total_revenue", "total_transactions").alias("avg_transaction_value")
    return countries.select("*", average).selectExpr(*COUNTRY_DETAILED_ANALYSIS_GOLD.select_list)


COUNTRY_DETAILED_ANALYSIS = Table(
    COUNTRY_DETAILED_ANALYSIS_GOLD,
    build_country_detailed_analysis_gold,
    reads=(RETAILS_SILVER,),
    settings=("as_of",),
)
