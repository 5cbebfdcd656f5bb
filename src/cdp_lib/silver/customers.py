"""customers_silver: the customers of the API, typed and cleaned."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, to_date, to_integer
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.silver.received import typed_rows


def build_customers_silver(customers_bronze: DataFrame) -> DataFrame:
    """One row per customer record of a snapshot, typed; records of one customer are not merged yet.

    Bronze is text, because the API's JSON is: ids and dates are parsed here, and a value that does not parse is
    null and named in `_rescued_data`. E-mail addresses are compared without regard to case by every system that
    sends mail, so they are kept in lower case.

    Args:
        customers_bronze: Rows of one batch.

    Returns:
        Columns of `customers_silver` and those the check needs (`typed_rows`).
    """
    return typed_rows(
        customers_bronze,
        CUSTOMERS_BRONZE,
        {
            "customer_id": to_integer(sf.col("customer_id")),
            "full_name": clean_text(sf.col("full_name")),
            "email": sf.lower(clean_text(sf.col("email"))),
            "country": clean_text(sf.col("country")),
            "registration_date": to_date(sf.col("registration_date")),
        },
    )
