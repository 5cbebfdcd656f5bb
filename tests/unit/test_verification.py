"""Tests of the verification of tables: which differences it finds, and what a repair rebuilds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.gold import COUNTRY_DETAILED_ANALYSIS_GOLD, MONTHLY_SALES_GOLD
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, PRODUCTS_SILVER, RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.state import read_states, write_states
from cdp_lib.verification import RowDifference, VerifiedTable

from .warehouse import OF_SALES, Warehouse, batch_id_of, customer, product, sale, store

MARTS = (COUNTRY_DETAILED_ANALYSIS_GOLD, MONTHLY_SALES_GOLD)
GOLD = [f"+{contract.name}" for contract in MARTS]


def sell(warehouse: Warehouse) -> None:
    """Land two batches of sales and refresh. In the second, one sale has an unknown customer and one breaks a rule."""
    warehouse.land_sales(
        1, customers=[customer(1)], products=[product(1)], store=[store(1)], transactions=[sale(1), sale(2), sale(3)]
    )
    rows = [sale(3, quantity=9), sale(4, customer_id=9), sale(5, quantity=0)]
    warehouse.land(TRANSACTIONS_BRONZE, 2, *rows, load="increment")
    warehouse.run(*GOLD)


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse that has loaded two batches of sales and has all sales marts."""
    return filled(sell)


def change(shop: Warehouse, contract: TableContract, statement: str) -> None:
    """Change a table by hand."""
    shop.store.session.sql(statement.format(table=shop.store.name_of(contract.name))).collect()


def versions(shop: Warehouse) -> dict[str, tuple[int, str]]:
    return {name: (state.version, state.token) for name, state in read_states(shop.store).items()}


def found(verified: list[VerifiedTable]) -> dict[str, RowDifference]:
    return {each.table_name: each.difference for each in verified if each.is_different}


@pytest.mark.torture
def test_tables_of_a_run_equal_a_rebuild(shop: Warehouse) -> None:
    verified = shop.verify()
    assert [each.complaint for each in verified if each.is_different] == []
    assert {each.table_name for each in verified} == set(read_states(shop.store))
    assert {each.table_name for each in verified if each.skip_reason} == {
        name for name, table in shop.graph.tables.items() if table.contract.layer == "bronze"
    } & {*read_states(shop.store)}


@pytest.mark.torture
def test_tables_equal_a_rebuild_after_deletions_and_duplicates(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 3, load="increment", gone=[{"transaction_id": 1}])
    shop.run(*GOLD)
    assert shop.differences() == []
    shop.land(TRANSACTIONS_BRONZE, 4, sale(7), sale(7), sale(None), load="increment", gone=[{"transaction_id": 7}])
    shop.land(CUSTOMERS_BRONZE, 5, customer(2), customer(3), customer(3, full_name="B"), customer(4, customer_id="x"))
    shop.run(*GOLD)
    assert shop.differences() == []


@pytest.mark.torture
@pytest.mark.parametrize(
    ("contract", "statement", "expected"),
    [
        (RETAILS_SILVER, "DELETE FROM {table} WHERE transaction_id = 3", RowDifference(missing=1)),
        (RETAILS_SILVER.quarantine, "DELETE FROM {table}", RowDifference(missing=1)),
        (RETAILS_SILVER, "UPDATE {table} SET revenue = 0 WHERE transaction_id = 1", RowDifference(changed=1)),
        (CUSTOMERS_SILVER, "UPDATE {table} SET customer_id = 8", RowDifference(missing=1, surplus=1)),
        (CUSTOMERS_SILVER, "UPDATE {table} SET country = 'Atlantis'", RowDifference(changed=1)),
        (TRANSACTIONS_SILVER, "INSERT INTO {table} SELECT * FROM {table}", RowDifference(surplus=4)),
        (MONTHLY_SALES_GOLD, "UPDATE {table} SET monthly_customers = 7", RowDifference(changed=1)),
        (
            COUNTRY_DETAILED_ANALYSIS_GOLD,
            "UPDATE {table} SET avg_transaction_value = avg_transaction_value * 1.001",
            RowDifference(changed=1),
        ),
    ],
    ids=["lost row", "lost refusal", "value", "key", "customer", "duplicates", "mart", "average"],
)
def test_a_table_changed_by_hand_is_found_and_only_it_is_rebuilt(
    shop: Warehouse, contract: TableContract, statement: str, expected: RowDifference
) -> None:
    before, at_first = shop.contents(*OF_SALES, *MARTS), versions(shop)
    change(shop, contract, statement)

    name = contract.name.removesuffix("_quarantine")
    repaired = shop.verify(repair=True)

    assert found(repaired) == {name: expected}
    assert [each.table_name for each in repaired if each.is_repaired] == [name]
    assert shop.contents(*OF_SALES, *MARTS) == before
    assert versions(shop) == at_first
    assert (shop.differences(name), shop.complaints(), shop.refreshed(*GOLD)) == ([], [], [])


