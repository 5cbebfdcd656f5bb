import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.columns import clean_text, to_integer
from cdp_lib.contracts.bronze import LINEAGE_COLUMNS
from cdp_lib.contracts.table import BronzeContract, Column
from cdp_lib.silver.received import as_received, typed_rows

CARDS = BronzeContract(
    name="cards_bronze",
    layer="bronze",
    comment="One row per card in a landed batch.",
    columns=(
        Column("card_no", "STRING", ""),
        Column("note", "STRING", ""),
        Column("points", "INT", ""),
        Column("card_tier", "STRING", "", optional=True),
        *LINEAGE_COLUMNS,
    ),
)
PARSE: dict[str, Callable[[SparkColumn], SparkColumn]] = {
    "card_id": to_integer,
    "note": clean_text,
    "points": as_received,
    "tier": to_integer,
}
RECEIVED_AS = {"card_id": "card_no", "tier": "card_tier"}
PLAUSIBLE = {"tier": ("1", "3")}
CARD = {"card_no": "7", "note": " a  b ", "points": 5, "card_tier": "2"}


@pytest.fixture
def typed(bronze_rows) -> Callable[..., DataFrame]:
    def build(*rows: dict[str, object]) -> DataFrame:
        return typed_rows(bronze_rows(CARDS, *(CARD | row for row in rows)), CARDS, PARSE, RECEIVED_AS, PLAUSIBLE)

    return build


def test_typed_rows_have_the_silver_columns_and_the_columns_for_the_check(typed) -> None:
    rows = typed({"_is_deleted": True, "_batch_id": "b7"})
    [row] = rows.select(*[name for name in rows.columns if name not in ("record", "_ingested_at")]).collect()
    assert row.asDict() == {
        "card_id": 7,
        "note": "a b",
        "points": 5,
        "tier": 2,
        "_tier_fits": True,
        "attributes": None,
        "_rescued_data": None,
        "_record_hash": "20E705BDF391062B",
        "_is_deleted": True,
        "_batch_id": "b7",
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"note": ""}, {"note": None}),
        ({"note": "null"}, {"note": None}),
        ({"card_no": "a", "note": "b"}, {"card_no": "b", "note": "a"}),
        ({"card_no": None, "note": "a"}, {"card_no": "a", "note": None}),
        ({"note": "Zoë"}, {"note": "Zoe"}),
        ({"points": 5}, {"points": None}),
        ({"_rescued_data": '{"_record":"[1]"}'}, {"_rescued_data": '{"_record":"[2]"}'}),
    ],
)
def test_only_identical_records_have_the_same_hash(typed, one: dict[str, Any], other: dict[str, Any]) -> None:
    hashes = [row[0] for row in typed(one, other, one).select("_record_hash").collect()]
    assert hashes[0] == hashes[2] != hashes[1]


def test_typed_rows_keep_ingested_at(typed) -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    [[seconds]] = typed({"_ingested_at": at}).selectExpr("unix_seconds(_ingested_at)").collect()
    assert seconds == at.timestamp()


def test_record_is_the_row_as_received_with_bronze_names(typed) -> None:
    [row] = typed({"note": ' "x" \\ ', "_rescued_data": '{"colour":"red"}'}).collect()
    assert json.loads(row.record) == CARD | {"note": ' "x" \\ ', "_rescued_data": '{"colour":"red"}'}


def test_value_that_does_not_parse_is_null_and_rescued_under_its_bronze_name(typed) -> None:
    [row] = typed({"card_no": "seven"}).collect()
    assert (row.card_id, json.loads(row["_rescued_data"])) == (None, {"card_no": "seven"})


@pytest.mark.parametrize("blank", ["", " \t", "\u00a0", None])
def test_blank_is_null_and_not_rescued(typed, blank: str | None) -> None:
    [row] = typed({"card_no": blank, "note": blank}).collect()
    assert (row.card_id, row.note, row["_rescued_data"]) == (None, None, None)


@pytest.mark.parametrize(
    ("received", "tier", "fits"),
    [("gold", None, False), ("9", None, False), ("3", 3, True), (" ", None, True), (None, None, True)],
)
def test_optional_value_that_does_not_fit_is_null_and_flagged_but_not_rescued(
    typed, received: str | None, tier: int | None, fits: bool
) -> None:
    [row] = typed({"card_tier": received}).collect()
    assert (row.tier, row["_tier_fits"], row["_rescued_data"]) == (tier, fits, None)
    assert json.loads(row.record).get("card_tier") == received


def test_rescued_data_of_bronze_stays(typed) -> None:
    [row] = typed({"card_no": "seven", "_rescued_data": '{"_record":"[1]"}'}).collect()
    assert row["_rescued_data"] == '{"_record":"[1]"}'


def test_rows_with_null_is_deleted_are_not_tombstones(typed) -> None:
    deleted = typed({"_is_deleted": None}, {"_is_deleted": False}).select("_is_deleted")
    assert deleted.collect() == [(False,), (False,)]


def test_filter_applies_to_typed_values(typed) -> None:
    rows = typed({"card_no": "1"}, {"card_no": "x"}, {"card_no": "2"})
    assert sorted(row.card_id for row in rows.where(sf.col("card_id").isNotNull()).collect()) == [1, 2]


def test_typed_rows_of_a_missing_column_equal_those_of_a_column_without_values(bronze_rows) -> None:
    rows = bronze_rows(CARDS, CARD | {"card_tier": None}, CARD | {"card_tier": None, "card_no": "x"})
    with_column, without = (
        typed_rows(each, CARDS, PARSE, RECEIVED_AS, PLAUSIBLE) for each in (rows, rows.drop("card_tier"))
    )
    assert without.orderBy("record").collect() == with_column.orderBy("record").collect()
    assert without.columns == with_column.columns
