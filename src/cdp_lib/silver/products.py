"""products_silver: the products of the transactional database."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text
from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.silver.received import typed_rows


def build_products_silver(products_bronze: DataFrame) -> DataFrame:
    """One row per product record of a snapshot, names cleaned.

    Args:
        products_bronze: Rows of one batch.

    Returns:
        Columns of `products_silver` and those the check needs (`typed_rows`).
    """
    return typed_rows(
        products_bronze,
        PRODUCTS_BRONZE,
        {
            "product_id": sf.col("product_id"),
            "product_name": clean_text(sf.col("product_name")),
            "category": clean_text(sf.col("category")),
            "price": sf.col("price"),
        },
    )
