"""customer_demographics_gold: who customers are, as far as sources say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from cdp_lib.columns import identity_of, is_until
from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD
from cdp_lib.contracts.silver import (
    CRM_CONTACTS_SILVER,
    CUSTOMER_ACQUISITIONS_SILVER,
    CUSTOMER_LINKS_SILVER,
    CUSTOMERS_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.pipeline.table import BUSINESS_DATE, Table
from cdp_lib.reference.countries import countries_by_name, country_key

_CRM_ATTRIBUTES = ("birth_date", "gender", "city", "country")

_OLDEST = 120
"""Years of age above which a day of birth is taken for a mistake."""

_AGE_BANDS = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (55, "45-54"), (65, "55-64"))
"""Each band with the first age above it."""

_GENERATIONS = ((1928, "Greatest"), (1946, "Silent"), (1965, "Boomer"), (1981, "X"), (1997, "Millennial"), (2013, "Z"))
"""Each generation with the first year of birth after it, where Pew Research Center draws the lines; Alpha is next."""

_TENURE_BANDS = ((30, "under 30 days"), (90, "30-89 days"), (365, "90-364 days"), (731, "1-2 years"))
"""Each band with the first number of days above it."""


def build_customer_demographics_gold(
    customers_silver: DataFrame,
    customer_acquisitions_silver: DataFrame,
    crm_contacts_silver: DataFrame,
    customer_links_silver: DataFrame,
    retails_silver: DataFrame,
    countries: DataFrame,
    as_of: date,
) -> DataFrame:
    """One row per customer acquired by `as_of`, with what the CRM and the reference table of countries say of them.

    A contact speaks for a customer only through `customer_links_silver`. Several contacts of one customer are several
    opinions: of each attribute on its own the value of the contact linked by number counts before that of one linked
    by e-mail address, then that of the contact changed last, then that of the lower `contact_id`. Contacts that have
    no value for it have no opinion, and a day of birth after `as_of` or of somebody older than 120, a gender that is
    neither male nor female, and a country that is not in the reference table are no values. Where opinions differ the
    confidence is low; cities are compared without upper and lower case, countries by their code.

    The customers API's country is the country of record. A CRM country stands in only where the reference table does
    not have the API's; where it has neither, the API's name is kept as it is written, without a code.

    Shopper type compares the stores' countries with the customer's, by code. A location that the reference table does
    not have may be at home or abroad: with one of those, only "both" is certain.

    Who is born on 29 February has their birthday on 1 March of other years. Silver keeps the latest version of a
    contact and of a customer's country, whatever `as_of` is.

    Args:
        customers_silver: One row per customer.
        customer_acquisitions_silver: One row per customer.
        crm_contacts_silver: One row per contact.
        customer_links_silver: One row per identity.
        retails_silver: One row per sale.
        countries: One row per country, as text (`countries.csv`).
        as_of: Last day that counts.

    Returns:
        Columns of `customer_demographics_gold`.
    """
    countries = countries_by_name(countries)
    customers = _residents(_acquired(customers_silver, customer_acquisitions_silver, as_of), countries)
    opinions = _opinions(_linked_contacts(crm_contacts_silver, customer_links_silver), countries, as_of)
    enriched = (
        customers.join(opinions, "customer_id", how="left")
        .join(_shopping(retails_silver, countries, as_of), "customer_id", how="left")
        .withColumn("country_code", sf.coalesce("api_code", "country_value"))
        .join(
            _facts_by_name(countries, "market"), country_key(sf.col("country_code")) == sf.col("market_key"), how="left"
        )
    )
    birth_date = sf.col("birth_date_value")
    return enriched.select(
        "customer_id",
        sf.lit(as_of).alias("as_of"),
        _band(_age(birth_date, as_of), _AGE_BANDS, "65+").alias("age_band"),
        _band(sf.year(birth_date), _GENERATIONS, "Alpha").alias("generation"),
        *_told_by_crm("birth_date"),
        sf.col("gender_value").alias("gender"),
        *_told_by_crm("gender"),
        sf.col("city_value").alias("city"),
        *_told_by_crm("city"),
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


def _facts_by_name(countries: DataFrame, prefix: str) -> DataFrame:
    """The reference table, its columns renamed so that it can be joined several times: `<prefix>_code` and so on."""
    return countries.select(
        *(sf.col(name).alias(f"{prefix}_{name.removeprefix('country_')}") for name in countries.columns)
    )


def _acquired(customers: DataFrame, acquisitions: DataFrame, as_of: date) -> DataFrame:
    """Customers acquired by `as_of`; of one that has no acquisition yet, registration is all that is known."""
    won = acquisitions.select("customer_id", "acquisition_date")
    acquisition_date = sf.coalesce("acquisition_date", "registration_date")
    return (
        customers.join(won, "customer_id", how="left")
        .select("customer_id", sf.col("country").alias("api_country"), acquisition_date.alias("acquisition_date"))
        .where(is_until("acquisition_date", as_of))
    )


def _residents(customers: DataFrame, countries: DataFrame) -> DataFrame:
    """Customers with the code of the API's country; null where the reference table does not have it."""
    found = _facts_by_name(countries, "api").select("api_key", "api_code")
    return customers.join(found, country_key(sf.col("api_country")) == sf.col("api_key"), how="left").drop("api_key")


