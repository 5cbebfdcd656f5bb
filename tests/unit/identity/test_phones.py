"""Tests of phone numbers against the package `phonenumbers`, for the example numbers of every country."""

from __future__ import annotations

import importlib.util
from importlib.resources import files

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType, ValidationResult
from pyspark.sql import SparkSession

from cdp_lib.frames import read_csv
from cdp_lib.identity.phones import with_e164
from cdp_local.workspace import PROJECT

TYPES = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE, PhoneNumberType.VOIP, PhoneNumberType.PERSONAL_NUMBER)
"""Types of numbers that people have. Special services, such as 0800, are not numbers of a person."""


def spellings(number: phonenumbers.PhoneNumber, region: str) -> list[str]:
    """Return texts that people type for a number."""
    metadata = PhoneMetadata.metadata_for_region(region)
    assert metadata is not None
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    significant = phonenumbers.national_significant_number(number)
    dialled = (metadata.preferred_international_prefix or metadata.international_prefix or "").replace("~", "")
    return [
        e164,
        international,
        national,
        phonenumbers.format_number(number, PhoneNumberFormat.RFC3966),
        f"+{number.country_code} (0) {significant}",
        f"(+{number.country_code}) {significant[:3]}/{significant[3:]}",
        f"+{number.country_code}{metadata.national_prefix or ''}{significant}",
        significant,
        f"{metadata.national_prefix or ''}{significant}",
        f" ({metadata.national_prefix or ''}{significant[:3]}) {significant[3:5]}-{significant[5:]} ",
        e164[1:],
        f"{national} ext. 12",
        f"{international} x5",
        f"{significant}1",
        f"{significant}123456",
        significant[:-1],
        significant[:4],
        *([f"{dialled}{e164[1:]}", f"{dialled} {international[1:]}"] if dialled.isdecimal() else []),
        f"00{e164[1:]}",
    ]


def expected(text: str, region: str) -> str | None:
    """Return the number that the package finds; None if it is not possible."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    is_possible = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if is_possible else None


def test_numbers_equal_those_of_the_package(spark: SparkSession) -> None:
    examples = {
        (region, text)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in TYPES
        if (number := phonenumbers.example_number_for_type(region, kind))
        for text in spellings(number, region)
    }
    plans = read_csv(spark, files("cdp_lib.reference") / "phone_plans.csv")
    rows = [(region, text, text, region) for region, text in sorted(examples)]
    typed = spark.createDataFrame(rows, "region string, typed string, phone string, phone_country string")
    found = {(row.region, row.typed): row.phone for row in with_e164(typed, plans).collect()}
    assert found.keys() == examples
    differing = {key: phone for key, phone in found.items() if phone != expected(key[1], key[0])}
    assert len(differing) < 0.002 * len(found)
    # A number that is not found joins nothing. A wrong number would join two people.
    assert not {key: phone for key, phone in differing.items() if phone}


@pytest.mark.parametrize(
    "text",
    ["", "-", "n/a", "+", "123", "1-800-FLOWERS", "0664 KAFFEE", "none@example.com", "+43", "+999 123456789", "0" * 30],
)
def test_text_that_is_no_possible_number_is_null(spark: SparkSession, text: str) -> None:
    plans = read_csv(spark, files("cdp_lib.reference") / "phone_plans.csv")
    rows = spark.createDataFrame([(text, "AT")], "phone string, phone_country string")
    assert [row.phone for row in with_e164(rows, plans).collect()] == [None]


@pytest.mark.first_engine
def test_numbering_plans_are_those_of_the_installed_package() -> None:
    spec = importlib.util.spec_from_file_location("phone_plans", PROJECT / "tools/phone_plans.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FILE.read_text(encoding="utf-8") == module.plans()
