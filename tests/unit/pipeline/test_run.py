"""Tests of which tables are due. Cases: a repaired run, a wrong clock, edited code, a lost table and others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import MONTHLY_SALES_GOLD, PRODUCT_PERFORMANCE_GOLD
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS, TABLE_STATE_OPS
from cdp_lib.contracts.silver import RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.contracts.sums import SUMS
from cdp_lib.contracts.table import BronzeContract, Column
from cdp_lib.errors import CdpError
from cdp_lib.pipeline import change_sets, load_batches
from cdp_lib.pipeline.graph import Graph, platform_graph
from cdp_lib.pipeline.run import TableRun
from cdp_lib.pipeline.state import read_states, write_states
from cdp_lib.storage import open_store

from ..warehouse import MARTS, OF_SALES, Warehouse, customer, sale
from .shop import FEBRUARY, JANUARY, MARCH, sell

GOLD = "+monthly_sales_gold"
AT_FIRST = datetime(2026, 4, 2, tzinfo=UTC)


@pytest.fixture
def mall(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse with two sales and a monthly mart."""
    return filled(sell_by_month)


def sell_by_month(warehouse: Warehouse) -> None:
    """Land and refresh two sales, and refresh the monthly mart."""
    sell(warehouse)
    warehouse.run(GOLD)


def land_as(warehouse: Warehouse, started_at: datetime, run_id: str, contract: BronzeContract, *rows: Any) -> str:
    """Land an increment in the same way as a run that started at `started_at`. Return the name of the batch."""
    batch_id = f"{started_at:%Y%m%dT%H%M%SZ}-{run_id}"
    extraction = warehouse.landing.extraction(contract.source, batch_id, started_at)
    latest = extraction.find_latest_batch(contract.entity)
    with extraction.new_batch(contract.entity, "increment", latest) as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            for row in rows:
                received = {c.name: row.get(c.name) for c in contract.received_columns}
                line = str({k: str(v) if isinstance(v, date) else v for k, v in received.items()})
                file.write(line.replace("'", '"').replace("None", "null").encode() + b"\n")
        batch.add(len(rows), [c.name for c in contract.received_columns])
    return batch.manifest.batch_id


def fresh(warehouse: Warehouse, contracts: tuple[Any, ...] = (*OF_SALES, MONTHLY_SALES_GOLD)) -> dict[str, Any]:
    """Return the contents of tables before and after a full refresh."""
    before = warehouse.contents(*contracts)
    warehouse.run(GOLD, full_refresh="true")
    return {"before": before, "after": warehouse.contents(*contracts)}


def is_right(warehouse: Warehouse) -> bool:
    contents = fresh(warehouse)
    return bool(contents["before"] == contents["after"]) and warehouse.complaints() == []


def months(warehouse: Warehouse) -> dict[int, int]:
    return dict(warehouse.rows(MONTHLY_SALES_GOLD, "transaction_month", "monthly_transactions"))


def test_a_run_repaired_after_a_later_run_loses_no_row(mall: Warehouse) -> None:
    """Run A fails at the customers, and run B succeeds. Then run A is repaired and keeps its original start time."""
    started_a, started_b = AT_FIRST, AT_FIRST + timedelta(days=1)
    land_as(mall, started_a, "A", TRANSACTIONS_BRONZE, sale(3, MARCH, customer_id=7))
    mall.run("transactions_bronze", run_id="A", run_started_at=str(started_a))
    land_as(mall, started_b, "B", TRANSACTIONS_BRONZE, sale(4, MARCH))
    mall.run(GOLD, run_id="B", run_started_at=str(started_b))
    land_as(mall, started_a, "A", CUSTOMERS_BRONZE, customer(7), customer(1))
    assert land_as(mall, started_a, "A2", TRANSACTIONS_BRONZE, sale(5, MARCH)) > f"{started_b:%Y%m%dT%H%M%SZ}"
    mall.run(GOLD, run_id="A", run_started_at=str(started_a))
    assert months(mall) == {1: 1, 2: 1, 3: 3}
    assert mall.refreshed(GOLD) == []
    assert is_right(mall)


