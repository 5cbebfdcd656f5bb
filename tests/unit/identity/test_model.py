from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf

from cdp_lib.errors import CdpError
from cdp_lib.identity.comparisons import Comparison, Condition, Level
from cdp_lib.identity.evidence import blocks, evidence, rounded_frequency, total
from cdp_lib.identity.model import Model, TermFrequencies
from cdp_lib.identity.model_file import load_model, model_json, read_model

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("first_name", "last_name", "gender", "street", "city", "postal_code", "email")]
    + [("phone", pa.string()), ("birth_date", pa.date32())]
)
ANNA = {
    "first_name": "anna",
    "last_name": "novak",
    "gender": "female",
    "street": "main street 12",
    "city": "springfield",
    "postal_code": "1010",
    "email": "anna.novak@example.com",
    "phone": "+431234567",
    "birth_date": date(1980, 3, 12),
}
LEVELS = {
    "first_name": {
        "equal": ("anna", "anna"),
        "nickname": ("robert", "bob"),
        "one_edit": ("anna", "hanna"),
        "part": ("anna", "anna maria"),
        "two_edits": ("katharina", "catarina"),
        "sounds_alike": ("cathy", "ceda"),
        "different": ("anna", "peter"),
    },
    "birth_date": {
        "equal": (date(1980, 3, 12), date(1980, 3, 12)),
        "day_month_swapped": (date(1980, 3, 12), date(1980, 12, 3)),
        "one_edit": (date(1980, 3, 12), date(1988, 3, 12)),
        "two_edits": (date(1980, 3, 12), date(1991, 3, 12)),
        "same_year": (date(1980, 3, 12), date(1980, 11, 25)),
        "different": (date(1980, 3, 12), date(1955, 11, 25)),
    },
    "gender": {"equal": ("female", "female"), "different": ("female", "male")},
    "email_spelling": {
        "equal": ("anna.novak@example.com", "anna.novak@example.com"),
        "mailbox": ("anna.novak@example.com", "annanovak+shop@mail.example.org"),
        "two_edits": ("anna.novak@example.com", "anna.nowak@example.con"),
        "different": ("anna.novak@example.com", "peter@example.com"),
    },
    "phone_spelling": {
        "equal": ("+431234567", "+431234567"),
        "one_edit": ("+431234567", "+431234561"),
        "different": ("+431234567", "+439876543"),
    },
}
STREET, STREET_EDITED, OTHER = ("main street 12", "1010"), ("main stret 12", "1010"), ("oak lane 3", "9999")
HOUSEHOLDS = {
    "equal": (("novak", *STREET), ("novak", *STREET)),
    "equal_name_street_city": (("novak", "main street 12", None, "utopia"), ("novak", "main street 12", "2", "utopia")),
    "equal_name_street_edited": (("novak", *STREET), ("novak", *STREET_EDITED)),
    "name_edited_equal_address": (("novak", *STREET), ("nowak", *STREET)),
    "equal_address": (("novak", *STREET), ("huber", *STREET)),
    "equal_name_other_address": (("novak", *STREET), ("novak", *OTHER)),
    "equal_name": (("novak", *STREET), ("novak",)),
    "name_one_edit": (("novak", *STREET), ("nowak", *OTHER)),
    "name_part": (("huber",), ("huber-novak",)),
    "name_two_edits": (("schmidt",), ("schmitz",)),
    "name_sounds_alike": (("meier",), ("mayr",)),
    "different": (("novak", *STREET), ("huber", *OTHER)),
}


@pytest.fixture(scope="module")
def retail() -> Model:
    return load_model("retail")


