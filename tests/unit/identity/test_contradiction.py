from __future__ import annotations

from datetime import date

import pyarrow as pa
from pyspark.sql import SparkSession

from cdp_lib.identity.contradiction import is_contradiction

RECORD = pa.struct(
    [
        ("first_name", pa.string()),
        ("last_name", pa.string()),
        ("gender", pa.string()),
        ("birth_date", pa.date32()),
        ("email", pa.string()),
    ]
)
BORN, LATER, CHILD = date(1980, 3, 12), date(1983, 7, 25), date(2006, 9, 24)
CASES = {
    "spouses": (("anna", "novak", None, BORN), ("peter", "novak", None, LATER), True),
    "spouses without birth dates": (("anna", "novak", None, None), ("peter", "huber", None, None), True),
    "spouses, one birth date": (("anna", "novak", None, BORN), ("peter", "novak", None, None), True),
    "short names": (("eva", "novak", None, None), ("ida", "novak", None, None), True),
    "girl and boy, twins": (("anna", "novak", "female", BORN), ("peter", "novak", "male", BORN), True),
    "father and son": (("peter", "novak", None, BORN), ("peter", "novak", None, CHILD), True),
    "nickname": (("robert", "novak", None, None), ("bob", "novak", None, None), False),
    "unknown nickname": (("isidor", "novak", None, BORN, "i@a.b"), ("bubi", "novak", None, BORN, "i@a.b"), False),
    "twins": (("isidor", "novak", "male", BORN, "i@a.b"), ("peter", "novak", "male", BORN, "p@a.b"), True),
    "girl and boy, one address": (
        ("anna", "novak", "female", BORN, "i@a.b"),
        ("peter", "novak", "male", BORN, "i@a.b"),
        True,
    ),
    "initial of another name": (("james", "novak", None, None), ("s", "novak", None, None), True),
    "spouse with an initial": (("patricia", "novak", "female", BORN), ("p", "novak", "male", LATER), True),
    "spouse without name": ((None, None, "female", BORN), ("peter", "novak", "male", LATER), True),
    "wrong gender": (("kim", "novak", "female", BORN), ("kim", "novak", "male", date(1980, 12, 3)), False),
    "five letters": (("thora", "novak", None, None), ("thomas", "novak", None, None), True),
    "unknown nickname without birth date": (("isidor", "novak", None, None), ("bubi", "novak", None, BORN), True),
    "typing error": (("katharina", "novak", None, None), ("catarina", "novak", None, LATER), False),
    "initial": (("anna", "novak", None, None), ("a", "novak", None, None), False),
    "compound name": (("anna maria", "novak", None, None), ("maria", "novak", None, None), False),
    "sounds alike": (("tom", "novak", None, None), ("tim", "novak", None, None), False),
    "swapped names": (("anna", "novak", None, None), ("novak", "anna", None, None), False),
    "married": (("anna", "novak", None, BORN), ("anna", "huber", None, BORN), False),
    "unknown day of birth": (("peter", "novak", None, BORN), ("peter", "novak", None, date(1900, 1, 1)), False),
    "typing error in the birth date": (
        ("peter", "novak", None, BORN),
        ("peter", "novak", None, date(1908, 3, 12)),
        False,
    ),
    "no first name": ((None, "novak", None, BORN), ("peter", "novak", None, LATER), False),
    "no values": ((None, None, None, None), (None, None, None, None), False),
}


def test_contradictions_are_found_both_ways(spark: SparkSession) -> None:
    rows = [
        {"case": case, "a": dict(zip(names(), one, strict=False)), "b": dict(zip(names(), other, strict=False))}
        for case, (a, b, _) in CASES.items()
        for one, other in ((a, b), (b, a))
    ]
    frame = spark.createDataFrame(
        pa.Table.from_pylist(rows, pa.schema([("case", pa.string()), ("a", RECORD), ("b", RECORD)]))
    )
    found = frame.select("case", is_contradiction("a", "b").alias("is_contradiction")).collect()
    assert {(row.case, row.is_contradiction) for row in found} == {(case, each[2]) for case, each in CASES.items()}


def names() -> list[str]:
    return [field.name for field in RECORD]
