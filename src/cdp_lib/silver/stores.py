"""stores_silver: the stores of the transactional database."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text
from cdp_lib.contracts.bronze import STORE_BRONZE
from cdp_lib.silver.received import typed_rows


def build_stores_silver(store_bronze: DataFrame) -> DataFrame:
    """One row per store record of a snapshot, names cleaned.

    Args:
        store_bronze: Rows of one batch.

    Returns:
        Columns of `stores_silver` and those the check needs (`typed_rows`).
    """
    return typed_rows(
        store_bronze,
        STORE_BRONZE,
        {
            "store_id": sf.col("store_id"),
            "store_name": clean_text(sf.col("store_name")),
            "location": clean_text(sf.col("location")),
        },
    )