def scores(spark: SparkSession, model: Model, pairs: list[tuple[dict, dict]]) -> list[dict[str, float]]:
    """Return the evidence of pairs, in their order."""
    pair = pa.schema([("n", pa.int32()), ("a", pa.struct(list(SCHEMA))), ("b", pa.struct(list(SCHEMA)))])
    rows = [
        {"n": n, "a": {name: a.get(name) for name in SCHEMA.names}, "b": {name: b.get(name) for name in SCHEMA.names}}
        for n, (a, b) in enumerate(pairs)
    ]
    frame = spark.createDataFrame(pa.Table.from_pylist(rows, pair))
    scored = frame.select("n", evidence(model, "a", "b").alias("bits"))
    return [row.bits for row in sorted(scored.collect(), key=lambda row: row.n)]


def level_of(model: Model, comparison: str, level: str) -> Level:
    levels = next(each.levels for each in model.comparisons if each.name == comparison)
    return next(each for each in levels if each.name == level)


def test_levels_have_the_evidence_of_their_m_and_u(spark: SparkSession, retail: Model) -> None:
    cases = [
        (comparison, level, {comparison.removesuffix("_spelling"): a}, {comparison.removesuffix("_spelling"): b})
        for comparison, levels in LEVELS.items()
        for level, (a, b) in levels.items()
    ]
    parts = ("last_name", "street", "postal_code", "city")
    cases += [
        ("last_name_address", level, dict(zip(parts, a, strict=False)), dict(zip(parts, b, strict=False)))
        for level, (a, b) in HOUSEHOLDS.items()
    ]
    forward = scores(spark, retail, [(a, b) for _, _, a, b in cases])
    backward = scores(spark, retail, [(b, a) for _, _, a, b in cases])
    assert forward == backward
    for (comparison, name, _, _), bits in zip(cases, forward, strict=True):
        level = level_of(retail, comparison, name)
        if not level.term_frequency:
            expected = 0.0 if level.is_identifier else math.log2(level.m / level.u)
            assert bits[comparison] == pytest.approx(expected, abs=0.001), (comparison, name)
        assert {key for key, value in bits.items() if value} <= {comparison, "prior"}


def test_swapped_names_have_a_level_of_their_own(spark: SparkSession, retail: Model) -> None:
    swapped = ANNA | {"first_name": "novak", "last_name": "anna"}
    (bits,) = scores(spark, retail, [(ANNA, swapped)])
    assert bits["first_name"] == level_of(retail, "first_name", "swapped").bits
    other_address = {"street": "oak lane 3", "postal_code": "9999", "city": "shelbyville"}
    (bits,) = scores(spark, retail, [(ANNA, swapped | other_address)])
    assert bits["last_name_address"] == level_of(retail, "last_name_address", "swapped").bits


def test_missing_values_are_no_evidence(spark: SparkSession, retail: Model) -> None:
    (bits,) = scores(spark, retail, [(ANNA, {})])
    assert bits == {"prior": retail.prior} | {each.name: 0.0 for each in retail.comparisons}


def test_frequent_values_are_weaker_evidence(spark: SparkSession) -> None:
    levels = (Level("equal", (Condition("equal", "city"),), 0.9, 0.02, "city"), Level("different", (), 0.1, 0.98))
    frequencies = {"city": TermFrequencies({"springfield": 0.1, "o'fallon": 0.09, "shelbyville": 0.01}, 0.001, 0.02)}
    model = Model("test", "", -10.0, (Comparison("city", ("city",), levels),), (), (), frequencies)
    cities = ("springfield", "o'fallon", "shelbyville", "elsewhere")
    found = [each["city"] for each in scores(spark, model, [({"city": city}, {"city": city}) for city in cities])]
    shares = [rounded_frequency(share) for share in (0.1, 0.09, 0.01)] + [0.001]
    assert found == pytest.approx([math.log2(0.9 / share) for share in shares], abs=0.001)
    assert found == pytest.approx([math.log2(0.9 / share) for share in (0.1, 0.09, 0.01, 0.001)], abs=0.251)


