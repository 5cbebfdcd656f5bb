"""What `cdp maintain` does to tables, whichever engine wrote them: a further engine writes those of two tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, TABLE_STATE_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, STORES_SILVER
from cdp_lib.errors import CdpError
from cdp_local.maintenance import Upkeep, maintain_home, warning_of
from cdp_local.workspace import locked

from ..warehouse import Warehouse, customer, product, sale, store

OF_CUSTOMERS = (
    CUSTOMERS_BRONZE.name,
    CUSTOMERS_SILVER.name,
    CUSTOMERS_SILVER.changes.name,
    PIPELINE_RUNS_OPS.name,
    TABLE_STATE_OPS.name,
)
"""Tables that a refresh of customers writes."""


@pytest.fixture
def home(tmp_path: Path, schema: str) -> Path:
    """A home with the test's tables."""
    (tmp_path / "home" / "warehouse").mkdir(parents=True)
    (tmp_path / schema).mkdir(exist_ok=True)
    (tmp_path / "home" / "warehouse" / "sales").symlink_to(tmp_path / schema)
    return tmp_path / "home"


def data_files(home: Path, name: str) -> list[Path]:
    return [path for path in (home / "warehouse" / "sales" / name).rglob("*.parquet") if "_delta_log" not in path.parts]


def table_of(home: Path, name: str) -> DeltaTable:
    return DeltaTable(home / "warehouse" / "sales" / name)


def land_customers(warehouse: Warehouse, *days: int) -> None:
    for day in days:
        warehouse.land(CUSTOMERS_BRONZE, day, *(customer(number, country=f"C{day}") for number in range(1, day + 3)))
        warehouse.refresh(CUSTOMERS_SILVER)


def test_tables_are_as_they_were_and_the_next_run_goes_on_from_them(warehouse: Warehouse, home: Path) -> None:
    rows = {"products": [product(1, "0.10")], "store": [store(1)], "transactions": [sale(1), sale(2, customer_id=9)]}
    warehouse.land_sales(1, customers=[customer(1), customer(2, email="broken")], **rows)
    warehouse.refresh()
    land_customers(warehouse, 2, 3)
    warehouse.refresh()
    before, accounts = warehouse.contents(), warehouse.reconcile()

    maintained = {each.table: each for each in maintain_home(home, 0)}

    assert warehouse.contents() == before
    assert warehouse.reconcile() == accounts
    log = maintained["sales.pipeline_runs_ops"]
    assert log.files_before == warehouse.runs and log.files_after == 1 and log.bytes_after < log.bytes_before
    assert len(data_files(home, PIPELINE_RUNS_OPS.name)) == 1
    bronze = maintained["sales.customers_bronze"]
    assert bronze.files_before >= 3 and bronze.files_after == 1
    warehouse.refresh()
    assert warehouse.contents() == before
    land_customers(warehouse, 7)
    warehouse.refresh()
    assert warehouse.complaints() == []
    assert (9, "C7") in warehouse.rows(CUSTOMERS_SILVER, "customer_id", "country")
    assert len(warehouse.rows(CUSTOMERS_SILVER.quarantine)) == 0


@pytest.mark.first_engine
def test_files_of_earlier_versions_stay_for_the_retention(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1, 2)
    versions = table_of(home, CUSTOMERS_SILVER.name).version()

    maintain_home(home, 1)

    table = table_of(home, CUSTOMERS_SILVER.name)
    for version in range(versions + 1):
        table.load_as_version(version)
        table.to_pyarrow_table()


@pytest.mark.first_engine
def test_what_a_killed_run_has_left_is_removed_once_it_is_old(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1)
    [file, *_] = data_files(home, CUSTOMERS_SILVER.name)
    left = file.with_name("part-00000-left-behind.parquet")
    left.write_bytes(file.read_bytes())
    maintain_home(home, 1)
    assert left.exists()
    maintain_home(home, 0)
    assert not left.exists()


@pytest.mark.first_engine
def test_the_second_time_there_is_nothing_to_do(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1, 2)
    maintain_home(home, 0)
    versions = [table_of(home, name).version() for name in OF_CUSTOMERS]
    assert not [each for each in maintain_home(home, 0) if each.has_changed]
    assert [table_of(home, name).version() for name in OF_CUSTOMERS] == versions


@pytest.mark.first_engine
def test_a_home_that_is_in_use_is_left_alone(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1)
    before = sorted(data_files(home, CUSTOMERS_SILVER.name))
    with locked(home), pytest.raises(CdpError, match="is in use by another cdp"):
        maintain_home(home, 0)
    assert sorted(data_files(home, CUSTOMERS_SILVER.name)) == before


@pytest.mark.parametrize("folder", ["nowhere", "nowhere/warehouse", "nowhere/warehouse/sales/t_silver/_delta_log"])
def test_a_home_without_tables_is_refused_in_a_line(tmp_path: Path, folder: str) -> None:
    if folder != "nowhere":
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(CdpError, match=r"holds no tables yet: `cdp run` makes them\.$"):
        maintain_home(tmp_path / "nowhere", 7)
    assert (tmp_path / "nowhere").exists() == (folder != "nowhere")


