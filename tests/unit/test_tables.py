"""What every verb promises, on every engine."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.table import BronzeContract, Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.tables import ConflictError, Tables, Written

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
CALLS = TableContract(
    "calls_silver", "silver", "One row per call and batch.", VISITS.columns, ("visit_id", "_batch_id")
)
NOTES = TableContract("notes_bronze", "bronze", "One row per note.", VISITS.columns[1:], partitioned_by=("_batch_id",))

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


def version_in(tmp_path: Path, name: str) -> int:
    return DeltaTable(folder_of(tmp_path, name)).version()


def test_replace_table_holds_the_new_rows_and_no_others(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1, A2, B1))
    assert rows_of(tables.read_table(VISITS)) == [A1, B1, A2]
    tables.replace_table(VISITS, visits(A2, C1))
    assert rows_of(tables.read_table(VISITS)) == [C1, A2]


def test_replace_table_leaves_other_tables_as_they_were(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(OTHER, visits(B1))
    tables.replace_table(VISITS, visits(A1))
    tables.replace_table(VISITS, visits())
    assert rows_of(tables.read_table(OTHER)) == [B1]


def test_replace_table_twice_is_replace_table_once(tables: Tables, visits: Rows, rows_of) -> None:
    for _ in range(2):
        tables.replace_table(VISITS, visits(A1, B1))
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]


def test_replace_table_by_nothing_empties_it(tables: Tables, visits: Rows) -> None:
    tables.replace_table(VISITS, visits(A1))
    tables.replace_table(VISITS, visits())
    assert tables.read_table(VISITS).count() == 0


def test_replace_table_by_rows_read_from_itself(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1, B1, C1))
    rows = tables.read_table(VISITS).where("_batch_id <> 'b'").unionByName(visits((3, "new", "a")))
    tables.replace_table(VISITS, rows)
    assert rows_of(tables.read_table(VISITS)) == [A1, C1, (3, "new", "a")]


def test_replace_tables_replaces_each_by_its_own_rows(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(OTHER, visits(A1, A2))
    tables.replace_table(CALLS, visits(A2))
    assert tables.replace_tables({VISITS: visits(A1), OTHER: visits(B1, C1)}) == Written(3)
    assert rows_of(tables.read_table(VISITS)) == [A1]
    assert rows_of(tables.read_table(OTHER)) == [B1, C1]
    assert rows_of(tables.read_table(CALLS)) == [A2]


def test_replace_batches_keeps_the_rows_of_other_batches(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_batches(VISITS, {"a": visits(A1, A2), "b": visits(B1)})
    assert tables.replace_batches(VISITS, {"a": visits((9, "new", "a"))}) == Written(1)
    assert rows_of(tables.read_table(VISITS)) == [B1, (9, "new", "a")]


def test_replace_batches_adds_batches_the_table_does_not_have(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_batches(VISITS, {"a": visits(A1)})
    written = tables.replace_batches(VISITS, {"b": visits(B1), "c": visits(C1), "d": visits()})
    assert (written, written.rows_by_batch) == (Written(2), {"b": 1, "c": 1, "d": 0})
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


WRITES: dict[str, Callable[[Tables, DataFrame], object]] = {
    "replace_table": lambda tables, rows: tables.replace_table(VISITS, rows),
    "replace_batches": lambda tables, rows: tables.replace_batches(VISITS, {"a": rows}),
    "merge_rows": lambda tables, rows: tables.merge_rows(VISITS, rows, rows.limit(0)),
}
"""Each verb that writes rows of batch a."""

every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@every_write
def test_a_null_in_a_required_column_is_refused_and_the_table_stays(
    tables: Tables, visits: Rows, rows_of, write: Callable[..., object]
) -> None:
    tables.replace_table(VISITS, visits(A1, B1))
    with pytest.raises(Exception, match="NOT.NULL"):
        write(tables, visits(A2, (None, "no number", "a")))
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]


@every_write
def test_a_null_in_a_row_that_was_filtered_out_is_no_reason_to_refuse_the_others(
    tables: Tables, visits: Rows, rows_of, write: Callable[..., object]
) -> None:
    everything = visits(A1, A2, (None, "no number", "a"))
    write(tables, everything.withColumn("broken", ~everything.visit_id.isNotNull()).where("NOT broken").drop("broken"))
    assert rows_of(tables.read_table(VISITS)) == [A1, A2]


@every_write
def test_rows_without_a_column_of_the_contract_are_refused_and_the_table_stays(
    tables: Tables, visits: Rows, rows_of, write: Callable[..., object]
) -> None:
    tables.replace_table(VISITS, visits(A1, B1))
    with pytest.raises(Exception, match="note"):
        write(tables, visits(A2).drop("note"))
    assert rows_of(tables.read_table(VISITS)) == [A1, B1]


def test_columns_are_written_by_name_and_a_table_takes_no_others(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1).selectExpr("true AS more", "_batch_id", "note", "visit_id"))
    tables.replace_batches(OTHER, {"a": visits(A1).selectExpr("_batch_id", "note", "visit_id")})
    assert rows_of(tables.read_table(VISITS)) == rows_of(tables.read_table(OTHER)) == [A1]
    assert tables.read_table(VISITS).columns == list(VISITS.column_names)


def test_merge_rows_replaces_adds_and_deletes_by_key_and_leaves_the_rest(tables: Tables, visits: Rows, rows_of) -> None:
    stays, older, gone = (1, "stays", "a"), (2, "older", "a"), (3, "gone", "b")
    tables.replace_table(VISITS, visits(stays, older, gone))
    tables.replace_table(OTHER, visits(stays, older, gone))
    newer, new = (2, None, "c"), (4, "new", "c")
    for _ in range(2):
        tables.merge_rows(VISITS, visits(newer, new), visits(gone))
        assert rows_of(tables.read_table(VISITS)) == [stays, newer, new]
    assert rows_of(tables.read_table(OTHER)) == [stays, older, gone]


def test_merge_rows_makes_the_table(tables: Tables, visits: Rows, rows_of) -> None:
    tables.merge_rows(VISITS, visits(A1), visits(A2))
    assert rows_of(tables.read_table(VISITS)) == [A1]


def test_merge_rows_of_nothing_changes_nothing(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1, A2))
    tables.merge_rows(VISITS, visits(), visits())
    assert rows_of(tables.read_table(VISITS)) == [A1, A2]


def test_merge_rows_deletes_no_key_that_is_not_there_and_adds_none(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1))
    tables.merge_rows(VISITS, visits(), visits(A2))
    assert rows_of(tables.read_table(VISITS)) == [A1]


def test_merge_rows_compares_a_key_of_several_columns_by_all_of_them(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(CALLS, visits(A1, A2, B1, C1))
    tables.merge_rows(CALLS, visits((1, "new", "b"), (2, "new", "b")), visits(C1))
    assert rows_of(tables.read_table(CALLS)) == [A1, (1, "new", "b"), (2, "new", "b"), A2]


def test_merge_rows_of_rows_read_from_the_table_itself(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1, A2, (3, "c", "a")))
    rows = tables.read_table(VISITS)
    moved = rows.where("visit_id = 1").withColumn("_batch_id", sf.lit("moved"))
    tables.merge_rows(VISITS, moved, rows.where("visit_id = 2"))
    assert rows_of(tables.read_table(VISITS)) == [(1, "a", "moved"), (3, "c", "a")]


def test_merge_rows_may_be_of_rows_of_the_table_itself(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(*((number, "older", "a") for number in range(6))))
    in_turn = tables.read_table(VISITS).where("visit_id % 2 = 0").withColumn("note", sf.lit("newer"))
    tables.merge_rows(VISITS, in_turn, tables.read_table(VISITS).where("visit_id = 5"))
    expected = [(number, "older" if number % 2 else "newer", "a") for number in range(5)]
    assert rows_of(tables.read_table(VISITS)) == expected


def test_compact_table_leaves_the_rows_and_fewer_files(
    spark: SparkSession, tables: Tables, rows_of, tmp_path: Path, schema: str, engine: str
) -> None:
    for number in range(5):
        tables.append_rows(VISITS, [note(number, None if number == 3 else "x", "ab"[number % 2])])
    before = rows_of(tables.read_table(VISITS))
    tables.compact_table(VISITS)
    assert rows_of(tables.read_table(VISITS)) == before
    if engine != "databricks":
        assert len(DeltaTable(tmp_path / schema / VISITS.name).file_uris()) < 5
    tables.append_rows(VISITS, [note(9, "after")])
    assert len(rows_of(tables.read_table(VISITS))) == 6


def note(visit_id: int, text: str | None, batch_id: str = "a") -> dict[str, object]:
    return dict(zip(VISITS.column_names, (visit_id, text, batch_id), strict=True))


def test_append_rows_adds_to_what_is_there(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(OTHER, visits(B1))
    tables.replace_table(VISITS, visits(A1, B1))
    tables.append_rows(VISITS, [note(2, "b"), note(3, "c")])
    tables.append_rows(VISITS, [note(3, "c")])
    assert rows_of(tables.read_table(VISITS)) == [A1, B1, (2, "b", "a"), (3, "c", "a"), (3, "c", "a")]
    assert rows_of(tables.read_table(OTHER)) == [B1]


def test_append_rows_makes_the_table_and_a_column_that_is_left_out_is_null(tables: Tables, rows_of) -> None:
    tables.append_rows(VISITS, [{"_batch_id": "a", "visit_id": 1}])
    assert rows_of(tables.read_table(VISITS)) == [(1, None, "a")]


def test_append_rows_refuses_a_null_in_a_required_column_and_the_table_stays(
    tables: Tables, visits: Rows, rows_of
) -> None:
    tables.replace_table(VISITS, visits(A1))
    with pytest.raises(Exception, match="NOT.NULL"):
        tables.append_rows(VISITS, [note(2, "b"), {"visit_id": 3}])
    assert rows_of(tables.read_table(VISITS)) == [A1]


def test_append_rows_of_several_writers_at_once_adds_them_all(
    spark: SparkSession, catalog: str, schema: str, visits: Rows, rows_of
) -> None:
    tables = [Tables(spark, catalog, schema) for _ in range(3)]
    tables[0].replace_table(VISITS, visits(A1))
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda number: tables[number].append_rows(VISITS, [note(number + 2, "at once")]), range(3)))
    assert rows_of(tables[0].read_table(VISITS)) == [A1, *((number, "at once", "a") for number in (2, 3, 4))]


def test_upsert_rows_writes_over_the_rows_of_its_keys_and_leaves_the_others(
    tables: Tables, visits: Rows, rows_of
) -> None:
    tables.replace_table(OTHER, visits(B1))
    tables.upsert_rows(VISITS, [note(1, "a"), note(2, "b")])
    tables.upsert_rows(VISITS, [note(2, None), note(3, "c")])
    tables.upsert_rows(VISITS, [note(2, None), note(3, "c")])
    assert rows_of(tables.read_table(VISITS)) == [(1, "a", "a"), (2, None, "a"), (3, "c", "a")]
    assert rows_of(tables.read_table(OTHER)) == [B1]


def test_days_and_numbers_from_python_are_as_exact_as_they_were(tables: Tables, rows_of) -> None:
    columns = (Column("day", "DATE", "day"), Column("share", "DOUBLE", "share"))
    contract = TableContract("shares_gold", "gold", "One row per day.", columns, ("day",))
    shares = [0.1 + 0.2, 1e-7, 123456789.12345679, -5e300, 1 / 3]
    rows = [{"day": date(2026, 1, 1 + n), "share": share} for n, share in enumerate(shares)]
    tables.upsert_rows(contract, rows)
    assert rows_of(tables.read_table(contract)) == [tuple(row.values()) for row in rows]


def test_replace_rows_holds_the_new_rows_and_no_others(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(OTHER, visits(B1))
    tables.replace_rows(VISITS, [note(1, "a"), note(2, "b")])
    assert rows_of(tables.read_table(VISITS)) == [(1, "a", "a"), (2, "b", "a")]
    tables.replace_rows(VISITS, [note(2, "c"), note(3, None)])
    assert rows_of(tables.read_table(VISITS)) == [(2, "c", "a"), (3, None, "a")]
    tables.replace_rows(VISITS, [])
    assert rows_of(tables.read_table(VISITS)) == []
    assert rows_of(tables.read_table(OTHER)) == [B1]


def test_replace_rows_writes_nothing_where_the_table_holds_them_already(tables: Tables, tmp_path: Path) -> None:
    tables.replace_rows(VISITS, [])
    assert version_in(tmp_path, VISITS.name) == 0
    tables.replace_rows(VISITS, [note(1, "a"), note(2, None)])
    tables.replace_rows(VISITS, [note(2, None), note(1, "a")])
    assert version_in(tmp_path, VISITS.name) == 1
    tables.replace_rows(VISITS, [note(2, "b"), note(1, "a")])
    assert version_in(tmp_path, VISITS.name) == 2


def test_values_from_python_come_back_as_they_were(tables: Tables) -> None:
    contract = replace(KINDS, columns=tuple(c for c in KINDS.columns if c.name in ("n", "big", "ratio", "at", "name")))
    at = "CAST(unix_micros(at) AS BIGINT)"
    values = [
        (1, 2**62, 0.1, datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC), ' it\'s\n"two" \\ {lines} \u2028 é 😀'),
        (2, -(2**62), -1e-9, datetime(1970, 1, 1, tzinfo=UTC), ""),
        (3, None, None, None, None),
    ]
    rows = [dict(zip(contract.column_names, row, strict=True)) for row in values]
    for write in (tables.append_rows, tables.replace_rows):
        write(contract, rows)
        read = tables.read_table(contract).orderBy("n").selectExpr("n", "big", "ratio", at, "name").collect()
        assert [tuple(row) for row in read] == [
            tuple(_microseconds(value) if isinstance(value, datetime) else value for value in row) for row in values
        ]


def test_truths_from_python_come_back_as_they_were(tables: Tables, rows_of) -> None:
    contract = replace(VISITS, columns=(VISITS.columns[0], Column("is_kept", "BOOLEAN", "")), partitioned_by=())
    tables.append_rows(contract, [{"visit_id": n, "is_kept": is_kept} for n, is_kept in enumerate((True, False, None))])
    assert rows_of(tables.read_table(contract)) == [(0, True), (1, False), (2, None)]


def _overtaken(message: str) -> Callable[..., None]:
    def write(*_: object) -> None:
        raise PySparkException(message)

    return write


CONFLICTS = (
    "[DELTA_CONCURRENT_APPEND] ConcurrentAppendException: Files were added by a concurrent update.",
    "io.delta.exceptions.ConcurrentAppendException: This transaction failed.",
    "Delta transaction failed: Failed to commit transaction after 15 attempts",
    "[DELTA_PROTOCOL_CHANGED] ProtocolChangedException: The protocol version has been changed by a concurrent update.",
)


@pytest.mark.first_engine  # its errors are made up; those of writers at once are not
@pytest.mark.parametrize("message", CONFLICTS)
@pytest.mark.parametrize("write", [name for name in WRITES if name != "merge_rows"])
def test_a_commit_that_another_one_came_before_says_so_in_one_line_and_changes_nothing(
    tables: Tables, visits: Rows, rows_of, monkeypatch: pytest.MonkeyPatch, write: str, message: str
) -> None:
    tables.replace_table(VISITS, visits(A1))
    with monkeypatch.context() as patch:
        for verb in ("overwrite", "append"):
            patch.setattr(type(visits().writeTo("visits")), verb, _overtaken(message))
        with pytest.raises(ConflictError, match=r"Another run has written .*visits_silver` meanwhile") as refused:
            WRITES[write](tables, visits(A2))
    assert len(str(refused.value).splitlines()) == 1
    assert rows_of(tables.read_table(VISITS)) == [A1]


@pytest.mark.first_engine
def test_an_error_that_is_no_conflict_stays_what_it_is(
    tables: Tables, visits: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(visits().writeTo("visits")), "overwrite", _overtaken("The disk is full"))
    with pytest.raises(PySparkException, match="The disk is full"):
        tables.replace_table(VISITS, visits(A1))


@pytest.mark.first_engine
@pytest.mark.parametrize("conflicts", [1, 4, 5])
def test_an_append_is_tried_again_until_it_is_the_first(
    tables: Tables, visits: Rows, rows_of, monkeypatch: pytest.MonkeyPatch, conflicts: int
) -> None:
    tables.replace_table(VISITS, visits(A1))
    writer = type(visits().writeTo("visits"))
    append, attempts = writer.append, 0

    def append_late(self: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= conflicts:
            raise PySparkException(CONFLICTS[0])
        append(self)

    monkeypatch.setattr(writer, "append", append_late)
    if conflicts == 5:
        with pytest.raises(ConflictError):
            tables.append_rows(VISITS, [note(2, "b")])
    else:
        tables.append_rows(VISITS, [note(2, "b")])
    assert attempts == min(conflicts + 1, 5)
    assert rows_of(tables.read_table(VISITS)) == [A1, (2, "b", "a")][: 2 if conflicts < 5 else 1]


def _at_once(writes: Sequence[Callable[[], object]]) -> list[int]:
    """Do it all at once; the numbers of those that said no to have been overtaken."""

    def write(number: int) -> list[int]:
        try:
            writes[number]()
        except ConflictError:
            return []
        return [number]

    with ThreadPoolExecutor() as threads:
        return [number for numbers in threads.map(write, range(len(writes))) for number in numbers]


def test_of_replacements_at_once_each_is_whole_or_said_to_be_overtaken(
    spark: SparkSession, catalog: str, schema: str, visits: Rows, rows_of
) -> None:
    tables = [Tables(spark, catalog, schema) for _ in range(4)]
    tables[0].replace_table(VISITS, visits(A1))
    rows = [[(number, "x", "a"), (number, "y", "b")] for number in range(4)]
    written = _at_once([lambda n=n: tables[n].replace_table(VISITS, visits(*rows[n])) for n in range(4)])
    assert rows_of(tables[0].read_table(VISITS)) in [rows[number] for number in written]


def test_of_merges_at_once_those_are_in_the_table_that_were_not_said_to_be_overtaken(
    spark: SparkSession, catalog: str, schema: str, visits: Rows, rows_of
) -> None:
    tables = [Tables(spark, catalog, schema) for _ in range(4)]
    tables[0].replace_table(OTHER, visits((9, "stays", "a"), *((number, "older", "a") for number in range(4))))
    merges = [lambda n=n: tables[n].merge_rows(OTHER, visits((n, "newer", "b")), visits()) for n in range(4)]
    written = _at_once(merges)
    assert written
    assert rows_of(tables[0].read_table(OTHER)) == [
        *((n, "newer", "b") if n in written else (n, "older", "a") for n in range(4)),
        (9, "stays", "a"),
    ]


def test_rows_that_are_appended_while_a_table_is_compacted_are_all_in_it(
    spark: SparkSession, catalog: str, schema: str, rows_of
) -> None:
    tables = [Tables(spark, catalog, schema) for _ in range(4)]
    for number in range(4):
        tables[0].append_rows(VISITS, [note(number, "older")])
    appends = [lambda n=n: tables[n].append_rows(VISITS, [note(n, "newer")]) for n in range(1, 4)]
    written = _at_once([lambda: tables[0].compact_table(VISITS), *appends])
    assert {1, 2, 3} <= set(written)
    expected = [*((n, "older", "a") for n in range(4)), *((n, "newer", "a") for n in range(1, 4))]
    assert rows_of(tables[0].read_table(VISITS)) == sorted(expected, key=repr)


def test_a_table_exists_from_when_it_is_made(spark: SparkSession, catalog: str, schema: str, tables: Tables) -> None:
    other_task = Tables(spark, catalog, schema)
    assert (tables.exists(VISITS), other_task.exists(VISITS)) == (False, False)
    other_task.create_table(VISITS)
    assert (tables.exists(VISITS), other_task.exists(VISITS)) == (True, True)
    assert not tables.exists(OTHER)


FILLS: dict[str, Callable[[Tables, DataFrame], object]] = {
    **WRITES,
    "replace_tables": lambda tables, rows: tables.replace_tables({VISITS: rows}),
    "append_rows": lambda tables, _: tables.append_rows(VISITS, [note(1, "a")]),
    "replace_rows": lambda tables, _: tables.replace_rows(VISITS, [note(1, "a")]),
}


@pytest.mark.every_case
@pytest.mark.parametrize("write", FILLS.values(), ids=FILLS)
def test_a_table_is_empty_until_something_is_written(
    spark: SparkSession, catalog: str, schema: str, tables: Tables, visits: Rows, write: Callable[..., object]
) -> None:
    tables.create_table(VISITS)
    assert tables.is_empty(VISITS)
    assert Tables(spark, catalog, schema).is_empty(VISITS)
    write(tables, visits(A1))
    assert not tables.is_empty(VISITS)
    assert not Tables(spark, catalog, schema).is_empty(VISITS)


def test_a_table_whose_rows_are_gone_is_empty(tables: Tables, visits: Rows) -> None:
    tables.replace_table(VISITS, visits(A1))
    tables.merge_rows(VISITS, visits(), visits(A1))
    assert tables.is_empty(VISITS)


def test_a_table_that_another_task_fills_is_not_empty(
    spark: SparkSession, catalog: str, schema: str, tables: Tables, visits: Rows
) -> None:
    tables.exists(VISITS)
    Tables(spark, catalog, schema).replace_table(VISITS, visits(A1))
    tables.create_table(VISITS)
    assert not tables.is_empty(VISITS)


@pytest.mark.every_case
@pytest.mark.parametrize("write", FILLS.values(), ids=FILLS)
def test_a_table_of_an_earlier_contract_gains_the_columns_it_lacks_and_keeps_its_rows(
    spark: SparkSession, catalog: str, schema: str, visits: Rows, rows_of, write: Callable[..., object]
) -> None:
    earlier = replace(VISITS, columns=(VISITS.columns[0], VISITS.columns[2]))
    tables = Tables(spark, catalog, schema)
    tables.replace_table(earlier, visits((7, None, "z")).drop("note"))
    tables.create_table(VISITS)
    read = tables.read_table(VISITS).select(*VISITS.column_names)
    assert rows_of(read) == [(7, None, "z")]
    write(tables, visits(A1))
    rows = rows_of(tables.read_table(VISITS).select(*VISITS.column_names))
    assert [row for row in rows if row[0] == 1] == [A1]


def test_a_table_that_lacks_nothing_is_left_alone(tables: Tables, visits: Rows, tmp_path: Path) -> None:
    tables.replace_table(VISITS, visits(A1))
    before = version_in(tmp_path, VISITS.name)
    tables.create_table(VISITS)
    assert version_in(tmp_path, VISITS.name) == before


def test_a_quarantine_of_the_first_version_takes_rows_of_this_one(tables: Tables, frame_of, rows_of) -> None:
    first = replace(
        VISITS.quarantine,
        columns=tuple(c for c in VISITS.quarantine.columns if c.name in ("record", "broken_rules", "_batch_id")),
        partitioned_by=("_batch_id",),
    )
    old = {"record": "{}", "broken_rules": ["x"], "_batch_id": "a"}
    tables.replace_table(first, frame_of(first.columns, old))
    tables.create_table(VISITS.quarantine)
    names = VISITS.quarantine.column_names
    there = tables.read_table(VISITS.quarantine).select(*names)
    assert rows_of(there) == [("{}", ["x"], None, None, "a")]
    new = frame_of(
        VISITS.quarantine.columns, {"record": "{1}", "broken_rules": [], "record_key": "1", "_batch_id": "b"}
    )
    tables.replace_table(VISITS.quarantine, there.unionByName(new))
    assert rows_of(tables.read_table(VISITS.quarantine).select(*names)) == [
        ("{1}", [], "1", None, "b"),
        ("{}", ["x"], None, None, "a"),
    ]


def test_tasks_side_by_side_may_all_make_the_table_they_need(
    spark: SparkSession, catalog: str, schema: str, visits: Rows
) -> None:
    tables = [Tables(spark, catalog, schema) for _ in range(4)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda each: each.create_table(VISITS), tables))
    assert [each.read_table(VISITS).count() for each in tables] == [0] * 4


def test_create_table_twice_keeps_the_rows(tables: Tables, visits: Rows, rows_of) -> None:
    tables.replace_table(VISITS, visits(A1))
    tables.create_table(VISITS)
    assert rows_of(tables.read_table(VISITS)) == [A1]


def test_reading_a_table_that_does_not_exist_says_what_to_run(tables: Tables) -> None:
    reads = (tables.read_table, tables.is_empty, tables.read_loads)
    of_files = (tables.read_newest_files, tables.has_newer_files)
    for read in (*reads, *(lambda contract, read=read: read(contract, ["a"]) for read in of_files)):
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


def test_read_loads_says_of_each_batch_what_it_is_and_how_many_rows_it_has(tables: Tables, cards: Rows) -> None:
    batches = {
        "b": cards("b", "increment", (1, "b"), (2, None)),
        "a": cards("a", "snapshot", (1, "a")),
        "c": cards("c", "files", (1, "c"), (2, "c"), (3, "c")),
    }
    tables.replace_batches(CARDS, batches)
    loads = tables.read_loads(CARDS)
    assert loads == {"a": ("snapshot", 1), "b": ("increment", 2), "c": ("files", 3)}
    assert list(loads) == ["a", "b", "c"]


def test_read_loads_of_rows_from_before_there_were_increments_are_snapshots(tables: Tables, cards: Rows) -> None:
    tables.replace_batches(CARDS, {"a": cards("a", None, (1, "a"))})
    assert tables.read_loads(CARDS) == {"a": ("snapshot", 1)}


def test_read_loads_of_an_empty_table_are_none(tables: Tables) -> None:
    tables.create_table(CARDS)
    assert tables.read_loads(CARDS) == {}


@pytest.fixture
def filed(tables: Tables, cards: Rows) -> Tables:
    """Batches of files, as notebooks and Data Factory land them: a 04 05, b 04, c 06."""

    def in_file(batch_id: str, name: str, *notes: tuple[int | None, str]) -> DataFrame:
        path = f"s/e/{batch_id}/data/{name}"
        return cards(batch_id, "files", *notes).withColumn("_source_file", sf.lit(path))

    a04 = in_file("a", "file=04.csv/part-00000.jsonl", (1, "a"), (2, "a"))
    a05 = in_file("a", "file=05.csv/part-00000.jsonl", (1, "other file"))
    b04 = in_file("b", "04.csv.jsonl", (2, "b"), (None, "b"))
    tables.replace_batches(CARDS, {"a": a04.union(a05), "b": b04, "c": in_file("c", "06.csv.jsonl", (3, "c"))})
    return tables


@pytest.mark.parametrize(
    ("batch_ids", "cards_and_notes"),
    [
        ("abc", [(1, "other file"), (2, "b"), (3, "c"), (None, "b")]),
        ("ac", [(1, "a"), (1, "other file"), (2, "a"), (3, "c")]),
        ("b", [(2, "b"), (None, "b")]),
        ("d", []),
    ],
)
def test_of_a_file_the_newest_of_these_batches_counts_whoever_landed_it(
    filed: Tables, rows_of, batch_ids: str, cards_and_notes: list[tuple[int | None, str]]
) -> None:
    rows = filed.read_newest_files(CARDS, [*batch_ids])
    assert rows.columns == list(CARDS.column_names)
    assert rows_of(rows.select("card_id", "note")) == cards_and_notes


@pytest.mark.parametrize(
    ("batch_ids", "is_there"), [("a", True), ("b", True), ("c", False), ("ab", False), ("bc", True), ("d", False)]
)
def test_has_newer_files_where_a_file_of_these_batches_is_in_another_one(
    filed: Tables, batch_ids: str, is_there: bool
) -> None:
    assert filed.has_newer_files(CARDS, [*batch_ids]) is is_there


def test_count_by_batch_counts_the_tables_that_are_there(tables: Tables, visits: Rows) -> None:
    assert tables.count_by_batch([VISITS, OTHER]) == {}
    tables.replace_table(VISITS, visits(A1, A2, B1))
    tables.create_table(CALLS)
    assert tables.count_by_batch([VISITS, OTHER, CALLS]) == {(VISITS.name, "a"): 2, (VISITS.name, "b"): 1}
    tables.replace_table(OTHER, visits(A1))
    assert tables.count_by_batch([OTHER]) == {(OTHER.name, "a"): 1}
    assert tables.count_by_batch([VISITS, OTHER, CALLS])[OTHER.name, "a"] == 1
    assert tables.count_by_batch([]) == {}


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
    tables.replace_batches(CARDS, {"b": cards("b", "increment", (1, None))})
    read = tables.read_table(CARDS).select("card_id", "_is_deleted", "_batch_id")
    assert rows_of(read) == [(1, None, "a"), (1, True, "b")]


def test_a_table_from_an_older_version_keeps_a_column_that_its_contract_has_no_longer(
    tables: Tables, cards: Rows, rows_of
) -> None:
    tables.replace_batches(CARDS, {"a": cards("a", "snapshot", (1, "a"))})
    newer = replace(CARDS, columns=tuple(column for column in CARDS.columns if column.name != "_record_hash"))
    tables.replace_batches(newer, {"b": cards("b", "increment", (2, "b")).drop("_record_hash")})
    assert rows_of(tables.read_table(newer).select("card_id", "_record_hash")) == [(1, "1a"), (2, "")]


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


@pytest.mark.parametrize(
    ("contract", "known"),
    [(OTHER, {"visit_id", "_batch_id"}), (VISITS, {"visit_id"}), (NOTES, set())],
    ids=["key and batch", "partitioned by batch", "neither"],
)
def test_files_say_what_they_hold_of_the_columns_that_are_searched(
    tables: Tables, visits: Rows, tmp_path: Path, engine: str, contract: TableContract, known: set[str]
) -> None:
    tables.replace_table(contract, visits(A1, A2).select(*contract.column_names))
    files = pa.table(DeltaTable(folder_of(tmp_path, contract.name)).get_add_actions(flatten=True))
    assert sum(files["num_records"].to_pylist()) == 2
    assert {name.removeprefix("min.") for name in files.column_names if name.startswith("min.")} == (
        {*contract.column_names} - {*contract.partitioned_by} if engine == "sail" else known
    )


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


@pytest.mark.every_case
@pytest.mark.parametrize("write", FILLS.values(), ids=FILLS)
def test_a_write_is_one_commit(tables: Tables, visits: Rows, tmp_path: Path, write: Callable[..., object]) -> None:
    tables.replace_table(VISITS, visits(A2, B1))
    before = version_in(tmp_path, VISITS.name)
    write(tables, visits(A1))
    assert version_in(tmp_path, VISITS.name) == before + 1


def test_the_engine_has_a_name_and_a_version(tables: Tables, engine: str) -> None:
    name, version = tables.engine
    assert name == {"connect": "spark"}.get(engine, engine)
    assert re.match(r"\d+\.\d+", version)


def test_databricks_is_known_by_its_runtime(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert tables.engine == ("databricks", "17.3")


def test_version_of_a_table_is_deltas_or_not_known(tables: Tables, visits: Rows, tmp_path: Path, engine: str) -> None:
    for rows in (visits(A1), visits(A2)):
        tables.replace_table(VISITS, rows)
        known = None if engine == "sail" else version_in(tmp_path, VISITS.name)
        assert tables.version_of(VISITS) == known


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
