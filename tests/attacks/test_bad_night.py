"""Attacks on the tables behind the platform's back: lost commits, edits by hand, half-restored backups, old code.

No wrong figure may stay unnoticed, and a repair may change nothing but the wrong table.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from deltalake import DeltaTable

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import MONTHLY_SALES_GOLD
from cdp_lib.contracts.ops import TABLE_STATE_OPS
from cdp_lib.errors import CdpError
from cdp_lib.pipeline.state import STATE_FORMAT, read_states

from ..unit import conftest as fixtures
from ..unit.warehouse import OF_SALES, Warehouse, batch_id_of, customer, product, sale, store

warehouse, filled, kept_warehouses = fixtures.warehouse, fixtures.filled, fixtures.kept_warehouses

Cdp = Callable[..., subprocess.CompletedProcess[str]]

JANUARY, FEBRUARY, MARCH = date(2026, 1, 10), date(2026, 2, 10), date(2026, 3, 1)
NAMES = ("monthly_sales_gold", "sales_by_country_gold", "product_performance_gold", "purchases_silver")
GOLD = [f"+{name}" for name in NAMES]
EVERYTHING = (*OF_SALES, *map(TABLES.__getitem__, NAMES))


def first_day(warehouse: Warehouse) -> None:
    """Land and load the first day. Keep a backup of the tables, and land and load a second day."""
    warehouse.land_sales(
        1,
        customers=[customer(1), customer(2)],
        products=[product(1), product(2)],
        store=[store(1)],
        transactions=[sale(1, JANUARY), sale(2, JANUARY, customer_id=2)],
    )
    warehouse.run(*GOLD)


def second_day(warehouse: Warehouse) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 2, customer(1, country="UAE"), customer(2), load="increment")
    rows = [sale(3, FEBRUARY, quantity=7), sale(4, FEBRUARY, customer_id=2, product_id=2)]
    warehouse.land(TRANSACTIONS_BRONZE, 2, *rows, load="increment")
    warehouse.run(*GOLD)


def two_days(warehouse: Warehouse) -> None:
    """Land and load two days, and keep a copy of the tables as they were after the first day."""
    first_day(warehouse)
    shutil.copytree(warehouse.tables_folder, warehouse.folder / "backup")
    second_day(warehouse)


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse after two days. Its landing has a folder `backup` with the tables of the first day."""
    return filled(two_days)


def lose_commit(shop: Warehouse, name: str) -> None:
    """Remove the latest commit from the log of a table."""
    log = shop.tables_folder / name / "_delta_log"
    latest = max(log.glob("*.json"))
    for file in log.glob(f"{latest.stem}*"):
        file.unlink()


def delete_rows(shop: Warehouse, name: str) -> None:
    DeltaTable(shop.tables_folder / name).delete()


def restore_earlier_copy(shop: Warehouse, name: str) -> None:
    """Replace the folder of one table by its copy of the day before."""
    shutil.rmtree(shop.tables_folder / name)
    shutil.copytree(shop.folder / "backup" / name, shop.tables_folder / name)


def revenue(shop: Warehouse) -> Decimal:
    return sum((row[0] for row in shop.rows(MONTHLY_SALES_GOLD, "monthly_revenue")), Decimal(0))


DAMAGES = [
    (lose_commit, "monthly_sales_gold"),
    (lose_commit, "retails_silver"),
    (delete_rows, "monthly_sales_gold"),
    (delete_rows, "transactions_silver"),
    (restore_earlier_copy, "monthly_sales_gold"),
    (restore_earlier_copy, "purchases_silver"),
    (restore_earlier_copy, "customers_silver"),
    (restore_earlier_copy, "transactions_bronze"),
]


@pytest.mark.first_engine
@pytest.mark.parametrize(("damage", "name"), DAMAGES, ids=[f"{each.__name__}-{name}" for each, name in DAMAGES])
def test_damage_is_found_and_a_repair_changes_nothing_else(
    shop: Warehouse, damage: Callable[[Warehouse, str], None], name: str
) -> None:
    before, states = shop.contents(*EVERYTHING), read_states(shop.store)
    right = revenue(shop)
    damage(shop, name)

    untouched = {each: DeltaTable(shop.tables_folder / each).version() for each in states if each != name}
    verified = shop.verify(repair=True)

    assert [each.table_name for each in verified if each.is_different] == [name]
    assert [each.table_name for each in verified if each.is_repaired] == [name]
    assert {each: DeltaTable(shop.tables_folder / each).version() for each in untouched} == untouched
    assert (shop.contents(*EVERYTHING), revenue(shop)) == (before, right)
    assert (shop.differences(name), shop.complaints(), shop.refreshed(*GOLD)) == ([], [], [])


@pytest.mark.first_engine
def test_a_run_after_a_lost_commit_does_not_end_as_if_all_were_well(shop: Warehouse) -> None:
    lose_commit(shop, "monthly_sales_gold")
    shop.land(TRANSACTIONS_BRONZE, 3, sale(5, MARCH), load="increment")

    runs = shop.runner().refresh(GOLD)

    [failed] = [run for run in runs if run.state == "failed"]
    assert failed.table == "monthly_sales_gold" and "does not add up" in failed.error
    assert shop.refreshed(*GOLD) == ["monthly_sales_gold"]
    assert shop.rows(MONTHLY_SALES_GOLD, "transaction_month", "monthly_transactions") == [(1, 2), (2, 2), (3, 1)]


