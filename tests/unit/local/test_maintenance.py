"""Tests of the maintenance of tables."""

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
from cdp_local.maintenance import WatchMaintenance, forget_history, maintain_home, retention_warning
from cdp_local.workspace import locked

from ..warehouse import Warehouse, customer, product, sale, store

CUSTOMER_TABLES = (
    CUSTOMERS_BRONZE.name,
    CUSTOMERS_SILVER.name,
    CUSTOMERS_SILVER.changes.name,
    PIPELINE_RUNS_OPS.name,
    TABLE_STATE_OPS.name,
)
"""Tables that a refresh of `customers_silver` writes."""


@pytest.fixture
def home(tmp_path: Path, schema: str) -> Path:
    """Return a home folder that contains the tables of the test."""
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


def test_maintenance_keeps_contents_and_the_next_run_continues(warehouse: Warehouse, home: Path) -> None:
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


def test_without_history_contents_stay_and_the_next_run_continues(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1, 2, 3)
    before = warehouse.contents(CUSTOMERS_SILVER)
    forget_history(home)
    assert warehouse.contents(CUSTOMERS_SILVER) == before
    for name in CUSTOMER_TABLES:
        table = table_of(home, name)
        log = home / "warehouse" / "sales" / name / "_delta_log"
        assert {int(file.name[:20]) for file in log.iterdir() if file.name[:20].isdecimal()} == {table.version()}
        assert {file.name for file in data_files(home, name)} == {Path(uri).name for uri in table.file_uris()}
    land_customers(warehouse, 4)
    assert (6, "C4") in warehouse.rows(CUSTOMERS_SILVER, "customer_id", "country")


@pytest.mark.first_engine
def test_files_of_earlier_versions_are_kept_for_the_retention(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1, 2)
    versions = table_of(home, CUSTOMERS_SILVER.name).version()

    maintain_home(home, 1)

    table = table_of(home, CUSTOMERS_SILVER.name)
    for version in range(versions + 1):
        table.load_as_version(version)
        table.to_pyarrow_table()


@pytest.mark.first_engine
def test_files_left_by_a_killed_run_are_removed_after_the_retention(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1)
    [file, *_] = data_files(home, CUSTOMERS_SILVER.name)
    leftover = file.with_name("part-00000-left-behind.parquet")
    leftover.write_bytes(file.read_bytes())
    maintain_home(home, 1)
    assert leftover.exists()
    maintain_home(home, 0)
    assert not leftover.exists()


@pytest.mark.first_engine
def test_second_maintenance_changes_nothing(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1, 2)
    maintain_home(home, 0)
    versions = [table_of(home, name).version() for name in CUSTOMER_TABLES]
    assert not [each for each in maintain_home(home, 0) if each.has_changed]
    assert [table_of(home, name).version() for name in CUSTOMER_TABLES] == versions


@pytest.mark.first_engine
def test_home_in_use_is_not_maintained(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1)
    before = sorted(data_files(home, CUSTOMERS_SILVER.name))
    with locked(home), pytest.raises(CdpError, match="is in use by another cdp"):
        maintain_home(home, 0)
    assert sorted(data_files(home, CUSTOMERS_SILVER.name)) == before


@pytest.mark.parametrize("folder", ["nowhere", "nowhere/warehouse", "nowhere/warehouse/sales/t_silver/_delta_log"])
def test_home_without_tables_is_rejected(tmp_path: Path, folder: str) -> None:
    if folder != "nowhere":
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(CdpError, match=r"holds no tables yet: `cdp run` creates them\.$"):
        maintain_home(tmp_path / "nowhere", 7)
    assert (tmp_path / "nowhere").exists() == (folder != "nowhere")


@pytest.mark.first_engine
def test_error_names_a_table_that_can_not_be_maintained(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, 1)
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["x"], "writerFeatures": ["x"]}
    newest = table_of(home, CUSTOMERS_SILVER.name).version() + 1
    log = home / "warehouse" / "sales" / CUSTOMERS_SILVER.name / "_delta_log"
    (log / f"{newest:020}.json").write_text(json.dumps({"protocol": protocol}), encoding="utf-8")
    with pytest.raises(CdpError, match=r"^Table \S+/customers_silver can't be maintained \(.*\)"):
        maintain_home(home, 7)


@pytest.mark.parametrize(
    ("days", "text"), [(0, "all earlier table versions"), (6, "more than 6 days ago"), (7, ""), (30, "")]
)
def test_short_retention_returns_a_warning_for_readers(days: int, text: str) -> None:
    warning: Any = retention_warning(days)
    assert (text in warning) if text else warning is None


