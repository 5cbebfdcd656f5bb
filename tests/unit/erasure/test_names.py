"""Tests of the names of persons in received rows."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf

from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.erasure.names import (
    CONTACT,
    CUSTOMER,
    EMAIL,
    KINDS,
    NAMING_COLUMNS,
    Names,
    digest_column,
    digest_of,
    normal_column,
    normal_text,
)

TEXTS = (
    " 0101 ",
    "101",
    "K-101",
    "7C9E6679-AB",
    "  ",
    "Ann@Shop.Example",
    "ann  b",
    "é@shop.example",
    "9" * 25,
    "\u212a@shop.example",
)


@pytest.mark.parametrize("kind", KINDS)
def test_normal_forms_are_equal_in_python_and_in_the_engine(spark: SparkSession, kind: str) -> None:
    rows = spark.createDataFrame([(text,) for text in TEXTS], "text string")
    found = rows.select("text", normal_column(kind, sf.col("text")).alias("normal")).collect()
    assert {row.text: row.normal or "" for row in found} == {text: normal_text(kind, text) for text in TEXTS}


@pytest.mark.parametrize("key", ["k" * 32, "é" * 70], ids=["short key", "key longer than a block"])
def test_digests_are_equal_in_python_and_in_the_engine(spark: SparkSession, key: str) -> None:
    rows = spark.createDataFrame([(text,) for text in TEXTS], "text string")
    found = rows.select("text", digest_column(key, EMAIL, sf.col("text")).alias("digest")).collect()
    assert {row.text: row.digest for row in found} == {text: digest_of(key, EMAIL, text) for text in TEXTS}


def test_digests_differ_by_kind_and_key() -> None:
    digests = {digest_of(key, kind, "101") for key in ("one key", "other key") for kind in KINDS}
    assert len(digests) == 2 * len(KINDS)


def test_a_set_without_names_is_false() -> None:
    assert not Names({CUSTOMER: [], EMAIL: []})
    assert Names({CUSTOMER: [], EMAIL: ["ann@shop.example"]})


def test_every_bronze_column_that_names_a_person_is_searched() -> None:
    naming = {
        (contract, column.name)
        for contract in BRONZE_TABLES
        for column in contract.received_columns
        if column.refers_to == "customers"
        or column.pii in ("email", "device")
        or column.name in ("contactid", "contact_id")
    }
    assert naming == {(contract, name) for contract, each in NAMING_COLUMNS.items() for name in each.kinds}


def test_contacts_have_one_spelling_as_in_silver() -> None:
    assert normal_text(CONTACT, " 7C9E6679-AB ") == normal_text(CONTACT, "7c9e6679-ab") == "7c9e6679-ab"


def test_identifiers_that_are_text_keep_their_zeros(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("007",)], "text string")
    assert rows.select(normal_column(CUSTOMER, sf.col("text"), is_number=False)).collect()[0][0] == "007"
    assert normal_text(CUSTOMER, "007", is_number=False) == "007"
