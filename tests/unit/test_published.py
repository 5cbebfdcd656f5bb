"""Copies of tables outside Unity Catalog: what is in them, who can read them, and when they are written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from cdp_lib import published
from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD, KPI_MONTHLY_GOLD
from cdp_lib.contracts.gold import CATEGORY_COUNTRY_PERFORMANCE_GOLD, SALES_BY_COUNTRY_GOLD
from cdp_lib.contracts.table import Column, TableContract
from cdp_lib.errors import CdpError
from cdp_lib.published import LOGGED_AS, PUBLISHED_TABLES
from cdp_lib.tables import Tables, Written

from .warehouse import Killed, Warehouse

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks" / "gold"

CARDS = TableContract(
    "cards_gold",
    "gold",
    "One row per card.",
    (
        Column("card_id", "INT", "card's number", required=True),
        Column("holder", "STRING", "who has it", pii="name"),
        Column("spent", "DECIMAL(38,2)", "revenue"),
        Column("seen_at", "TIMESTAMP", "when it was last used"),
    ),
    key=("card_id",),
)
HOLDER = "Hildegard-Maria Katzenellenbogen"
SEEN_AT = datetime(2026, 1, 31, 23, 59, 59, 999999, UTC)
ROWS = [
    {"card_id": 1, "holder": HOLDER, "spent": Decimal("9" * 36 + ".99"), "seen_at": SEEN_AT},
    {"card_id": 2, "holder": HOLDER, "spent": None, "seen_at": None},
    {"card_id": 3, "holder": None, "spent": Decimal("-0.01"), "seen_at": SEEN_AT},
]
PUBLIC = ("card_id", "spent", "seen_at")


@pytest.fixture
def cards(frame_of: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
    """Frame of the cards with these numbers."""

    def build(*numbers: int) -> DataFrame:
        return frame_of(CARDS.columns, *(row for row in ROWS if row["card_id"] in numbers))

    return build


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """Folder of the copies, which is not there yet."""
    return tmp_path / "lake" / "gold"


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return sorted(DeltaTable(folder).to_pyarrow_table().to_pylist(), key=lambda row: row[next(iter(row))])


def log_of(folder: Path) -> str:
    return "".join(commit.read_text(encoding="utf-8") for commit in sorted(folder.glob("_delta_log/*.json")))


def texts(folder: Path) -> str:
    """Everything that whoever may open the files can read."""
    return "".join(path.read_bytes().decode("latin-1") for path in sorted(folder.rglob("*")) if path.is_file())


def assert_any_reader_can_read(folder: Path) -> None:
    """The table is of reader version 1 and stays so."""
    table = DeltaTable(folder)
    assert table.protocol().min_reader_version == 1
    assert not table.protocol().reader_features
    assert table.metadata().configuration == {"delta.enableDeletionVectors": "false"}
    assert "deletionVector" not in log_of(folder)
    assert "columnMapping" not in log_of(folder)


# The copy of one table


def test_a_copy_has_the_rows_of_its_table_in_the_contracts_order_and_types(
    tables: Tables, cards: Callable[..., DataFrame], location: Path
) -> None:
    tables.replace_table(CARDS, cards(1, 2, 3))
    assert tables.publish_tables([CARDS], str(location)) == Written(3)
    assert rows_in(location / CARDS.name) == [{name: row[name] for name in PUBLIC} for row in ROWS]
    fields = DeltaTable(location / CARDS.name).schema().fields
    assert [(field.name, field.type.type) for field in fields] == [
        ("card_id", "integer"),
        ("spent", "decimal(38,2)"),
        ("seen_at", "timestamp"),
    ]


def test_the_files_of_a_copy_hold_no_personal_data(
    tables: Tables, cards: Callable[..., DataFrame], tmp_path: Path, schema: str, location: Path
) -> None:
    tables.replace_table(CARDS, cards(1, 2))
    tables.publish_table(CARDS, str(location))
    tables.publish_table(CARDS, str(location))
    assert "Katzenellenbogen" in texts(tmp_path / schema)
    assert "Katzenellenbogen" not in texts(location)
    assert "holder" not in texts(location)


@pytest.mark.parametrize("change", ["replaced", "merged", "emptied"])
def test_whatever_has_become_of_a_table_every_reader_of_delta_can_read_its_copy(
    tables: Tables, cards: Callable[..., DataFrame], location: Path, change: str
) -> None:
    tables.replace_table(CARDS, cards(1, 2, 3))
    tables.publish_table(CARDS, str(location))
    match change:
        case "replaced":
            tables.replace_table(CARDS, cards(2))
        case "merged":
            tables.merge_rows(CARDS, cards(2), cards(1, 3).select("card_id"))
        case "emptied":
            tables.replace_table(CARDS, cards())
    tables.publish_table(CARDS, str(location))
    assert [row["card_id"] for row in rows_in(location / CARDS.name)] == ([] if change == "emptied" else [2])
    assert_any_reader_can_read(location / CARDS.name)


def test_deletion_vectors_and_column_mapping_of_a_table_stay_out_of_its_copy(
    tables: Tables,
    cards: Callable[..., DataFrame],
    spark: SparkSession,
    tmp_path: Path,
    schema: str,
    location: Path,
    engine: str,
) -> None:
    if engine == "sail":
        pytest.skip("it writes no deletion vectors")
    name = tables.name_of(CARDS)
    tables.replace_table(CARDS, cards(1, 2, 3).coalesce(1))
    properties = "'delta.enableDeletionVectors' = 'true', 'delta.columnMapping.mode' = 'name'"
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ({properties})").collect()
    spark.sql(f"DELETE FROM {name} WHERE card_id = 1").collect()
    assert '"deletionVector":{' in log_of(tmp_path / schema / CARDS.name)
    default = "spark.databricks.delta.properties.defaults.enableDeletionVectors"
    spark.conf.set(default, "true")
    try:
        tables.publish_table(CARDS, str(location))
    finally:
        spark.conf.unset(default)
    assert [row["card_id"] for row in rows_in(location / CARDS.name)] == [2, 3]
    assert_any_reader_can_read(location / CARDS.name)


def test_each_copy_is_one_commit(tables: Tables, cards: Callable[..., DataFrame], location: Path) -> None:
    for version, numbers in enumerate([(1,), (1, 2), ()]):
        tables.replace_table(CARDS, cards(*numbers))
        tables.publish_table(CARDS, str(location))
        assert DeltaTable(location / CARDS.name).version() == version
        assert len(rows_in(location / CARDS.name)) == len(numbers)


def test_a_copy_follows_the_columns_of_the_contract(
    tables: Tables, frame_of: Callable[..., DataFrame], location: Path
) -> None:
    number, holder, spent, seen_at = CARDS.columns
    shapes = [
        (number, holder, spent, seen_at),
        (number, holder, replace(spent, pii="spending"), seen_at),
        (seen_at, replace(number, required=False), Column("colour", "STRING", "its colour")),
        (replace(number, type="BIGINT"), replace(holder, pii=None)),
    ]
    folder = location / "cards_0_gold"
    for version, columns in enumerate(shapes):
        # Each shape is a table of its own, since no table loses columns; the copy is one, and takes the table's name.
        contract = replace(CARDS, name=f"cards_{version}_gold", columns=columns, key=())
        tables.replace_table(
            contract, frame_of(columns, *({name: row.get(name) for name in contract.column_names} for row in ROWS))
        )
        folder = folder.rename(location / contract.name) if version else folder
        assert not tables.is_published(contract, str(location))
        tables.publish_table(contract, str(location))
        assert tables.is_published(contract, str(location))
        assert DeltaTable(folder).version() == version
        public = [column.name for column in columns if not column.pii]
        assert DeltaTable(folder).to_pyarrow_table().sort_by("card_id").to_pylist() == [
            {name: row.get(name) for name in public} for row in ROWS
        ]


def test_a_copy_that_is_not_there_or_not_whole_is_not_published(
    tables: Tables, cards: Callable[..., DataFrame], location: Path
) -> None:
    tables.replace_table(CARDS, cards(1))
    assert not tables.is_published(CARDS, str(location))
    tables.publish_table(CARDS, str(location))
    assert tables.is_published(CARDS, str(location))
    # What a process leaves that is killed before its first commit: data, and a log without a commit.
    other = location.with_name("other")
    (other / CARDS.name / "_delta_log").mkdir(parents=True)
    for file in (location / CARDS.name).glob("*.parquet"):
        shutil.copy(file, other / CARDS.name)
    assert not tables.is_published(CARDS, str(other))
    tables.publish_table(CARDS, str(other))
    assert [row["card_id"] for row in rows_in(other / CARDS.name)] == [1]


def test_a_table_that_does_not_exist_is_not_copied(tables: Tables, location: Path) -> None:
    with pytest.raises(CdpError, match="cards_gold` does not exist"):
        tables.publish_table(CARDS, str(location))
    assert not location.exists()


# The task

SOME = (SALES_BY_COUNTRY_GOLD, CATEGORY_COUNTRY_PERFORMANCE_GOLD, CUSTOMER_DEMOGRAPHICS_GOLD, KPI_MONTHLY_GOLD)
"""Two tables of one task, one with personal data, and one more."""


@pytest.fixture
def gold(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A warehouse with some gold tables, which are all that is published."""
    monkeypatch.setattr(published, "PUBLISHED_TABLES", SOME)
    for contract in SOME:
        warehouse.tables.create_table(contract)
        refresh(warehouse, contract)
    return warehouse