def log_files(home: Path, name: str) -> list[Path]:
    return list((home / "warehouse" / "sales" / name / "_delta_log").iterdir())


def maintain_all(maintenance: WatchMaintenance) -> list[str]:
    """Repeat the maintenance until no table needs it. Return the names of the maintained tables in order."""
    return [folder.name for folders in iter(maintenance.maintain_grown_tables, []) for folder in folders]


@pytest.mark.first_engine
def test_watch_maintenance_compacts_tables_and_logs_with_many_commits(
    warehouse: Warehouse, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdp_local.maintenance._ONE_MINUTE", "interval 0 seconds")  # as if a minute had passed
    maintenance = WatchMaintenance(home)
    rows = {"products": [product(1, "0.10")], "store": [store(1)], "transactions": [sale(1), sale(2)]}
    warehouse.land_sales(1, customers=[customer(1), customer(2)], **rows)
    warehouse.refresh()
    land_customers(warehouse, *range(2, 10))
    warehouse.refresh()
    before, accounts = warehouse.contents(), warehouse.reconcile()
    ops = (TABLE_STATE_OPS.name, PIPELINE_RUNS_OPS.name)
    assert all(len(log_files(home, name)) > 10 for name in ops)

    maintained = maintain_all(maintenance)

    assert maintained[0] == TABLE_STATE_OPS.name
    assert PIPELINE_RUNS_OPS.name in maintained
    assert STORES_SILVER.name not in maintained  # this table has few commits
    for name in ops:
        assert len(log_files(home, name)) <= 4
        assert len(table_of(home, name).file_uris()) == 1
        assert len(data_files(home, name)) == 1
    assert (warehouse.contents(), warehouse.reconcile()) == (before, accounts)
    land_customers(warehouse, *range(11, 20))
    assert {*ops} <= {*maintain_all(maintenance)}
    land_customers(warehouse, 21)
    warehouse.refresh()
    assert warehouse.complaints() == []
    assert (22, "C21") in warehouse.rows(CUSTOMERS_SILVER, "customer_id", "country")


@pytest.mark.first_engine
def test_each_pass_maintains_a_limited_number_of_tables(
    warehouse: Warehouse, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdp_local.maintenance._TABLES_PER_PASS", 2)
    land_customers(warehouse, *range(1, 10))
    maintenance = WatchMaintenance(home)
    maintained = [[folder.name for folder in maintenance.maintain_grown_tables()] for _ in range(4)]
    assert maintained[0][0] == TABLE_STATE_OPS.name
    assert [len(names) for names in maintained] == [2, 2, 1, 0]
    assert {name for names in maintained for name in names} == {*CUSTOMER_TABLES}


@pytest.mark.first_engine
def test_read_that_began_before_watch_maintenance_can_finish(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, *range(1, 20))
    reading = table_of(home, CUSTOMERS_SILVER.name)
    read = reading.to_pyarrow_dataset()
    land_customers(warehouse, 21)

    assert CUSTOMERS_SILVER.name in [folder.name for folder in WatchMaintenance(home).maintain_grown_tables()]

    assert read.to_table().num_rows == 21
    assert table_of(home, CUSTOMERS_SILVER.name).to_pyarrow_table().num_rows == 23


@pytest.mark.first_engine
def test_recently_listed_files_still_exist_after_watch_maintenance(
    warehouse: Warehouse, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, the refreshes take longer than a minute.
    monkeypatch.setattr("cdp_local.maintenance._ONE_MINUTE", "interval 20 minutes")
    land_customers(warehouse, *range(1, 20))
    files = [file for name in CUSTOMER_TABLES for file in (*log_files(home, name), *data_files(home, name))]
    assert {folder.name for folder in WatchMaintenance(home).maintain_grown_tables()} == {*CUSTOMER_TABLES}
    assert [file for file in files if not file.exists()] == []


@pytest.mark.first_engine
def test_broken_table_does_not_block_watch_maintenance(warehouse: Warehouse, home: Path) -> None:
    land_customers(warehouse, *range(1, 10))
    broken = home / "warehouse" / "sales" / "broken_gold" / "_delta_log"
    broken.mkdir(parents=True)
    (broken / f"{17:020}.json").write_text("no commit")
    assert sorted(maintain_all(WatchMaintenance(home))) == sorted(CUSTOMER_TABLES)
