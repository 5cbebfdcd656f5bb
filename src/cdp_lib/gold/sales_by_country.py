"""sales_by_country_gold: number of sales by country of customers."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.gold import COUNTRY_DETAILED_ANALYSIS_GOLD, SALES_BY_COUNTRY_GOLD
from cdp_lib.pipeline.table import Table


def build_sales_by_country_gold(country_detailed_analysis_gold: DataFrame) -> DataFrame:
    """One row per country of customers who bought.

    Args:
        country_detailed_analysis_gold: One row per country.

    Returns:
        Columns of `sales_by_country_gold`.
    """
    countries = country_detailed_analysis_gold.select("country", sf.col("total_transactions").alias("total_sales"))
    return countries.selectExpr(*SALES_BY_COUNTRY_GOLD.select_list)


SALES_BY_COUNTRY = Table(SALES_BY_COUNTRY_GOLD, build_sales_by_country_gold, reads=(COUNTRY_DETAILED_ANALYSIS_GOLD,))
