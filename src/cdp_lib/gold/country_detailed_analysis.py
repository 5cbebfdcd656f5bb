"""country_detailed_analysis_gold: sales by country of customers."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import is_sale, number_of_sales
from cdp_lib.contracts.gold import COUNTRY_DETAILED_ANALYSIS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines, ratio
from cdp_lib.pipeline.table import Table


def build_country_detailed_analysis_gold(retails_silver: DataFrame, as_of: date | None) -> DataFrame:
    """One row per country of customers who bought.

    Args:
        retails_silver: One row per line.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `country_detailed_analysis_gold`.
    """
    distinct = {"unique_customers": "customer_id", "unique_stores": "store_id", "unique_products": "product_id"}
    countries = (
        lines_until(retails_silver, as_of)
        .groupBy("country")
        .agg(
            *(sf.countDistinct(sf.when(is_sale(), sf.col(id_))).alias(name) for name, id_ in distinct.items()),
            number_of_sales().alias("total_transactions"),
            sf.sum("quantity").alias("total_quantity_sold"),
            sf.sum("revenue").alias("total_revenue"),
            number_of_lines().alias("_line_count"),
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
