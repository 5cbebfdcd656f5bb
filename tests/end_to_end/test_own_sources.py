"""Tests of `cdp init`, `cdp check` and `cdp run` on a source with other names, types and formats, and of `cdp sql`."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.first_engine

Cdp = Callable[..., subprocess.CompletedProcess[str]]

SHOP = """
    CREATE TABLE HOUSEHOLDS (HSHD_NUM INTEGER PRIMARY KEY, MAIL TEXT, LAND TEXT, JOINED TEXT, AGE TEXT);
    INSERT INTO HOUSEHOLDS VALUES (7, 'a@example.com', 'Egypt', '31.01.2025', '30-40'), (8, NULL, NULL, NULL, NULL);
    CREATE TABLE ARTICLES (ARTICLE_NR INTEGER PRIMARY KEY, ARTICLE_NAME TEXT, DEPARTMENT TEXT, LIST_PRICE TEXT);
    INSERT INTO ARTICLES VALUES (1, 'Tea', 'Food', '2,50');
    CREATE TABLE BASKETS (BASKET_ID INTEGER, LINE_NO INTEGER, HSHD INTEGER, ARTICLE INTEGER, SHOP INTEGER,
                          UNITS INTEGER, SOLD_ON TEXT, PRIMARY KEY (BASKET_ID, LINE_NO));
    INSERT INTO BASKETS VALUES (1, 1, 7, 1, 3, 2, '31.12.2025'), (1, 2, 8, 1, 3, 1, '31.12.2025'),
                               (2, 1, 7, 1, 3, 1, '32.12.2025');
    CREATE VIEW V_LINES AS SELECT * FROM BASKETS;
"""
SOURCES = """
customers:
  database: database_url
  table: households
  date_format: dd.MM.yyyy
  columns: {customer_id: HSHD_NUM, email: MAIL, country: LAND, registration_date: JOINED}
  attributes: [AGE]
products:
  database: database_url
  query: SELECT * FROM articles WHERE article_nr > 0
  decimal_separator: ","
  columns: {product_id: ARTICLE_NR, product_name: ARTICLE_NAME, category: DEPARTMENT, price: LIST_PRICE}
stores:
  files: %s
  columns: {store_id: Shop Number, store_name: Shop Name}
transactions:
  database: database_url
  table: V_LINES
  primary_key: [BASKET_ID, LINE_NO]
  date_format: dd.MM.yyyy
  columns:
    transaction_id: TRY_CAST(basket_id AS BIGINT) * 1000 + TRY_CAST(line_no AS INT)
    customer_id: HSHD
    product_id: ARTICLE
    store_id: SHOP
    quantity: UNITS
    transaction_date: SOLD_ON
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a shop: a database, a CSV file of stores and a file of sources."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(SHOP)
    stores = tmp_path / "stores.csv"
    stores.write_text("Shop Number;Shop Name\n3;Harbour\n", encoding="utf-8")
    (tmp_path / "sources.yml").write_text(SOURCES % stores, encoding="utf-8")
    monkeypatch.setenv("CDP_SECRET_CDP_DATABASE_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    return tmp_path


def test_sources_with_other_names_end_in_the_same_tables(shop: Path, cdp: Cdp) -> None:
    home = shop / "home"
    run = cdp("run", "--home", home, "--sources", shop / "sources.yml")
    assert run.returncode == 0, run.stderr

    columns = "transaction_id, customer_id, country, category, store_name, quantity * price"
    sales = cdp("sql", f"SELECT {columns} FROM retails_silver ORDER BY 1", "--home", home).stdout
    assert "1001" in sales and "Egypt" in sales and "Food" in sales and "Harbour" in sales and "5.00" in sales
    assert "1002" in sales and "unknown" in sales and "2.50" in sales
    assert "2001" not in sales

    kept = cdp("sql", "SELECT attributes['AGE'] AS age FROM customers_silver WHERE customer_id = 7", "--home", home)
    assert "30-40" in kept.stdout
    refused = cdp("quarantine", "transactions_silver", "--home", home).stdout
    assert "32.12.2025" in refused and "transaction_date_is_present" in refused

    planned = cdp("plan", "--home", home, "--sources", shop / "sources.yml")
    assert "Nothing is due" in planned.stdout


def test_check_shows_what_would_arrive_and_lands_nothing(shop: Path, cdp: Cdp) -> None:
    checked = cdp("check", "--sources", shop / "sources.yml")

    assert checked.returncode == 0, checked.stderr
    assert "transactions: database secret database_url, V_LINES" in checked.stdout
    assert "1 of 3 rows (33%) would be refused" in checked.stdout
    assert "attributes['AGE']" in checked.stdout
    assert not (Path.cwd() / "home").exists()


def test_check_fails_if_a_run_would_refuse_the_rows(shop: Path, cdp: Cdp) -> None:
    with closing(sqlite3.connect(shop / "shop.db")) as connection:
        connection.executemany("INSERT INTO BASKETS VALUES (3, ?, 7, 1, 3, 1, '32.12.2025')", [(n,) for n in range(20)])
        connection.commit()
    checked = cdp("check", "--sources", shop / "sources.yml")

    assert checked.returncode == 1
    assert "21 of 23 rows (91%) would be refused" in checked.stdout
    assert "error: transactions: A run would refuse a batch with so many bad rows. Correct `columns`," in checked.stderr


def test_check_names_each_source_that_cannot_be_read_and_goes_on(shop: Path, cdp: Cdp) -> None:
    text = (shop / "sources.yml").read_text(encoding="utf-8")
    (shop / "sources.yml").write_text(text.replace("table: households", "table: people"), encoding="utf-8")
    checked = cdp("check", "--sources", shop / "sources.yml")

    assert checked.returncode == 1
    assert "error: customers: Database" in checked.stderr
    assert "has no table or view 'people'" in checked.stderr
    assert "1 of 3 rows (33%) would be refused" in checked.stdout


def test_init_proposes_a_file_that_check_accepts(shop: Path, cdp: Cdp) -> None:
    proposed = shop / "proposed.yml"
    init = cdp("init", "database_url", shop / "stores.csv", "--output", proposed)
    assert init.returncode == 0, init.stderr
    checked = cdp("check", "--sources", proposed)

    assert checked.returncode == 0, checked.stderr
    for entity in ("customers", "products", "stores", "transactions"):
        assert f"\n{entity}:" in f"\n{checked.stdout}"

    again = cdp("init", "database_url", "--output", proposed)
    assert again.returncode == 1
    assert "exists: write another file with --output, or replace it with --force" in again.stderr


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DELETE FROM customers_silver", "`cdp sql` only reads, and this is a DELETE: write a SELECT"),
        ("SELEC 1", "This is not SQL"),
        ("SELECT * FROM nowhere", "Unknown table 'nowhere'"),
    ],
)
def test_query_that_is_not_a_select_of_a_table_is_refused(tmp_path: Path, cdp: Cdp, query: str, message: str) -> None:
    refused = cdp("sql", query, "--home", tmp_path / "home")
    assert refused.returncode == 1
    assert message in refused.stderr
