"""exchange_rates_silver: exchange rates by month and currency."""

from pyspark.sql import DataFrame

from cdp_lib.columns import clean_text, to_currency, to_month
from cdp_lib.contracts.bronze import EXCHANGE_RATES_BRONZE
from cdp_lib.contracts.silver import EXCHANGE_RATES_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.received import typed_rows


def build_exchange_rates_silver(exchange_rates_bronze: DataFrame) -> DataFrame:
    """Return one row for each version of each line in the exchange rate files.

    Args:
        exchange_rates_bronze: Rows of one or more batches.

    Returns:
        Columns of `exchange_rates_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    return typed_rows(
        exchange_rates_bronze,
        EXCHANGE_RATES_BRONZE,
        {
            "month": to_month,
            "currency": to_currency,
            "rate": lambda received: clean_text(received).try_cast("decimal(18,8)"),
        },
    )


EXCHANGE_RATES = Table(
    EXCHANGE_RATES_SILVER, build_exchange_rates_silver, reads=(EXCHANGE_RATES_BRONZE,), materialization=MergeByKey()
)