def refresh(gold: Warehouse, *contracts: TableContract) -> None:
    """Write tables anew, as their tasks do."""
    gold.runs += 1
    gold.tables.replace_tables(
        {
            contract: gold.frame_of(
                contract.columns, {column.name: value_of(column.type, gold.runs) for column in contract.columns}
            )
            for contract in contracts
        }
    )
    for task in {LOGGED_AS[contract] for contract in contracts}:
        made = [contract for contract in SOME if LOGGED_AS[contract] == task]
        gold.log(task).finish_tables(made, {}, len(made))


def value_of(type_: str, number: int) -> object:
    values: dict[str, object] = {
        "INT": number,
        "BIGINT": number,
        "STRING": f"v{number}",
        "DOUBLE": float(number),
        "DECIMAL(38,2)": Decimal(number),
        "DATE": SEEN_AT.date(),
    }
    return values.get(type_)


def versions(location: Path) -> list[int]:
    return [DeltaTable(location / contract.name).version() for contract in SOME]


def assert_holds_gold(location: Path, gold: Warehouse) -> None:
    """Each copy is its table without personal data."""
    for contract in SOME:
        public = [column.name for column in contract.columns if not column.pii]
        copied = DeltaTable(location / contract.name).to_pyarrow_table()
        assert copied.column_names == public
        assert copied.num_rows == 1
        assert [tuple(row.values()) for row in copied.to_pylist()] == gold.rows(contract, *public)


