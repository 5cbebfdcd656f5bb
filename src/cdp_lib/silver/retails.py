"""retails_silver: sales with everything known about their customer, product and store."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf


def build_retails_silver(
    transactions_silver: DataFrame, customers_silver: DataFrame, products_silver: DataFrame, stores_silver: DataFrame
) -> DataFrame:
    """One row per sale, with a flag for each of customer, product and store that says whether it is known.

    An inner join would lose a sale of an unknown customer without a trace; these are left joins, so that the check
    can send such a sale to quarantine, from where it comes out in the first run after the missing row has arrived.

    Args:
        transactions_silver: One row per sale.
        customers_silver: One row per customer.
        products_silver: One row per product.
        stores_silver: One row per store.

    Returns:
        Columns of `retails_silver`, the flags its rules name, and those the check needs.
    """
    received = [name for name in transactions_silver.columns if not name.startswith("_")]
    sales = transactions_silver.select(
        "*",
        sf.to_json(sf.struct(*received)).alias("record"),
        sf.lit(None).cast("string").alias("_rescued_data"),
    )
    return (
        sales.join(customers_silver.withColumn("_customer_is_known", sf.lit(True)), "customer_id", how="left")
        .join(sf.broadcast(products_silver.withColumn("_product_is_known", sf.lit(True))), "product_id", how="left")
        .join(sf.broadcast(stores_silver.withColumn("_store_is_known", sf.lit(True))), "store_id", how="left")
    )
