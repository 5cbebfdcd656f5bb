"""Attacks on the linking of people: addresses that only look equal, and people who refused tracking."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from cdp_lib.columns import clean_email

ADDRESS = "kim.sil@example.com"
LOOK_ALIKES = {
    "kelvin sign": "\u212aim.sil@example.com",
    "long s": "kim.\u017fil@example.com",
    "dotted capital i": "k\u0130m.sil@example.com",
    "dotless i": "k\u0131m.sil@example.com",
    "cyrillic": "k\u0456m.sil@example.com",
    "greek": "\u03baim.sil@example.com",
    "full width": "\uff4bim.sil@example.com",
    "zero-width space": "k\u200bim.sil@example.com",
    "soft hyphen": "k\u00adim.sil@example.com",
    "combining accent": "ki\u0301m.sil@example.com",
    "from right to left": "\u202ekim.sil@example.com",
    "nul": "kim.sil@example.com\0",
    "full stop": "kim\uff0esil@example.com",
    "small at": "kim.sil\ufe6bexample.com",
    "ligature": "kim.\ufb01l@example.com",
    "mathematical": "\U0001d424im.sil@example.com",
    "plus": "kim.sil+x@example.com",
    "without dot": "kimsil@example.com",
}


def test_look_alikes_never_become_the_same_address(spark: SparkSession) -> None:
    names, addresses = [*LOOK_ALIKES], [*LOOK_ALIKES.values()]
    rows = spark.createDataFrame([*zip(names, addresses, strict=True)], "name string, email string")
    cleaned = {row["name"]: row["cleaned"] for row in rows.withColumn("cleaned", clean_email(rows.email)).collect()}
    assert [name for name in names if cleaned[name] == ADDRESS] == []
    assert len({*cleaned.values()}) == len(LOOK_ALIKES)


@pytest.mark.every_case
@pytest.mark.parametrize("spelling", [" kim.sil@example.com ", "KIM.SIL@EXAMPLE.COM", "\u00a0Kim.Sil@example.com\t"])
def test_the_same_address_is_the_same(spark: SparkSession, spelling: str) -> None:
    rows = spark.createDataFrame([(spelling,)], "email string")
    [[cleaned]] = rows.select(clean_email(rows.email)).collect()
    assert cleaned == ADDRESS
