import json
import re
import tomllib
from collections import Counter
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import functions as sf

from cdp_lib.frames import read_csv
from cdp_lib.reference import countries as module
from cdp_lib.reference.countries import Country, countries_by_name, country_key, read_countries
from cdp_lib.reference.currencies import read_currency_codes

COUNTRIES = files("cdp_lib.reference") / "countries.csv"

PROJECT = Path(__file__).resolve().parents[2]
FIXTURES = PROJECT / "fixtures"

every_country = pytest.mark.parametrize("country", read_countries(), ids=lambda country: country.country_code)


@every_country
def test_country_is_well_formed(country: Country) -> None:
    assert re.fullmatch("[A-Z]{2}", country.country_code)
    assert re.fullmatch("[A-Z]{3}", country.alpha3)
    assert re.fullmatch("[A-Z]{3}", country.currency)
    assert country.population > 0
    assert country.population % 10_000 == 0
    assert country.income_group in {
        "Low income",
        "Lower middle income",
        "Upper middle income",
        "High income",
    }
    assert [name for name in (*country.names, country.region) if not name or name != " ".join(name.split())] == []


def test_countries_are_sorted_by_unique_codes() -> None:
    codes = [country.country_code for country in read_countries()]
    assert codes == sorted(set(codes))
    assert len({country.alpha3 for country in read_countries()}) == len(codes)


def test_regions_are_those_of_the_un_geoscheme() -> None:
    assert {country.region for country in read_countries()} <= {
        *("Northern Africa", "Eastern Africa", "Middle Africa", "Southern Africa", "Western Africa"),
        *("Caribbean", "Central America", "South America", "Northern America"),
        *("Central Asia", "Eastern Asia", "South-eastern Asia", "Southern Asia", "Western Asia"),
        *("Eastern Europe", "Northern Europe", "Southern Europe", "Western Europe"),
        *("Australia and New Zealand", "Melanesia", "Micronesia", "Polynesia"),
    }


def test_markets_of_the_platform_are_included() -> None:
    codes = {country.country_code for country in read_countries()}
    assert codes >= {*"AE SA QA KW BH OM EG JO LB IQ YE SY PS IL IR TR MA DZ TN LY SD".split()}
    assert codes >= {*"AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE".split()}


def test_facts_of_egypt_equal_their_sources() -> None:
    facts = {country.country_code: country for country in read_countries()}
    assert facts["EG"] == Country(
        country_code="EG",
        alpha3="EGY",
        country="Egypt",
        aliases=("Arab Republic of Egypt", "Egypt, Arab Rep."),
        region="Northern Africa",
        population=114_540_000,
        income_group="Lower middle income",
        currency="EGP",
    )


def test_country_keys_are_unique(spark) -> None:
    keys = Counter(row.country_key for row in countries_by_name(read_csv(spark, COUNTRIES)).collect())
    assert [key for key, count in keys.items() if count > 1 or not key] == []
    assert keys.total() == sum(len(country.names) for country in read_countries())


def test_countries_by_name_has_the_expected_types(spark) -> None:
    assert countries_by_name(read_csv(spark, COUNTRIES)).dtypes == [
        ("country_key", "string"),
        ("country_code", "string"),
        ("country", "string"),
        ("region", "string"),
        ("population", "bigint"),
        ("income_group", "string"),
        ("currency", "string"),
    ]


def test_country_is_found_by_its_usual_spellings(spark) -> None:
    codes = {
        "UAE": "AE",
        "u.a.e.": "AE",
        "United  Arab\u00a0Emirates ": "AE",
        "AE": "AE",
        "ARE": "AE",
        "KSA": "SA",
        "UK": "GB",
        "GB": "GB",
        "U.S.A.": "US",
        "the United States": "US",
        "Egypt Arab Rep": "EG",
        "Turkey": "TR",
        "TÜRKIYE": "TR",
        "Korea, Republic of": "KR",
        "Iran (Islamic Republic of)": "IR",
        "Theland": None,
        "Atlantis": None,
        "": None,
    }
    names = spark.createDataFrame(pa.table({"name": [*codes, None]}))
    found = names.join(
        countries_by_name(read_csv(spark, COUNTRIES)), country_key(sf.col("name")) == sf.col("country_key"), how="left"
    )
    assert {row["name"]: row.country_code for row in found.collect()} == codes | {None: None}


def test_every_country_of_the_fixtures_is_found(spark) -> None:
    customers = json.loads((FIXTURES / "customers.json").read_text(encoding="utf-8"))
    contacts = json.loads((FIXTURES / "crm_contacts.json").read_text(encoding="utf-8"))
    stores = re.findall(r"^ +\(\d+, '[^']+', '([^']+)'\)", (FIXTURES / "database.sql").read_text(), re.MULTILINE)
    names = {row["country"] for row in customers} | {row["address1_country"] for row in contacts} - {None}
    assert len(names) >= 4
    assert {"Qatar", "Kuwait"} <= set(stores)
    keys = {row.country_key for row in countries_by_name(read_csv(spark, COUNTRIES)).collect()}
    assert {name for name in (*names, *stores) if name.lower() not in keys} == set()


def test_currencies_of_all_countries_are_known() -> None:
    assert {country.currency for country in read_countries()} - read_currency_codes() == set()


def test_currency_codes_are_well_formed_and_sorted() -> None:
    lines = (files("cdp_lib.reference") / "currencies.csv").read_text(encoding="utf-8").splitlines()
    codes = [line.split(",")[0] for line in lines[1:]]
    assert codes == sorted(read_currency_codes())
    assert [code for code in codes if not re.fullmatch("[A-Z]{3}", code)] == []


def test_wheel_contains_the_file() -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        package_data = tomllib.load(file)["tool"]["setuptools"]["package-data"]
    file = Path(module.__file__).with_name("countries.csv")
    assert file.exists()
    assert [pattern for pattern in package_data["cdp_lib.reference"] if fnmatch(file.name, pattern)] == ["*.csv"]
