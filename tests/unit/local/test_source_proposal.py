"""Tests of the proposal of a file of sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.errors import CdpError
from cdp_lib.sources_file import read_sources
from cdp_local.source_proposal import Relation, database_relations, propose, propose_columns

LINES = Relation(
    "V_RECEIPT_LINES",
    {
        "BASKET_ID": "number",
        "LINE_NO": "number",
        "HSHD_NUM": "number",
        "PRODUCT_NUM": "number",
        "STORE_NUM": "number",
        "UNITS": "number",
        "PURCHASE_DATE": "date",
        "PROMOTION": "text",
    },
    ["database: database_url", "table: V_RECEIPT_LINES"],
    ("BASKET_ID", "LINE_NO"),
)
PRODUCTS = Relation(
    "Artikel",
    {"ArticleNr": "number", "ArticleName": "text", "Department": "text", "ListPrice": "number"},
    ["database: database_url", "table: Artikel"],
    ("ArticleNr",),
)


def test_proposal_is_a_valid_file_of_sources(tmp_path: Path) -> None:
    path = tmp_path / "sources.yml"
    path.write_text(propose([LINES, PRODUCTS]), encoding="utf-8")
    sources = read_sources(str(path), {}).entities

    assert sources.keys() == {"products", "transactions"}
    lines, products = sources["transactions"], sources["products"]
    assert (lines.table, lines.primary_key) == ("V_RECEIPT_LINES", ("BASKET_ID", "LINE_NO"))
    assert dict(lines.mapping.columns) == {
        "transaction_id": "concat_ws('|', basket_id, line_no)",
        "customer_id": "HSHD_NUM",
        "product_id": "PRODUCT_NUM",
        "store_id": "STORE_NUM",
        "quantity": "UNITS",
        "transaction_date": "PURCHASE_DATE",
        "order_id": "BASKET_ID",
        "promotion_code": "PROMOTION",
    }
    assert dict(products.mapping.columns) == {
        "product_id": "ArticleNr",
        "product_name": "ArticleName",
        "category": "Department",
        "price": "ListPrice",
    }


def test_reasons_and_unused_columns_are_comments() -> None:
    text = propose([LINES])
    assert "    quantity: UNITS  # 'UNITS' has a word for quantity?\n" in text
    assert "attributes" not in text, "sales keep no attributes"
    assert "# stores: nothing looks like it." in text


def test_column_of_the_source_is_proposed_once() -> None:
    relation = Relation("people", {"Customer": "number", "customer_name": "text", "mail": "text"}, ["files: /data"])
    proposed = {each.ours: each.theirs for each in propose_columns(CUSTOMERS_BRONZE, relation)}
    assert proposed == {
        "customer_id": "Customer",
        "full_name": "customer_name",
        "email": "mail",
        "country": "",
        "registration_date": "",
        "household_id": "",
        "updated_at": "",
    }


def test_number_is_not_proposed_for_a_date() -> None:
    relation = Relation("customers", {"customer_id": "number", "registration_day_count": "number"}, ["files: /data"])
    [proposal] = [each for each in propose_columns(CUSTOMERS_BRONZE, relation) if each.ours == "registration_date"]
    assert (proposal.theirs, proposal.similarity) == ("", 0.0)


@pytest.mark.parametrize(
    ("days", "proposed"),
    [
        (["31.12.2025", "01.02.2026"], "date_format: dd.MM.yyyy  # a value is '31.12.2025'?"),
        (["12/31/2025", "01/02/2026"], "date_format: MM/dd/yyyy  # a value is '12/31/2025'?"),
        (["31/12/2025", "01/02/2026"], "date_format: dd/MM/yyyy  # a value is '31/12/2025'?"),
        (["2025-12-31"], None),
    ],
)
def test_formats_of_dates_and_numbers_are_proposed(days: list[str], proposed: str | None, tmp_path: Path) -> None:
    values = {"SOLD_ON": days, "UNITS": ["2,5", "1.000,25"]}
    columns = {**LINES.columns, "SOLD_ON": "text", "UNITS": "text"}
    del columns["PURCHASE_DATE"]
    text = propose([replace(LINES, key=(), columns=columns, is_view=True, values=values)])
    assert (f"  {proposed}\n" in text) if proposed else ("date_format" not in text)
    assert "  decimal_separator: \",\"  # a value is '2,5'?\n" in text
    assert "  # primary_key: []  # the columns that identify a row" in text
    (tmp_path / "sources.yml").write_text(text, encoding="utf-8")
    assert read_sources(str(tmp_path / "sources.yml"), {}).entities["transactions"].mapping.decimal_separator == ","


def test_tables_and_views_of_a_database_have_kinds_and_keys(new_postgresql_database: Callable[[str], str]) -> None:
    url = new_postgresql_database("""
        CREATE SCHEMA shop;
        CREATE TABLE shop.lines (basket BIGINT, line INT, sold_at TIMESTAMPTZ, day DATE, name TEXT, price NUMERIC,
                                 PRIMARY KEY (basket, line));
        INSERT INTO shop.lines VALUES (1, 1, NULL, NULL, '2,50', NULL);
        CREATE VIEW shop.v_lines AS SELECT basket, sold_at FROM shop.lines;
    """)
    lines, view = database_relations(url, "shop", "database_url")
    assert lines.columns == {
        "basket": "number",
        "line": "number",
        "sold_at": "time",
        "day": "date",
        "name": "text",
        "price": "number",
    }
    assert (list(lines.key), list(view.key)) == (["basket", "line"], [])
    assert (lines.is_view, view.is_view) == (False, True)
    assert lines.values["name"] == ["2,50"]
    assert view.location == ["database: database_url", "schema: shop", "table: v_lines"]
    with pytest.raises(CdpError, match="has no tables in schema 'nowhere': set another schema with --schema"):
        database_relations(url, "nowhere", "database_url")