@pytest.mark.first_engine
def test_batches_load_after_a_clock_was_ahead(mall: Warehouse) -> None:
    ahead = AT_FIRST + timedelta(days=300)
    land_as(mall, ahead, "1", TRANSACTIONS_BRONZE, sale(3, MARCH))
    mall.run(GOLD, full_refresh="true", run_started_at=str(ahead))
    for number in (4, 5):
        land_as(mall, AT_FIRST + timedelta(hours=number), str(number), TRANSACTIONS_BRONZE, sale(number, MARCH))
        mall.run(GOLD, run_started_at=str(AT_FIRST + timedelta(hours=number)))
        assert months(mall) == {1: 1, 2: 1, 3: number - 2}
    assert is_right(mall)


def edited(name: str, edit: Callable[[DataFrame], DataFrame]) -> Graph:
    """Return the platform's graph, in which `edit` changes the result of one table's builder."""
    tables = dict(platform_graph().tables)
    table = tables[name]

    def build(*frames: DataFrame, **settings: Any) -> DataFrame:
        return edit(table.build(*frames, **settings))

    return Graph((tables | {name: replace(table, build=build)}).values())


@pytest.mark.first_engine
def test_an_edited_builder_makes_its_table_and_downstream_tables_due(
    mall: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise, the comparison of sums would refuse the edited mart.
    monkeypatch.delitem(SUMS, "store_product_performance_gold")
    everything = [f"+{contract.name}" for contract in MARTS]
    mall.run(*everything)
    assert mall.refreshed(*everything) == []
    mall.graph = edited("store_product_performance_gold", lambda rows: rows.where("false"))
    plan = mall.runner().plan(everything)
    due = {name: reasons for name, reasons in plan.items() if reasons}
    assert due == {
        "store_product_performance_gold": ("the code or contract changed",),
        "product_performance_gold": ("store_product_performance_gold is due",),
    }
    assert mall.refreshed(*everything) == list(due)
    assert mall.rows(PRODUCT_PERFORMANCE_GOLD) == []
    mall.graph = platform_graph()
    assert mall.refreshed(*everything) == list(due)
    assert len(mall.rows(PRODUCT_PERFORMANCE_GOLD)) == 1
    assert is_right(mall)


def test_an_edited_builder_of_a_merged_table_rebuilds_it(mall: Warehouse) -> None:
    mall.graph = edited("transactions_silver", lambda rows: rows.where("transaction_id <> 1"))
    mall.run(GOLD)
    assert months(mall) == {2: 1}
    mall.graph = platform_graph()
    mall.run(GOLD)
    assert months(mall) == {1: 1, 2: 1}
    assert is_right(mall)


@pytest.mark.first_engine
def test_a_new_column_of_a_contract_is_added_to_the_table(mall: Warehouse) -> None:
    tables = dict(platform_graph().tables)
    table = tables["monthly_sales_gold"]
    wider = replace(table.contract, columns=(*table.contract.columns, Column("note", "STRING", "a note")))

    def build(*frames: DataFrame, **settings: Any) -> DataFrame:
        return table.build(*frames, **settings).selectExpr("*", "'n' AS note")

    mall.graph = Graph((tables | {table.name: replace(table, contract=wider, build=build)}).values())
    assert mall.refreshed(GOLD) == ["monthly_sales_gold"]
    assert mall.rows(wider, "transaction_month", "note") == [(1, "n"), (2, "n")]


@pytest.mark.first_engine
def test_a_changed_setting_makes_tables_due_that_declare_it(mall: Warehouse) -> None:
    plan = mall.runner(as_of="2026-01-31").plan([GOLD])
    assert {name: reasons for name, reasons in plan.items() if reasons} == {
        "monthly_sales_gold": ("setting as_of changed: None → 2026-01-31",),
    }


@pytest.mark.first_engine
def test_only_selected_tables_are_refreshed(mall: Warehouse) -> None:
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    assert mall.refreshed("monthly_sales_gold") == []
    assert mall.refreshed("transactions_bronze", "transactions_silver") == [
        "transactions_bronze",
        "transactions_silver",
    ]
    assert months(mall) == {1: 1, 2: 1}
    rest = ["retails_silver", "monthly_sales_gold"]
    assert sorted(mall.refreshed(*rest)) == sorted(rest)
    assert months(mall) == {1: 1, 2: 1, 3: 1}
    with pytest.raises(CdpError, match="Unknown table 'nothing'"):
        mall.run("nothing")


@pytest.mark.first_engine
def test_downstream_tables_of_a_failed_table_are_skipped(mall: Warehouse) -> None:
    def fail(rows: DataFrame) -> DataFrame:
        raise CdpError("The builder is broken.")

    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    mall.land(CUSTOMERS_BRONZE, 2, customer(1, country="UAE"))
    mall.graph = edited("customers_silver", fail)
    runs = {run.table: run for run in mall.runner().refresh([GOLD])}
    assert (runs["customers_silver"].state, runs["customers_silver"].error) == ("failed", "The builder is broken.")
    assert {name: run.state for name, run in runs.items() if run.state != "fresh"} == {
        "transactions_bronze": "refreshed",
        "customers_bronze": "refreshed",
        "transactions_silver": "refreshed",
        "customers_silver": "failed",
        "retails_silver": "skipped",
        "monthly_sales_gold": "skipped",
    }
    mall.graph = platform_graph()
    mall.run(GOLD)
    assert months(mall) == {1: 1, 2: 1, 3: 1}
    assert is_right(mall)


@pytest.mark.first_engine
def test_held_tables_and_their_downstream_tables_are_skipped(mall: Warehouse) -> None:
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    mall.run("bronze")
    seen: list[TableRun] = []
    mall.runner().refresh(
        ["transactions_silver", "retails_silver", "customers_silver"], ["transactions_silver"], seen.append
    )
    assert {run.table: run.state for run in seen if run.state != "running"} == {
        "customers_silver": "fresh",
        "transactions_silver": "skipped",
        "retails_silver": "skipped",
    }


@pytest.mark.first_engine
def test_tables_far_downstream_of_a_held_table_are_skipped(mall: Warehouse) -> None:
    runs = mall.runner().refresh([MONTHLY_SALES_GOLD.name], ["transactions_silver"])
    assert [(run.table, run.state) for run in runs] == [(MONTHLY_SALES_GOLD.name, "skipped")]


@pytest.mark.first_engine
@pytest.mark.parametrize(
    "lost",
    [
        TABLE_STATE_OPS.name,
        "customers_bronze",
        TRANSACTIONS_SILVER.name,
        TRANSACTIONS_SILVER.quarantine.name,
        TRANSACTIONS_SILVER.changes.name,
        RETAILS_SILVER.name,
        RETAILS_SILVER.changes.name,
        MONTHLY_SALES_GOLD.name,
        PIPELINE_RUNS_OPS.name,
    ],
)
def test_a_dropped_table_is_rebuilt(mall: Warehouse, spark: Any, catalog: str, schema: str, lost: str) -> None:
    mall.land(TRANSACTIONS_BRONZE, 2, sale(2, FEBRUARY, quantity=5), load="increment")
    mall.run(GOLD)
    mall.land(TRANSACTIONS_BRONZE, 3, sale(3, MARCH), sale(4, customer_id=9), load="increment")
    spark.sql(f"DROP TABLE {mall.store.name_of(lost)}").collect()
    shutil.rmtree(mall.tables_folder / lost, ignore_errors=True)
    mall.store = open_store(spark, catalog, schema)
    mall.run(GOLD)
    assert months(mall) == {1: 1, 2: 1, 3: 1}
    assert is_right(mall)


@pytest.mark.first_engine
def test_tables_restored_from_a_backup_catch_up(mall: Warehouse, tmp_path: Path) -> None:
    """The tables and states are restored, but not the change sets. The next run loads the second batch again."""
    backup = tmp_path / "backup"
    shutil.copytree(mall.tables_folder, backup)
    mall.land(TRANSACTIONS_BRONZE, 2, sale(1, JANUARY, quantity=9), load="increment")
    mall.run(GOLD)
    for name in ("retails_silver_changes", "transactions_silver_changes"):  # a backup may lack the change sets
        shutil.copytree(mall.tables_folder / name, backup / name, dirs_exist_ok=True)
    mall.restore(backup)
    mall.land(TRANSACTIONS_BRONZE, 3, sale(3, MARCH), load="increment")
    mall.run(GOLD)
    assert months(mall) == {1: 1, 2: 1, 3: 1}
    assert is_right(mall)


@pytest.mark.first_engine
def test_a_single_restored_table_is_found_by_its_row_count(mall: Warehouse, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(mall.tables_folder / "transactions_silver", backup)
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    mall.run(GOLD)
    assert mall.complaints() == []
    shutil.rmtree(mall.tables_folder / "transactions_silver")
    shutil.copytree(backup, mall.tables_folder / "transactions_silver")
    assert "transactions_silver: 3 rows in, but 2 out" in " ".join(mall.complaints())


@pytest.mark.first_engine
def test_many_batches_load_in_several_commits_and_old_change_sets_are_deleted(
    mall: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_batches, "_BATCHES_AT_ONCE", 3)
    monkeypatch.setattr(change_sets, "_VERSIONS_BETWEEN_REMOVALS", 1)
    for number in range(3, 12):
        land_as(mall, AT_FIRST + timedelta(minutes=number), str(number), TRANSACTIONS_BRONZE, sale(number, MARCH))
    mall.run(GOLD)
    for number in range(12, 32):
        land_as(mall, AT_FIRST + timedelta(minutes=number), str(number), TRANSACTIONS_BRONZE, sale(number, MARCH))
        mall.run("transactions_bronze", "transactions_silver")
    kept = mall.store.read(TRANSACTIONS_SILVER.changes).select("_change_set").distinct().count()
    assert kept == 20  # the change sets that retails_silver has not read
    mall.run(GOLD)
    assert months(mall) == {1: 1, 2: 1, 3: 29}
    land_as(mall, AT_FIRST + timedelta(minutes=40), "40", TRANSACTIONS_BRONZE, sale(40, MARCH))
    mall.run(GOLD)
    assert mall.store.read(TRANSACTIONS_SILVER.changes).select("_change_set").distinct().count() <= 21
    land_as(mall, AT_FIRST + timedelta(minutes=41), "41", TRANSACTIONS_BRONZE, sale(41, MARCH))
    mall.run(GOLD)
    assert mall.store.read(TRANSACTIONS_SILVER.changes).select("_change_set").distinct().count() <= 2
    assert is_right(mall)


@pytest.mark.first_engine
def test_the_log_records_refreshed_tables_and_reasons(mall: Warehouse) -> None:
    mall.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), sale(4, quantity=0), load="increment")
    mall.run(GOLD)
    log = mall.store.read(PIPELINE_RUNS_OPS).where(f"run_id = '{mall.runs}'")
    rows = {row["table_name"]: row for row in log.collect()}
    assert rows["transactions_bronze"]["reason"] == "1 new batch"
    assert rows["transactions_silver"]["reason"] == "transactions_bronze changed"
    assert (rows["transactions_silver"]["rows"], rows["transactions_silver"]["rows_quarantined"]) == (1, 1)
    assert "customers_silver" not in rows
    assert read_states(mall.store)["transactions_silver"].rows == 3


@pytest.mark.first_engine
def test_a_run_without_due_tables_writes_nothing(mall: Warehouse) -> None:
    def versions() -> dict[str, int]:
        return {log.parent.name: len(list(log.glob("*.json"))) for log in mall.tables_folder.glob("*/_delta_log")}

    before = versions()
    assert mall.refreshed(GOLD) == []
    assert versions() == before


@pytest.mark.first_engine
def test_state_of_a_later_version_is_an_error_that_says_what_to_do(mall: Warehouse) -> None:
    states = read_states(mall.store)
    state = states[CUSTOMERS_BRONZE.name]
    later = replace(state, details={**state.details, "holds_later_values": True})
    write_states(mall.store, states | {CUSTOMERS_BRONZE.name: later})
    [run] = mall.runner().refresh([CUSTOMERS_BRONZE.name])
    assert run.error.startswith("A later version of the platform wrote the state of a bronze table")
