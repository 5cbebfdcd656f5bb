"""customers_silver: the customers of the API, typed and cleaned."""

from pyspark.sql import Column, DataFrame

from cdp_lib.columns import clean_email, clean_text, to_date, to_instant, to_integer
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, ID_KEYS_SILVER, REGISTRATION_DAYS
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.quality import as_active
from cdp_lib.silver.received import text_or_unknown, typed_rows
from cdp_lib.silver.reserved import unless_total


def build_customers_silver(customers_bronze: DataFrame) -> DataFrame:
    """Return one row per version of a customer record, typed. The merge chooses the current version.

    Bronze columns are text, because the API returns JSON. Only the customer's number is required: a missing country is
    `unknown`, any other missing value is null.

    Args:
        customers_bronze: Rows of one or more batches.

    Returns:
        Columns of `customers_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    rows = typed_rows(
        customers_bronze,
        CUSTOMERS_BRONZE,
        {
            "customer_id": to_integer,
            "full_name": clean_text,
            "email": clean_email,
            "country": _to_country,
            "registration_date": to_date,
            "household_id": clean_text,
            "updated_at": to_instant,
        },
        plausible={"registration_date": REGISTRATION_DAYS},
    )
    return as_active(rows)


def _to_country(received: Column) -> Column:
    return unless_total(text_or_unknown(received))


CUSTOMERS = Table(
    CUSTOMERS_SILVER,
    build_customers_silver,
    reads=(CUSTOMERS_BRONZE,),
    follows=(ID_KEYS_SILVER,),
    materialization=MergeByKey(keeps_absent=True),
)