def _linked_contacts(contacts: DataFrame, links: DataFrame) -> DataFrame:
    """Contacts that belong to a customer; the others speak for nobody."""
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
    )
    return attributes.join(linked, "identity", how="inner")


def _opinions(contacts: DataFrame, countries: DataFrame, as_of: date) -> DataFrame:
    """One row per customer with a contact: of each attribute the value that counts, whose it is, and the range."""
    values = _valued(contacts, countries, as_of)
    of_customer = Window.partitionBy("customer_id")
    best_first = of_customer.orderBy(sf.desc("is_by_id"), sf.desc_nulls_last("modified_at"), sf.asc("contact_id"))
    ranked = values.withColumn("rank", sf.row_number().over(best_first))
    # Ranks, as a maximum of structs takes ten times as long on one engine, and max_by breaks ties at random.
    first_ranks = {name: sf.when(sf.col(name).isNotNull(), sf.col("rank")) for name in _CRM_ATTRIBUTES}
    marked = ranked.select(
        "*", *(sf.min(rank).over(of_customer).alias(f"{name}_rank") for name, rank in first_ranks.items())
    )
    compared = {name: sf.lower(name) if name == "city" else sf.col(name) for name in _CRM_ATTRIBUTES}
    counts = {name: sf.col("rank") == sf.col(f"{name}_rank") for name in _CRM_ATTRIBUTES}
    return marked.groupBy("customer_id").agg(
        *(sf.max(sf.when(is_best, sf.col(name))).alias(f"{name}_value") for name, is_best in counts.items()),
        *(sf.max(sf.when(is_best, sf.col("is_by_id"))).alias(f"{name}_is_by_id") for name, is_best in counts.items()),
        *(sf.min(value).alias(f"{name}_least") for name, value in compared.items()),
        *(sf.max(value).alias(f"{name}_greatest") for name, value in compared.items()),
    )


def _valued(contacts: DataFrame, countries: DataFrame, as_of: date) -> DataFrame:
    """Contacts with what they say of each attribute; what is no value is null."""
    found = _facts_by_name(countries, "crm").select("crm_key", "crm_code")
    age = _age(sf.col("birth_date"), as_of)
    is_plausible = (sf.col("birth_date") <= sf.lit(as_of)) & (age <= _OLDEST)
    return contacts.join(found, country_key(sf.col("crm_country")) == sf.col("crm_key"), how="left").select(
        "customer_id",
        "is_by_id",
        "modified_at",
        "contact_id",
        sf.when(is_plausible, sf.col("birth_date")).alias("birth_date"),
        sf.when(sf.col("gender").isin("male", "female"), sf.col("gender")).alias("gender"),
        "city",
        sf.col("crm_code").alias("country"),
    )


def _shopping(retails: DataFrame, countries: DataFrame, as_of: date) -> DataFrame:
    """One row per customer who has bought: the countries of the stores, and whether one of them is not known."""
    found = _facts_by_name(countries, "store").select("store_key", "store_code")
    places = retails.where(is_until("transaction_date", as_of)).select("customer_id", "location").distinct()
    return (
        places.join(found, country_key(sf.col("location")) == sf.col("store_key"), how="left")
        .groupBy("customer_id")
        .agg(
            sf.collect_set("store_code").alias("store_codes"),
            sf.max(sf.col("store_code").isNull()).alias("is_store_unknown"),
        )
    )


def _shopper_type() -> Column:
    # Whether an array contains null is null on one engine and false on the other.
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


def _told_by_crm(attribute: str) -> tuple[Column, Column]:
    """Source and confidence of an attribute that only the CRM has."""
    return (
        _crm_source(attribute).alias(f"{attribute}_source"),
        _crm_confidence(attribute).alias(f"{attribute}_confidence"),
    )


def _is_of_crm() -> Column:
    """Whether the CRM's country stands in for one of the API that is not in the reference table."""
    return sf.col("api_code").isNull() & sf.col("country_value").isNotNull()


def _country_source() -> Column:
    is_named = sf.col("api_country").isNotNull()
    return sf.when(_is_of_crm(), _crm_source("country")).when(is_named, "customers_api")


def _country_confidence() -> Column:
    api_code = sf.col("api_code")
    is_disputed = (sf.col("country_least") < api_code) | (sf.col("country_greatest") > api_code)
    return (
        sf.when(_is_of_crm(), _crm_confidence("country"))
        .when(is_disputed, "low")
        .when(sf.col("api_country").isNotNull(), "high")
    )


def _age(birth_date: Column, as_of: date) -> Column:
    """Completed years at `as_of`; below 0 or 0 for a day after it."""
    birthday = sf.month(birth_date) * 100 + sf.dayofmonth(birth_date)
    is_to_come = birthday > as_of.month * 100 + as_of.day
    return sf.lit(as_of.year) - sf.year(birth_date) - is_to_come.cast("int")


def _band(value: Column, bands: Sequence[tuple[int, str]], last: str) -> Column:
    """Name of the first band whose bound is above the value, else the last one; null for null."""
    bound, name = bands[0]
    banded = sf.when(value < bound, name)
    for bound, name in bands[1:]:
        banded = banded.when(value < bound, name)
    return banded.when(value.isNotNull(), last)
