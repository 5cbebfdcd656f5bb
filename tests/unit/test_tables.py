"""What every write verb promises, on every engine."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import BronzeContract, Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.quality import CheckedRows
from cdp_lib.tables import Tables, Written

VISITS = TableContract(
    name="visits_silver",
    layer="silver",
    comment="""One row per visit; it's the store's \\ own "count" – `é`.""",
    columns=(
        Column("visit_id", "INT", 'visit\'s \\n number; "quoted"', required=True),
        Column("note", "STRING", "what was said"),
        Column("_batch_id", "STRING", "landed batch", required=True),
    ),
    key=("visit_id",),
    partitioned_by=("_batch_id",),
)
CARDS = BronzeContract(
    name="cards_bronze",
    layer="bronze",
    comment="One row per version of a card.",
    columns=(
        Column("card_id", "INT", "card's number"),
        Column("note", "STRING", "what stands on it"),
        Column("_load", "STRING", "part of the entity the batch is"),
        Column("_is_deleted", "BOOLEAN", "whether it is gone"),
        Column("_record_hash", "STRING", "digest", required=True),
        Column("_batch_id", "STRING", "landed batch", required=True),
        Column("_source_file", "STRING", "data file"),
    ),
    partitioned_by=("_batch_id",),
    record_key=("card_id",),
)
OTHER = TableContract("others_silver", "silver", "One row per other.", VISITS.columns, ("visit_id",))

Rows = Callable[..., DataFrame]


@pytest.fixture
def visits(frame_of: Callable[..., DataFrame]) -> Rows:
    def build(*rows: tuple[int | None, str | None, str]) -> DataFrame:
        return frame_of(VISITS.columns, *(dict(zip(VISITS.column_names, row, strict=True)) for row in rows))

    return build


A1, A2, B1, C1 = (1, "a", "a"), (2, None, "a"), (1, "b", "b"), (1, "c", "c")


def folder_of(tmp_path: Path, name: str) -> str:
    [folder] = tmp_path.glob(f"*/{name}")
    return str(folder)


def checked(kept: DataFrame, refused: DataFrame, received: int) -> CheckedRows:
    return CheckedRows(kept, refused, received)


def test_replace_table_holds_the_new_rows_and_no_others(tables: Tables, visits: Rows, rows_of) -> None:
    assert tables.replace_table(VISITS, visits(A1, A2, B1)) == Written(3)
    assert tables.replace_table(VISITS, visits(A2, C1)) == Written(2)
    assert rows_of(tables.read_table(VISITS)) == [C1, A2]


def test_replace_table_leaves_other_tables_as_they_were(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(OTHER, visits(B1))
    tables.replace_table(VISITS, visits(A1))
    tables.replace_table(VISITS, visits())
    assert rows_of(tables.read_table(OTHER)) == [B1]


def test_replace_table_twice_is_replace_table_once(tables: Tables, visits: Rows, rows_of) -> None:
    for _ in range(2):
        assert tables.replace_table(VISITS, visits(A1, B1)) == Written(2)
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]


def test_replace_table_by_nothing_empties_it(tables: Tables, visits: Rows) -> None:
    tables.replace_table(VISITS, visits(A1))
    assert tables.replace_table(VISITS, visits()) == Written(0)
    assert tables.read_table(VISITS).count() == 0


def test_replace_table_by_rows_read_from_itself(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1, B1, C1))
    rows = tables.read_table(VISITS).where("_batch_id <> 'b'").unionByName(visits((3, "new", "a")))
    assert tables.replace_table(VISITS, rows) == Written(3)
    assert rows_of(tables.read_table(VISITS)) == [A1, C1, (3, "new", "a")]


def test_replace_tables_replaces_each_by_its_own_rows(tables: Tables, visits: Rows, rows_of) -> None:
    assert tables.replace_tables({VISITS: visits(A1), OTHER: visits(B1, C1)}) == Written(3)
    assert rows_of(tables.read_table(VISITS)) == [A1]
    assert rows_of(tables.read_table(OTHER)) == [B1, C1]


def test_replace_batches_keeps_the_rows_of_other_batches(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_batches(VISITS, {"a": visits(A1, A2), "b": visits(B1)})
    assert tables.replace_batches(VISITS, {"a": visits((9, "new", "a"))}) == Written(1)
    assert rows_of(tables.read_table(VISITS)) == [B1, (9, "new", "a")]


def test_replace_batches_adds_batches_the_table_does_not_have(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_batches(VISITS, {"a": visits(A1)})
    assert tables.replace_batches(VISITS, {"b": visits(B1), "c": visits(C1)}) == Written(2)
    assert rows_of(tables.read_table(VISITS)) == [A1, B1, C1]


def test_replace_batches_twice_is_replace_batches_once(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_batches(VISITS, {"c": visits(C1)})
    for _ in range(2):
        assert tables.replace_batches(VISITS, {"a": visits(A1, A2), "b": visits(B1)}) == Written(3)
    assert rows_of(tables.read_table(VISITS)) == [A1, B1, C1, A2]


def test_replace_batches_by_an_empty_batch_removes_only_its_rows(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_batches(VISITS, {"a": visits(A1), "b": visits(B1)})
    assert tables.replace_batches(VISITS, {"a": visits()}) == Written(0)
    assert rows_of(tables.read_table(VISITS)) == [B1]


def test_replace_batches_of_no_batches_makes_the_table_and_changes_nothing(
    tables: Tables, visits: Rows, rows_of
) -> None:
    assert tables.replace_batches(VISITS, {}) == Written(0)
    assert tables.read_table(VISITS).count() == 0
    tables.replace_batches(VISITS, {"a": visits(A1)})
    assert tables.replace_batches(VISITS, {}) == Written(0)
    assert rows_of(tables.read_table(VISITS)) == [A1]


def test_replace_batches_by_rows_read_from_the_batch_itself(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_batches(VISITS, {"a": visits(A1, A2), "b": visits(B1)})
    batch = tables.read_table(VISITS).where("_batch_id = 'a' AND note IS NOT NULL")
    assert tables.replace_batches(VISITS, {"a": batch}) == Written(1)
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]


def test_a_batch_may_have_any_name(tables: Tables, visits: Rows, rows_of) -> None:
    names = ["o'brien", 'a"b', "50%", "a b", "x=y", "C:\\n", "ä/ö"]
    for name in (*names, names[0]):
        tables.replace_batches(VISITS, {name: visits((1, "n", name))})
    assert tables.read_batch_ids(VISITS) == set(names)
    assert rows_of(tables.read_table(VISITS)) == sorted(((1, "n", name) for name in names), key=repr)


def test_replace_checked_fills_the_table_and_its_quarantine(tables: Tables, visits: Rows, frame_of, rows_of) -> None:
    refused = frame_of(
        VISITS.quarantine.columns, {"record": '{"visit_id":null}', "broken_rules": ["x", "y"], "_batch_id": "a"}
    )
    for _ in range(2):
        assert tables.replace_checked(VISITS, checked(visits(A1, B1), refused, 4)) == Written(2, 1, superseded=1)
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]
    assert rows_of(tables.read_table(VISITS.quarantine)) == [('{"visit_id":null}', ["x", "y"], "a")]


def test_replace_checked_takes_from_quarantine_what_is_refused_no_more(
    tables: Tables, visits: Rows, frame_of, rows_of
) -> None:
    refused = frame_of(VISITS.quarantine.columns, {"record": "{}", "broken_rules": ["x"], "_batch_id": "a"})
    tables.replace_checked(VISITS, checked(visits(A1), refused, 2))
    nothing = frame_of(VISITS.quarantine.columns)
    assert tables.replace_checked(VISITS, checked(visits(A1, A2), nothing, 2)) == Written(2, 0, superseded=0)
    assert tables.read_table(VISITS.quarantine).count() == 0
    assert rows_of(tables.read_table(VISITS)) == [A1, A2]


def test_replace_checked_leaves_other_tables_as_they_were(tables: Tables, visits: Rows, frame_of, rows_of) -> None:
    tables.replace_table(OTHER, visits(B1))
    tables.replace_checked(VISITS, checked(visits(A1), frame_of(VISITS.quarantine.columns), 1))
    assert rows_of(tables.read_table(OTHER)) == [B1]


@pytest.mark.parametrize("write", ["replace_table", "replace_batches"])
def test_a_null_in_a_required_column_is_refused_and_the_table_stays(
    tables: Tables, visits: Rows, rows_of, write: str
) -> None:
    tables.replace_table(VISITS, visits(A1, B1))
    rows = visits(A2, (None, "no number", "a"))
    with pytest.raises(Exception, match="NOT.NULL"):
        getattr(tables, write)(VISITS, rows if write == "replace_table" else {"a": rows})
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]


@pytest.mark.parametrize("write", ["replace_table", "replace_batches"])
def test_a_null_in_a_row_that_was_filtered_out_is_no_reason_to_refuse_the_others(
    tables: Tables, visits: Rows, rows_of, write: str
) -> None:
    everything = visits(A1, A2, (None, "no number", "a"))
    rows = everything.withColumn("broken", ~everything.visit_id.isNotNull()).where("NOT broken").drop("broken")
    getattr(tables, write)(VISITS, rows if write == "replace_table" else {"a": rows})
    assert rows_of(tables.read_table(VISITS)) == [A1, A2]


@pytest.mark.parametrize("write", ["replace_table", "replace_batches"])
def test_rows_without_a_column_of_the_contract_are_refused_and_the_table_stays(
    tables: Tables, visits: Rows, rows_of, write: str
) -> None:
    tables.replace_table(VISITS, visits(A1, B1))
    rows = visits(A2).drop("note")
    with pytest.raises(Exception, match="note"):
        getattr(tables, write)(VISITS, rows if write == "replace_table" else {"a": rows})
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]


def test_columns_are_written_by_name_and_a_table_takes_no_others(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1).selectExpr("true AS more", "_batch_id", "note", "visit_id"))
    tables.replace_batches(OTHER, {"a": visits(A1).selectExpr("_batch_id", "note", "visit_id")})
    assert rows_of(tables.read_table(VISITS)) == rows_of(tables.read_table(OTHER)) == [A1]
    assert tables.read_table(VISITS).columns == list(VISITS.column_names)


def test_create_table_twice_keeps_the_rows(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1))
    tables.create_table(VISITS)
    assert rows_of(tables.read_table(VISITS)) == [A1]


def test_reading_a_table_that_does_not_exist_says_what_to_run(tables: Tables) -> None:
    for read in (tables.read_table, tables.read_current_records):
        with pytest.raises(CdpError, match=r"cards_bronze` does not exist: run the task that writes it first"):
            read(CARDS)


@pytest.fixture
def cards(frame_of: Callable[..., DataFrame]) -> Rows:
    """Rows of one batch: its name, what part it is, and `(card, note)` pairs; a note of None is a card that is gone."""

    def build(batch_id: str, load: str | None, *notes: tuple[int | None, str | None]) -> DataFrame:
        return frame_of(
            CARDS.columns,
            *(
                {
                    "card_id": card,
                    "note": note,
                    "_load": load,
                    "_is_deleted": None if load is None else note is None,
                    "_record_hash": f"{card}{note}",
                    "_batch_id": batch_id,
                }
                for card, note in notes
            ),
        )

    return build


def current(tables: Tables, **batches: DataFrame) -> list[tuple[int | None, str | None]]:
    """Cards and notes as they are after these batches."""
    tables.replace_batches(CARDS, batches)
    rows = tables.read_current_records(CARDS).select("card_id", "note").collect()
    return sorted((tuple(row) for row in rows), key=repr)


def test_current_records_are_those_of_the_latest_snapshot(tables: Tables, cards: Rows) -> None:
    older, newer = cards("a", "snapshot", (1, "a"), (2, "a")), cards("b", "snapshot", (1, "b"), (1, "B"))
    assert current(tables, a=older, b=newer) == [(1, "B"), (1, "b")]


def test_a_change_since_the_snapshot_wins_over_it_and_leaves_the_rest(tables: Tables, cards: Rows) -> None:
    snapshot = cards("a", "snapshot", (1, "a"), (2, "a"), (3, "a"))
    assert current(
        tables, a=snapshot, b=cards("b", "increment", (2, "b"), (4, "b")), c=cards("c", "increment", (4, "c"))
    ) == [(1, "a"), (2, "b"), (3, "a"), (4, "c")]


def test_a_record_that_is_gone_is_not_current_until_it_comes_back(tables: Tables, cards: Rows) -> None:
    batches = {"a": cards("a", "snapshot", (1, "a"), (2, "a")), "b": cards("b", "increment", (1, None))}
    assert current(tables, **batches) == [(2, "a")]
    assert current(tables, c=cards("c", "increment", (1, "c"))) == [(1, "c"), (2, "a")]


def test_of_a_file_the_version_landed_last_is_current_whoever_landed_it(tables: Tables, cards: Rows) -> None:
    def in_file(rows: DataFrame, name: str) -> DataFrame:
        return rows.withColumn("_source_file", sf.concat(sf.lit("s/e/"), "_batch_id", sf.lit(f"/data/{name}")))

    a1 = in_file(cards("a", "files", (1, "a"), (2, "a")), "file=04.csv/part-00000.jsonl")
    a2 = in_file(cards("a", "files", (1, "other file")), "file=05.csv/part-00000.jsonl")
    b1 = in_file(cards("b", "files", (2, "b"), (None, "b")), "04.csv.jsonl")
    assert current(tables, a=a1.union(a2), b=b1) == [(1, "other file"), (2, "b"), (None, "b")]


def test_of_a_record_and_its_removal_in_one_batch_the_removal_is_later(tables: Tables, cards: Rows) -> None:
    batches = {"a": cards("a", "snapshot", (1, "a"), (2, "a")), "b": cards("b", "increment", (1, "b"), (1, None))}
    assert current(tables, **batches) == [(2, "a")]


def test_a_snapshot_ends_what_was_before_it(tables: Tables, cards: Rows) -> None:
    batches = {"a": cards("a", "snapshot", (1, "a")), "b": cards("b", "increment", (2, "b"))}
    assert current(tables, **batches, c=cards("c", "snapshot", (3, "c"))) == [(3, "c")]
    assert current(tables, d=cards("d", "increment", (4, "d"))) == [(3, "c"), (4, "d")]


def test_increments_alone_are_all_there_is(tables: Tables, cards: Rows) -> None:
    assert current(tables, a=cards("a", "increment", (1, "a")), b=cards("b", "increment", (1, "b"), (2, "b"))) == [
        (1, "b"),
        (2, "b"),
    ]


def test_records_without_a_key_are_no_versions_of_each_other(tables: Tables, cards: Rows) -> None:
    batches = {"a": cards("a", "snapshot", (None, "a")), "b": cards("b", "increment", (None, "b"), (1, "b"))}
    assert current(tables, **batches) == [(1, "b"), (None, "a"), (None, "b")]


def test_rows_from_before_there_were_increments_are_snapshots(tables: Tables, cards: Rows) -> None:
    assert current(tables, a=cards("a", None, (1, "a")), b=cards("b", None, (2, "b"))) == [(2, "b")]


def test_the_current_records_of_an_empty_table_are_none(tables: Tables) -> None:
    tables.create_table(CARDS)
    assert tables.read_current_records(CARDS).collect() == []


def test_a_new_column_is_kept_and_reported_and_older_rows_have_none(tables: Tables, cards: Rows, rows_of) -> None:
    tables.replace_batches(CARDS, {"a": cards("a", "snapshot", (1, "a"))})
    batches = {
        "b": cards("b", "snapshot", (2, "b")).withColumn("colour", sf.lit("red")),
        "c": cards("c", "snapshot", (3, "c")).withColumn("size", sf.lit("XL")).withColumn("colour", sf.lit("blue")),
        "d": cards("d", "snapshot", (4, "d")),
    }
    assert tables.replace_batches(CARDS, batches) == Written(3, new_columns=("colour", "size"))
    assert rows_of(tables.read_table(CARDS).select("card_id", "colour", "size")) == [
        (1, None, None),
        (2, "red", None),
        (3, "blue", "XL"),
        (4, None, None),
    ]
    assert tables.replace_batches(CARDS, batches).new_columns == ()
    assert tables.read_table(CARDS).count() == 4


def test_every_bronze_table_can_gain_a_column(tables: Tables, frame_of: Callable[..., DataFrame]) -> None:
    for contract in BRONZE_TABLES:
        row = {
            "_record_hash": "",
            "_batch_id": "a",
            "_source_file": "",
            "_ingested_at": datetime(2026, 1, 31, tzinfo=UTC),
        }
        rows = frame_of(contract.columns, row)
        tables.replace_batches(contract, {"a": rows})
        later = rows.withColumns({"_batch_id": sf.lit("b"), "colour": sf.lit("red")})
        assert tables.replace_batches(contract, {"b": later}) == Written(1, new_columns=("colour",))
        seen = tables.read_table(contract).orderBy("_batch_id").selectExpr("colour", "unix_seconds(_ingested_at)")
        assert [tuple(row) for row in seen.collect()] == [(None, 1769817600), ("red", 1769817600)]


def test_a_table_from_an_older_version_gains_the_columns_of_its_contract(tables: Tables, cards: Rows, rows_of) -> None:
    older = replace(CARDS, columns=tuple(column for column in CARDS.columns if column.name != "_is_deleted"))
    tables.replace_batches(older, {"a": cards("a", "snapshot", (1, "a")).drop("_is_deleted")})
    assert tables.replace_batches(CARDS, {"b": cards("b", "increment", (1, None))}).new_columns == ("_is_deleted",)
    assert tables.read_current_records(CARDS).collect() == []


def test_read_batch_ids_of_a_table_that_does_not_exist_is_empty(tables: Tables, visits: Rows) -> None:
    assert tables.read_batch_ids(VISITS) == set()
    tables.replace_batches(VISITS, {"a": visits(A1, A2), "b": visits(B1)})
    assert tables.read_batch_ids(VISITS) == {"a", "b"}


@pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)
def test_a_table_is_made_as_its_contract_says(tables: Tables, tmp_path: Path, contract: TableContract) -> None:
    tables.create_table(contract)
    table = DeltaTable(folder_of(tmp_path, contract.name))
    fields = {field.name: field for field in table.schema().fields}
    assert table.metadata().description == contract.comment
    assert table.metadata().partition_columns == list(contract.partitioned_by)
    assert {name: field.metadata["comment"] for name, field in fields.items()} == {
        column.name: column.comment for column in contract.columns
    }
    assert {name: field.nullable for name, field in fields.items()} == {
        column.name: not column.required for column in contract.columns
    }
    assert [type_ for _, type_ in tables.read_table(contract).dtypes] == [
        column.type.lower() for column in contract.columns
    ]


def test_comments_keep_quotes_and_backslashes(tables: Tables, tmp_path: Path) -> None:
    tables.create_table(VISITS)
    table = DeltaTable(folder_of(tmp_path, VISITS.name))
    assert table.metadata().description == VISITS.comment
    assert table.schema().fields[0].metadata["comment"] == VISITS.columns[0].comment


def test_comments_survive_a_write(tables: Tables, visits: Rows, tmp_path: Path) -> None:
    tables.replace_table(VISITS, visits(A1))
    tables.replace_batches(VISITS, {"b": visits(B1)})
    table = DeltaTable(folder_of(tmp_path, VISITS.name))
    assert table.metadata().description == VISITS.comment
    assert table.schema().fields[0].metadata["comment"] == VISITS.columns[0].comment


def test_a_write_is_one_commit(tables: Tables, visits: Rows, tmp_path: Path) -> None:
    tables.replace_table(VISITS, visits(A1))
    before = DeltaTable(folder_of(tmp_path, VISITS.name)).version()
    tables.replace_table(VISITS, visits(A2, B1))
    tables.replace_batches(VISITS, {"b": visits(B1)})
    assert DeltaTable(folder_of(tmp_path, VISITS.name)).version() == before + 2


KINDS = TableContract(
    name="kinds_silver",
    layer="silver",
    comment="One row per kind.",
    columns=(
        Column("n", "INT", "number", required=True),
        Column("big", "BIGINT", "large number"),
        Column("price", "DECIMAL(18,2)", "price"),
        Column("revenue", "DECIMAL(38,2)", "revenue"),
        Column("ratio", "DOUBLE", "ratio"),
        Column("day", "DATE", "day"),
        Column("at", "TIMESTAMP", "instant"),
        Column("names", "ARRAY<STRING>", "names"),
        Column("name", "STRING", "name"),
    ),
    key=("n",),
)
AT = datetime(2025, 4, 1, 23, 59, 59, 123456, tzinfo=UTC)
FULL = (
    *(1, 2**63 - 1, Decimal("9999999999999999.99"), Decimal("999999999999999999999999999999999999.99")),
    *(0.1, date(2024, 2, 29), AT, ["a", "", None, "Zoë 😀"], ' two\nlines\t"quoted" \\ \u2028'),
)
LOW = (2, -(2**63), Decimal("-0.01"), Decimal("-0.01"), -0.0, date(1, 1, 1), datetime(1900, 1, 1, tzinfo=UTC), [], "")
EMPTY = (3, *[None] * 8)


def test_values_come_back_as_they_were_and_every_delta_reader_sees_them(
    tables: Tables, frame_of, tmp_path: Path
) -> None:
    names = KINDS.column_names
    tables.replace_table(KINDS, frame_of(KINDS.columns, *(dict(zip(names, row, strict=True)) for row in (FULL, LOW))))
    tables.replace_table(KINDS, tables.read_table(KINDS).unionByName(frame_of(KINDS.columns, {"n": 3})))

    microseconds = "CAST(unix_micros(at) AS BIGINT) AS at"
    by_engine = tables.read_table(KINDS).selectExpr(*(microseconds if name == "at" else name for name in names))
    assert sorted(tuple(row) for row in by_engine.collect()) == [
        tuple(_microseconds(value) if isinstance(value, datetime) else value for value in row)
        for row in (FULL, LOW, EMPTY)
    ]

    arrow = DeltaTable(folder_of(tmp_path, KINDS.name)).to_pyarrow_table()
    assert sorted((tuple(row.values()) for row in arrow.to_pylist()), key=lambda row: row[0]) == [FULL, LOW, EMPTY]

    columns = "n, big, price, revenue, ratio, day, names, name"
    with duckdb.connect() as connection:
        by_duckdb = connection.sql(f"SELECT {columns} FROM arrow ORDER BY n").fetchall()
    assert by_duckdb == [tuple(value for value in (*row[:6], *row[7:])) for row in (FULL, LOW, EMPTY)]


def _microseconds(instant: datetime) -> int:
    return round((instant - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
