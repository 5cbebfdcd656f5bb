from __future__ import annotations

import time

import pytest

from cdp_lib import __version__
from cdp_lib.contracts.gold import MONTHLY_SALES_GOLD, SEASONAL_ANALYSIS_GOLD
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, PRODUCT_PRICES_SILVER, RETAILS_SILVER
from cdp_lib.runs import Account, BatchChange, Change, History
from cdp_lib.tables import ConflictError

from .warehouse import Warehouse

CHANGE = Change(
    "20260401T000000Z-1.1",
    {"b1": BatchChange(Account(5, 3, 1, 1), merged=3, removed=1)},
    inputs={"transactions_silver": "x"},
)


def test_what_is_written_is_read_again(warehouse: Warehouse) -> None:
    warehouse.log().plan(CUSTOMERS_SILVER, CHANGE)
    assert warehouse.log().history("customers_silver").planned == CHANGE
    warehouse.log().finish(CUSTOMERS_SILVER, CHANGE)
    history = warehouse.log().history("customers_silver")
    assert (history.planned, history.done) == (None, (CHANGE,))
    assert history.accounts == {"b1": Account(5, 3, 1, 1)}


def test_what_is_written_is_known_as_if_it_were_read(warehouse: Warehouse) -> None:
    log = warehouse.log()
    whole = Change("20260402T000000Z-2.1", is_whole=True, inputs={"customers_bronze": "x"})
    assert log.history("customers_silver") == History()
    for write, change in ((log.plan, CHANGE), (log.finish, CHANGE), (log.plan, whole), (log.finish, whole)):
        write(CUSTOMERS_SILVER, change)
        assert log.history("customers_silver") == warehouse.log().history("customers_silver")


def test_a_row_says_what_did_the_work_and_how_long(warehouse: Warehouse, engine: str) -> None:
    log = warehouse.log()
    time.sleep(0.002)  # seconds are written to the millisecond
    log.finish(CUSTOMERS_SILVER, CHANGE)
    [row] = warehouse.tables.read_table(PIPELINE_RUNS_OPS).collect()
    assert (row.engine, row.code_version, row.state, row.task) == (engine, __version__, "done", "reconciliation")
    assert row.seconds > 0
    assert row.engine_version
    assert (row.rows_in, row.rows_out, row.rows_merged, row.rows_removed) == (5, 3, 3, 1)


def test_a_plan_that_a_later_whole_change_has_overtaken_is_no_more(warehouse: Warehouse) -> None:
    warehouse.log().plan(CUSTOMERS_SILVER, CHANGE)
    warehouse.log().finish(CUSTOMERS_SILVER, Change("20260402T000000Z-2.1", is_whole=True))
    assert warehouse.log().history("customers_silver").planned is None


def test_a_change_without_rows_is_no_new_state(warehouse: Warehouse) -> None:
    warehouse.log().finish(CUSTOMERS_SILVER, CHANGE)
    same = Change("20260402T000000Z-2.1", {"b2": BatchChange(Account(5, 0, 0, 5))})
    warehouse.log().finish(CUSTOMERS_SILVER, same)
    assert warehouse.log().history("customers_silver").latest == CHANGE.change_id


def test_changes_of_one_run_are_numbered(warehouse: Warehouse) -> None:
    log = warehouse.log()
    first = log.new_change_id(log.history("customers_silver"))
    log.finish(CUSTOMERS_SILVER, Change(first, is_whole=True))
    assert first < log.new_change_id(log.history("customers_silver"))


def test_tables_are_due_when_what_they_are_made_from_has_changed(warehouse: Warehouse) -> None:
    marts = [MONTHLY_SALES_GOLD, SEASONAL_ANALYSIS_GOLD]
    for mart in marts:
        warehouse.tables.create_table(mart)
    inputs = warehouse.log().read_inputs([RETAILS_SILVER], as_of=None)
    assert warehouse.log().is_due(marts, inputs)
    warehouse.log().finish_tables(marts, inputs, 7)
    assert not warehouse.log().is_due(marts, inputs)
    assert warehouse.log().is_due(marts, warehouse.log().read_inputs([RETAILS_SILVER], as_of="2026-01-31"))
    assert warehouse.log().is_due([*marts, PRODUCT_PRICES_SILVER], inputs), "a table that is not there"
    warehouse.log().finish(RETAILS_SILVER, CHANGE)
    assert warehouse.log().is_due(marts, warehouse.log().read_inputs([RETAILS_SILVER], as_of=None))


def test_without_a_log_there_is_no_history(warehouse: Warehouse) -> None:
    history = warehouse.log().history("customers_silver")
    assert (history.done, history.planned, history.latest) == ((), None, "")


def test_the_log_is_compacted_every_so_many_runs_and_says_the_same(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdp_lib.runs._RUNS_BETWEEN_COMPACTIONS", 2)
    assert not warehouse.log().tidy_up()  # there is none yet
    tidied = []
    for run in range(1, 5):
        warehouse.runs = run
        change = Change(f"2026040{run}T000000Z-{run}.1", {f"b{run}": BatchChange(Account(run, run), merged=run)})
        warehouse.log().finish(CUSTOMERS_SILVER, change)
        tidied.append(warehouse.log().tidy_up())
    assert tidied == [False, True, False, True]
    assert warehouse.log().history("customers_silver").accounts == {f"b{n}": Account(n, n) for n in range(1, 5)}


def test_a_log_that_another_task_writes_is_left_to_a_later_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*_: object) -> None:
        raise ConflictError("another run")

    monkeypatch.setattr("cdp_lib.runs._RUNS_BETWEEN_COMPACTIONS", 1)
    warehouse.log().finish(CUSTOMERS_SILVER, CHANGE)
    monkeypatch.setattr(warehouse.tables, "compact_table", overtaken)
    assert not warehouse.log().tidy_up()
