"""transactions_silver: the sales of the transactional database."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import TRANSACTIONS_BRONZE
from cdp_lib.silver.received import typed_rows


def build_transactions_silver(transactions_bronze: DataFrame) -> DataFrame:
    """One row per sale record of a snapshot.

    A sale dated before its customer's registration is kept: in the mission's data all of them are, and the day of
    registration is when a customer joined the programme, not when they first bought.

    Args:
        transactions_bronze: Rows of one batch.

    Returns:
        Columns of `transactions_silver` and those the check needs (`typed_rows`).
    """
    names = [column.name for column in TRANSACTIONS_BRONZE.received_columns]
    return typed_rows(transactions_bronze, TRANSACTIONS_BRONZE, {name: sf.col(name) for name in names})
