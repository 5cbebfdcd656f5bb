"""transactions_silver: the sales of the transactional database."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import to_instant
from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import TRANSACTIONS_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.received import as_received, typed_rows


def build_transactions_silver(transactions_bronze: DataFrame) -> DataFrame:
    """Return one row per version of a sale record.

    Args:
        transactions_bronze: Rows of one or more batches.

    Returns:
        Columns of `transactions_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    names = [column.name for column in TRANSACTIONS_BRONZE.received_columns if not column.optional]
    parse = dict.fromkeys(names, as_received) | {"updated_at": to_instant}
    rows = typed_rows(transactions_bronze, TRANSACTIONS_BRONZE, parse)
    return rows.select("*", sf.trunc("transaction_date", "month").alias("sale_month"))


TRANSACTIONS = Table(
    TRANSACTIONS_SILVER,
    build_transactions_silver,
    reads=(TRANSACTIONS_BRONZE,),
    materialization=MergeByKey(covers_from="transaction_date"),
)
