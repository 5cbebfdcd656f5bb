"""products_silver: the products of the transactional database."""

from pyspark.sql import DataFrame

from cdp_lib.columns import clean_text, to_instant, to_money
from cdp_lib.contracts.bronze import PRODUCTS_BRONZE
from cdp_lib.contracts.silver import ID_KEYS_SILVER, PRODUCTS_SILVER
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
            "department": clean_text,
            "subcategory": clean_text,
            "brand": clean_text,
            "unit_cost": to_money,
            "updated_at": to_instant,
        },
    )
    return as_active(rows)


PRODUCTS = Table(
    PRODUCTS_SILVER,
    build_products_silver,
    reads=(PRODUCTS_BRONZE,),
    follows=(ID_KEYS_SILVER,),
    materialization=MergeByKey(keeps_absent=True),
)
