"""Tests of the mapping: a source with other names, types and formats than the contracts."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest
from tests.unit.warehouse import Warehouse, customer, extracted_at

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.pipeline.compaction import remove_old_batches

RECEIPTS = """
transactions:
  database: database_url
  table: V_RECEIPT_LINES
  primary_key: [BASKET_ID, LINE_NO]
  time_zone: Europe/Vienna
  date_format: dd.MM.yyyy
  decimal_separator: ","
  columns:
    transaction_id: TRY_CAST(basket_id AS INT) * 100 + TRY_CAST(line_no AS INT)
    customer_id: HSHD_NUM
    product_id: Article
    store_id: "'7'"
    quantity: PIECES
    transaction_date: SOLD
"""
COLUMNS = ("BASKET_ID", "LINE_NO", "HSHD_NUM", "Article", "PIECES", "SOLD", "PROMO")


def line(basket: int, number: int = 1, **values: object) -> dict[str, object]:
    return {
        "BASKET_ID": basket,
        "LINE_NO": number,
        "HSHD_NUM": "12",
        "Article": 5,
        "PIECES": "3",
        "SOLD": "31.12.2025",
        "PROMO": "x",
    } | values


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    path = tmp_path / "sources.yml"
    path.write_text(RECEIPTS, encoding="utf-8")
    return path


def test_columns_of_the_source_become_columns_of_the_contract(warehouse: Warehouse, sources: Path) -> None:
    warehouse.land(
        TRANSACTIONS_BRONZE,
        1,
        line(1),
        line(1, 2, SOLD="2025-12-31 23:30:00Z", PIECES="1.000"),
        line(2, SOLD="2025-12-31 23:30:00"),
        columns=COLUMNS,
    )
    warehouse.refresh(TRANSACTIONS_SILVER, sources_file=str(sources))

    names = ("transaction_id", "customer_id", "product_id", "store_id", "quantity", "transaction_date")
    assert warehouse.rows(TRANSACTIONS_SILVER, *names) == [
        (101, 12, 5, 7, 3, date(2025, 12, 31)),
        (102, 12, 5, 7, 1000, date(2026, 1, 1)),
        (201, 12, 5, 7, 3, date(2025, 12, 31)),
    ]


@pytest.mark.torture
def test_values_that_do_not_fit_are_refused_as_received(warehouse: Warehouse, sources: Path) -> None:
    warehouse.land(TRANSACTIONS_BRONZE, 1, line(1, PIECES="many"), line(2, SOLD="32.12.2025"), line(3), columns=COLUMNS)
    warehouse.refresh(TRANSACTIONS_SILVER, sources_file=str(sources))

    assert [key for (key,) in warehouse.rows(TRANSACTIONS_SILVER, "transaction_id")] == [301]
    assert warehouse.broken_rules(TRANSACTIONS_SILVER)["101"] == ["quantity_is_not_zero", "values_fit_their_columns"]
    records = " ".join(str(record) for (record,) in warehouse.rows(TRANSACTIONS_SILVER.quarantine, "record"))
    assert '"pieces":"many"' in records
    assert '"sold":"32.12.2025"' in records


@pytest.mark.first_engine
def test_changed_mapping_rebuilds_silver_and_not_bronze(warehouse: Warehouse, sources: Path) -> None:
    tables = (TRANSACTIONS_BRONZE.name, TRANSACTIONS_SILVER.name)
    warehouse.land(TRANSACTIONS_BRONZE, 1, line(1), columns=COLUMNS)
    assert warehouse.refreshed(*tables, sources_file=str(sources)) == list(tables)
    assert warehouse.refreshed(*tables, sources_file=str(sources)) == []

    sources.write_text(RECEIPTS.replace("\"'7'\"", "\"'8'\""), encoding="utf-8")
    [reason] = warehouse.runner(sources_file=str(sources)).plan([TRANSACTIONS_SILVER.name]).values()
    assert "setting mapping changed" in " ".join(reason)
    assert warehouse.refreshed(*tables, sources_file=str(sources)) == [TRANSACTIONS_SILVER.name]
    assert warehouse.rows(TRANSACTIONS_SILVER, "store_id") == [(8,)]


@pytest.mark.first_engine
def test_increments_are_merged_by_the_mapped_key(warehouse: Warehouse, sources: Path) -> None:
    warehouse.land(TRANSACTIONS_BRONZE, 1, line(1), line(2), columns=COLUMNS)
    warehouse.refresh(TRANSACTIONS_SILVER, sources_file=str(sources))
    warehouse.land(
        TRANSACTIONS_BRONZE,
        2,
        line(2, PIECES="9"),
        load="increment",
        gone=[{"BASKET_ID": 1, "LINE_NO": 1}],
        columns=COLUMNS,
    )
    warehouse.refresh(TRANSACTIONS_SILVER, sources_file=str(sources))

    assert warehouse.rows(TRANSACTIONS_SILVER, "transaction_id", "quantity") == [(201, 9)]
    assert warehouse.complaints() == []


@pytest.mark.first_engine
def test_compaction_keeps_needed_rows_of_a_mapped_source(warehouse: Warehouse, sources: Path) -> None:
    warehouse.land(TRANSACTIONS_BRONZE, 1, line(1), line(2), line(3, SOLD="01.10.2025"), columns=COLUMNS)
    warehouse.land(TRANSACTIONS_BRONZE, 2, line(2, PIECES="9"), line(4), columns=COLUMNS)
    warehouse.land(TRANSACTIONS_BRONZE, 3, line(4, PIECES="many"), load="increment", columns=COLUMNS)
    warehouse.land(TRANSACTIONS_BRONZE, 4, line(5), load="increment", columns=COLUMNS)
    warehouse.refresh(TRANSACTIONS_SILVER, sources_file=str(sources))
    expected = warehouse.contents(TRANSACTIONS_SILVER)

    [compacted] = remove_old_batches(warehouse.store, warehouse.landing, 7, extracted_at(30))
    warehouse.refresh(TRANSACTIONS_SILVER, sources_file=str(sources), full_refresh="true")

    assert (compacted.batches, compacted.skip_reason) == (3, "")
    assert [key for (key,) in warehouse.rows(TRANSACTIONS_SILVER, "transaction_id")] == [201, 301, 401, 501]
    assert warehouse.contents(TRANSACTIONS_SILVER) == expected
    assert warehouse.complaints() == []


@pytest.mark.torture
def test_names_are_found_in_any_case_and_attributes_are_kept(warehouse: Warehouse, sources: Path) -> None:
    sources.write_text("customers: {api: 'https://example.com', attributes: [Tier, AGE]}", encoding="utf-8")
    row = {name.upper().replace("_", " "): value for name, value in customer(1).items()}
    warehouse.land(CUSTOMERS_BRONZE, 1, row | {"Tier": "gold", "AGE": 40}, columns=[*row, "Tier", "AGE"])
    warehouse.refresh(CUSTOMERS_SILVER, sources_file=str(sources))

    expected = (1, "Customer 1", {"Tier": "gold", "AGE": "40"})
    assert warehouse.rows(CUSTOMERS_SILVER, "customer_id", "full_name", "attributes") == [expected]


@pytest.mark.torture
def test_unknown_column_fails_the_table_with_one_line(warehouse: Warehouse, sources: Path) -> None:
    sources.write_text(RECEIPTS.replace("PIECES", "QTY"), encoding="utf-8")
    warehouse.land(TRANSACTIONS_BRONZE, 1, line(1), columns=COLUMNS)
    runs = warehouse.runner(sources_file=str(sources)).refresh([TRANSACTIONS_BRONZE.name, TRANSACTIONS_SILVER.name])

    assert "maps the column 'QTY' of transactions" in runs[-1].error
    assert "article, basket_id" in runs[-1].error


def test_expression_that_is_not_sql_fails_the_table_with_one_line(warehouse: Warehouse, sources: Path) -> None:
    sources.write_text(RECEIPTS.replace("\"'7'\"", '"nowhere + 1"'), encoding="utf-8")
    warehouse.land(TRANSACTIONS_BRONZE, 1, line(1), columns=COLUMNS)
    runs = warehouse.runner(sources_file=str(sources)).refresh([TRANSACTIONS_BRONZE.name, TRANSACTIONS_SILVER.name])

    assert "The mapping of transactions is not valid SQL over the columns of transactions_bronze" in runs[-1].error


def test_times_without_a_zone_are_times_of_the_time_zone(warehouse: Warehouse, sources: Path) -> None:
    sources.write_text("customers: {api: 'https://example.com', time_zone: Europe/Vienna}", encoding="utf-8")
    times = ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+05:00")
    rows = [customer(number, updated_at=time) for number, time in enumerate(times)]
    warehouse.land(CUSTOMERS_BRONZE, 1, *rows)
    warehouse.refresh(CUSTOMERS_SILVER, sources_file=str(sources))

    hours = [at.hour for (at,) in warehouse.rows(CUSTOMERS_SILVER, "updated_at") if isinstance(at, datetime)]
    assert sorted(hours) == [7, 11, 12]