@pytest.mark.first_engine
@pytest.mark.parametrize("has_newer_state", [True, False], ids=["all tables", "without the states"])
def test_a_run_after_an_older_backup_was_restored_catches_up(shop: Warehouse, has_newer_state: bool) -> None:
    before = shop.contents(*EVERYTHING)
    backup = shop.folder / "backup"
    if not has_newer_state:
        shutil.rmtree(backup / TABLE_STATE_OPS.name)
    shop.restore(backup)

    shop.run(*GOLD)

    assert shop.contents(*EVERYTHING) == before
    assert (shop.differences(), shop.complaints()) == ([], [])


# Versions


def as_written_by(shop: Warehouse, format_number: int) -> None:
    """Change the format of one state, as a later version of the platform would write it."""
    rows = [row.asDict() for row in shop.store.read(TABLE_STATE_OPS).collect()]
    rows[0]["state"] = json.dumps({**json.loads(rows[0]["state"]), "format": format_number, "surprise": [1]})
    shop.store.overwrite(TABLE_STATE_OPS, shop.store.frame(TABLE_STATE_OPS, rows))


@pytest.mark.first_engine
def test_older_code_refuses_newer_tables_in_one_line_and_changes_nothing(shop: Warehouse) -> None:
    as_written_by(shop, STATE_FORMAT + 1)
    shop.land(TRANSACTIONS_BRONZE, 3, sale(5, MARCH), load="increment")
    before = shop.contents(*EVERYTHING)
    with pytest.raises(CdpError, match="A later version of the platform has written the tables") as caught:
        shop.run(*GOLD)
    assert "\n" not in str(caught.value) and "Deploy the later version again" in str(caught.value)
    assert shop.contents(*EVERYTHING) == before


@pytest.mark.first_engine
def test_newer_code_reads_states_of_an_earlier_format(shop: Warehouse) -> None:
    as_written_by(shop, 1)
    assert shop.refreshed(*GOLD) == []


@pytest.mark.first_engine
def test_an_unknown_replay_from_is_refused_and_changes_nothing(shop: Warehouse) -> None:
    before = read_states(shop.store)
    with pytest.raises(CdpError, match=f"the newest batch is {batch_id_of(2)}") as caught:
        shop.run(*GOLD, replay_from="20991231T000000Z")
    assert "\n" not in str(caught.value)
    assert read_states(shop.store) == before
    shop.run(*GOLD, replay_from=batch_id_of(2)[:16])
    assert shop.differences() == []


@pytest.mark.first_engine
def test_a_replay_without_any_landed_batch_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(CdpError, match="no batch has landed yet"):
        warehouse.run(*GOLD, replay_from="20260101T000000Z")


# Backups


def figures(home: Path) -> dict[str, list[str]]:
    """Return the rows of the tables of a home, without the batch that a row came from."""
    tables = {log.parent.name: log.parent for log in (home / "warehouse" / "sales").glob("*_*/_delta_log")}
    return {
        name: sorted(
            repr({key: value for key, value in row.items() if not key.startswith("_")})
            for row in DeltaTable(folder).to_pyarrow_table().to_pylist()
        )
        for name, folder in tables.items()
        if name.endswith(("_silver", "_gold")) and name != "model_fits_gold"
    }


SHOP = """
    CREATE TABLE customers (customer_id INTEGER, full_name TEXT, email TEXT, country TEXT, registration_date TEXT);
    INSERT INTO customers VALUES (1, 'A', 'a@example.com', 'Egypt', '2025-01-01');
    CREATE TABLE products (product_id INTEGER, product_name TEXT, category TEXT, price TEXT);
    INSERT INTO products VALUES (1, 'Tea', 'Food', '2.50');
    CREATE TABLE stores (store_id INTEGER, store_name TEXT, location TEXT);
    INSERT INTO stores VALUES (1, 'Harbour', 'Kuwait');
    CREATE TABLE transactions (transaction_id INTEGER PRIMARY KEY, customer_id INTEGER, product_id INTEGER,
                               store_id INTEGER, quantity INTEGER, transaction_date TEXT);
    INSERT INTO transactions VALUES (1, 1, 1, 1, 2, '2025-05-01');
"""


@pytest.mark.first_engine
def test_a_copy_of_a_home_is_a_backup(cdp: Cdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, old, new = (tmp_path / name for name in ("home", "old", "new"))
    monkeypatch.setenv("CDP_SECRET_CDP_DATABASE_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    entities = ("customers", "products", "stores", "transactions")
    sources = "".join(f"{each}:\n  database: database_url\n  table: {each}\n" for each in entities)
    (tmp_path / "sources.yml").write_text(sources, encoding="utf-8")
    at_home = ("--home", home, "--sources", tmp_path / "sources.yml")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.executescript(SHOP)
        first = cdp("run", *at_home)
        assert (first.returncode, first.stderr) == (0, "")
        shutil.copytree(home, old)
        with database:
            database.execute("INSERT INTO transactions VALUES (2, 1, 1, 1, 40, '2025-06-01')")
    assert cdp("run", *at_home).returncode == 0
    shutil.copytree(home, new)
    expected = figures(home)

    shutil.rmtree(home / "warehouse" / "sales" / "customers_silver")
    shutil.rmtree(home / "landing")
    shutil.rmtree(home)
    shutil.copytree(new, home)
    again = cdp("run", *at_home)
    assert (again.returncode, again.stderr) == (0, "") and "Nothing is due" in again.stdout
    verified = cdp("verify", *at_home)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "wrong" not in verified.stdout

    shutil.rmtree(home)
    shutil.copytree(old, home)
    caught_up = cdp("run", *at_home)
    assert (caught_up.returncode, caught_up.stderr) == (0, "")
    assert figures(home) == expected
