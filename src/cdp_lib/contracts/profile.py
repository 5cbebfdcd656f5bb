"""Gold: the profile of each person, and the table that finds a person by an identifier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD, CUSTOMER_VALUE_GOLD
from cdp_lib.contracts.consent import MARKETING_CHANNELS
from cdp_lib.contracts.identity import PERSONS_SILVER
from cdp_lib.contracts.table import Column, TableContract

BUCKETS = 64
"""Number of partitions of a look-up table. A look-up reads one partition: about 16,000 of a million persons."""

_LEFT_OUT = ("customer_id", "person_id", "as_of")


def _added(columns: Iterable[Column], names: Iterable[str]) -> tuple[Column, ...]:
    """Return the columns of a table that a profile does not have yet. A person may lack them all, so none is required.

    The source columns of demographics are left out: the profile has the provenance of each group of attributes.
    """
    taken = {*names, *_LEFT_OUT}
    return tuple(
        replace(column, required=False)
        for column in columns
        if column.name not in taken and not column.name.endswith("_source")
    )


_PERSON = PERSONS_SILVER.columns
PROFILE_DEMOGRAPHICS = _added(CUSTOMER_DEMOGRAPHICS_GOLD.columns, PERSONS_SILVER.column_names)
"""Columns that the profile takes from customer_demographics_gold."""

PROFILE_VALUE = _added(CUSTOMER_VALUE_GOLD.columns, (column.name for column in (*_PERSON, *PROFILE_DEMOGRAPHICS)))
"""Columns that the profile takes from customer_value_gold."""

_FAVOURITE = "the largest revenue of the person's customers; ties by name; null without a purchase"

CUSTOMER_PROFILE_GOLD = TableContract(
    name="customer_profile_gold",
    layer="gold",
    comment="One row per person, with contact data, consent, value, favourites and activity. A person without a"
    " customer has no figures.",
    columns=(
        Column("bucket", "INT", f"remainder of person_id divided by {BUCKETS}", required=True),
        *_PERSON,
        Column("as_of", "DATE", "day that the figures refer to; later data is not included", required=True),
        *PROFILE_DEMOGRAPHICS,
        *(
            Column(
                f"is_{channel}_allowed",
                "BOOLEAN",
                f"whether marketing by {noun} is allowed, as in consent_current_silver; null: never asked",
            )
            for channel, noun in MARKETING_CHANNELS.items()
        ),
        *PROFILE_VALUE,
        Column("favourite_category", "STRING", f"category with {_FAVOURITE}"),
        Column("favourite_store", "STRING", f"store with {_FAVOURITE}"),
        Column("favourite_channel", "STRING", f"sales channel with {_FAVOURITE}"),
        Column("first_activity_date", "DATE", "day of the first purchase or activity; null without one"),
        Column("last_activity_date", "DATE", "day of the last purchase or activity up to as_of; null without one"),
    ),
    key=("bucket", "person_id"),
    partitioned_by=("bucket",),
    clustered_by=("person_id",),
)

PERSON_LOOKUP_GOLD = TableContract(
    name="person_lookup_gold",
    layer="gold",
    comment="One row per identifier and person. A look-up reads only the partition of the identifier's bucket.",
    columns=(
        Column(
            "bucket", "INT", f"remainder of the CRC-32 of the identifier, in UTF-8, divided by {BUCKETS}", required=True
        ),
        Column(
            "identifier",
            "STRING",
            "identifier as <kind>:<value>, such as email:<address> in its normal form; or a record_key",
            required=True,
            pii="email",
        ),
        Column("person_id", "BIGINT", "number of the person, as in persons_silver", required=True),
    ),
    key=("bucket", "identifier", "person_id"),
    partitioned_by=("bucket",),
)

PROFILE_TABLES = (CUSTOMER_PROFILE_GOLD, PERSON_LOOKUP_GOLD)
