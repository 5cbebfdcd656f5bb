"""customer_demographics_gold: age, gender, place and shopper type of customers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of, is_on_or_before, is_sale
from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMER_LINKS_SILVER,
    CUSTOMERS_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.contracts.table import UNKNOWN
from cdp_lib.pipeline.table import BUSINESS_DATE, Table
from cdp_lib.reference.countries import countries_by_name, country_key

_CRM_ATTRIBUTES = ("birth_date", "gender", "city", "country", "household_id", "attributes_json")

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
    customers_silver: DataFrame,
    customer_acquisitions_silver: DataFrame,
    crm_contacts_silver: DataFrame,
    customer_links_silver: DataFrame,
    retails_silver: DataFrame,
    countries: DataFrame,
    as_of: date,
) -> DataFrame:
    """One row per customer acquired by `as_of`, with data of the CRM and of the reference table of countries.

    A customer whose acquisition is unknown is included, without a tenure band.

    A contact describes a customer only if `customer_links_silver` links the contact to the customer. Each attribute
    comes from the first contact that has a value for the attribute. Contacts linked by customer number come before
    contacts linked by e-mail address. Among contacts with the same kind of link, the latest modified contact comes
    first. If two contacts were modified at the same time, the contact with the lower `contact_id` comes first.

    These values are ignored:

    - a day of birth after `as_of`, or a day of birth of a person older than 120
    - a gender other than male or female
    - a country that is not in the reference table

    If sources disagree on an attribute, its confidence is low. Cities are compared without regard to upper and lower
    case. Countries are compared by code.

    The country of the customers API is the country of record. The CRM country replaces it only if the API country is
    missing or not in the reference table. If neither country is in the reference table, the row has no country code.
    In this case, its country name is the unchanged name from the API, or null if the API has no country.

    The shopper type compares the customer's country with the countries of the stores where the customer bought. The
    first match counts:

    - `both`: stores at home and stores abroad
    - null: the customer's country, or the country of at least one store, is not in the reference table
    - `home` or `foreign`: all stores at home, or all stores abroad

    The household and the retailer's own attributes are those of the customer. If the customer has none, they are those
    of the contacts.

    In years without 29 February, a customer born on 29 February has their birthday on 1 March. The contacts and the
    countries of customers are the latest versions in silver, regardless of `as_of`.

    Args:
        customers_silver: One row per customer.
        customer_acquisitions_silver: One row per customer.
        crm_contacts_silver: One row per contact.
        customer_links_silver: One row per identity.
        retails_silver: One row per sale.
        countries: One row per country, all columns as text (`countries.csv`).
        as_of: Last day to include.

    Returns:
        Columns of `customer_demographics_gold`.
    """
    countries = countries_by_name(countries)
    customers = _with_api_code(_acquired(customers_silver, customer_acquisitions_silver, as_of), countries)
    crm_attributes = _choose_attributes(_linked_contacts(crm_contacts_silver, customer_links_silver), countries, as_of)
    enriched = (
        customers.join(crm_attributes, "customer_id", how="left")
        .join(_store_countries(retails_silver, countries, as_of), "customer_id", how="left")
        .withColumn("country_code", sf.coalesce("api_code", "country_value"))
        .join(
            _prefixed(countries, "market"),
            country_key(sf.col("country_code")) == sf.col("market_key"),
            how="left",
        )
    )
    birth_date = sf.col("birth_date_value")
    return enriched.select(
        "customer_id",
        sf.lit(as_of).alias("as_of"),
        _band(_age(birth_date, as_of), _AGE_BANDS, "65+").alias("age_band"),
        _band(sf.year(birth_date), _GENERATIONS, "Alpha").alias("generation"),
        *_crm_source_and_confidence("birth_date"),
        sf.col("gender_value").alias("gender"),
        *_crm_source_and_confidence("gender"),
        sf.col("city_value").alias("city"),
        *_crm_source_and_confidence("city"),
        "country_code",
        sf.coalesce("market_country", "api_country").alias("country"),
        _country_source().alias("country_source"),
        _country_confidence().alias("country_confidence"),
        sf.col("market_region").alias("region"),
        _band(sf.datediff(sf.lit(as_of), "acquisition_date"), _TENURE_BANDS, "over 2 years").alias("tenure_band"),
        _shopper_type().alias("shopper_type"),
        "market_population",
        "market_income_group",
        "market_currency",
        sf.coalesce("household_id", "household_id_value").alias("household_id"),
        sf.coalesce("attributes", sf.from_json("attributes_json_value", "map<string,string>")).alias("attributes"),
    ).selectExpr(*CUSTOMER_DEMOGRAPHICS_GOLD.select_list)


CUSTOMER_DEMOGRAPHICS = Table(
    CUSTOMER_DEMOGRAPHICS_GOLD,
    build_customer_demographics_gold,
    reads=(
        CUSTOMERS_SILVER,
        CUSTOMER_ACQUISITIONS_SILVER,
        CRM_CONTACTS_SILVER,
        CUSTOMER_LINKS_SILVER,
        RETAILS_SILVER,
    ),
    settings=(BUSINESS_DATE,),
    files=("countries.csv",),
)


def _prefixed(countries: DataFrame, prefix: str) -> DataFrame:
    """Return the reference table with columns `<prefix>_code` and so on, so that it can be joined several times."""
    return countries.select(
        *(sf.col(name).alias(f"{prefix}_{name.removeprefix('country_')}") for name in countries.columns)
    )


def _acquired(customers: DataFrame, acquisitions: DataFrame, as_of: date) -> DataFrame:
    """Return customers acquired by `as_of`, and customers whose acquisition is unknown.

    The registration date replaces a missing acquisition date. An unknown country is null.
    """
    acquired = acquisitions.select("customer_id", "acquisition_date")
    acquisition_date = sf.coalesce("acquisition_date", "registration_date")
    api_country = sf.nullif("country", sf.lit(UNKNOWN))
    return (
        customers.join(acquired, "customer_id", how="left")
        .select(
            "customer_id",
            api_country.alias("api_country"),
            acquisition_date.alias("acquisition_date"),
            "household_id",
            "attributes",
        )
        .where(sf.col("acquisition_date").isNull() | is_on_or_before("acquisition_date", as_of))
    )


def _with_api_code(customers: DataFrame, countries: DataFrame) -> DataFrame:
    """Return customers with `api_code`: the code of the API country, or null if it is not in the reference table."""
    codes = _prefixed(countries, "api").select("api_key", "api_code")
    return customers.join(codes, country_key(sf.col("api_country")) == sf.col("api_key"), how="left").drop("api_key")


def _linked_contacts(contacts: DataFrame, links: DataFrame) -> DataFrame:
    """Return the contacts that are linked to a customer."""
    linked = links.where("customer_id IS NOT NULL").select(
        "identity", "customer_id", (sf.col("reason") == "customer_id").alias("is_by_id")
    )
    attributes = contacts.select(
        identity_of("contact", sf.col("contact_id")).alias("identity"),
        "contact_id",
        "modified_at",
        "birth_date",
        "gender",
        "city",
        sf.col("country").alias("crm_country"),
        "household_id",
        sf.to_json("attributes").alias("attributes_json"),
    )
    return attributes.join(linked, "identity", how="inner")


def _choose_attributes(contacts: DataFrame, countries: DataFrame, as_of: date) -> DataFrame:
    """Return one row per customer, with four columns for each CRM attribute.

    For example, the columns of the city are:

    - `city_value`: city of the first contact that has a city
    - `city_is_by_id`: whether this contact is linked by customer number
    - `city_least` and `city_greatest`: least and greatest city of all linked contacts. If they differ, the contacts
      disagree.
    """
    values = _valid_values(contacts, countries, as_of)
    of_customer = Window.partitionBy("customer_id")
    best_first = of_customer.orderBy(sf.desc("is_by_id"), sf.desc_nulls_last("modified_at"), sf.asc("contact_id"))
    ranked = values.withColumn("rank", sf.row_number().over(best_first))
    # Rank the contacts to find the first one. On one engine, a maximum of structs takes ten times as long. `max_by`
    # breaks ties at random.
    first_ranks = {name: sf.when(sf.col(name).isNotNull(), sf.col("rank")) for name in _CRM_ATTRIBUTES}
    marked = ranked.select(
        "*", *(sf.min(rank).over(of_customer).alias(f"{name}_rank") for name, rank in first_ranks.items())
    )
    compared = {name: sf.lower(name) if name == "city" else sf.col(name) for name in _CRM_ATTRIBUTES}
    chosen = {name: sf.col("rank") == sf.col(f"{name}_rank") for name in _CRM_ATTRIBUTES}
    return marked.groupBy("customer_id").agg(
        *(sf.max(sf.when(is_chosen, sf.col(name))).alias(f"{name}_value") for name, is_chosen in chosen.items()),
        *(
            sf.max(sf.when(is_chosen, sf.col("is_by_id"))).alias(f"{name}_is_by_id")
            for name, is_chosen in chosen.items()
        ),
        *(sf.min(value).alias(f"{name}_least") for name, value in compared.items()),
        *(sf.max(value).alias(f"{name}_greatest") for name, value in compared.items()),
    )


def _valid_values(contacts: DataFrame, countries: DataFrame, as_of: date) -> DataFrame:
    """Return contacts with null in place of invalid attributes."""
    codes = _prefixed(countries, "crm").select("crm_key", "crm_code")
    age = _age(sf.col("birth_date"), as_of)
    is_plausible = (sf.col("birth_date") <= sf.lit(as_of)) & (age <= _MAX_AGE)
    return contacts.join(codes, country_key(sf.col("crm_country")) == sf.col("crm_key"), how="left").select(
        "customer_id",
        "is_by_id",
        "modified_at",
        "contact_id",
        sf.when(is_plausible, sf.col("birth_date")).alias("birth_date"),
        sf.when(sf.col("gender").isin("male", "female"), sf.col("gender")).alias("gender"),
        "city",
        sf.col("crm_code").alias("country"),
        "household_id",
        "attributes_json",
    )


def _store_countries(retails: DataFrame, countries: DataFrame, as_of: date) -> DataFrame:
    """Return one row per buyer: the country codes of the stores, and whether the country of any store is unknown."""
    codes = _prefixed(countries, "store").select("store_key", "store_code")
    sales = retails.where(is_sale() & is_on_or_before("transaction_date", as_of)).where("customer_id IS NOT NULL")
    places = sales.select("customer_id", "location").distinct()
    return (
        places.join(codes, country_key(sf.col("location")) == sf.col("store_key"), how="left")
        .groupBy("customer_id")
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


def _crm_source(attribute: str) -> Column:
    is_by_id = sf.col(f"{attribute}_is_by_id")
    return sf.when(is_by_id, "crm_by_id").when(~is_by_id, "crm_by_email")


def _crm_confidence(attribute: str) -> Column:
    is_by_id = sf.col(f"{attribute}_is_by_id")
    is_disputed = sf.col(f"{attribute}_least") < sf.col(f"{attribute}_greatest")
    return sf.when(is_disputed, "low").when(is_by_id, "high").when(~is_by_id, "medium")


def _crm_source_and_confidence(attribute: str) -> tuple[Column, Column]:
    """Return the source column and the confidence column of an attribute that only the CRM has."""
    return (
        _crm_source(attribute).alias(f"{attribute}_source"),
        _crm_confidence(attribute).alias(f"{attribute}_confidence"),
    )


def _is_crm_country() -> Column:
    """Return whether the CRM country is used: it is in the reference table, and the API country is not."""
    return sf.col("api_code").isNull() & sf.col("country_value").isNotNull()


def _country_source() -> Column:
    is_named = sf.col("api_country").isNotNull()
    return sf.when(_is_crm_country(), _crm_source("country")).when(is_named, "customers_api")


def _country_confidence() -> Column:
    api_code = sf.col("api_code")
    is_disputed = (sf.col("country_least") < api_code) | (sf.col("country_greatest") > api_code)
    return (
        sf.when(_is_crm_country(), _crm_confidence("country"))
        .when(is_disputed, "low")
        .when(sf.col("api_country").isNotNull(), "high")
    )


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
