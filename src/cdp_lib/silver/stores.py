"""stores_silver: the stores of the transactional database."""

from pyspark.sql import DataFrame

from cdp_lib.columns import to_instant
from cdp_lib.contracts.bronze import STORE_BRONZE
from cdp_lib.contracts.silver import ID_KEYS_SILVER, STORES_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.quality import as_active
from cdp_lib.silver.received import as_received, text_or_unknown, typed_rows


def build_stores_silver(store_bronze: DataFrame) -> DataFrame:
    """Return one row per version of a store record, with cleaned names. A missing name or country is `unknown`.

    Args:
        store_bronze: Rows of one or more batches.

    Returns:
        Columns of `stores_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    rows = typed_rows(
        store_bronze,
        STORE_BRONZE,
        {
            "store_id": as_received,
            "store_name": text_or_unknown,
            "location": text_or_unknown,
            "updated_at": to_instant,
        },
    )
    return as_active(rows)


STORES = Table(
    STORES_SILVER,
    build_stores_silver,
    reads=(STORE_BRONZE,),
    follows=(ID_KEYS_SILVER,),
    materialization=MergeByKey(keeps_absent=True),
)
