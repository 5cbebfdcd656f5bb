"""customer_profile_gold and person_lookup_gold: the profile of each person, and the way from an identifier to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import is_on_or_before
from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD, CUSTOMER_VALUE_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER, MARKETING_CHANNELS
from cdp_lib.contracts.identity import IDENTITY_RECORDS_SILVER, PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.profile import (
    BUCKETS,
    CUSTOMER_PROFILE_GOLD,
    PERSON_LOOKUP_GOLD,
    PROFILE_DEMOGRAPHICS,
    PROFILE_VALUE,
)
from cdp_lib.contracts.silver import ACTIVITIES_SILVER, RETAILS_SILVER
from cdp_lib.frames import union
from cdp_lib.identity.normalise import normal_email
from cdp_lib.identity.phones import with_e164
from cdp_lib.pipeline.follow_groups import FollowGroups, Reference
from cdp_lib.pipeline.table import BUSINESS_DATE, Table
from cdp_lib.reference.countries import countries_by_name, country_key

_FAVOURITES = {
    "favourite_category": "category",
    "favourite_store": "store_name",
    "favourite_channel": "channel",
}
"""Column of retails_silver that each favourite comes from."""


def build_customer_profile_gold(
    persons_silver: DataFrame,
    person_links_silver: DataFrame,
    consent_current_silver: DataFrame,
    customer_demographics_gold: DataFrame,
    customer_value_gold: DataFrame,
    retails_silver: DataFrame,
    activities_silver: DataFrame,
    as_of: date,
) -> DataFrame:
    """Return one row per person. A person without a customer is a prospect, and has no demographics and no value.

    The table is replaced whole in the first run of a business day, although few rows of its inputs change: `as_of`
    differs in each row. Without `as_of`, `recency_days` would still differ for each customer with a purchase, so only
    persons without a purchase would be spared. Besides, sales and activities with a later date begin to count without a
    change of their rows. Later runs of the day rewrite only touched persons.

    Args:
        persons_silver: One row per person.
        person_links_silver: One row per record.
        consent_current_silver: One row per person, purpose and channel with a decision.
        customer_demographics_gold: One row per person with a customer.
        customer_value_gold: One row per person with a customer.
        retails_silver: One row per sale.
        activities_silver: One row per identity in events and day with an activity.
        as_of: Last day to include.

    Returns:
        Columns of `customer_profile_gold`.
    """
    persons_of = person_links_silver.select("record_key", "person_id")
    customers = person_links_silver.where("customer_id IS NOT NULL").select("customer_id", "person_id")
    sales = retails_silver.where(is_on_or_before("transaction_date", as_of)).join(customers, "customer_id", how="inner")
    parts = [
        customer_demographics_gold.select("person_id", *(column.name for column in PROFILE_DEMOGRAPHICS)),
        customer_value_gold.select("person_id", *(column.name for column in PROFILE_VALUE)),
        _consents(consent_current_silver),
        *(_favourite(sales, value, name) for name, value in _FAVOURITES.items()),
        _activity(sales, _active_days(activities_silver, as_of), persons_of),
    ]
    profiles = persons_silver
    for part in parts:
        profiles = profiles.join(part, "person_id", how="left")
    return profiles.select(
        "*", sf.pmod("person_id", sf.lit(BUCKETS)).alias("bucket"), sf.lit(as_of).alias("as_of")
    ).selectExpr(*CUSTOMER_PROFILE_GOLD.select_list)


_OF_PERSON = Reference("person_id", lambda: sf.col("person_id"))

CUSTOMER_PROFILE = Table(
    CUSTOMER_PROFILE_GOLD,
    build_customer_profile_gold,
    reads=(
        PERSONS_SILVER,
        PERSON_LINKS_SILVER,
        CONSENT_CURRENT_SILVER,
        CUSTOMER_DEMOGRAPHICS_GOLD,
        CUSTOMER_VALUE_GOLD,
        RETAILS_SILVER,
        ACTIVITIES_SILVER,
    ),
    settings=(BUSINESS_DATE,),
    materialization=FollowGroups(
        "person_id",
        PERSON_LINKS_SILVER,
        (
            _OF_PERSON,
            _OF_PERSON,
            _OF_PERSON,
            replace(_OF_PERSON, compared=tuple(column.name for column in PROFILE_DEMOGRAPHICS)),
            replace(_OF_PERSON, compared=tuple(column.name for column in PROFILE_VALUE)),
            Reference("customer_id", lambda: sf.col("customer_id")),
            Reference("record_key", lambda: sf.col("identity")),
        ),
    ),
)


def _consents(consents: DataFrame) -> DataFrame:
    """Return the consent of each person to marketing, by channel."""
    answers = {
        channel: sf.bool_and(sf.when(sf.col("channel") == channel, sf.col("is_allowed")))
        for channel in MARKETING_CHANNELS
    }
    marketing = consents.where("purpose = 'marketing'").groupBy("person_id")
    return marketing.agg(*(answer.alias(f"is_{channel}_allowed") for channel, answer in answers.items()))


def _favourite(sales: DataFrame, value: str, name: str) -> DataFrame:
    """Return the value with the largest revenue of each person, in the column `name`."""
    totals = (
        sales.where(sf.col(value).isNotNull())
        .groupBy("person_id", value)
        .agg(sf.sum("revenue").alias("total_of_value"))
    )
    largest_first = Window.partitionBy("person_id").orderBy(sf.desc("total_of_value"), sf.asc(value))
    ranked = totals.withColumn("rank", sf.row_number().over(largest_first))
    return ranked.where("rank = 1").select("person_id", sf.col(value).alias(name))


def _active_days(activities: DataFrame, as_of: date) -> DataFrame:
    """Return the first and the last day with an activity of each identity."""
    days = activities.where(is_on_or_before("activity_date", as_of))
    return days.groupBy(sf.col("identity").alias("record_key")).agg(*_first_and_last("activity_date"))


def _activity(sales: DataFrame, days: DataFrame, persons_of: DataFrame) -> DataFrame:
    """Return the first and the last day with a purchase or an activity of each person."""
    active = days.join(persons_of, "record_key", how="inner").select("person_id", *_ACTIVITY)
    bought = sales.groupBy("person_id").agg(*_first_and_last("transaction_date"))
    return (
        union([active, bought])
        .groupBy("person_id")
        .agg(sf.min(_ACTIVITY[0]).alias(_ACTIVITY[0]), sf.max(_ACTIVITY[1]).alias(_ACTIVITY[1]))
    )


_ACTIVITY = ("first_activity_date", "last_activity_date")


def _first_and_last(day: str) -> Sequence[Column]:
    first, last = _ACTIVITY
    return sf.min(day).alias(first), sf.max(day).alias(last)


def build_person_lookup_gold(
    persons_silver: DataFrame,
    person_links_silver: DataFrame,
    identity_records_silver: DataFrame,
    countries: DataFrame,
    phone_plans: DataFrame,
) -> DataFrame:
    """Return one row per identifier and person. An identifier that several persons share has several rows.

    A person is found by the record keys, by the identifiers of the records, and by e-mail address and phone number of
    the person. Only the last two exist in addition to record keys if identity resolution is off.

    Args:
        persons_silver: One row per person.
        person_links_silver: One row per record.
        identity_records_silver: One row per record, with normalised identifiers.
        countries: One row per country, all columns as text (`countries.csv`).
        phone_plans: One row per country, all columns as text (`phone_plans.csv`).

    Returns:
        Columns of `person_lookup_gold`.
    """
    of_records = identity_records_silver.select("record_key", sf.explode("identifiers").alias("identifier"))
    codes = countries_by_name(countries).select("country_key", sf.col("country_code").alias("phone_country"))
    country = country_key(sf.coalesce("address_country", "country"))
    persons = persons_silver.select("person_id", "email", "phone", country.alias("country_key"))
    located = persons.join(codes, "country_key", how="left").select("person_id", "email", "phone", "phone_country")
    own_values = sf.array(
        sf.concat(sf.lit("email:"), normal_email(sf.col("email"))), sf.concat(sf.lit("phone:"), sf.col("phone"))
    )
    found = union(
        [
            person_links_silver.select(sf.col("record_key").alias("identifier"), "person_id"),
            of_records.join(person_links_silver.select("record_key", "person_id"), "record_key", how="inner").select(
                "identifier", "person_id"
            ),
            with_e164(located, phone_plans).select(sf.explode(own_values).alias("identifier"), "person_id"),
        ]
    )
    known = found.where("identifier IS NOT NULL").distinct()
    bucket = sf.pmod(sf.crc32(sf.col("identifier").cast("binary")), sf.lit(BUCKETS))
    return known.select("*", bucket.alias("bucket")).selectExpr(*PERSON_LOOKUP_GOLD.select_list)


PERSON_LOOKUP = Table(
    PERSON_LOOKUP_GOLD,
    build_person_lookup_gold,
    reads=(PERSONS_SILVER, PERSON_LINKS_SILVER, IDENTITY_RECORDS_SILVER),
    files=("countries.csv", "phone_plans.csv"),
)
