"""Tests of identifiers in plain Python: they equal the results of the engine."""

from __future__ import annotations

from importlib.resources import files

from pyspark.sql import functions as sf

from cdp_lib.contracts.profile import BUCKETS
from cdp_lib.contracts.table import Column
from cdp_lib.frames import read_csv
from cdp_lib.identity import normalise
from cdp_lib.identity.phones import with_e164
from cdp_local.identifiers import bucket_of, email_text, phone_text

EMAILS = (
    *(f"A.Nour+shop@{domain}" for domain in (*normalise._WITH_TAGS, "googlemail.com", "example.com")),
    *(
        " nour@Example.com ",
        "a@b",
        "",
        "a b@example.com",
        "+x@gmail.com",
        "n@a@example.com",
        "a@b..c",
        "ÄÖ@example.com",
    ),
)
PHONES = tuple(
    (number, country)
    for country in ("", "AT", "US", "AR", "BR", "IT", "AE", "GB", "MX")
    for number in (
        *("+43 664 123 45 67", "0043 664/1234567", "(0664) 123 45 67", "0664123456789012", "1", "0", "", "00"),
        *("+1 212-555-0123 ext. 5", "212 555 0123", "011 43 664 1234567", "tel:+97141234567", "1-800-FLOWERS", "+999"),
        *(
            "011 15 2345-6789",
            "0 15 11 98765-4321",
            "+39 06 698 12345",
            "06 698 12345",
            "٠٦٦٤١٢٣٤٥٦٧",
            "43 664 1234567",
        ),
        *(
            "+4366412+34567",
            "020 7946 0018",
            "+440 20 7946 0018",
            "55 1234 5678",
            "nour@example.com",
            "+",
            "++43664123456",
        ),
    )
)


def test_email_equals_the_normal_form_of_the_engine(frame_of, rows_of) -> None:
    rows = frame_of((Column("typed", "STRING", ""),), *({"typed": each} for each in EMAILS))
    found = dict(rows_of(rows.select("typed", normalise.normal_email(sf.col("typed")))))
    assert {each: email_text(each) for each in EMAILS} == found


def test_phone_equals_the_normal_form_of_the_engine(spark, frame_of, rows_of) -> None:
    columns = [Column(name, "STRING", "") for name in ("typed", "country", "phone", "phone_country")]
    rows = frame_of(
        columns,
        *({"typed": n, "country": c, "phone": n, "phone_country": c or None} for n, c in PHONES),
    )
    plans = read_csv(spark, files("cdp_lib.reference") / "phone_plans.csv")
    found = {(typed, country): phone for typed, country, phone in rows_of(with_e164(rows, plans))}
    assert {each: phone_text(*each) for each in PHONES} == found
    assert sum(phone is not None for phone in found.values()) > 50


def test_bucket_equals_the_bucket_of_the_engine(frame_of, rows_of) -> None:
    keys = ("email:nour@example.com", "contact:ä", "phone:+43")
    rows = frame_of((Column("key", "STRING", ""),), *({"key": key} for key in keys))
    bucket = sf.pmod(sf.crc32(sf.col("key").cast("binary")), sf.lit(BUCKETS))
    assert dict(rows_of(rows.select("key", bucket))) == {key: bucket_of(key) for key in keys}
