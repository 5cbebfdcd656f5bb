"""store_customer_analysis_gold: customers and sales by store."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.gold import STORE_CUSTOMER_ANALYSIS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER, STORES_SILVER
from cdp_lib.gold.mart import lines_until, number_of_lines, number_with_sales, ratio
from cdp_lib.pipeline.table import Table


def build_store_customer_analysis_gold(
    retails_silver: DataFrame, stores_silver: DataFrame, as_of: date | None
) -> DataFrame:
    """One row per store that sold something.

    The query groups by customer before it counts customers. A distinct count per store takes several times as long as
    this query.

    Args:
        retails_silver: One row per line.
        stores_silver: One row per store.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `store_customer_analysis_gold`.
    """
    lines = lines_until(retails_silver, as_of)
    customers = lines.groupBy("store_id", "customer_id").agg(
        number_of_sales().alias("transactions"), number_of_lines().alias("_line_count")
    )
    stores = customers.groupBy("store_id").agg(
        number_with_sales("transactions", of_whom="customer_id").alias("unique_customers"),
        sf.sum("transactions").alias("total_transactions"),
        sf.sum(sf.when(sf.col("customer_id").isNotNull(), sf.col("transactions"))).alias("of_customers"),
        sf.sum("_line_count").alias("_line_count"),
    )
    average = ratio("of_customers", "unique_customers").alias("avg_transactions_per_customer")
    names = stores_silver.select("store_id", "store_name", "location")
    named = stores.join(names, "store_id", how="left").select("*", average)
    return named.selectExpr(*STORE_CUSTOMER_ANALYSIS_GOLD.select_list)


STORE_CUSTOMER_ANALYSIS = Table(
    STORE_CUSTOMER_ANALYSIS_GOLD,
    build_store_customer_analysis_gold,
    reads=(RETAILS_SILVER, STORES_SILVER),
    settings=("as_of",),
)
