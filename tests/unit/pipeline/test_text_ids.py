"""Tests of text identifiers: `id_keys_silver` gives each of them a number that never changes."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest
from tests.unit.warehouse import Warehouse, customer, extracted_at, product, sale, store

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, ID_KEYS_SILVER, RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.pipeline.compaction import remove_old_batches

SOURCES = """
customers: {api: https://example.com, text_ids: true}
products: {database: database_url}
stores: {database: database_url}
transactions:
  database: database_url
  text_ids: true
  columns: {transaction_id: "concat_ws('|', receipt, line)"}
"""
DAY = date(2026, 1, 10)
COLUMNS = ("receipt", "line", "customer_id", "product_id", "store_id", "quantity", "transaction_date")


@pytest.fixture
def sources(tmp_path: Path) -> str:
    path = tmp_path / "sources.yml"
    path.write_text(SOURCES, encoding="utf-8")
    return str(path)


def receipt(number: int, line: int, code: str | None) -> dict[str, object]:
    known = {name: value for name, value in sale(1, DAY).items() if name in COLUMNS}
    return known | {"receipt": number, "line": line, "customer_id": code, "transaction_date": str(DAY)}


def land(warehouse: Warehouse, day: int, codes: list[str], lines: list[dict[str, object]]) -> None:
    warehouse.land(CUSTOMERS_BRONZE, day, *(customer(0, customer_id=code, full_name=code) for code in codes))
    warehouse.land(TRANSACTIONS_BRONZE, day, *lines, load="increment", columns=COLUMNS)


@pytest.fixture
def receipts(warehouse: Warehouse, sources: str) -> Warehouse:
    """Return a warehouse with a sale of a known, of an unknown and of no customer."""
    warehouse.land(PRODUCTS_BRONZE, 1, product(1))
    warehouse.land(STORE_BRONZE, 1, store(1))
    land(warehouse, 1, ["007", "7"], [receipt(9, 1, "007"), receipt(9, 2, "C-9"), receipt(9, 3, None)])
    warehouse.refresh(sources_file=sources)
    return warehouse


def numbers(warehouse: Warehouse) -> dict[tuple[str, str], int]:
    return {(entity, text): number for entity, text, number in warehouse.rows(ID_KEYS_SILVER)}


def customers_of_sales(warehouse: Warehouse) -> dict[str, str | None]:
    """Return the identifier of the customer of each accepted sale, by the identifier of the sale."""
    texts = {(entity, number): text for (entity, text), number in numbers(warehouse).items()}
    sales = warehouse.rows(RETAILS_SILVER, "transaction_id", "customer_id")
    return {texts["transactions", line]: texts.get(("customers", number)) for line, number in sales}


@pytest.mark.first_engine
def test_each_text_has_its_own_number(receipts: Warehouse) -> None:
    assert numbers(receipts) == {
        ("customers", "007"): 1,
        ("customers", "7"): 2,
        ("customers", "C-9"): 3,
        ("transactions", "9|1"): 1,
        ("transactions", "9|2"): 2,
        ("transactions", "9|3"): 3,
    }
    assert receipts.rows(CUSTOMERS_SILVER, "customer_id", "full_name") == [(1, "007"), (2, "7")]
    assert customers_of_sales(receipts) == {"9|1": "007", "9|3": None}
    assert receipts.broken_rules(RETAILS_SILVER) == {"2": ["customer_is_known"]}
    assert receipts.complaints() == []


def test_numbers_stay_when_more_texts_arrive(receipts: Warehouse, sources: str) -> None:
    before = numbers(receipts)
    land(receipts, 2, ["007", "A-1", "C-9"], [receipt(8, 1, "A-1")])
    receipts.refresh(sources_file=sources)
    after = numbers(receipts)
    assert {text: number for text, number in after.items() if text in before} == before
    assert after.keys() - before.keys() == {("customers", "A-1"), ("transactions", "8|1")}
    assert customers_of_sales(receipts) == {"9|1": "007", "9|2": "C-9", "9|3": None, "8|1": "A-1"}
    receipts.refresh(sources_file=sources, full_refresh="true")
    assert numbers(receipts) == after


@pytest.mark.first_engine
def test_numbers_are_right_after_a_kill_at_any_commit(receipts: Warehouse, sources: str) -> None:
    before = numbers(receipts)
    land(receipts, 2, ["007", "A-1"], [receipt(8, 1, "A-1"), receipt(8, 2, "C-9")])
    for commit in range(12):
        receipts.is_killed_at(commit, sources_file=sources)
        found = receipts.rows(ID_KEYS_SILVER)
        assert len(found) == len(numbers(receipts)), "a text has two numbers"
    receipts.refresh(sources_file=sources)
    assert before.items() <= numbers(receipts).items()
    assert customers_of_sales(receipts) == {"9|1": "007", "9|3": None, "8|1": "A-1"}


@pytest.mark.first_engine
def test_lost_numbers_are_replaced_in_every_table(receipts: Warehouse, sources: str) -> None:
    # The smallest text comes last, so that new numbers differ from the old ones.
    land(receipts, 2, ["000"], [receipt(8, 1, "000")])
    receipts.refresh(sources_file=sources)
    before = numbers(receipts)
    receipts.store.session.sql(f"DROP TABLE {receipts.store.name_of(ID_KEYS_SILVER.name)}").collect()
    shutil.rmtree(receipts.tables_folder / ID_KEYS_SILVER.name, ignore_errors=True)
    receipts.store._existing.clear()
    receipts.refresh(sources_file=sources)
    assert numbers(receipts).keys() == before.keys()
    assert numbers(receipts) != before
    assert customers_of_sales(receipts)["8|1"] == "000"
    assert receipts.rows(CUSTOMERS_SILVER, "full_name", "is_active") == [("000", True), ("007", False), ("7", False)]


@pytest.mark.first_engine
def test_numbers_survive_a_compaction(receipts: Warehouse, sources: str) -> None:
    land(receipts, 2, ["007", "7"], [receipt(8, 1, "7")])
    receipts.refresh(sources_file=sources)
    before, sold = numbers(receipts), customers_of_sales(receipts)
    compacted = remove_old_batches(receipts.store, receipts.landing, 0, extracted_at(3))
    assert [each.skip_reason for each in compacted] == [""] * len(compacted)
    receipts.refresh(sources_file=sources, full_refresh="true")
    assert (numbers(receipts), customers_of_sales(receipts)) == (before, sold)


@pytest.mark.first_engine
def test_numbers_are_not_needed_without_text_ids(shop: Warehouse) -> None:
    assert not shop.store.exists(ID_KEYS_SILVER)
    assert ID_KEYS_SILVER.name not in shop.runner().plan()


@pytest.mark.torture
def test_large_numbers_survive_every_step(warehouse: Warehouse) -> None:
    large: list[tuple[BronzeContract, dict[str, object]]] = [
        (CUSTOMERS_BRONZE, customer(2**53 + 1)),
        (PRODUCTS_BRONZE, product(2**53 + 3)),
        (STORE_BRONZE, store(2**31)),
        (TRANSACTIONS_BRONZE, sale(2**62 + 1, DAY, customer_id=2**53 + 1, product_id=2**53 + 3, store_id=2**31)),
    ]
    for contract, row in large:
        warehouse.land(contract, 1, row)
    warehouse.refresh()
    names = ("transaction_id", "customer_id", "product_id", "store_id")
    assert warehouse.rows(RETAILS_SILVER, *names) == [(2**62 + 1, 2**53 + 1, 2**53 + 3, 2**31)]
    assert warehouse.rows(TRANSACTIONS_SILVER, "transaction_id") == [(2**62 + 1,)]
