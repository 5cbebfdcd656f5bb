"""customer_acquisitions_silver: the day each customer was acquired."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, CUSTOMERS_SILVER, PURCHASES_SILVER
from cdp_lib.pipeline.table import Table


def build_customer_acquisitions_silver(customers_silver: DataFrame, purchases_silver: DataFrame) -> DataFrame:
    """Return one row per customer, with the day of registration or of the first purchase, whichever is earlier.

    The day is null if a customer has neither a day of registration nor a purchase.

    The day of registration alone is not enough. Some sources do not have it. In the sample data, every buyer registered
    after the first purchase.

    Args:
        customers_silver: One row per customer.
        purchases_silver: One row per customer and day of purchase.

    Returns:
        Columns of `customer_acquisitions_silver`.
    """
    first_purchases = (
        purchases_silver.where("transaction_count > 0")
        .groupBy("customer_id")
        .agg(sf.min("purchase_date").alias("first_purchase_date"))
    )
    return (
        customers_silver.select("customer_id", "registration_date")
        .join(first_purchases, "customer_id", how="left")
        .withColumn("acquisition_date", sf.least("registration_date", "first_purchase_date"))
        .selectExpr(*CUSTOMER_ACQUISITIONS_SILVER.select_list)
    )


CUSTOMER_ACQUISITIONS = Table(
    CUSTOMER_ACQUISITIONS_SILVER, build_customer_acquisitions_silver, reads=(CUSTOMERS_SILVER, PURCHASES_SILVER)
)
