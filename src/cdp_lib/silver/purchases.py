"""purchases_silver: purchases by customer and day."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import number_of_sales
from cdp_lib.contracts.silver import PURCHASES_SILVER, RETAILS_SILVER
from cdp_lib.pipeline.table import Table
from cdp_lib.pipeline.touched_keys import TouchedKeys


def build_purchases_silver(retails_silver: DataFrame) -> DataFrame:
    """Return one row per customer and day with sales or returns. Anonymous sales are left out.

    Args:
        retails_silver: One row per line, with all lines of the months to compute.

    Returns:
        Columns of `purchases_silver`.
    """
    lines = retails_silver.where("customer_id IS NOT NULL")
    days = lines.groupBy("customer_id", sf.col("transaction_date").alias("purchase_date"), "sale_month").agg(
        number_of_sales().alias("transaction_count"), sf.sum("revenue").alias("revenue")
    )
    return days.selectExpr(*PURCHASES_SILVER.select_list)


PURCHASES = Table(
    PURCHASES_SILVER,
    build_purchases_silver,
    reads=(RETAILS_SILVER,),
    materialization=TouchedKeys(by=("sale_month",)),
)
