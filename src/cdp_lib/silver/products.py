"""products_silver: the products of the transactional database."""

from pyspark.sql import DataFrame

from cdp_lib.columns import to_instant
from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import PRODUCTS_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.quality import as_active
from cdp_lib.silver.received import as_received, text_or_unknown, typed_rows


def build_products_silver(products_bronze: DataFrame) -> DataFrame:
    """Return one row per version of a product record, with cleaned names. A missing name or category is `unknown`.

    Args:
        products_bronze: Rows of one or more batches.

    Returns:
        Columns of `products_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    rows = typed_rows(
        products_bronze,
        PRODUCTS_BRONZE,
        {
            "product_id": as_received,
            "product_name": text_or_unknown,
            "category": text_or_unknown,
            "price": as_received,
            "updated_at": to_instant,
        },
    )
    return as_active(rows)


PRODUCTS = Table(
    PRODUCTS_SILVER,
    build_products_silver,
    reads=(PRODUCTS_BRONZE,),
    materialization=MergeByKey(keeps_absent=True),
)
