"""store_customer_analysis_gold: customers and sales by store."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.gold import STORE_CUSTOMER_ANALYSIS_GOLD
from cdp_lib.contracts.silver import RETAILS_SILVER, STORES_SILVER
from cdp_lib.gold.mart import number_of_sales, ratio, sales_until
from cdp_lib.pipeline.table import Table


def build_store_customer_analysis_gold(
    retails_silver: DataFrame, stores_silver: DataFrame, as_of: date | None
) -> DataFrame:
    """One row per store that sold something.

    The query groups by customer before it counts customers. A distinct count per store takes several times as long as
    this query.

    Args:
        retails_silver: One row per sale.
        stores_silver: One row per store.
        as_of: Last day to include; None for all days.

    Returns:
        Columns of `store_customer_analysis_gold`.
    """
    sales = sales_until(retails_silver, as_of)
    customers = sales.groupBy("store_id", "customer_id").agg(number_of_sales().alias("transactions"))
    stores = customers.groupBy("store_id").agg(
        sf.count("*").alias("unique_customers"), sf.sum("transactions").alias("total_transactions")
    )
    average = ratio("total_transactions", "unique_customers").alias("avg_transactions_per_customer")
    names = stores_silver.select("store_id", "store_name", "location")
    named = stores.join(names, "store_id", how="left").select("*", average)
    return named.selectExpr(*STORE_CUSTOMER_ANALYSIS_GOLD.select_list)


STORE_CUSTOMER_ANALYSIS = Table(
    STORE_CUSTOMER_ANALYSIS_GOLD,
    build_store_customer_analysis_gold,
    reads=(RETAILS_SILVER, STORES_SILVER),
    settings=("as_of",),
)
