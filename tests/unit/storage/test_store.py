"""Tests of the methods of the store, on every engine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from sqlglot import exp, parse_one

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import BRONZE_TABLES
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.contracts.table import BronzeContract, Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.storage import ConflictError, DeltaStore, open_store
from cdp_lib.storage.delta import IS_GONE

from .workspace import statements_of, store_of_databricks

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
OTHER = TableContract("others_silver", "silver", "One row per other.", VISITS.columns, ("visit_id",))
CLUSTERED = replace(OTHER, name="clustered_silver", clustered_by=("visit_id",))
CALLS = TableContract(
    "calls_silver", "silver", "One row per call and batch.", VISITS.columns, ("visit_id", "_batch_id")
)
NOTES = TableContract("notes_bronze", "bronze", "One row per note.", VISITS.columns[1:], partitioned_by=("_batch_id",))
CARDS = BronzeContract(
    name="cards_bronze",
    layer="bronze",
    comment="One row per version of a card.",
    columns=(
        Column("card_id", "INT", "card's number"),
        Column("note", "STRING", "what stands on it"),
        Column("_batch_id", "STRING", "landed batch", required=True),
    ),
    clustered_by=("_batch_id",),
    record_key=("card_id",),
)

LAYOUTS = {"no layout": OTHER, "partitions": VISITS, "clusters": CLUSTERED}
every_layout = pytest.mark.parametrize("contract", LAYOUTS.values(), ids=LAYOUTS)

Rows = Callable[..., DataFrame]
RowsOf = Callable[[DataFrame], list[tuple[Any, ...]]]
Write = Callable[[DeltaStore, DataFrame], object]

A1, A2, B1, C1 = (1, "a", "a"), (2, None, "a"), (1, "b", "b"), (1, "c", "c")


@pytest.fixture
def visits(frame_of: Rows) -> Rows:
    """Return a function that builds rows of `VISITS`. `OTHER`, `CLUSTERED` and `CALLS` have the same columns."""

    def build(*rows: tuple[int | None, str | None, str | None]) -> DataFrame:
        return frame_of(VISITS.columns, *(dict(zip(VISITS.column_names, row, strict=True)) for row in rows))

    return build


@pytest.fixture
def new_store(spark: SparkSession, catalog: str, schema: str) -> Callable[[], DeltaStore]:
    """Return a function that opens another store on the same tables, in the same way as another process."""
    return lambda: open_store(spark, catalog, schema)


def with_deletions(rows: DataFrame, deleted: DataFrame) -> DataFrame:
    """Return the changes of a merge that upserts `rows` and deletes the keys in `deleted`."""
    return rows.withColumn(IS_GONE, sf.lit(False)).unionByName(deleted.withColumn(IS_GONE, sf.lit(True)))


def filled(store: DeltaStore, contract: TableContract, rows: DataFrame) -> None:
    """Create the table of `contract` and the tables of `LAYOUTS`. Append the same rows to each table.

    A test then writes only to the table of `contract`, and checks that the other tables have not changed.
    """
    for each in dict.fromkeys((contract, *LAYOUTS.values())):
        store.create(each)
        store.append(each, rows)


def assert_other_tables_hold(
    store: DeltaStore, rows_of: RowsOf, contract: TableContract, rows: Sequence[object]
) -> None:
    for each in LAYOUTS.values():
        if each != contract:
            assert rows_of(store.read(each)) == rows, each.name


def folder_of(tmp_path: Path, name: str) -> str:
    [folder] = tmp_path.glob(f"*/{name}")
    return str(folder)


def delta_table(tmp_path: Path, contract: TableContract) -> DeltaTable:
    return DeltaTable(folder_of(tmp_path, contract.name))


def version_in(tmp_path: Path, contract: TableContract) -> int:
    return delta_table(tmp_path, contract).version()


WRITES: dict[str, Write] = {
    "replace": lambda store, rows: store.replace(VISITS, rows),
    "overwrite": lambda store, rows: store.overwrite(VISITS, rows),
    "overwrite where": lambda store, rows: store.overwrite(VISITS, rows, sf.col("_batch_id") == "a"),
    "append": lambda store, rows: store.append(VISITS, rows),
    "merge": lambda store, rows: store.merge(VISITS, rows.withColumn(IS_GONE, sf.lit(False))),
    "merge_rows": lambda store, rows: store.merge_rows(VISITS, rows),
    "rewrite": lambda store, rows: store.rewrite(VISITS, rows),
}
"""Methods that write rows. The overwrite with a condition replaces only the rows of batch a."""

every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
every_write_but_rewrite = pytest.mark.parametrize(
    "write", [write for name, write in WRITES.items() if name != "rewrite"], ids=[n for n in WRITES if n != "rewrite"]
)


# Tables that exist


def test_a_table_exists_once_it_is_created(store: DeltaStore, new_store: Callable[[], DeltaStore]) -> None:
    other = new_store()
    assert (store.exists(VISITS), other.exists(VISITS)) == (False, False)
    other.create(VISITS)
    assert (store.exists(VISITS), other.exists(VISITS)) == (True, True)
    assert not store.exists(OTHER)


def test_create_makes_an_empty_table_or_keeps_existing_rows(
    store: DeltaStore, new_store: Callable[[], DeltaStore], visits: Rows, rows_of: RowsOf, tmp_path: Path
) -> None:
    store.create(VISITS)
    assert rows_of(store.read(VISITS)) == []
    store.append(VISITS, visits(A1))
    before = version_in(tmp_path, VISITS)
    for each in (store, new_store()):
        each.create(VISITS)
    assert rows_of(store.read(VISITS)) == [A1]
    assert version_in(tmp_path, VISITS) == before


def test_reading_a_table_that_does_not_exist_says_what_to_run(store: DeltaStore, visits: Rows) -> None:
    reads = (
        store.read,
        lambda contract: store.read_keys(contract, visits(A1)),
        lambda contract: store.count([contract]),
    )
    for read in reads:
        with pytest.raises(CdpError, match=r"visits_silver` does not exist yet: refresh it first\.$"):
            read(VISITS)


@pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)
def test_a_created_table_matches_its_contract(store: DeltaStore, tmp_path: Path, contract: TableContract) -> None:
    store.create(contract)
    assert_has_the_columns_of(store, tmp_path, contract)
    assert_has_the_comments_of(tmp_path, contract)
    assert_requires_the_columns_of(tmp_path, contract)


def assert_has_the_columns_of(store: DeltaStore, tmp_path: Path, contract: TableContract) -> None:
    types = {name: type_.lower() for name, type_ in contract.types.items()}
    assert dict(store.read(contract).dtypes) == types
    assert delta_table(tmp_path, contract).metadata().partition_columns == list(contract.partitioned_by)


def assert_has_the_comments_of(tmp_path: Path, contract: TableContract) -> None:
    table = delta_table(tmp_path, contract)
    assert table.metadata().description == contract.comment
    assert {field.name: field.metadata.get("comment") for field in table.schema().fields} == {
        column.name: column.comment for column in contract.columns
    }


def assert_requires_the_columns_of(tmp_path: Path, contract: TableContract) -> None:
    assert {field.name: field.nullable for field in delta_table(tmp_path, contract).schema().fields} == {
        column.name: not column.required for column in contract.columns
    }


def test_comments_keep_quotes_and_backslashes(store: DeltaStore, tmp_path: Path) -> None:
    store.create(VISITS)
    assert_has_the_comments_of(tmp_path, VISITS)


@every_write
def test_comments_survive_a_write(store: DeltaStore, visits: Rows, tmp_path: Path, write: Write) -> None:
    store.create(VISITS)
    store.append(VISITS, visits(B1))
    write(store, visits(A2))
    assert_has_the_comments_of(tmp_path, VISITS)


@pytest.mark.parametrize(
    ("contract", "known"),
    [(OTHER, {"visit_id", "_batch_id"}), (VISITS, {"visit_id"}), (NOTES, {"note"})],
    ids=["key and batch", "partitioned by batch", "neither"],
)
def test_files_have_statistics_of_the_columns_that_are_searched(
    store: DeltaStore, visits: Rows, tmp_path: Path, contract: TableContract, known: set[str]
) -> None:
    store.replace(contract, visits(A1, A2).select(*contract.column_names))
    files = pa.table(delta_table(tmp_path, contract).get_add_actions(flatten=True))
    assert sum(files["num_records"].to_pylist()) == 2
    assert {name.removeprefix("min.") for name in files.column_names if name.startswith("min.")} == known


def test_the_engine_has_a_name_and_a_version(store: DeltaStore, engine: str) -> None:
    name, version = store.engine.split()
    assert name == {"connect": "spark"}.get(engine, engine)
    assert re.match(r"\d+\.\d+", version)
    assert store.is_databricks == (engine == "databricks")


# Reading


@every_layout
def test_read_keys_gives_the_rows_of_these_keys(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    rows = [(number, "x", "ab"[number % 2]) for number in range(6)]
    store.replace(contract, visits(*rows))
    keys = visits((1, None, ""), (4, None, ""), (9, None, "")).select("visit_id")
    assert rows_of(store.read_keys(contract, keys)) == [(1, "x", "b"), (4, "x", "a")]
    assert store.read_keys(contract, keys).columns == list(contract.column_names)
    assert rows_of(store.read_keys(contract, keys.limit(0))) == []


def test_read_keys_compares_a_key_of_several_columns_by_all_of_them(
    store: DeltaStore, visits: Rows, rows_of: RowsOf
) -> None:
    store.replace(CALLS, visits(A1, A2, B1, C1))
    keys = visits((1, None, "b"), (2, None, "c")).select("visit_id", "_batch_id")
    assert rows_of(store.read_keys(CALLS, keys)) == [B1]


def test_count_returns_the_rows_of_each_table(store: DeltaStore, visits: Rows) -> None:
    store.replace(VISITS, visits(A1, A2))
    store.replace(OTHER, visits(A1))
    store.create(CALLS)
    assert store.count([VISITS, OTHER, CALLS]) == {VISITS.name: 2, OTHER.name: 1, CALLS.name: 0}
    assert store.count([OTHER]) == {OTHER.name: 1}
    assert store.count([]) == {}


def test_partitions_returns_the_partitions_of_rows(store: DeltaStore, visits: Rows) -> None:
    store.replace(VISITS, visits(A1, A2, (3, "c", "c")))
    rows = store.read(VISITS)
    assert store.partitions(VISITS, rows) == {"a", "c"}
    assert store.partitions(VISITS, rows.where("visit_id < 3")) == {"a"}
    assert store.partitions(VISITS, rows.limit(0)) == set()


# Every write


@every_write_but_rewrite
def test_a_null_in_a_required_column_is_refused_and_the_table_stays(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, write: Write
) -> None:
    store.replace(VISITS, visits(A1, B1))
    with pytest.raises(Exception, match="NOT.NULL"):
        write(store, visits(A2, (None, "no number", "a")))
    assert rows_of(store.read(VISITS)) == [A1, B1]


@every_write
def test_a_null_in_a_filtered_row_does_not_refuse_the_write(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, write: Write
) -> None:
    store.create(VISITS)
    everything = visits(A1, A2, (None, "no number", "a"))
    write(store, everything.withColumn("broken", ~everything.visit_id.isNotNull()).where("NOT broken").drop("broken"))
    assert rows_of(store.read(VISITS)) == [A1, A2]


@every_write
def test_rows_without_a_column_of_the_contract_are_refused_and_the_table_stays(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, write: Write
) -> None:
    store.replace(VISITS, visits(A1, B1))
    with pytest.raises(Exception, match="note"):
        write(store, visits(A2).drop("note"))
    assert rows_of(store.read(VISITS)) == [A1, B1]


@every_write
def test_columns_are_written_by_name(store: DeltaStore, visits: Rows, rows_of: RowsOf, write: Write) -> None:
    store.create(VISITS)
    write(store, visits(A1).select("_batch_id", "note", "visit_id"))
    assert rows_of(store.read(VISITS).select(*VISITS.column_names)) == [A1]


@pytest.mark.every_case
@every_write
def test_a_write_is_one_commit(
    store: DeltaStore, visits: Rows, tmp_path: Path, write: Write, request: pytest.FixtureRequest
) -> None:
    store.replace(VISITS, visits(A2, B1))
    before = version_in(tmp_path, VISITS)
    write(store, visits(A1))
    assert version_in(tmp_path, VISITS) == before + 1


@every_write
def test_a_table_can_be_written_after_a_write_of_no_rows(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, write: Write
) -> None:
    store.replace(VISITS, visits((7, "stays", "b")))
    write(store, visits())
    left = rows_of(store.read(VISITS).select(*VISITS.column_names))
    assert left in ([], [(7, "stays", "b")])
    write(store, visits(A1))
    assert A1 in rows_of(store.read(VISITS).select(*VISITS.column_names))


# replace


@every_layout
def test_replace_keeps_only_the_new_rows(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    filled(store, contract, visits(A1, B1))
    store.replace(contract, visits(A2, C1))
    assert rows_of(store.read(contract)) == [C1, A2]
    store.replace(contract, visits())
    assert rows_of(store.read(contract)) == []
    assert_other_tables_hold(store, rows_of, contract, [A1, B1])


def test_writes_return_the_number_of_written_rows(store: DeltaStore, visits: Rows) -> None:
    notes = {"notes": sf.count("note")}
    assert store.replace(VISITS, visits(A1, (2, None, "b")), **notes) == {"rows": 2, "notes": 1}
    assert store.replace(VISITS, visits(A1, A2, (3, None, "b")), **notes) == {"rows": 3, "notes": 1}
    assert store.replace(VISITS, visits(), **notes) == {"rows": 0, "notes": 0}
    assert store.overwrite(VISITS, visits(A1, A2)) == 2
    assert store.overwrite(VISITS, visits((7, "x", "a")), sf.col("_batch_id") == "a") == 1
    assert store.merge_rows(VISITS, visits((7, "y", "a"), (8, "z", "c"))) == 2


def test_replace_creates_the_table_and_is_idempotent(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    for _ in range(2):
        store.replace(VISITS, visits(A1, B1))
        assert rows_of(store.read(VISITS)) == [A1, B1]


@every_layout
def test_replace_by_rows_read_from_the_table_itself(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    store.replace(contract, visits(A1, B1, C1))
    rows = store.read(contract).where("_batch_id <> 'b'").unionByName(visits((3, "new", "a")))
    store.replace(contract, rows)
    assert rows_of(store.read(contract)) == [A1, C1, (3, "new", "a")]


WIDER = replace(OTHER, columns=(replace(OTHER.columns[0], type="BIGINT"), *OTHER.columns[1:]))
GROWN = replace(OTHER, columns=(*OTHER.columns, Column("colour", "STRING", "its colour")))
SHRUNK = replace(OTHER, columns=(OTHER.columns[0], OTHER.columns[2]))
OTHERWISE = replace(
    OTHER,
    columns=(
        Column("colour", "STRING", "its colour"),
        replace(OTHER.columns[0], type="BIGINT"),
        Column("day", "DATE", "its day"),
        replace(OTHER.columns[2], comment="batch that it came with"),
    ),
)
SHAPES = {"a wider type": WIDER, "a further column": GROWN, "a column less": SHRUNK, "all of it": OTHERWISE}
every_shape = pytest.mark.parametrize("contract", SHAPES.values(), ids=SHAPES)


def in_shape(contract: TableContract, rows: DataFrame) -> DataFrame:
    """Return rows with the columns of a contract. A column that the rows lack becomes null."""
    missing = {name: type_ for name, type_ in contract.types.items() if name not in rows.columns}
    given = rows.select("*", *(sf.lit(None).cast(type_).alias(name) for name, type_ in missing.items()))
    return given.selectExpr(*contract.select_list)


@pytest.mark.every_case
@every_shape
def test_replace_changes_the_columns_to_those_of_the_contract(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, tmp_path: Path, contract: TableContract
) -> None:
    store.replace(OTHER, visits(A1, B1))
    store.replace(contract, in_shape(contract, visits(A2, C1)))
    assert_has_the_columns_of(store, tmp_path, contract)
    assert rows_of(store.read(contract).select("visit_id", "_batch_id")) == [(1, "c"), (2, "a")]
    store.replace(contract, in_shape(contract, visits(A1)))
    assert rows_of(store.read(contract).select("visit_id", "_batch_id")) == [(1, "a")]


@pytest.mark.first_engine
@every_layout
def test_replace_does_not_compute_null_columns(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, tmp_path: Path, contract: TableContract
) -> None:
    computed = sf.raise_error(sf.lit("computed")).cast("string")
    for rows in ((A1, B1, (3, "c", "b")), (A1, C1)):
        written = store.replace(contract, visits(*rows).withColumn("note", computed), {"note"}, notes=sf.count("note"))
        assert written == {"rows": len(rows), "notes": 0}
        assert rows_of(store.read(contract)) == sorted((key, None, batch) for key, _, batch in rows)
    assert_has_the_columns_of(store, tmp_path, contract)
    assert_has_the_comments_of(tmp_path, contract)
    assert_requires_the_columns_of(tmp_path, contract)
    with pytest.raises(PySparkException, match="(?i)null"):
        store.replace(contract, visits((None, None, "b")), {"note"})


def test_null_columns_are_those_without_a_value_in_any_row(store: DeltaStore, visits: Rows) -> None:
    # Spark finds none, because it would gain nothing.
    for rows, expected in (((A2, (3, None, "b")), {"note"}), ((A2, B1), set()), ((), {"note", "visit_id"})):
        store.replace(VISITS, visits(*rows))
        found = store.null_columns(VISITS, ["note", "visit_id"])
        assert found == (expected if store.engine.startswith("sail") else set())
        assert store.null_columns(VISITS, []) == set()


# overwrite


@every_layout
def test_overwrite_keeps_only_the_new_rows(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    filled(store, contract, visits(A1, B1))
    for rows in ([C1, A2], []):
        store.overwrite(contract, visits(*rows))
        assert rows_of(store.read(contract)) == rows
    assert_other_tables_hold(store, rows_of, contract, [A1, B1])


STAYS = [(1, "a", "a"), (2, None, "a"), (3, "c", "b"), (4, None, "c")]
CONDITIONS: dict[str, tuple[Callable[[], Any], list[int]]] = {
    "a batch": (lambda: sf.col("_batch_id") == "a", [1, 2]),
    "a batch that is not there": (lambda: sf.col("_batch_id") == "x", []),
    "batches": (lambda: sf.col("_batch_id").isin("b", "c", "x"), [3, 4]),
    "all other batches": (lambda: ~sf.col("_batch_id").isin("b", "c"), [1, 2]),
    "numbers": (lambda: sf.col("visit_id").isin(2, 3), [2, 3]),
    "later numbers": (lambda: sf.col("visit_id") > 2, [3, 4]),
    "later numbers or a batch": (lambda: (sf.col("visit_id") > 3) | sf.col("_batch_id").isin("a"), [1, 2, 4]),
    "a number of a batch": (lambda: (sf.col("visit_id") == 1) & (sf.col("_batch_id") == "a"), [1]),
    "a note, which some rows have not": (lambda: sf.col("note") == "a", [1]),
    "notes, which some rows have not": (lambda: sf.col("note").isin("a", "b"), [1]),
    "no note": (lambda: sf.col("note").isNull(), [2, 4]),
    "nothing": (lambda: sf.lit(False), []),
    "everything": (lambda: sf.lit(True), [1, 2, 3, 4]),
}
"""For each condition: how to build it, and the numbers of the rows for which it is true."""


@every_layout
@pytest.mark.parametrize(("where", "numbers"), CONDITIONS.values(), ids=CONDITIONS)
def test_overwrite_where_keeps_rows_for_which_the_condition_is_not_true(
    store: DeltaStore,
    visits: Rows,
    rows_of: RowsOf,
    contract: TableContract,
    where: Callable[[], Any],
    numbers: list[int],
) -> None:
    filled(store, contract, visits(*STAYS))
    store.overwrite(contract, store.read(contract).limit(0), where())
    assert rows_of(store.read(contract)) == [row for row in STAYS if row[0] not in numbers]
    assert_other_tables_hold(store, rows_of, contract, STAYS)


@every_layout
def test_overwrite_where_is_idempotent(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    store.create(contract)
    store.append(contract, visits(A1, A2, B1))
    for _ in range(2):
        store.overwrite(contract, visits((9, "new", "a")), sf.col("_batch_id") == "a")
        assert rows_of(store.read(contract)) == [B1, (9, "new", "a")]
    store.overwrite(contract, visits((8, None, "z"), (9, "newer", "z")), sf.col("_batch_id") == "z")
    assert rows_of(store.read(contract)) == [B1, (8, None, "z"), (9, "new", "a"), (9, "newer", "z")]


@every_layout
def test_overwrite_where_by_rows_read_from_the_table_itself(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    store.create(contract)
    store.append(contract, visits(A1, A2, B1))
    rows = store.read(contract).where("_batch_id = 'a' AND note IS NOT NULL").withColumn("note", sf.lit("read"))
    store.overwrite(contract, rows, sf.col("_batch_id") == "a")
    assert rows_of(store.read(contract)) == [(1, "b", "b"), (1, "read", "a")]


def test_partition_values_may_have_any_characters(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    names = ["o'brien", 'a"b', "50%", "a b", "x=y", "C:\\n", "ä/ö"]
    store.create(VISITS)
    for name in (*names, names[0]):
        store.overwrite(VISITS, visits((1, "n", name)), sf.col("_batch_id") == name)
    assert rows_of(store.read(VISITS)) == sorted(((1, "n", name) for name in names), key=repr)
    assert store.partitions(VISITS, store.read(VISITS)) == set(names)


# append and new columns


@every_layout
def test_append_keeps_existing_rows(store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract) -> None:
    filled(store, contract, visits(A1, B1))
    for _ in range(2):
        store.append(contract, visits((3, None, "a")))
    assert rows_of(store.read(contract)) == [A1, B1, (3, None, "a"), (3, None, "a")]
    assert_other_tables_hold(store, rows_of, contract, [A1, B1])


def test_append_creates_the_table(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    store.append(VISITS, visits(A1))
    assert rows_of(store.read(VISITS)) == [A1]


@pytest.fixture
def cards(frame_of: Rows) -> Rows:
    """Return a function that builds rows of one batch from its name and `(card, note)` pairs."""

    def build(batch_id: str, *notes: tuple[int, str]) -> DataFrame:
        rows = ({"card_id": card, "note": note, "_batch_id": batch_id} for card, note in notes)
        return frame_of(CARDS.columns, *rows)

    return build


def test_add_columns_adds_missing_columns_as_null(store: DeltaStore, cards: Rows, rows_of: RowsOf) -> None:
    store.append(CARDS, cards("a", (1, "a")))
    red = cards("b", (2, "b")).withColumn("colour", sf.lit("red"))
    assert store.add_columns(CARDS, cards("b", (2, "b"))) == []
    assert store.add_columns(CARDS, red) == ["colour"]
    assert store.add_columns(CARDS, red.withColumn("size", sf.lit("XL"))) == ["size"]
    assert store.add_columns(CARDS, red) == []
    assert rows_of(store.read(CARDS)) == [(1, "a", "a", None, None)]
    store.append(CARDS, red.withColumn("size", sf.lit(None).cast("string")))
    assert rows_of(store.read(CARDS)) == [(1, "a", "a", None, None), (2, "b", "b", "red", None)]


def test_add_columns_creates_the_table(store: DeltaStore, cards: Rows, rows_of: RowsOf) -> None:
    rows = cards("a", (1, "a")).withColumn("colour", sf.lit("red"))
    assert store.add_columns(CARDS, rows) == ["colour"]
    assert rows_of(store.read(CARDS)) == []


def test_a_column_can_be_added_to_every_bronze_table(store: DeltaStore, frame_of: Rows) -> None:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    for contract in BRONZE_TABLES:
        rows = frame_of(contract.columns, {"_batch_id": "a", "_source_file": "", "_ingested_at": at})
        store.append(contract, rows)
        later = rows.withColumns({"_batch_id": sf.lit("b"), "colour": sf.lit("red")})
        assert store.add_columns(contract, later) == ["colour"]
        store.append(contract, later)
        seen = store.read(contract).orderBy("_batch_id").selectExpr("colour", "unix_seconds(_ingested_at)")
        assert [tuple(row) for row in seen.collect()] == [(None, 1769817600), ("red", 1769817600)]


def test_add_columns_adds_new_columns_of_the_contract(store: DeltaStore, cards: Rows, rows_of: RowsOf) -> None:
    earlier = replace(CARDS, columns=(CARDS.columns[0], CARDS.columns[2]))
    store.append(earlier, cards("a", (1, "a")).drop("note"))
    assert store.add_columns(CARDS, cards("b", (2, "b"))) == ["note"]
    store.append(CARDS, cards("b", (2, "b")))
    assert rows_of(store.read(CARDS).select(*CARDS.column_names)) == [(1, None, "a"), (2, "b", "b")]


# merge


@pytest.mark.every_case
@every_layout
def test_merge_keeps_rows_of_other_keys(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    stays, older, deleted, unrelated = (1, "stays", "a"), (2, "older", "a"), (3, "deleted", "b"), (5, None, "z")
    filled(store, contract, visits(stays, older, deleted, unrelated))
    newer, new = (2, None, "c"), (4, "new", "d")
    unknown = (9, "unknown", "a")
    for _ in range(2):
        store.merge(contract, with_deletions(visits(newer, new), visits(deleted, unknown)))
        assert rows_of(store.read(contract)) == [stays, newer, new, unrelated]
    assert_other_tables_hold(store, rows_of, contract, [stays, older, deleted, unrelated])


@every_layout
def test_merge_needs_only_the_key_of_a_deleted_row(
    store: DeltaStore, visits: Rows, frame_of: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    store.replace(contract, visits(A1, A2, (3, "c", "c")))
    nullable = [replace(column, required=False) for column in contract.columns]
    deleted = frame_of(nullable, {"visit_id": 2}, {"visit_id": 3}, {"visit_id": 9}).withColumn(IS_GONE, sf.lit(True))
    store.merge(contract, deleted)
    assert rows_of(store.read(contract)) == [A1]


@every_layout
def test_merge_of_new_keys_keeps_all_rows(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    store.create(contract)
    store.merge(contract, with_deletions(visits(A1), visits()))
    store.merge(contract, with_deletions(visits((3, "c", "a"), (4, None, "d")), visits()))
    assert rows_of(store.read(contract)) == [A1, (3, "c", "a"), (4, None, "d")]


@every_layout
def test_merge_of_no_rows_changes_nothing(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    store.replace(contract, visits(A1, A2))
    store.merge(contract, with_deletions(visits(), visits()))
    assert rows_of(store.read(contract)) == [A1, A2]


@every_layout
def test_merge_may_delete_every_row(store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract) -> None:
    store.replace(contract, visits(A1, A2))
    store.merge(contract, with_deletions(visits(), visits(A1, A2)))
    assert rows_of(store.read(contract)) == []
    store.merge(contract, with_deletions(visits(A2), visits()))
    assert rows_of(store.read(contract)) == [A2]


def test_merge_moves_a_row_to_another_partition(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    store.replace(VISITS, visits((1, "moves", "a"), (2, "stays", "a"), (3, "stays", "b"), (4, "stays", "c")))
    store.merge(VISITS, with_deletions(visits((1, "moved", "b")), visits()))
    expected = [(1, "moved", "b"), (2, "stays", "a"), (3, "stays", "b"), (4, "stays", "c")]
    assert rows_of(store.read(VISITS)) == expected


def test_merge_compares_a_key_of_several_columns_by_all_of_them(
    store: DeltaStore, visits: Rows, rows_of: RowsOf
) -> None:
    store.replace(CALLS, visits(A1, A2, B1, C1))
    store.merge(CALLS, with_deletions(visits((1, "new", "b"), (2, "new", "b")), visits(C1)))
    assert rows_of(store.read(CALLS)) == [A1, (1, "new", "b"), (2, "new", "b"), A2]


@every_layout
def test_merge_of_rows_read_from_the_table_itself(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    store.replace(contract, visits(*((number, "older", "a") for number in range(6))))
    rows = store.read(contract)
    even = rows.where("visit_id % 2 = 0").withColumns({"note": sf.lit("newer"), "_batch_id": sf.lit("b")})
    store.merge(contract, with_deletions(even, rows.where("visit_id = 5")))
    expected = [(number, "older", "a") if number % 2 else (number, "newer", "b") for number in range(5)]
    assert rows_of(store.read(contract)) == expected


def test_merge_ignores_columns_that_are_not_in_the_contract(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    store.create(OTHER)
    changes = with_deletions(visits(A1), visits()).selectExpr("true AS more", "visit_id", IS_GONE, "note", "_batch_id")
    store.merge(OTHER, changes)
    assert rows_of(store.read(OTHER)) == [A1]
    assert store.read(OTHER).columns == list(OTHER.column_names)


@every_layout
def test_merge_rows_replaces_rows_by_key_and_keeps_other_rows(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    filled(store, contract, visits(A1, A2, (3, "c", "c")))
    for _ in range(2):
        store.merge_rows(contract, visits((2, "b", "b"), (4, None, "a")))
        assert rows_of(store.read(contract)) == [A1, (2, "b", "b"), (3, "c", "c"), (4, None, "a")]
    assert_other_tables_hold(store, rows_of, contract, [A1, A2, (3, "c", "c")])


@every_layout
def test_merge_rows_deletes_rows_of_keys_without_a_new_row(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, contract: TableContract
) -> None:
    filled(store, contract, visits(A1, A2, (3, "c", "c"), (4, "d", "d")))
    keys = visits(*((number, None, "") for number in (1, 2, 4, 5, 9))).select("visit_id")
    for _ in range(2):
        store.merge_rows(contract, visits((2, "again", "b"), (5, "new", "a")), keys)
        assert rows_of(store.read(contract)) == [(2, "again", "b"), (3, "c", "c"), (5, "new", "a")]
    assert_other_tables_hold(store, rows_of, contract, [A1, A2, (3, "c", "c"), (4, "d", "d")])


def test_merge_rows_takes_keys_from_rows_of_the_table_itself(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    store.replace(OTHER, visits(A1, A2, (3, "c", "c")))
    rows = store.read(OTHER)
    store.merge_rows(OTHER, rows.where("visit_id = 1"), rows.where("visit_id < 3"))
    assert rows_of(store.read(OTHER)) == [A1, (3, "c", "c")]


def test_merge_rows_by_a_key_of_several_columns(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    store.replace(CALLS, visits(A1, A2, B1, C1))
    keys = visits(A1, B1).select("_batch_id", "visit_id")
    store.merge_rows(CALLS, visits((1, "new", "b")), keys)
    assert rows_of(store.read(CALLS)) == [(1, "c", "c"), (1, "new", "b"), A2]


# rewrite


NOT_NULL_IS_LOST = "Delta without Databricks can't set NOT NULL on a column of an existing table"


@pytest.mark.every_case
@every_shape
def test_rewrite_changes_the_columns_and_keeps_rows_read_from_the_table_itself(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, tmp_path: Path, contract: TableContract
) -> None:
    filled(store, OTHER, visits(A1, A2, B1))
    store.rewrite(contract, in_shape(contract, store.read(OTHER)))
    names = [name for name in OTHER.column_names if name in contract.column_names]
    places = [OTHER.column_names.index(name) for name in names]
    assert rows_of(store.read(contract).select(*names)) == [
        tuple(row[place] for place in places) for row in (A1, B1, A2)
    ]
    new_columns = [name for name in contract.column_names if name not in names]
    assert rows_of(store.read(contract).select(*new_columns).distinct()) == [(None,) * len(new_columns)]
    assert_has_the_columns_of(store, tmp_path, contract)
    assert_other_tables_hold(store, rows_of, OTHER, [A1, B1, A2])
    # The wider type accepts numbers that are too large for the previous type.
    if contract.types["visit_id"] == "BIGINT":
        store.append(contract, in_shape(contract, visits(A1)).withColumn("visit_id", sf.lit(2**40)))
        assert store.read(contract).where(f"visit_id = {2**40}").count() == 1


@every_shape
def test_rewrite_sets_the_comments_of_the_contract(
    store: DeltaStore, visits: Rows, tmp_path: Path, contract: TableContract
) -> None:
    store.replace(OTHER, visits(A1, B1))
    store.rewrite(contract, in_shape(contract, store.read(OTHER)))
    assert_has_the_comments_of(tmp_path, contract)


SOURCES: dict[str, Callable[[DataFrame, DataFrame], DataFrame]] = {
    "rows of the table itself": lambda existing, _: existing,
    "rows from elsewhere": lambda _, rows: rows,
    "values that are never null": lambda _, rows: rows.withColumn("note", sf.lit("x")).withColumn(
        "visit_id", sf.lit(1)
    ),
}


@pytest.mark.every_case
@every_layout
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_rewrite_sets_not_null_on_exactly_the_required_columns(
    store: DeltaStore,
    visits: Rows,
    rows_of: RowsOf,
    tmp_path: Path,
    contract: TableContract,
    source: Callable[[DataFrame, DataFrame], DataFrame],
    engine: str,
) -> None:
    if engine in ("spark", "connect"):
        pytest.skip(NOT_NULL_IS_LOST)
    store.replace(contract, visits(A1))
    store.rewrite(contract, source(store.read(contract), visits(A1)))
    assert_has_the_columns_of(store, tmp_path, contract)
    assert_requires_the_columns_of(tmp_path, contract)
    with pytest.raises(Exception, match="NOT.NULL"):
        store.append(contract, visits((None, "no number", "a")))
    store.append(contract, visits(A2))
    assert store.count([contract]) == {contract.name: 2}


def test_rewrite_refuses_a_null_in_a_required_column_and_the_table_stays(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, engine: str
) -> None:
    if engine in ("spark", "connect"):
        pytest.skip(NOT_NULL_IS_LOST)
    store.replace(VISITS, visits(A1, B1))
    with pytest.raises(Exception, match="(?i)null"):
        store.rewrite(VISITS, visits(A2, (None, "no number", "a")))
    assert rows_of(store.read(VISITS)) == [A1, B1]


def test_rewrite_keeps_columns_that_are_not_in_the_contract(store: DeltaStore, cards: Rows, rows_of: RowsOf) -> None:
    rows = cards("a", (1, "a")).withColumn("colour", sf.lit("red"))
    store.add_columns(CARDS, rows)
    store.append(CARDS, rows)
    store.rewrite(CARDS, store.read(CARDS).unionByName(rows))
    names = ("card_id", "note", "_batch_id", "colour")
    assert rows_of(store.read(CARDS).select(*names)) == [(1, "a", "a", "red")] * 2


def test_rewrite_changes_the_layout_to_that_of_the_contract(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, tmp_path: Path
) -> None:
    store.replace(replace(OTHER, partitioned_by=("_batch_id",)), visits(A1, B1))
    store.rewrite(OTHER, store.read(OTHER))
    assert_has_the_columns_of(store, tmp_path, OTHER)
    assert rows_of(store.read(OTHER).select(*OTHER.column_names)) == [A1, B1]


# Concurrent writers


def _raising(message: str) -> Callable[..., None]:
    def write(*_: object) -> None:
        raise PySparkException(message)

    return write


CONFLICTS = (
    "[DELTA_CONCURRENT_APPEND] ConcurrentAppendException: Files were added by a concurrent update.",
    "io.delta.exceptions.ConcurrentAppendException: This transaction failed.",
    "Delta transaction failed: Failed to commit transaction after 15 attempts",
    "[DELTA_PROTOCOL_CHANGED] ProtocolChangedException: The protocol version has been changed by a concurrent update.",
)


@pytest.mark.first_engine  # these errors are simulated; the tests of concurrent writers cause real errors
@pytest.mark.parametrize("message", CONFLICTS)
@every_write
def test_a_conflicting_write_fails_with_one_line_and_changes_nothing(
    store: DeltaStore, visits: Rows, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch, write: Write, message: str
) -> None:
    store.replace(VISITS, visits(A1))
    with monkeypatch.context() as patch:
        for verb in ("overwrite", "append"):
            patch.setattr(type(visits().writeTo("visits")), verb, _raising(message))
        patch.setattr(type(visits().write), "saveAsTable", _raising(message))
        with pytest.raises(ConflictError, match=r"Another run has written .*visits_silver` meanwhile") as refused:
            write(store, visits(A2))
    assert len(str(refused.value).splitlines()) == 1
    assert rows_of(store.read(VISITS)) == [A1]


@pytest.mark.first_engine
def test_an_error_that_is_not_a_conflict_is_not_replaced(
    store: DeltaStore, visits: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(VISITS)
    monkeypatch.setattr(type(visits().writeTo("visits")), "overwrite", _raising("The disk is full"))
    with pytest.raises(PySparkException, match="The disk is full"):
        store.replace(VISITS, visits(A1))


def _run_concurrently(writes: Sequence[Callable[[], object]]) -> list[int]:
    """Run writes concurrently. Return the index of each write that raised no `ConflictError`."""

    def write(number: int) -> list[int]:
        try:
            writes[number]()
        except ConflictError:
            return []
        return [number]

    with ThreadPoolExecutor() as threads:
        return [number for numbers in threads.map(write, range(len(writes))) for number in numbers]


def test_concurrent_replacements_are_whole_or_raise_a_conflict(
    store: DeltaStore, new_store: Callable[[], DeltaStore], visits: Rows, rows_of: RowsOf
) -> None:
    stores = [new_store() for _ in range(4)]
    store.replace(VISITS, visits(A1))
    rows = [[(number, "x", "a"), (number, "y", "b")] for number in range(4)]
    written = _run_concurrently([lambda n=n: stores[n].replace(VISITS, visits(*rows[n])) for n in range(4)])
    assert rows_of(store.read(VISITS)) in [rows[number] for number in written]


def test_concurrent_merges_are_stored_unless_they_raise_a_conflict(
    store: DeltaStore, new_store: Callable[[], DeltaStore], visits: Rows, rows_of: RowsOf
) -> None:
    stores = [new_store() for _ in range(4)]
    store.replace(OTHER, visits((9, "stays", "a"), *((number, "older", "a") for number in range(4))))
    written = _run_concurrently([lambda n=n: stores[n].merge_rows(OTHER, visits((n, "newer", "b"))) for n in range(4)])
    assert written
    assert rows_of(store.read(OTHER)) == [
        *((n, "newer", "b") if n in written else (n, "older", "a") for n in range(4)),
        (9, "stays", "a"),
    ]


def test_concurrent_appends_are_all_stored(
    store: DeltaStore, new_store: Callable[[], DeltaStore], visits: Rows, rows_of: RowsOf
) -> None:
    stores = [new_store() for _ in range(3)]
    store.replace(VISITS, visits(A1))
    written = _run_concurrently([lambda n=n: stores[n].append(VISITS, visits((n, "at once", "a"))) for n in range(3)])
    assert written == [0, 1, 2]
    assert rows_of(store.read(VISITS)) == [(0, "at once", "a"), A1, (1, "at once", "a"), (2, "at once", "a")]


# Values


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


def test_values_survive_a_round_trip_and_every_delta_reader_sees_them(
    store: DeltaStore, frame_of: Rows, tmp_path: Path
) -> None:
    names = KINDS.column_names
    store.replace(KINDS, frame_of(KINDS.columns, *(dict(zip(names, row, strict=True)) for row in (FULL, LOW))))
    store.replace(KINDS, store.read(KINDS).unionByName(frame_of(KINDS.columns, {"n": 3})))

    microseconds = "CAST(unix_micros(at) AS BIGINT) AS at"
    by_engine = store.read(KINDS).selectExpr(*(microseconds if name == "at" else name for name in names))
    assert sorted(tuple(row) for row in by_engine.collect()) == [
        tuple(_microseconds(value) if isinstance(value, datetime) else value for value in row)
        for row in (FULL, LOW, EMPTY)
    ]

    arrow = delta_table(tmp_path, KINDS).to_pyarrow_table()
    assert sorted((tuple(row.values()) for row in arrow.to_pylist()), key=lambda row: row[0]) == [FULL, LOW, EMPTY]

    columns = "n, big, price, revenue, ratio, day, names, name"
    with duckdb.connect() as connection:
        by_duckdb = connection.sql(f"SELECT {columns} FROM arrow ORDER BY n").fetchall()
    assert by_duckdb == [tuple(value for value in (*row[:6], *row[7:])) for row in (FULL, LOW, EMPTY)]


def _microseconds(instant: datetime) -> int:
    return round((instant - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def test_a_frame_of_python_values_has_the_types_of_the_contract(store: DeltaStore) -> None:
    contract = replace(KINDS, columns=tuple(column for column in KINDS.columns if column.name != "names"))
    names = contract.column_names
    large, least = Decimal("9999999999999999.99"), Decimal("-0.01")
    values = [
        (1, 2**62, large, Decimal("9" * 36 + ".99"), 0.1, date(2024, 2, 29), AT, ' it\'s\n"two"'),
        (2, -(2**62), least, Decimal(0), -5e300, date(1, 1, 1), datetime(1970, 1, 1, tzinfo=UTC), "\\ {é} \u2028 😀"),
        (3, None, None, None, None, None, None, None),
    ]
    rows = [dict(zip(names, row, strict=True)) for row in values]
    rows[2] = {"n": 3}
    frame = store.frame(contract, rows)
    assert frame.dtypes == [(name, type_.lower()) for name, type_ in contract.types.items()]
    at = "CAST(unix_micros(at) AS BIGINT) AS at"
    read = frame.orderBy("n").selectExpr(*(at if name == "at" else name for name in names)).collect()
    assert [tuple(row) for row in read] == [
        tuple(_microseconds(value) if isinstance(value, datetime) else value for value in row) for row in values
    ]
    store.append(contract, frame)
    assert store.count([contract]) == {contract.name: 3}


def test_an_empty_frame_has_the_types_of_the_contract(store: DeltaStore, visits: Rows, rows_of: RowsOf) -> None:
    frame = store.frame(VISITS, [])
    assert frame.dtypes == [(name, type_.lower()) for name, type_ in VISITS.types.items()]
    store.replace(VISITS, visits(A1))
    store.replace(VISITS, frame)
    assert rows_of(store.read(VISITS)) == []


def test_a_frame_of_booleans_and_infinite_numbers(store: DeltaStore, rows_of: RowsOf) -> None:
    columns = (VISITS.columns[0], Column("is_kept", "BOOLEAN", ""), Column("share", "DOUBLE", ""))
    contract = TableContract("shares_silver", "silver", "One row per number.", columns, ("visit_id",))
    shares = [0.1 + 0.2, 1e-7, 123456789.12345679, float("inf"), float("-inf"), None]
    flags = [True, False, None] * 2
    rows = [{"visit_id": n, "is_kept": flags[n], "share": shares[n]} for n in range(6)]
    store.append(contract, store.frame(contract, rows))
    assert rows_of(store.read(contract)) == [tuple(row.values()) for row in rows]
    [(share,)] = store.frame(contract, [{"share": float("nan")}]).select("share").collect()
    assert share != share


# Copies


MEMBERS = TableContract(
    "members_gold",
    "gold",
    "One row per member.",
    (
        Column("member_id", "INT", "member's number", required=True),
        Column("holder", "STRING", "who it is", pii="name"),
        Column("spent", "DECIMAL(38,2)", "revenue"),
        Column("seen_at", "TIMESTAMP", "when last seen"),
    ),
    key=("member_id",),
)
HOLDER = "Hildegard-Maria Katzenellenbogen"
SEEN_AT = datetime(2026, 1, 31, 23, 59, 59, 999999, UTC)
ROWS = [
    {"member_id": 1, "holder": HOLDER, "spent": Decimal("9" * 36 + ".99"), "seen_at": SEEN_AT},
    {"member_id": 2, "holder": HOLDER, "spent": None, "seen_at": None},
    {"member_id": 3, "holder": None, "spent": Decimal("-0.01"), "seen_at": SEEN_AT},
]
PUBLIC = ("member_id", "spent", "seen_at")


@pytest.fixture
def members(frame_of: Rows) -> Rows:
    """Return a function that builds rows for the members with the given numbers."""

    def build(*numbers: int) -> DataFrame:
        return frame_of(MEMBERS.columns, *(row for row in ROWS if row["member_id"] in numbers))

    return build


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """Return the folder of the copies, which does not exist yet."""
    return tmp_path / "lake" / "gold"


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return sorted(DeltaTable(folder).to_pyarrow_table().to_pylist(), key=lambda row: row[next(iter(row))])


def log_of(folder: Path) -> str:
    return "".join(commit.read_text(encoding="utf-8") for commit in sorted(folder.glob("_delta_log/*.json")))


def texts(folder: Path) -> str:
    """Return the content of all files in a folder, as one string."""
    return "".join(path.read_bytes().decode("latin-1") for path in sorted(folder.rglob("*")) if path.is_file())


def assert_any_reader_can_read(folder: Path) -> None:
    """Assert that a table has reader version 1, and no property that needs a higher version."""
    table = DeltaTable(folder)
    assert table.protocol().min_reader_version == 1
    assert not table.protocol().reader_features
    assert table.metadata().configuration == {"delta.enableDeletionVectors": "false"}
    assert "deletionVector" not in log_of(folder)
    assert "columnMapping" not in log_of(folder)


def test_a_copy_has_the_rows_and_types_of_its_table(store: DeltaStore, members: Rows, location: Path) -> None:
    store.replace(MEMBERS, members(1, 2, 3))
    store.publish(MEMBERS, store.read(MEMBERS), str(location))
    assert rows_in(location / MEMBERS.name) == [{name: row[name] for name in PUBLIC} for row in ROWS]
    fields = DeltaTable(location / MEMBERS.name).schema().fields
    assert [(field.name, field.type.type) for field in fields] == [
        ("member_id", "integer"),
        ("spent", "decimal(38,2)"),
        ("seen_at", "timestamp"),
    ]


def test_the_files_of_a_copy_hold_no_personal_data(
    store: DeltaStore, members: Rows, tmp_path: Path, schema: str, location: Path
) -> None:
    store.replace(MEMBERS, members(1, 2))
    store.publish(MEMBERS, store.read(MEMBERS), str(location))
    store.publish(MEMBERS, store.read(MEMBERS), str(location))
    assert "Katzenellenbogen" in texts(tmp_path / schema)
    assert "Katzenellenbogen" not in texts(location)
    assert "holder" not in texts(location)


@pytest.mark.parametrize("change", ["replaced", "merged", "emptied"])
def test_every_delta_reader_can_read_a_copy_after_any_change_of_its_table(
    store: DeltaStore, members: Rows, location: Path, change: str
) -> None:
    store.replace(MEMBERS, members(1, 2, 3))
    store.publish(MEMBERS, store.read(MEMBERS), str(location))
    match change:
        case "replaced":
            store.replace(MEMBERS, members(2))
        case "merged":
            store.merge_rows(MEMBERS, members(2), members(1, 3).select("member_id"))
        case "emptied":
            store.replace(MEMBERS, members())
    store.publish(MEMBERS, store.read(MEMBERS), str(location))
    assert [row["member_id"] for row in rows_in(location / MEMBERS.name)] == ([] if change == "emptied" else [2])
    assert_any_reader_can_read(location / MEMBERS.name)


def test_a_copy_has_no_deletion_vectors_and_no_column_mapping(
    store: DeltaStore, members: Rows, spark: SparkSession, tmp_path: Path, schema: str, location: Path, engine: str
) -> None:
    if engine == "sail":
        pytest.skip("it writes no deletion vectors")
    name = store.name_of(MEMBERS.name)
    store.replace(MEMBERS, members(1, 2, 3).coalesce(1))
    properties = "'delta.enableDeletionVectors' = 'true', 'delta.columnMapping.mode' = 'name'"
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ({properties})").collect()
    spark.sql(f"DELETE FROM {name} WHERE member_id = 1").collect()
    assert '"deletionVector":{' in log_of(tmp_path / schema / MEMBERS.name)
    default = "spark.databricks.delta.properties.defaults.enableDeletionVectors"
    spark.conf.set(default, "true")
    try:
        store.publish(MEMBERS, store.read(MEMBERS), str(location))
    finally:
        spark.conf.unset(default)
    assert [row["member_id"] for row in rows_in(location / MEMBERS.name)] == [2, 3]
    assert_any_reader_can_read(location / MEMBERS.name)


def test_each_copy_is_one_commit(store: DeltaStore, members: Rows, location: Path) -> None:
    for version, numbers in enumerate([(1,), (1, 2), ()]):
        store.replace(MEMBERS, members(*numbers))
        store.publish(MEMBERS, store.read(MEMBERS), str(location))
        assert DeltaTable(location / MEMBERS.name).version() == version
        assert len(rows_in(location / MEMBERS.name)) == len(numbers)


def test_a_copy_follows_the_columns_of_the_contract(store: DeltaStore, frame_of: Rows, location: Path) -> None:
    number, holder, spent, seen_at = MEMBERS.columns
    shapes = [
        (number, holder, spent, seen_at),
        (number, holder, replace(spent, pii="spending"), seen_at),
        (seen_at, replace(number, required=False), Column("colour", "STRING", "its colour")),
        (replace(number, type="BIGINT"), replace(holder, pii=None)),
    ]
    for version, columns in enumerate(shapes):
        contract = replace(MEMBERS, columns=columns, key=())
        rows = ({name: row.get(name) for name in contract.column_names} for row in ROWS)
        store.replace(contract, frame_of(columns, *rows))
        assert not store.is_published(contract, str(location))
        store.publish(contract, store.read(contract), str(location))
        assert store.is_published(contract, str(location))
        copy = DeltaTable(location / MEMBERS.name)
        assert copy.version() == version
        public = [column.name for column in columns if not column.pii]
        assert copy.to_pyarrow_table().sort_by("member_id").to_pylist() == [
            {name: row.get(name) for name in public} for row in ROWS
        ]


def test_a_missing_or_incomplete_copy_is_not_published(store: DeltaStore, members: Rows, location: Path) -> None:
    store.replace(MEMBERS, members(1))
    assert not store.is_published(MEMBERS, str(location))
    store.publish(MEMBERS, store.read(MEMBERS), str(location))
    assert store.is_published(MEMBERS, str(location))
    # A process that is killed before its first commit leaves data files and a log without a commit.
    other = location.with_name("other")
    (other / MEMBERS.name / "_delta_log").mkdir(parents=True)
    for file in (location / MEMBERS.name).glob("*.parquet"):
        shutil.copy(file, other / MEMBERS.name)
    assert not store.is_published(MEMBERS, str(other))
    store.publish(MEMBERS, store.read(MEMBERS), str(other))
    assert [row["member_id"] for row in rows_in(other / MEMBERS.name)] == [1]


def test_a_table_that_does_not_exist_is_not_copied(store: DeltaStore, location: Path) -> None:
    with pytest.raises(CdpError, match="members_gold` does not exist"):
        store.publish(MEMBERS, store.read(MEMBERS), str(location))
    assert not location.exists()


# Databricks: statements that are sent to a fake workspace


@pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)
def test_a_new_databricks_table_has_the_layout_of_its_contract(contract: TableContract) -> None:
    store = store_of_databricks()
    store.create(contract)
    statement, *tags = statements_of(store)
    assert all(" SET TAGS (" in tag for tag in tags)
    assert isinstance(parse_one(statement, read="databricks"), exp.Create)
    clusters = re.findall(r" CLUSTER BY \(([^)]*)\) ", statement)
    assert clusters == ([", ".join(f"`{name}`" for name in contract.clustered_by)] if contract.clustered_by else [])
    assert ("PARTITIONED BY" in statement) == bool(contract.partitioned_by and not contract.clustered_by)
    expected = str(contract.has_deletion_vectors).lower()
    assert statement.count(f"TBLPROPERTIES ('delta.enableDeletionVectors' = '{expected}'") == 1
    # Statistics are in the Delta log, so columns with personal data have none.
    limited = re.findall(r"'delta.dataSkippingStatsColumns' = '([^']*)'", statement)
    assert limited == ([",".join(contract.statistics_columns)] if contract.personal_columns else [])


def test_an_existing_databricks_table_is_not_created_again() -> None:
    store = store_of_databricks(VISITS)
    store.create(VISITS)
    assert statements_of(store) == []


def test_a_new_local_table_has_neither_clusters_nor_deletion_vectors(store: DeltaStore, tmp_path: Path) -> None:
    store.create(RETAILS_SILVER)
    table = delta_table(tmp_path, RETAILS_SILVER)
    assert table.protocol().min_reader_version == 1
    assert not {"clustering", "deletionVectors"} & {*(table.protocol().writer_features or ())}


def test_the_engine_of_databricks_is_its_runtime_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    store = store_of_databricks()
    assert (store.engine, store.is_databricks) == ("databricks 17.3", True)
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION")
    assert store.engine == "databricks"