@pytest.mark.torture
def test_a_last_bit_of_a_double_is_no_difference(shop: Warehouse) -> None:
    change(
        shop,
        COUNTRY_DETAILED_ANALYSIS_GOLD,
        "UPDATE {table} SET avg_transaction_value = avg_transaction_value * 1.000000000001",
    )
    assert shop.differences() == []


@pytest.mark.torture
def test_downstream_tables_of_a_wrong_table_are_compared_after_its_repair(shop: Warehouse) -> None:
    change(shop, RETAILS_SILVER, "UPDATE {table} SET revenue = 0")
    verified = {each.table_name: each.skip_reason for each in shop.verify()}
    assert verified[MONTHLY_SALES_GOLD.name] == "retails_silver is wrong"
    change(shop, MONTHLY_SALES_GOLD, "UPDATE {table} SET monthly_revenue = 0")
    repaired = [each.table_name for each in shop.verify(repair=True) if each.is_repaired]
    assert repaired == [RETAILS_SILVER.name, MONTHLY_SALES_GOLD.name]
    assert shop.differences() == []


@pytest.mark.torture
def test_incremental_refreshes_continue_after_a_repair(shop: Warehouse) -> None:
    change(shop, TRANSACTIONS_SILVER, "DELETE FROM {table} WHERE transaction_id = 1")
    change(shop, RETAILS_SILVER, "UPDATE {table} SET revenue = 1")
    assert len([each for each in shop.verify(repair=True) if each.is_repaired]) == 2
    shop.land(TRANSACTIONS_BRONZE, 3, sale(6), load="increment", gone=[{"transaction_id": 2}])
    shop.run(*GOLD)
    assert (shop.differences(), shop.complaints()) == ([], [])
    assert [row[0] for row in shop.rows(RETAILS_SILVER, "transaction_id")] == [1, 3, 6]


@pytest.mark.torture
def test_a_killed_repair_is_repeated_by_the_next_run(shop: Warehouse) -> None:
    before = shop.contents(*OF_SALES, *MARTS)
    commit = 0
    while True:
        change(shop, RETAILS_SILVER, "DELETE FROM {table} WHERE transaction_id = 1")
        if not shop.dies_at(commit, lambda: shop.verify(RETAILS_SILVER.name, repair=True)):
            break
        shop.run(*GOLD)
        shop.verify(RETAILS_SILVER.name, repair=True)  # a run does not notice a row that was lost before the intent
        assert shop.contents(*OF_SALES, *MARTS) == before, commit
        commit += 1
    assert commit > 2
    assert shop.contents(*OF_SALES, *MARTS) == before


# Bronze


@pytest.mark.torture
def test_a_damaged_bronze_table_is_loaded_again_without_new_batches(shop: Warehouse) -> None:
    before, at_first = shop.contents(*OF_SALES, *MARTS), versions(shop)
    change(shop, TRANSACTIONS_BRONZE, "DELETE FROM {table} WHERE transaction_id = 2")
    shop.land(TRANSACTIONS_BRONZE, 3, sale(6), load="increment")  # not loaded yet

    repaired = [each.table_name for each in shop.verify(repair=True) if each.is_repaired]

    assert repaired == [TRANSACTIONS_BRONZE.name]
    assert versions(shop) == at_first
    assert (shop.contents(*OF_SALES, *MARTS), shop.differences()) == (before, [])
    shop.run(*GOLD)
    assert [row[0] for row in shop.rows(RETAILS_SILVER, "transaction_id")] == [1, 2, 3, 6]
    assert shop.differences() == []


@pytest.mark.torture
def test_a_repair_of_bronze_loses_no_row_of_a_batch_that_is_no_longer_landed(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 3, sale(6), load="increment")
    shop.run(*GOLD)
    before = shop.contents(*OF_SALES, *MARTS)
    change(shop, TRANSACTIONS_BRONZE, "DELETE FROM {table} WHERE transaction_id = 1")
    (shop.folder_of(TRANSACTIONS_BRONZE, 2) / "manifest.json").unlink()

    [wrong] = [each for each in shop.verify(repair=True) if each.is_different]

    assert (wrong.table_name, wrong.is_wrong) == (TRANSACTIONS_BRONZE.name, True)
    assert f"Batch {batch_id_of(2)} of transactions_bronze is no longer landed" in wrong.complaint
    assert shop.contents(*OF_SALES, *MARTS) == before
    assert shop.complaints()[0].startswith("transactions_bronze: ")