def test_every_gold_table_is_published_under_its_name(gold: Warehouse, location: Path) -> None:
    assert gold.publish(location) == len(SOME)
    assert sorted(path.name for path in location.iterdir()) == sorted(contract.name for contract in SOME)
    assert_holds_gold(location, gold)


@pytest.mark.first_engine
def test_what_has_not_changed_is_not_written_again(gold: Warehouse, location: Path) -> None:
    gold.publish(location)
    assert gold.publish(location) == 0
    assert versions(location) == [0, 0, 0, 0]
    refresh(gold, KPI_MONTHLY_GOLD)
    assert gold.publish(location) == 1
    assert versions(location) == [0, 0, 0, 1]
    refresh(gold, SALES_BY_COUNTRY_GOLD, CATEGORY_COUNTRY_PERFORMANCE_GOLD)
    assert gold.publish(location) == 2
    assert gold.publish(location) == 0
    assert versions(location) == [1, 1, 0, 1]
    assert_holds_gold(location, gold)


def test_to_publish_a_table_is_no_change_of_it(gold: Warehouse, location: Path) -> None:
    before = {contract: gold.log().history(contract.name) for contract in SOME}
    gold.publish(location)
    assert {contract: gold.log().history(contract.name) for contract in SOME} == before


@pytest.mark.first_engine
def test_another_location_gets_everything_and_so_does_the_first_one_after_it(gold: Warehouse, location: Path) -> None:
    other = location.with_name("other")
    gold.publish(location)
    assert gold.publish(other) == len(SOME)
    refresh(gold, KPI_MONTHLY_GOLD)
    assert gold.publish(location) == len(SOME)
    assert (versions(location), versions(other)) == ([1, 1, 1, 1], [0, 0, 0, 0])
    assert_holds_gold(location, gold)


