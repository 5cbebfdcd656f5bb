"""purchases_silver: purchases by customer and day."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import revenue
from cdp_lib.contracts.silver import PURCHASES_SILVER, RETAILS_SILVER
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_purchases_silver(retails_silver: DataFrame) -> DataFrame:
    """Return one row per customer and day with purchases.

    Args:
        retails_silver: One row per sale. It has all sales of each month that is rebuilt.

    Returns:
        Columns of `purchases_silver`.
    """
    days = retails_silver.groupBy("customer_id", sf.col("transaction_date").alias("purchase_date"), "sale_month").agg(
        sf.count("*").alias("transaction_count"),
        sf.sum(revenue(sf.col("quantity"), sf.col("price"))).alias("revenue"),
    )
    return days.selectExpr(*PURCHASES_SILVER.select_list)


PURCHASES = Table(
    PURCHASES_SILVER,
    build_purchases_silver,
    reads=(RETAILS_SILVER,),
    materialization=TouchedKeys(by=("sale_month",)),
)