@pytest.mark.torture
def test_rows_that_cannot_be_loaded_again_are_reported_until_they_are_restored(shop: Warehouse) -> None:
    """The batch with the lost row was landed, but its folder is now gone, as after a compaction."""
    change(shop, TRANSACTIONS_BRONZE, "DELETE FROM {table} WHERE transaction_id = 1")
    (shop.folder_of(TRANSACTIONS_BRONZE, 1) / "manifest.json").unlink()
    before = shop.contents(*OF_SALES, *MARTS)
    for _ in range(2):
        [wrong] = [each for each in shop.verify(repair=True) if each.is_different]
        assert "it should have 6" in wrong.complaint
        assert shop.contents(*OF_SALES, *MARTS) == before


# Tables that are due


@pytest.mark.torture
def test_a_refused_snapshot_is_no_difference(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 3, *(sale(number) for number in range(100, 130)), load="increment")
    shop.run(*GOLD)
    shop.land(TRANSACTIONS_BRONZE, 4, sale(1))
    runs = shop.runner().refresh(GOLD)
    assert [run.table for run in runs if run.state == "failed"] == ["transactions_silver"]
    assert found(shop.verify()) == {}
    change(shop, TRANSACTIONS_SILVER, "DELETE FROM {table} WHERE transaction_id = 100")
    before = versions(shop)
    assert found(shop.verify()) == {"transactions_silver": RowDifference(missing=1)}
    assert [each.table_name for each in shop.verify(repair=True) if each.is_repaired] == ["transactions_silver"]
    assert (found(shop.verify()), versions(shop)) == ({}, before)
    runs = shop.runner().refresh(GOLD)
    assert "Snapshot" in next(run.error for run in runs if run.state == "failed")


@pytest.mark.torture
def test_tables_that_are_due_are_not_compared(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 3, customer(1, country="UAE"))
    shop.run("customers_bronze", "customers_silver")
    skipped = {each.table_name: each.skip_reason for each in shop.verify()}
    assert skipped["retails_silver"] == "it is due: customers_silver changed"
    assert skipped["customers_silver"] == ""


@pytest.mark.torture
def test_an_unreadable_table_does_not_hide_the_others(shop: Warehouse) -> None:
    before = shop.contents(*OF_SALES, *MARTS)
    for file in (shop.tables_folder / MONTHLY_SALES_GOLD.name).rglob("*.parquet"):
        file.unlink()
    change(shop, PRODUCTS_SILVER, "UPDATE {table} SET category = 'D'")
    wrong = {each.table_name: each.complaint for each in shop.verify() if each.is_wrong}
    assert list(wrong) == [PRODUCTS_SILVER.name]
    wrong = {each.table_name: each.complaint for each in shop.verify(repair=True) if each.is_different}
    assert list(wrong) == [PRODUCTS_SILVER.name, MONTHLY_SALES_GOLD.name]
    assert wrong[MONTHLY_SALES_GOLD.name].startswith("monthly_sales_gold can't be compared: ")
    assert shop.contents(*OF_SALES, *MARTS) == before


@pytest.mark.torture
def test_no_table_is_verified_before_the_first_run(warehouse: Warehouse) -> None:
    assert warehouse.verify() == []


@pytest.mark.torture
def test_rows_older_than_bronze_are_not_surplus(shop: Warehouse) -> None:
    """Bronze has lost its first batch. The state of bronze says so: its `complete_since` is the second batch."""
    change(shop, TRANSACTIONS_BRONZE, f"DELETE FROM {{table}} WHERE _batch_id < '{batch_id_of(2)}'")
    states = read_states(shop.store)
    bronze = states[TRANSACTIONS_BRONZE.name]
    details = {**bronze.details, "complete_since": batch_id_of(2), "snapshot": ""}
    write_states(shop.store, states | {TRANSACTIONS_BRONZE.name: replace(bronze, details=details, rows=3)})
    assert found(shop.verify(TRANSACTIONS_SILVER.name, TRANSACTIONS_BRONZE.name)) == {}


@pytest.mark.torture
def test_a_sum_that_the_state_does_not_have_is_reported_and_repaired(shop: Warehouse) -> None:
    states = read_states(shop.store)
    state = states[RETAILS_SILVER.name]
    write_states(shop.store, states | {RETAILS_SILVER.name: replace(state, sums={**state.sums, "lines": "99"})})
    [wrong] = [each for each in shop.verify() if each.is_different]
    assert wrong.complaint == "retails_silver: its lines is 3, but its state says 99"
    shop.verify(repair=True)
    assert shop.differences() == []


@pytest.mark.torture
def test_a_result_is_described_in_one_line() -> None:
    wrong = VerifiedTable("t_silver", RowDifference(1200, 3, 1), ("t_silver: 2 rows in",), repair_error="no space")
    assert wrong.complaint == (
        "t_silver: 1,200 rows missing, 3 too many, 1 changed; t_silver: 2 rows in. It was not rebuilt: no space"
    )
    assert (wrong.is_wrong, VerifiedTable("t_silver").complaint) == (True, "")
    assert not VerifiedTable("t_silver", RowDifference(1), is_repaired=True).is_wrong
