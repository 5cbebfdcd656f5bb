"""customers_silver: the customers of the API, typed and cleaned."""

from pyspark.sql import DataFrame

from cdp_lib.columns import clean_email, clean_text, to_date, to_instant, to_integer
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.received import typed_rows


def build_customers_silver(customers_bronze: DataFrame) -> DataFrame:
    """One row per version of a customer record, typed; versions of one customer are not settled yet.

    Bronze is text, because the API's JSON is: ids and dates are parsed here, and a value that does not parse is
    null and named in `_rescued_data`.

    Args:
        customers_bronze: Rows of any batches.

    Returns:
        Columns of `customers_silver` and those the check needs (`typed_rows`).
    """
    return typed_rows(
        customers_bronze,
        CUSTOMERS_BRONZE,
        {
            "customer_id": to_integer,
            "full_name": clean_text,
            "email": clean_email,
            "country": clean_text,
            "registration_date": to_date,
            "updated_at": to_instant,
        },
    )


CUSTOMERS = Table(CUSTOMERS_SILVER, build_customers_silver, reads=(CUSTOMERS_BRONZE,), materialization=MergeByKey())
