"""customer_demographics_gold: age, gender, place and shopper type of customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import is_on_or_before, is_sale
from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.silver import CUSTOMER_ACQUISITIONS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import UNKNOWN
from cdp_lib.identity.customers import with_person_id
from cdp_lib.identity.rules import IdentityRules
from cdp_lib.pipeline.table import BUSINESS_DATE, Table
from cdp_lib.reference.countries import countries_by_name, country_key

_MAX_AGE = 120
"""Greatest plausible age in years. A day of birth that implies a greater age is ignored."""

_AGE_BANDS = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (55, "45-54"), (65, "55-64"))
"""Age bands, each with its exclusive upper bound: the first age of the next band."""

_GENERATIONS = ((1928, "Greatest"), (1946, "Silent"), (1965, "Boomer"), (1981, "X"), (1997, "Millennial"), (2013, "Z"))
"""Generations as defined by Pew Research Center, each with its exclusive upper bound: the first birth year of
the next generation. The last generation is Alpha.
"""

_TENURE_BANDS = ((30, "under 30 days"), (90, "30-89 days"), (365, "90-364 days"), (731, "1-2 years"))
"""Tenure bands, each with its exclusive upper bound: the first number of days of the next band."""


def build_customer_demographics_gold(
    persons_silver: DataFrame,
    customer_acquisitions_silver: DataFrame,
    person_links_silver: DataFrame,
    retails_silver: DataFrame,
    countries: DataFrame,
    as_of: date,
    identity_rules: IdentityRules,
) -> DataFrame:
    """One row per person with a customer, acquired by `as_of`, with data of a reference table of countries.

    A person whose acquisition is unknown is included, without a tenure band.

    The values are those of `persons_silver`: its rules choose between the records of a person. These values are
    ignored:

    - a day of birth after `as_of`, or a day of birth of a person older than 120
    - a gender other than male or female

    If the person's records disagree on an attribute, its confidence is low. Cities are compared without regard to upper
    and lower case. Countries are compared by code.

    The country of the address replaces the country of record only if the country of record is missing or not in the
    reference table. If neither country is in the reference table, the row has no country code. In this case, its
    country name is the unchanged country of record, or null if there is none.

    The shopper type compares the person's country with the countries of the stores where the person bought. The first
    match counts:

    - `both`: stores at home and stores abroad
    - null: the person's country, or the country of at least one store, is not in the reference table
    - `home` or `foreign`: all stores at home, or all stores abroad

    In years without 29 February, a person born on 29 February has their birthday on 1 March. The values and the records
    of persons are the latest versions in silver, regardless of `as_of`.

    Args:
        persons_silver: One row per person.
        customer_acquisitions_silver: One row per person with a customer.
        person_links_silver: One row per record.
        retails_silver: One row per sale.
        countries: One row per country, all columns as text (`countries.csv`).
        as_of: Last day to include.
        identity_rules: Rules of identity resolution.

    Returns:
        Columns of `customer_demographics_gold`.
    """
    countries = countries_by_name(countries)
    places = with_person_id(_places(retails_silver, as_of), person_links_silver, identity_rules)
    acquired = customer_acquisitions_silver.select("person_id", "acquisition_date").where(
        sf.col("acquisition_date").isNull() | is_on_or_before("acquisition_date", as_of)
    )
    enriched = (
        acquired.join(_with_valid_values(persons_silver, countries, as_of), "person_id", how="left")
        .join(_store_countries(places, countries), "person_id", how="left")
        .withColumn("country_code", sf.coalesce("record_code", "address_code"))
        .join(
            _prefixed(countries, "market"),
            country_key(sf.col("country_code")) == sf.col("market_key"),
            how="left",
        )
    )
    birth_date = sf.col("birth_date")
    is_of_address = sf.col("record_code").isNull() & sf.col("address_code").isNotNull()
    return enriched.select(
        "person_id",
        sf.lit(as_of).alias("as_of"),
        _band(_age(birth_date, as_of), _AGE_BANDS, "65+").alias("age_band"),
        _band(sf.year(birth_date), _GENERATIONS, "Alpha").alias("generation"),
        *_source_and_confidence("birth_date", {"birth": birth_date.isNotNull()}),
        "gender",
        *_source_and_confidence("gender", {"birth": sf.col("gender").isNotNull()}),
        "city",
        *_source_and_confidence("city", {"address": sf.col("city").isNotNull()}),
        "country_code",
        sf.coalesce("market_country", "record_country").alias("country"),
        *_source_and_confidence("country", {"address": is_of_address, "country": sf.col("record_country").isNotNull()}),
        sf.col("market_region").alias("region"),
        _band(sf.datediff(sf.lit(as_of), "acquisition_date"), _TENURE_BANDS, "over 2 years").alias("tenure_band"),
        _shopper_type().alias("shopper_type"),
        "market_population",
        "market_income_group",
        "market_currency",
        "household_id",
        "attributes",
    ).selectExpr(*CUSTOMER_DEMOGRAPHICS_GOLD.select_list)


CUSTOMER_DEMOGRAPHICS = Table(
    CUSTOMER_DEMOGRAPHICS_GOLD,
    build_customer_demographics_gold,
    reads=(PERSONS_SILVER, CUSTOMER_ACQUISITIONS_SILVER, PERSON_LINKS_SILVER, RETAILS_SILVER),
    settings=(BUSINESS_DATE, "identity_rules"),
    files=("countries.csv",),
)


def _prefixed(countries: DataFrame, prefix: str) -> DataFrame:
    """Return the reference table with columns `<prefix>_code` and so on, so that it can be joined several times."""
    return countries.select(
        *(sf.col(name).alias(f"{prefix}_{name.removeprefix('country_')}") for name in countries.columns)
    )


def _with_valid_values(persons: DataFrame, countries: DataFrame, as_of: date) -> DataFrame:
    """Return persons without implausible values, and with the codes of their countries."""
    record = _prefixed(countries, "record").select("record_key", "record_code")
    address = _prefixed(countries, "address").select("address_key", "address_code")
    age = _age(sf.col("birth_date"), as_of)
    is_plausible = (sf.col("birth_date") <= sf.lit(as_of)) & (age <= _MAX_AGE)
    origins = [f"{group}_{part}" for group in ("birth", "address", "country") for part in ("source", "link")]
    valid = persons.select(
        "person_id",
        sf.when(is_plausible, sf.col("birth_date")).alias("birth_date"),
        "gender",
        "city",
        sf.nullif("country", sf.lit(UNKNOWN)).alias("record_country"),
        "address_country",
        "household_id",
        "attributes",
        "disputed",
        *(sf.col(name).alias(f"of_{name}") for name in origins),
    )
    return valid.join(record, country_key(sf.col("record_country")) == sf.col("record_key"), how="left").join(
        address, country_key(sf.col("address_country")) == sf.col("address_key"), how="left"
    )


def _places(retails: DataFrame, as_of: date) -> DataFrame:
    """Return one row per customer and location of a store where the customer bought."""
    sales = retails.where(is_sale() & is_on_or_before("transaction_date", as_of)).where("customer_id IS NOT NULL")
    return sales.select("customer_id", "location").distinct()


def _store_countries(places: DataFrame, countries: DataFrame) -> DataFrame:
    """Return one row per buyer: the country codes of the stores, and whether the country of any store is unknown."""
    codes = _prefixed(countries, "store").select("store_key", "store_code")
    return (
        places.join(codes, country_key(sf.col("location")) == sf.col("store_key"), how="left")
        .groupBy("person_id")
        .agg(
            sf.collect_set("store_code").alias("store_codes"),
            sf.max(sf.col("store_code").isNull()).alias("is_store_unknown"),
        )
    )


def _shopper_type() -> Column:
    # Test the code for null first: `array_contains(…, null)` returns null on one engine and false on the other.
    is_home = sf.when(sf.col("country_code").isNotNull(), sf.array_contains("store_codes", sf.col("country_code")))
    is_foreign = sf.size("store_codes") > is_home.cast("int")
    return (
        sf.when(is_home & is_foreign, "both")
        .when(sf.col("is_store_unknown"), sf.lit(None))
        .when(is_home, "home")
        .when(is_foreign, "foreign")
    )


def _source_and_confidence(attribute: str, groups: Mapping[str, Column]) -> tuple[Column, Column]:
    """Return the source column and the confidence column of an attribute.

    Args:
        attribute: Name of the attribute, as in the column `disputed` of `persons_silver`.
        groups: Groups of `persons_silver` that may give the value, each with the condition under which it does. The
            first group whose condition is true counts.
    """
    source, confidence = sf.lit(None).cast("string"), sf.lit(None).cast("string")
    for group, gives_value in reversed(list(groups.items())):
        # The kinds of identifiers that link the record to the person, such as customer_id+email.
        names_customer = sf.coalesce(sf.col(f"of_{group}_link").rlike("(^|[+])customer_id([+]|$)"), sf.lit(False))
        is_customer = sf.col(f"of_{group}_source") == "customers"
        is_contact = sf.col(f"of_{group}_source") == "crm_contacts"
        name = (
            sf.when(is_customer, "customers_api")
            .when(is_contact & names_customer, "crm_by_id")
            .when(is_contact, "crm_by_link")
            .otherwise("events")
        )
        source = sf.when(gives_value, name).otherwise(source)
        known = sf.when(is_customer | names_customer, "high").otherwise("medium")
        confidence = sf.when(gives_value, known).otherwise(confidence)
    is_disputed = sf.coalesce(sf.array_contains("disputed", attribute), sf.lit(False))
    confidence = sf.when(confidence.isNotNull() & is_disputed, "low").otherwise(confidence)
    return source.alias(f"{attribute}_source"), confidence.alias(f"{attribute}_confidence")


def _age(birth_date: Column, as_of: date) -> Column:
    """Return the age in completed years at `as_of`; negative if the day of birth is after `as_of`."""
    birthday = sf.month(birth_date) * 100 + sf.dayofmonth(birth_date)
    birthday_is_ahead = birthday > as_of.month * 100 + as_of.day
    return sf.lit(as_of.year) - sf.year(birth_date) - birthday_is_ahead.cast("int")


def _band(value: Column, bands: Sequence[tuple[int, str]], last: str) -> Column:
    """Return the name of the band of a value: the first band whose upper bound is above the value.

    Return `last` if the value is not below any bound. Return null if the value is null.
    """
    bound, name = bands[0]
    banded = sf.when(value < bound, name)
    for bound, name in bands[1:]:
        banded = banded.when(value < bound, name)
    return banded.when(value.isNotNull(), last)
