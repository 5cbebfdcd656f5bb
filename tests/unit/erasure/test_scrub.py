"""Tests of the removal of persons from landed batches and bronze rows of every format and mapping."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, ID_KEYS_SILVER, RETAILS_SILVER
from cdp_lib.erasure.erase import Erasure, request_erasure
from cdp_lib.erasure.persons import Request
from cdp_lib.pipeline.run import Runner

from ..warehouse import Warehouse, batch_id_of, customer, extracted_at, product, store

KEY = "a key of the tests"  # pragma: allowlist secret
NOW = datetime(2026, 4, 2, tzinfo=UTC)
SOURCES = """
customers: {api: https://example.com, text_ids: true}
products: {database: database_url}
stores: {database: database_url}
transactions:
  database: database_url
  columns:
    transaction_id: receipt
    customer_id: "concat(substr(card_no, 1, 1), '-', substr(card_no, 2))"
    transaction_date: day
"""
COLUMNS = ("receipt", "Card No", "product_id", "store_id", "quantity", "day", "clerk_note")


@pytest.fixture
def sources(tmp_path: Path) -> str:
    path = tmp_path / "sources.yml"
    path.write_text(SOURCES, encoding="utf-8")
    return str(path)


def line(number: int, card: str | None) -> dict[str, object]:
    known = {"receipt": number, "Card No": card, "product_id": 1, "store_id": 1, "quantity": 2, "day": "2026-01-10"}
    return known | {"clerk_note": f"gave {card} a bag"}


def runner(warehouse: Warehouse, sources: str) -> Runner:
    opened = warehouse.runner(sources_file=sources)
    return Runner(opened.store, opened.landing, opened.settings, opened.graph, KEY)


def run(warehouse: Warehouse, sources: str) -> None:
    runs = runner(warehouse, sources).refresh(["+retails_silver"])
    assert not [f"{each.table}: {each.error}" for each in runs if each.error]


def erase(warehouse: Warehouse, sources: str, customer_id: str) -> None:
    request_erasure(runner(warehouse, sources), [Request("customer_id", customer_id)], NOW)
    erasure = Erasure.open(runner(warehouse, sources), KEY)
    erasure.scrub(lambda text: None)
    assert not [each.error for each in erasure.runner.refresh(["+retails_silver"]) if each.error]
    erasure.finish(NOW)


def land_shop(warehouse: Warehouse) -> None:
    customers = [
        customer(0, customer_id=code, full_name=f"Name {code}", email=f"{code}@x.example") for code in ("K-07", "K-7")
    ]
    warehouse.land(CUSTOMERS_BRONZE, 1, *customers)
    warehouse.land(PRODUCTS_BRONZE, 1, product(1))
    warehouse.land(STORE_BRONZE, 1, store(1))


def are_anonymous(warehouse: Warehouse) -> list[bool]:
    """Return whether each sale has no customer, in the order of the sales."""
    return [customer_id is None for _, customer_id in warehouse.rows(RETAILS_SILVER, "transaction_id", "customer_id")]


def test_identifiers_from_an_expression_are_removed_from_json(warehouse: Warehouse, sources: str) -> None:
    land_shop(warehouse)
    lines = [line(1, "K07"), line(2, "K7"), line(3, None)]
    warehouse.land(TRANSACTIONS_BRONZE, 1, *lines, load="increment", columns=COLUMNS)
    run(warehouse, sources)
    assert [row[1] is None for row in warehouse.rows(RETAILS_SILVER, "transaction_id", "customer_id")] == [
        False,
        False,
        True,
    ]

    erase(warehouse, sources, "K-07")

    [path] = warehouse.folder_of(TRANSACTIONS_BRONZE, 1).rglob("*.jsonl")
    landed = [json.loads(text) for text in path.read_text().splitlines()]
    assert landed[0] == {name: value for name, value in lines[0].items() if name not in ("Card No", "clerk_note")}
    assert landed[1:] == lines[1:]
    assert [row[1] is None for row in warehouse.rows(RETAILS_SILVER, "transaction_id", "customer_id")] == [
        True,
        False,
        True,
    ]
    assert warehouse.rows(CUSTOMERS_SILVER, "full_name") == [("Name K-7",)]
    assert [
        text for entity, text in warehouse.rows(ID_KEYS_SILVER, "entity", "source_id") if entity == "customers"
    ] == ["K-7"]
    assert "K07" not in str(warehouse.store.read(TRANSACTIONS_BRONZE).collect())
    assert warehouse.complaints() == []


@pytest.mark.first_engine
def test_identifiers_are_removed_from_parquet(warehouse: Warehouse, sources: str) -> None:
    land_shop(warehouse)
    lines = pa.Table.from_pylist([line(number, card) for number, card in enumerate(["K07", "K7", None, "K07"], 1)])
    with warehouse.landing.new_batch(
        TRANSACTIONS_BRONZE.source, TRANSACTIONS_BRONZE.entity, batch_id_of(1), extracted_at(1).isoformat()
    ) as batch:
        with batch.open_data("part-00000.parquet", "parquet") as file:
            pq.write_table(lines, file)
        batch.add(lines.num_rows, lines.column_names)
    run(warehouse, sources)

    erase(warehouse, sources, "K-07")

    [path] = warehouse.folder_of(TRANSACTIONS_BRONZE, 1).rglob("*.parquet")
    landed = pq.read_table(path)
    assert landed.schema.equals(lines.schema)
    assert landed["Card No"].to_pylist() == [None, "K7", None, None]
    assert landed["clerk_note"].to_pylist() == [None, "gave K7 a bag", "gave None a bag", None]
    assert landed["receipt"].to_pylist() == [1, 2, 3, 4]
    run(warehouse, sources)
    assert warehouse.complaints() == []


@pytest.mark.first_engine
@pytest.mark.parametrize("email", ["ada@example.com", "\\u0061da@example.com"], ids=["plain", "escaped"])
def test_records_are_found_however_json_writes_them(warehouse: Warehouse, email: str) -> None:
    warehouse.land_sales(1, customers=[customer(1), customer(2)])
    [path] = warehouse.folder_of(CUSTOMERS_BRONZE, 1).rglob("*.jsonl")
    text = path.read_text().replace("c1@example.com", email).replace('"customer_id": "1"', '"customer_id": 1')
    path.write_text(text, encoding="utf-8")
    opened = warehouse.runner()
    started = Runner(opened.store, opened.landing, opened.settings, opened.graph, KEY)
    assert not [each.error for each in started.refresh(["+customers_silver"]) if each.error]

    request_erasure(started, [Request("email", "ada@example.com")], NOW)
    erasure = Erasure.open(started, KEY)
    erasure.scrub(lambda line: None)

    assert [json.loads(each)["customer_id"] for each in path.read_text().splitlines()] == ["2"]
    assert started.landing.read_batch("customers_api", "customers", batch_id_of(1)).rows_erased == 1
