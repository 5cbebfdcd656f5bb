"""Tests of the generator of the demo shop: the same data in each run, behaviour of real shops, and no real person."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from cdp_local.demo.assortment import CATEGORIES, PROMOTIONS, visit_weights
from cdp_local.demo.shop import Shop

pytestmark = pytest.mark.first_engine

INVENTED_HOSTS = r"[^@]+@(mail\.|post\.)?example\.(com|org|net)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    Shop(persons=400).write(folder)
    return folder


def query(folder: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(folder / "database.sqlite")) as database:
        return database.execute(sql).fetchall()


def test_same_seed_gives_the_same_sources(folder: Path, tmp_path: Path) -> None:
    Shop(persons=400).write(tmp_path)
    sums = [
        {path.relative_to(of): sha256(path.read_bytes()).digest() for path in of.rglob("*") if path.is_file()}
        for of in (folder, tmp_path)
    ]
    assert sums[0] == sums[1] and len(sums[0]) > 50
    Shop(persons=400, seed=2).write(tmp_path)
    assert (folder / "customers.json").read_bytes() != (tmp_path / "customers.json").read_bytes()


def test_addresses_and_phone_numbers_belong_to_nobody(folder: Path) -> None:
    records = [
        *json.loads((folder / "customers.json").read_text("utf-8")),
        *json.loads((folder / "crm_contacts.json").read_text("utf-8")),
    ]
    emails = [record.get("email") or record.get("emailaddress1") for record in records]
    assert not [email for email in emails if email and not re.fullmatch(INVENTED_HOSTS, email)]
    digits = [re.sub(r"\D", "", record["mobilephone"]) for record in records if record.get("mobilephone")]
    assert len(digits) > 100
    # 01632 and 020 91 are kept for fiction, 555 in area codes N9X for a longer numbering plan.
    assert not [phone for phone in digits if not re.search(r"1632\d{6}$|2091\d{5}$|[2-9]9\d555\d{4}$", phone)]


def test_receipts_have_what_receipts_of_real_shops_have(folder: Path) -> None:
    figures = """
        SELECT
          count(DISTINCT currency), sum(quantity * 1 < 0), sum(customer_id IS NULL), sum(promotion_code IS NOT NULL),
          sum(quantity * 1 <> round(quantity)), sum(tax_amount * 1 > 0), count(DISTINCT channel),
          max(abs(round(unit_price * quantity, 2) - discount_amount - line_amount)),
          sum(product_id NOT IN (SELECT product_id FROM products))
        FROM receipt_lines
    """
    currencies, returns, without_card, promoted, weighed, taxed, channels, error, unknown = query(folder, figures)[0]
    assert (currencies, channels) == (3, 3)
    assert min(returns, without_card, promoted, weighed, taxed, unknown) > 0
    assert error < 0.011  # cents
    assert query(folder, "SELECT count(*), count(DISTINCT category) FROM products") == [(336, len(CATEGORIES))]


def test_customers_differ_and_drop_out(folder: Path) -> None:
    days = "SELECT DISTINCT customer_id, substr(sold_at, 1, 10) FROM receipt_lines WHERE customer_id IS NOT NULL"
    visits = Counter(customer for customer, _ in query(folder, days))
    counts = sorted(visits.values(), reverse=True)
    # The best fifth of the customers makes more than half of the visits.
    assert sum(counts[: len(counts) // 5]) > 0.5 * sum(counts)
    last = dict(query(folder, "SELECT customer_id, max(sold_at) FROM receipt_lines WHERE customer_id <> '' GROUP BY 1"))
    assert 0.2 < sum(day < "2025-07" for day in last.values()) / len(last) < 0.8


def test_season_weekday_and_promotion_change_visits() -> None:
    weights = visit_weights().reshape(-1)
    assert weights[-31:].mean() > 1.2 * weights[:31].mean()
    assert weights[5] > 2 * weights[6]  # the first Saturday and Sunday
    assert {each.code for each in PROMOTIONS} >= {"XMAS24", "XMAS25"}
