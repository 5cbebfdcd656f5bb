"""consents_silver: decisions on consent in files of another system."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_email, clean_text, identity_of, to_instant, to_integer
from cdp_lib.contracts.bronze import CONSENTS_BRONZE
from cdp_lib.contracts.silver import CONSENTS_SILVER, ID_KEYS_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.received import typed_rows


def build_consents_silver(consents_bronze: DataFrame) -> DataFrame:
    """Return one row per version of a decision, typed, with the identity of the person.

    Args:
        consents_bronze: Rows of one or more batches.

    Returns:
        Columns of `consents_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    typed = typed_rows(
        consents_bronze,
        CONSENTS_BRONZE,
        {
            "record_id": clean_text,
            "customer_id": to_integer,
            "contact_id": _to_word,
            "email": clean_email,
            "purpose": _to_word,
            "channel": _to_word,
            "state": _to_word,
            "decided_at": to_instant,
            "method": clean_text,
            "notice": clean_text,
            "notice_version": clean_text,
            "jurisdiction": lambda received: sf.upper(clean_text(received)),
        },
    )
    subject = sf.coalesce(
        identity_of("customer", sf.col("customer_id")),
        identity_of("contact", sf.col("contact_id")),
        identity_of("email", sf.col("email")),
    )
    return typed.withColumn("identity", subject)


def _to_word(received: Column) -> Column:
    """Return a code in lower case."""
    return sf.lower(clean_text(received))


CONSENTS = Table(
    CONSENTS_SILVER,
    build_consents_silver,
    reads=(CONSENTS_BRONZE,),
    follows=(ID_KEYS_SILVER,),
    materialization=MergeByKey(),
)