def test_total_is_the_sum_of_the_evidence(spark: SparkSession, retail: Model) -> None:
    peter = ANNA | {"first_name": "peter", "email": "p.novak@example.com", "gender": None}
    (bits,) = scores(spark, retail, [(ANNA, peter)])
    names = {"first_name": "different", "birth_date": "equal", "last_name_address": "equal"}
    names |= {"email_spelling": "different"}
    by_hand = sum(math.log2(level.m / level.u) for level in (level_of(retail, *each) for each in names.items()))
    rows = spark.createDataFrame([(bits,)], "bits map<string,double>")
    weight = rows.select(total(sf.col("bits")).alias("weight")).first().weight
    assert weight == pytest.approx(by_hand + retail.prior, abs=0.01)


def test_pairs_with_a_shared_identifier_have_no_prior(spark: SparkSession, retail: Model) -> None:
    rows = spark.createDataFrame(pa.Table.from_pylist([{"a": ANNA, "b": ANNA, "shared": value} for value in (0, 1)]))
    scored = rows.select("shared", evidence(retail, "a", "b", sf.col("shared") == 1)["prior"].alias("prior"))
    assert {row.shared: row.prior for row in scored.collect()} == {0: retail.prior, 1: 0.0}


def test_evidence_reads_the_aliases_of_a_join(spark: SparkSession, retail: Model) -> None:
    rows = spark.createDataFrame(pa.Table.from_pylist([ANNA | {"n": 1}], pa.schema([*SCHEMA, ("n", pa.int32())])))
    joined = rows.alias("a").join(rows.alias("b"), sf.col("a.n") == sf.col("b.n"))
    (row,) = joined.select(evidence(retail, "a", "b").alias("bits")).collect()
    assert row.bits == scores(spark, retail, [(ANNA, ANNA)])[0]


def test_blocks_are_keys_of_known_values(spark: SparkSession, retail: Model) -> None:
    records = [ANNA, {"email": "anna.novak@example.org"}, {}, {"email": ""}]
    rows = spark.createDataFrame(pa.Table.from_pylist(records, SCHEMA))
    found = [row.blocks for row in rows.select(blocks(retail).alias("blocks")).collect()]
    assert found == [
        [
            "birth_date_first:1980-03-12|A500",
            "birth_date_last:1980-03-12|N120",
            "names_year:A500|N120|1980",
            "names_postal_code:A500|N120|1010",
            "street_first:main street 12|A500",
            "email:annanovak",
            "names:anna|novak",
        ],
        ["email:annanovak"],
        [],
        [],
    ]


@pytest.mark.first_engine
def test_model_file_reads_back(retail: Model, tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(model_json(retail), encoding="utf-8")
    assert load_model(str(file)) == retail


@pytest.mark.first_engine
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("prior", -3.0, "its version is"),
        ("blocks", [{"name": "x", "parts": [["email", "half"]]}], "half is not a part of: value, soundex"),
        ("blocks", [{"name": "x", "parts": [["e-mail", "value"]]}], "'e-mail' is not the name of a column"),
        ("comparisons", [{"name": "x", "columns": ["email"], "levels": []}], "needs exactly one level without cond"),
        ("comparisons", None, "is damaged"),
    ],
)
def test_damaged_model_files_are_refused(retail: Model, tmp_path: Path, key: str, value: object, message: str) -> None:
    content = json.loads(model_json(retail)) | {key: value}
    if "version" not in message:
        del content["version"]
    file = tmp_path / "model.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CdpError, match=message):
        load_model(str(file))


@pytest.mark.first_engine
def test_missing_and_untrained_models_are_refused(retail: Model, tmp_path: Path) -> None:
    with pytest.raises(CdpError, match="the library has the models retail"):
        load_model("wholesale")
    file = tmp_path / "model.json"
    content = json.loads(model_json(retail)) | {"prior": 0.0}
    del content["version"]
    file.write_text(json.dumps(content), encoding="utf-8")
    assert read_model(str(file)).prior == 0
    with pytest.raises(CdpError, match="is not trained: its prior is not below 0"):
        load_model(str(file))