@pytest.mark.first_engine
def test_a_full_refresh_publishes_everything(gold: Warehouse, location: Path) -> None:
    gold.publish(location)
    assert gold.publish(location, full_refresh="true") == len(SOME)
    assert versions(location) == [1, 1, 1, 1]


@pytest.mark.first_engine
def test_a_copy_that_somebody_has_deleted_comes_back(gold: Warehouse, location: Path) -> None:
    gold.publish(location)
    shutil.rmtree(location / KPI_MONTHLY_GOLD.name)
    assert gold.publish(location) == 1
    assert_holds_gold(location, gold)


@pytest.mark.first_engine
def test_a_column_that_is_found_to_be_personal_leaves_the_copy_though_the_table_has_not_changed(
    gold: Warehouse, location: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold.publish(location)
    columns = tuple(replace(column, pii=column.pii or "country") for column in SALES_BY_COUNTRY_GOLD.columns[:1])
    changed = replace(SALES_BY_COUNTRY_GOLD, columns=(*columns, *SALES_BY_COUNTRY_GOLD.columns[1:]))
    monkeypatch.setattr(published, "PUBLISHED_TABLES", (changed, *SOME[1:]))
    assert gold.publish(location) == 1
    assert versions(location) == [1, 0, 0, 0]
    assert list(rows_in(location / changed.name)[0]) == ["total_sales"]


@pytest.mark.first_engine
def test_killed_at_any_write_and_repeated_gives_the_same_copies(gold: Warehouse, location: Path) -> None:
    gold.publish(location)
    # Between two copies, and between the last one and the log.
    for write in (1, 2):
        refresh(gold, CUSTOMER_DEMOGRAPHICS_GOLD, KPI_MONTHLY_GOLD)
        with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
            gold.kill_at(monkeypatch, write)
            gold.publish(location)
        assert gold.publish(location) == 2
        assert_holds_gold(location, gold)
    assert gold.publish(location) == 0


def test_without_a_gold_table_nothing_is_published(warehouse: Warehouse, location: Path) -> None:
    with pytest.raises(CdpError, match="does not exist: run the task that writes it first"):
        warehouse.publish(location)
    assert warehouse.log("synapse_gold").history("synapse_gold").done == ()


def test_each_table_is_known_by_the_name_its_task_logs_it_under() -> None:
    expected: dict[str, str] = {}
    for path in NOTEBOOKS.glob("*.py"):
        head = path.read_text(encoding="utf-8").split("# COMMAND")[0]
        made = re.findall(r"^# MAGIC (?:# |- `)(\w+_gold)\b", head, re.MULTILINE)
        expected |= {name: name if len(made) == 1 else path.stem for name in made}
    assert {contract.name: name for contract, name in LOGGED_AS.items()} == expected
    assert set(LOGGED_AS) == set(PUBLISHED_TABLES)