@pytest.mark.first_engine
def test_a_table_that_can_not_be_maintained_is_named(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1)
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["x"], "writerFeatures": ["x"]}
    newest = table_of(home, CUSTOMERS_SILVER.name).version() + 1
    log = home / "warehouse" / "sales" / CUSTOMERS_SILVER.name / "_delta_log"
    (log / f"{newest:020}.json").write_text(json.dumps({"protocol": protocol}), encoding="utf-8")
    with pytest.raises(CdpError, match=r"^Table \S+/customers_silver can't be maintained \(.*\)"):
        maintain_home(home, 7)


@pytest.mark.parametrize(
    ("days", "told"), [(0, "as it was before now"), (6, "more than 6 days ago"), (7, ""), (30, "")]
)
def test_who_reads_is_warned_of_a_short_retention(days: int, told: str) -> None:
    warning: Any = warning_of(days)
    assert (told in warning) if told else warning is None


def log_files(home: Path, name: str) -> list[Path]:
    return list((home / "warehouse" / "sales" / name / "_delta_log").iterdir())


def all_kept_up(upkeep: Upkeep) -> list[str]:
    """Names of the tables that are kept up, one refresh after the other."""
    return [folder.name for folders in iter(upkeep.keep_up, []) for folder in folders]


@pytest.mark.first_engine  # another one lets every engine go on with what was kept up
def test_what_changes_often_is_kept_quick_to_read(
    warehouse: Warehouse, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdp_local.maintenance._KEPT_A_MINUTE", "interval 0 seconds")  # as if it were over
    upkeep = Upkeep(home)
    rows = {"products": [product(1, "0.10")], "store": [store(1)], "transactions": [sale(1), sale(2)]}
    warehouse.land_sales(1, customers=[customer(1), customer(2)], **rows)
    warehouse.refresh()
    land_customers(warehouse, *range(2, 10))
    warehouse.refresh()
    before, accounts = warehouse.contents(), warehouse.reconcile()
    ops = (TABLE_STATE_OPS.name, PIPELINE_RUNS_OPS.name)
    assert all(len(log_files(home, name)) > 10 for name in ops)

    kept_up = all_kept_up(upkeep)

    assert kept_up[0] == TABLE_STATE_OPS.name
    assert PIPELINE_RUNS_OPS.name in kept_up
    assert STORES_SILVER.name not in kept_up  # it has had few commits
    for name in ops:
        assert len(log_files(home, name)) <= 4
        assert len(table_of(home, name).file_uris()) == 1
        assert len(data_files(home, name)) == 1
    assert (warehouse.contents(), warehouse.reconcile()) == (before, accounts)
    land_customers(warehouse, *range(11, 20))
    assert {*ops} <= {*all_kept_up(upkeep)}
    land_customers(warehouse, 21)
    warehouse.refresh()
    assert warehouse.complaints() == []
    assert (22, "C21") in warehouse.rows(CUSTOMERS_SILVER, "customer_id", "country")


@pytest.mark.first_engine
def test_some_tables_are_kept_up_after_each_refresh(
    warehouse: Warehouse, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdp_local.maintenance._TABLES_AT_ONCE", 2)
    land_customers(warehouse, *range(1, 10))
    upkeep = Upkeep(home)
    kept_up = [[folder.name for folder in upkeep.keep_up()] for _ in range(4)]
    assert kept_up[0][0] == TABLE_STATE_OPS.name
    assert [len(names) for names in kept_up] == [2, 2, 1, 0]
    assert {name for names in kept_up for name in names} == {*OF_CUSTOMERS}


@pytest.mark.first_engine
def test_who_began_to_read_a_table_before_its_upkeep_reads_on(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, *range(1, 20))
    reading = table_of(home, CUSTOMERS_SILVER.name)
    read = reading.to_pyarrow_dataset()
    land_customers(warehouse, 21)

    assert CUSTOMERS_SILVER.name in [folder.name for folder in Upkeep(home).keep_up()]

    assert read.to_table().num_rows == 21
    assert table_of(home, CUSTOMERS_SILVER.name).to_pyarrow_table().num_rows == 23


@pytest.mark.first_engine
def test_what_has_just_been_listed_is_still_there(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, *range(1, 20))
    there = [file for name in OF_CUSTOMERS for file in (*log_files(home, name), *data_files(home, name))]
    assert {folder.name for folder in Upkeep(home).keep_up()} == {*OF_CUSTOMERS}
    assert [file for file in there if not file.exists()] == []


@pytest.mark.first_engine
def test_a_table_that_cannot_be_kept_up_holds_up_nothing(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, *range(1, 10))
    broken = home / "warehouse" / "sales" / "broken_gold" / "_delta_log"
    broken.mkdir(parents=True)
    (broken / f"{17:020}.json").write_text("no commit")
    assert sorted(all_kept_up(Upkeep(home))) == sorted(OF_CUSTOMERS)
