"""transactions_silver: the sales and returns of the transactional database."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, to_currency, to_instant, to_money
from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import ID_KEYS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.received import as_received, typed_rows

_OPTIONAL_COLUMNS = tuple(
    column.name for column in TRANSACTIONS_BRONZE.received_columns if column.optional and column.type == "STRING"
)
"""Columns that are null if the source does not have them."""


def build_transactions_silver(transactions_bronze: DataFrame) -> DataFrame:
    """Return one row per version of a line.

    If a line has no day, its day is the UTC day of its time. If business days have another time zone, the mapping has
    filled in the day already (`map_rows`).

    Args:
        transactions_bronze: Rows of one or more batches.

    Returns:
        Columns of `transactions_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    rows = typed_rows(
        transactions_bronze,
        TRANSACTIONS_BRONZE,
        {
            "transaction_id": as_received,
            "customer_id": as_received,
            "product_id": as_received,
            "store_id": as_received,
            "quantity": as_received,
            "transaction_date": as_received,
            "order_id": clean_text,
            "sold_at": to_instant,
            "unit_price": to_money,
            "line_amount": to_money,
            "discount_amount": to_money,
            "tax_amount": to_money,
            "currency": to_currency,
            "channel": clean_text,
            "promotion_code": clean_text,
            "updated_at": to_instant,
        },
    )
    day = sf.coalesce("transaction_date", sf.col("sold_at").cast("date"))
    # A line without a day is refused, so its month does not matter. Engines sort a column faster if it is never null.
    month = sf.coalesce(sf.trunc(day, "month"), sf.expr("DATE'0001-01-01'"))
    return rows.withColumns({"transaction_date": day, "sale_month": month})


TRANSACTIONS = Table(
    TRANSACTIONS_SILVER,
    build_transactions_silver,
    reads=(TRANSACTIONS_BRONZE,),
    follows=(ID_KEYS_SILVER,),
    may_lack={TRANSACTIONS_BRONZE: {name: name for name in _OPTIONAL_COLUMNS}},
    materialization=MergeByKey(covers_from="transaction_date"),
)
