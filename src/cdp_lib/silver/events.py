"""events_silver: events on the web, in the app and in e-mails."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_email, clean_text, identity_of, to_instant, to_integer
from cdp_lib.contracts.bronze import EVENTS_BRONZE
from cdp_lib.contracts.silver import EVENTS_SILVER, ID_KEYS_SILVER
from cdp_lib.pipeline.merge_by_key import MergeByKey
from cdp_lib.pipeline.table import Table
from cdp_lib.silver.consent_signals import to_signal, to_tracking
from cdp_lib.silver.received import typed_rows


def build_events_silver(events_bronze: DataFrame) -> DataFrame:
    """Return one row per version of an event, typed, with the identity of the event.

    The identity is the first known value of: the customer who was logged in, the e-mail address of the message, the
    device. An event has no identity if its person has refused tracking: it is neither linked to a person nor counted
    as activity of a person.

    Args:
        events_bronze: Rows of one or more batches.

    Returns:
        Columns of `events_silver` and the columns that are needed to check its rules (see `typed_rows`).
    """
    typed = typed_rows(
        events_bronze,
        EVENTS_BRONZE,
        {
            "event_id": clean_text,
            "event_type": clean_text,
            "occurred_at": to_instant,
            "channel": clean_text,
            "customer_id": to_integer,
            "anonymous_id": clean_text,
            "email": clean_email,
            "session_id": clean_text,
            "campaign": clean_text,
            "product_id": to_integer,
            "is_tracking_allowed": to_tracking,
            "consent_signal": to_signal,
        },
        received_as={"is_tracking_allowed": "consent", "consent_signal": "consent"},
    )
    # A signal may decide on other purposes only.
    fits = sf.col("_is_tracking_allowed_fits") | sf.col("consent_signal").isNotNull()
    typed = typed.withColumn("_is_tracking_allowed_fits", fits)
    is_refused = sf.coalesce(~sf.col("is_tracking_allowed"), sf.lit(False))
    return typed.withColumn("identity", sf.when(~is_refused, visitor_of_event()))


def visitor_of_event() -> Column:
    """Return the identity of the visitor of an event, whether or not the visitor refused tracking."""
    return sf.coalesce(
        identity_of("customer", sf.col("customer_id")),
        identity_of("email", sf.col("email")),
        identity_of("device", sf.col("anonymous_id")),
    )


EVENTS = Table(
    EVENTS_SILVER,
    build_events_silver,
    reads=(EVENTS_BRONZE,),
    follows=(ID_KEYS_SILVER,),
    materialization=MergeByKey(),
)
