"""Tests of the guards. A refused batch changes no table, until a person accepts it or a later batch replaces it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, EVENTS_BRONZE, PRODUCTS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, EVENTS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.pipeline.compaction import remove_old_batches
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.run import TableRun

from ..warehouse import OF_SALES, Warehouse, batch_id_of, customer, extracted_at, product, sale, store

SILVER = [contract.name for contract in OF_SALES]
NAMES = [name for name in platform_graph().upstream(SILVER) if name.endswith("_bronze") or name in SILVER]


def sell_much(warehouse: Warehouse) -> None:
    """Land and refresh 40 sales."""
    warehouse.land_sales(
        1, customers=[customer(1)], products=[product(1)], store=[store(1)], transactions=map(sale, range(1, 41))
    )
    warehouse.refresh()


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    return filled(sell_much)


def bad_sales(first: int, last: int) -> list[dict[str, Any]]:
    return [sale(number, quantity=0) for number in range(first, last + 1)]


def good_sales(first: int, last: int) -> list[dict[str, Any]]:
    return [sale(number) for number in range(first, last + 1)]


def runs_of(warehouse: Warehouse, **parameters: str) -> dict[str, TableRun]:
    """Refresh all tables of sales; some may fail. Return all results except those with the state `fresh`."""
    runs = warehouse.runner(**parameters).refresh(NAMES)
    return {run.table: run for run in runs if run.state != "fresh"}


def states_of(warehouse: Warehouse, **parameters: str) -> dict[str, str]:
    return {name: run.state for name, run in runs_of(warehouse, **parameters).items()}


def number_of_sales(warehouse: Warehouse) -> int:
    return len(warehouse.rows(TRANSACTIONS_SILVER, "transaction_id"))


def test_a_batch_with_too_many_bad_rows_changes_no_table(shop: Warehouse) -> None:
    before = shop.contents()
    shop.land(
        TRANSACTIONS_BRONZE, 2, *bad_sales(50, 69), sale(70, quantity="many"), *good_sales(71, 80), load="increment"
    )
    shop.land(CUSTOMERS_BRONZE, 2, customer(1), customer(2))

    runs = runs_of(shop)

    assert {name: run.state for name, run in runs.items()} == {
        "transactions_bronze": "refreshed",
        "customers_bronze": "refreshed",
        "customers_silver": "refreshed",
        "transactions_silver": "failed",
        "retails_silver": "skipped",
    }
    assert runs["transactions_silver"].error == (
        f"Batch {batch_id_of(2)} of database/transactions is refused: 21 of 31 rows (68%) break rules of"
        " transactions_silver, more than refused_share_limit (20%): quantity_is_not_zero: 21 rows, for example key 50,"
        " quantity = '0'; values_fit_their_columns: 1 row, for example key 70, quantity = 'many'. transactions_silver"
        " and its downstream tables are unchanged. If the file of sources reads the values in a wrong way (columns,"
        " date_format, decimal_separator), correct the file. Otherwise, correct the source: its next snapshot, or the"
        " corrected rows, take the place of this batch. To accept the batch, run with from_scratch=true, or raise"
        " refused_share_limit."
    )
    after = shop.contents()
    assert {name for name in before if before[name] != after[name]} == {"customers_silver"}
    assert states_of(shop) == {"transactions_silver": "failed", "retails_silver": "skipped"}
    assert shop.store.read(TRANSACTIONS_SILVER.changes).isEmpty()


@pytest.mark.first_engine
def test_a_corrected_batch_takes_the_place_of_a_refused_one(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, *bad_sales(50, 69), load="increment")
    assert states_of(shop)["transactions_silver"] == "failed"
    shop.land(TRANSACTIONS_BRONZE, 3, *good_sales(50, 68), *bad_sales(69, 69), load="increment")
    shop.refresh()
    assert number_of_sales(shop) == 59
    assert shop.broken_rules(TRANSACTIONS_SILVER) == {"69": ["quantity_is_not_zero"]}
    assert shop.complaints() == []


@pytest.mark.first_engine
def test_a_later_snapshot_takes_the_place_of_a_refused_one(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, *bad_sales(1, 40))
    assert states_of(shop)["transactions_silver"] == "failed"
    shop.land(TRANSACTIONS_BRONZE, 3, *good_sales(1, 41))
    shop.refresh()
    assert number_of_sales(shop) == 41
    assert shop.complaints() == []


@pytest.mark.first_engine
@pytest.mark.parametrize("parameters", [{}, {"full_refresh": "true"}], ids=["merge", "rebuild"])
def test_a_replaced_snapshot_leaves_nothing_in_any_table(warehouse: Warehouse, parameters: dict[str, str]) -> None:
    """A snapshot of another shop is refused. Its customers, prices and older sales do not appear later."""
    warehouse.land_sales(
        1,
        customers=[customer(number) for number in range(1, 41)],
        products=[product(number) for number in range(1, 41)],
        store=[store(1)],
        transactions=[sale(number) for number in range(1, 41)],
    )
    warehouse.refresh()
    before = warehouse.contents()
    warehouse.land(CUSTOMERS_BRONZE, 2, *(customer(number) for number in range(100, 120)))
    warehouse.land(PRODUCTS_BRONZE, 2, product(1, price="999.00"), *(product(number) for number in range(100, 120)))
    warehouse.land(TRANSACTIONS_BRONZE, 2, *(sale(number, date(2020, 1, 1)) for number in range(100, 120)))
    states = states_of(warehouse)
    assert {name for name, state in states.items() if state == "failed"} == {
        "customers_silver",
        "products_silver",
        "transactions_silver",
    }
    assert states["product_prices_silver"] == "skipped"
    assert warehouse.contents() == before
    warehouse.land(CUSTOMERS_BRONZE, 3, *(customer(number) for number in range(1, 41)))
    warehouse.land(PRODUCTS_BRONZE, 3, *(product(number) for number in range(1, 41)))
    warehouse.land(TRANSACTIONS_BRONZE, 3, *(sale(number) for number in range(1, 41)))
    warehouse.refresh()
    warehouse.refresh(**parameters)
    assert warehouse.contents() == before
    assert warehouse.complaints() == []
    # Compaction ignores the refused batches, too.
    for contract, rows in (
        (CUSTOMERS_BRONZE, map(customer, range(1, 41))),
        (PRODUCTS_BRONZE, map(product, range(1, 41))),
        (TRANSACTIONS_BRONZE, map(sale, range(1, 41))),
    ):
        warehouse.land(contract, 20, *rows)
    warehouse.refresh()
    compacted = remove_old_batches(warehouse.store, warehouse.landing, 7, extracted_at(28))
    assert {each.batches for each in compacted} == {3}
    warehouse.refresh(**parameters)
    assert warehouse.contents() == before
    assert warehouse.complaints() == []


@pytest.mark.first_engine
@pytest.mark.parametrize("accepting", [{"from_scratch": "true"}, {"refused_share_limit": "1"}])
def test_a_person_accepts_a_landed_batch(shop: Warehouse, accepting: dict[str, str]) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, *bad_sales(50, 69), load="increment")
    assert states_of(shop)["transactions_silver"] == "failed"
    shop.refresh(**accepting)
    assert len(shop.broken_rules(TRANSACTIONS_SILVER)) == 20
    # An accepted batch is not judged again.
    shop.land(TRANSACTIONS_BRONZE, 3, sale(50), load="increment")
    shop.refresh()
    if "from_scratch" in accepting:
        shop.refresh(full_refresh="true")
    assert len(shop.broken_rules(TRANSACTIONS_SILVER)) == 19
    assert shop.complaints() == []


@pytest.mark.first_engine
def test_few_bad_rows_and_a_small_share_of_bad_rows_are_quarantined(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, *bad_sales(50, 68), load="increment")
    shop.refresh()
    shop.land(TRANSACTIONS_BRONZE, 3, *bad_sales(100, 119), *good_sales(120, 199), load="increment")
    shop.refresh()
    assert len(shop.broken_rules(TRANSACTIONS_SILVER)) == 39


@pytest.mark.first_engine
def test_sales_of_unknown_customers_are_never_refused(shop: Warehouse) -> None:
    unknown = [sale(number, customer_id=9) for number in range(50, 80)]
    shop.land(TRANSACTIONS_BRONZE, 2, *unknown, load="increment")
    shop.refresh()
    assert number_of_sales(shop) == 70


@pytest.mark.first_engine
def test_a_first_load_with_too_many_bad_rows_fails(warehouse: Warehouse) -> None:
    bad = [customer(number, email=f"secret{n}@example.com") for number in range(1, 16) for n in range(2)]
    warehouse.land(CUSTOMERS_BRONZE, 1, *bad, *(customer(100 + number) for number in range(20)))
    run = runs_of(warehouse)["customers_silver"]
    assert run.state == "failed"
    assert "30 of 50 rows (60%) break rules of customers_silver" in run.error
    assert "key_is_unique: 30 rows, for example key 1." in run.error
    assert "secret" not in run.error
    warehouse.land(CUSTOMERS_BRONZE, 2, customer(1))
    warehouse.refresh(CUSTOMERS_SILVER)
    # The valid rows of the refused snapshot are ignored, because the later snapshot took its place.
    assert warehouse.rows(CUSTOMERS_SILVER, "customer_id", "is_active") == [(1, True)]


@pytest.mark.first_engine
def test_ambiguous_keys_of_a_first_load_count_as_bad_rows(warehouse: Warehouse) -> None:
    lines = [sale(number, quantity=line) for number in range(1, 4) for line in range(1, 10)]
    warehouse.land(TRANSACTIONS_BRONZE, 1, *lines)
    error = runs_of(warehouse)["transactions_silver"].error
    assert "27 of 27 rows (100%)" in error
    assert "key_is_unique: 27 rows, for example key 1" in error


@pytest.mark.first_engine
def test_a_bad_value_without_a_key_is_shown(warehouse: Warehouse) -> None:
    warehouse.land(CUSTOMERS_BRONZE, 1, *(customer(1) | {"customer_id": f"C-{n}"} for n in range(10, 40)))
    error = runs_of(warehouse)["customers_silver"].error
    assert "customer_id_is_present: 30 rows, for example no key, customer_id = 'C-10'" in error


@pytest.mark.first_engine
def test_a_file_with_too_many_bad_lines_is_refused_until_it_is_corrected(warehouse: Warehouse) -> None:
    def lines(**values: Any) -> list[dict[str, Any]]:
        given = {
            "event_type": "checkout",
            "occurred_at": "2026-02-01T00:00:00Z",
            "customer_id": "1",
            "_source_file": "a",
        }
        return [{"event_id": f"e{number}", **given, **values} for number in range(20)]

    warehouse.land(EVENTS_BRONZE, 1, *lines(event_type=None), load="files")
    [failed] = [run for run in warehouse.runner().refresh(["events_bronze", "events_silver"]) if run.state == "failed"]
    assert "Batch 20260301T050000Z-1 of events/events is refused" in failed.error
    warehouse.land(EVENTS_BRONZE, 2, *lines(), load="files")
    warehouse.refresh(EVENTS_SILVER)
    assert len(warehouse.rows(EVENTS_SILVER)) == 20


@pytest.mark.first_engine
def test_a_snapshot_that_lacks_too_many_rows_changes_no_table(shop: Warehouse) -> None:
    before = shop.contents()
    shop.land(TRANSACTIONS_BRONZE, 2, *good_sales(1, 19))
    runs = runs_of(shop)
    assert (runs["transactions_silver"].state, runs["retails_silver"].state) == ("failed", "skipped")
    assert runs["transactions_silver"].error == (
        f"Snapshot {batch_id_of(2)} of database/transactions is refused: 21 of 40 rows (52%) of transactions_silver are"
        " missing in it, more than shrink_limit (50%). transactions_silver and its downstream tables are unchanged."
        " Check whether the source is complete: its next snapshot takes the place of this one. To accept the snapshot,"
        " run with from_scratch=true, or raise shrink_limit."
    )
    assert shop.contents() == before
    # A rebuild does not accept the snapshot either.
    assert states_of(shop, full_refresh="true")["transactions_silver"] == "failed"
    assert shop.contents() == before
    shop.land(TRANSACTIONS_BRONZE, 3, *good_sales(1, 20))
    shop.refresh()
    assert number_of_sales(shop) == 20
    assert shop.complaints() == []


@pytest.mark.first_engine
@pytest.mark.parametrize("accepting", [{"from_scratch": "true"}, {"shrink_limit": "0.6"}])
@pytest.mark.parametrize("rebuilt", [{}, {"full_refresh": "true"}], ids=["merge", "rebuild"])
def test_a_person_accepts_a_shrunken_snapshot(
    shop: Warehouse, accepting: dict[str, str], rebuilt: dict[str, str]
) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, *good_sales(1, 19))
    assert states_of(shop)["transactions_silver"] == "failed"
    shop.refresh(**accepting, **rebuilt)
    assert number_of_sales(shop) == 19
    shop.refresh(full_refresh="true")
    assert number_of_sales(shop) == 19


@pytest.mark.first_engine
def test_deletions_that_the_source_reports_are_never_refused(shop: Warehouse) -> None:
    gone = [{"transaction_id": number} for number in range(1, 41)]
    shop.land(TRANSACTIONS_BRONZE, 2, load="increment", gone=gone)
    shop.refresh()
    assert number_of_sales(shop) == 0


@pytest.mark.first_engine
def test_limits_make_no_table_due(shop: Warehouse) -> None:
    assert states_of(shop, refused_share_limit="0.9", shrink_limit="0.9") == {}


@pytest.mark.first_engine
@pytest.mark.parametrize("accepted", [False, True])
def test_a_killed_run_neither_applies_nor_loses_a_batch(
    filled: Callable[..., Warehouse], tmp_path: Path, accepted: bool
) -> None:
    """If `accepted` is true, the killed run accepts every batch. The next run has the usual limits again."""
    shop, copy = filled(sell_much), tmp_path / "copy"
    before = shop.contents(TRANSACTIONS_SILVER)
    shop.land(TRANSACTIONS_BRONZE, 2, *bad_sales(50, 69), sale(1, quantity=7), load="increment")
    shop.run("transactions_bronze")
    shutil.copytree(shop.tables_folder, copy)
    accepting = {"from_scratch": "true"} if accepted else {}
    commit, seen = 0, set()
    while True:
        shop.restore(copy)
        if not shop.dies_at(commit, partial(runs_of, shop, **accepting)):
            break
        state = states_of(shop).get("transactions_silver", "fresh")
        content = shop.contents(TRANSACTIONS_SILVER)
        assert (content == before) == (state == "failed"), commit
        if state != "failed":
            assert len(content["transactions_silver_quarantine"]) == 20
            assert shop.complaints() == []
        seen.add(state)
        commit += 1
    assert seen == ({"failed", "refreshed", "fresh"} if accepted else {"failed"})


@pytest.mark.first_engine
def test_a_killed_run_finishes_an_accepted_shrinkage(filled: Callable[..., Warehouse], tmp_path: Path) -> None:
    shop, copy = filled(sell_much), tmp_path / "copy"
    shop.land(TRANSACTIONS_BRONZE, 2, *good_sales(1, 15))
    shop.run("transactions_bronze")
    shutil.copytree(shop.tables_folder, copy)
    commit = 0
    while True:
        shop.restore(copy)
        if not shop.dies_at(commit, partial(runs_of, shop, shrink_limit="0.7")):
            break
        state = states_of(shop).get("transactions_silver")
        assert number_of_sales(shop) == (40 if state == "failed" else 15), commit
        commit += 1
    assert commit > 3
