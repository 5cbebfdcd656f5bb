"""marketing_spend_silver: marketing spend by month, channel and campaign."""

from pyspark.sql import DataFrame

from cdp_lib.columns import clean_text, to_amount, to_currency, to_month
from cdp_lib.contracts.bronze import MARKETING_SPEND_BRONZE
from cdp_lib.contracts.silver import MARKETING_SPEND_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.received import typed_rows
from cdp_lib.silver.reserved import to_channel


def build_marketing_spend_silver(marketing_spend_bronze: DataFrame) -> DataFrame:
    """Return one row for each version of each line in the spend files. Amounts keep their original currency.

    Args:
        marketing_spend_bronze: Rows of one or more batches.

    Returns:
        Columns of `marketing_spend_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    return typed_rows(
        marketing_spend_bronze,
        MARKETING_SPEND_BRONZE,
        {
            "month": to_month,
            "channel": to_channel,
            "campaign": clean_text,
            "amount": to_amount,
            "currency": to_currency,
        },
    )


MARKETING_SPEND = Table(
    MARKETING_SPEND_SILVER, build_marketing_spend_silver, reads=(MARKETING_SPEND_BRONZE,), materialization=MergeByKey()
)
