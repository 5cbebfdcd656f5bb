"""The reference table of countries: names and market facts. README.md lists the sources."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text

_FILE = Path(__file__).with_name("countries.csv")
_IGNORED_PUNCTUATION = "[.,'’()]"
"""Punctuation that comparisons ignore: U.A.E. equals UAE."""


@dataclass(frozen=True)
class Country:
    """One country.

    Attributes:
        country_code: ISO 3166-1 alpha-2 code.
        alpha3: ISO 3166-1 alpha-3 code.
        country: English short name.
        aliases: Other spellings that sources use.
        region: Subregion of the UN geoscheme (M49).
        population: Population in 2023, rounded to 10,000.
        income_group: World Bank income group of fiscal year 2025.
        currency: ISO 4217 code.
    """

    country_code: str
    alpha3: str
    country: str
    aliases: tuple[str, ...]
    region: str
    population: int
    income_group: str
    currency: str

    @property
    def names(self) -> tuple[str, ...]:
        """Return all names of the country, including its codes."""
        return (self.country_code, self.alpha3, self.country, *self.aliases)


@cache
def read_countries() -> tuple[Country, ...]:
    """Return the countries, ordered by code.

    >>> read_countries()[0].names
    ('AE', 'ARE', 'United Arab Emirates', 'UAE', 'Emirates')
    """
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Country(
                country_code=row["country_code"],
                alpha3=row["alpha3"],
                country=row["country"],
                aliases=tuple(filter(None, row["aliases"].split(";"))),
                region=row["region"],
                population=int(row["population"]),
                income_group=row["income_group"],
                currency=row["currency"],
            )
            for row in csv.DictReader(file)
        )


def country_key(name: Column) -> Column:
    """Return the form of a country name for comparisons: lower case, no punctuation, no outer blanks, no leading "the".

    >>> names = spark.createDataFrame([(" The  Netherlands ",), ("U.A.E.",), ("Türkiye",), (" ",)], "name string")
    >>> [row.key for row in names.select(country_key(names.name).alias("key")).collect()]
    ['netherlands', 'uae', 'türkiye', None]
    """
    return sf.regexp_replace(clean_text(sf.regexp_replace(sf.lower(name), _IGNORED_PUNCTUATION, "")), "^the ", "")


def countries_by_name(countries: DataFrame) -> DataFrame:
    """Return one row per name of a country, including its codes.

    Args:
        countries: One row per country, all columns as text, as in `countries.csv`.

    Returns:
        `country_key` (unique, joins with `country_key(name)`), `country_code`, `country`, `region`, `population`,
        `income_group` and `currency`.

    >>> columns = "country_code string, alpha3 string, country string, aliases string, region string, population string"
    >>> row = ("AE", "ARE", "United Arab Emirates", "UAE;Emirates", "Western Asia", "10480000", "High income", "AED")
    >>> countries = spark.createDataFrame([row], f"{columns}, income_group string, currency string")
    >>> sorted(row.country_key for row in countries_by_name(countries).collect())
    ['ae', 'are', 'emirates', 'uae', 'united arab emirates']
    """
    aliases = sf.split(sf.coalesce("aliases", sf.lit("")), ";")
    names = sf.concat(sf.array("country_code", "alpha3", "country"), aliases)
    named = countries.select("*", sf.explode(names).alias("name")).where("name <> ''")
    return named.select(
        country_key(sf.col("name")).alias("country_key"),
        "country_code",
        "country",
        "region",
        sf.col("population").cast("bigint").alias("population"),
        "income_group",
        "currency",
    )
