"""Tests of records that a snapshot lacks. Silver keeps their rows, but no sales of days that the snapshot covers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import CUSTOMERS_SILVER, RETAILS_SILVER, TRANSACTIONS_SILVER
from cdp_lib.pipeline.compaction import remove_old_batches

from ..warehouse import OF_SALES, Warehouse, customer, extracted_at, product, sale, store
from .shop import FEBRUARY, JANUARY, MARCH, prices_of_sales


def presence_of(warehouse: Warehouse) -> dict[int, datetime | None]:
    """Return the time at which each customer became inactive, by id; None for an active customer."""
    rows = warehouse.store.read(CUSTOMERS_SILVER)
    found = rows.selectExpr("customer_id", "is_active", "CAST(inactive_since AS STRING)").collect()
    assert all(is_active == (since is None) for _, is_active, since in found)
    return {number: since and datetime.fromisoformat(f"{since}+00:00") for number, _, since in found}


def disputed(number: int) -> tuple[dict[str, Any], ...]:
    """Return two different records of a customer. Both are refused."""
    return customer(number), customer(number, full_name="Another name")


def check(warehouse: Warehouse) -> None:
    """Check that all tables reconcile, and that a full refresh gives the same rows."""
    assert warehouse.complaints() == []
    assert warehouse.differences("customers_silver", "transactions_silver") == []
    before = warehouse.contents()
    warehouse.refresh(full_refresh="true")
    after = warehouse.contents()
    assert {name: rows for name, rows in after.items() if rows != before[name]} == {}
    assert warehouse.complaints() == []


def test_sales_keep_records_that_a_snapshot_no_longer_has(shop: Warehouse) -> None:
    before = shop.rows(RETAILS_SILVER)
    for day, (contract, row) in enumerate(
        {CUSTOMERS_BRONZE: customer(2), PRODUCTS_BRONZE: product(2), STORE_BRONZE: store(2)}.items(), 2
    ):
        shop.land(contract, day, row)
    shop.refresh()
    assert shop.rows(RETAILS_SILVER) == before
    assert presence_of(shop) == {1: extracted_at(2), 2: None}
    check(shop)
    shop.land(CUSTOMERS_BRONZE, 5, customer(1), customer(2))
    shop.refresh()
    assert presence_of(shop) == {1: None, 2: None}
    check(shop)


@pytest.mark.first_engine
def test_a_customer_is_inactive_since_the_first_batch_without_them(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 2, customer(2))
    shop.land(CUSTOMERS_BRONZE, 3, customer(2))
    shop.land(CUSTOMERS_BRONZE, 4, customer(3), load="increment", gone=[{"customer_id": "2"}])
    shop.land(CUSTOMERS_BRONZE, 5, load="increment", gone=[{"customer_id": "2"}, {"customer_id": "1"}])
    shop.refresh()
    expected = {1: extracted_at(2), 2: extracted_at(4), 3: None}
    assert presence_of(shop) == expected
    shop.land(CUSTOMERS_BRONZE, 6, customer(3))
    shop.refresh()
    assert presence_of(shop) == expected
    check(shop)


@pytest.mark.first_engine
def test_a_returning_customer_has_the_new_record_even_if_its_time_of_change_is_older(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 2, customer(1, updated_at="2026-02-05 00:00:00"), load="increment")
    shop.land(CUSTOMERS_BRONZE, 3, customer(2))
    shop.refresh()
    shop.land(CUSTOMERS_BRONZE, 4, customer(1, country="UAE", updated_at="2026-02-01 00:00:00"), load="increment")
    shop.refresh()
    assert shop.rows(CUSTOMERS_SILVER, "customer_id", "country", "is_active") == [(1, "UAE", True), (2, "Egypt", True)]
    check(shop)


@pytest.mark.first_engine
def test_a_customer_whose_record_breaks_a_rule_keeps_their_sales(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 2, *disputed(1), customer(2))
    shop.refresh()
    assert presence_of(shop) == {1: extracted_at(2), 2: None}
    assert shop.broken_rules(CUSTOMERS_SILVER) == {"1": ["key_is_unique"]}
    assert set(prices_of_sales(shop)) == {1, 2}
    check(shop)


@pytest.mark.first_engine
def test_a_late_snapshot_changes_the_time_since_which_a_customer_is_inactive(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 4, customer(2))
    shop.refresh()
    assert presence_of(shop) == {1: extracted_at(4), 2: None}
    shop.land(CUSTOMERS_BRONZE, 3, customer(3))
    shop.refresh()
    assert presence_of(shop) == {1: extracted_at(3), 2: None, 3: extracted_at(4)}
    check(shop)


@pytest.mark.first_engine
def test_a_snapshot_removes_sales_of_the_days_that_it_covers_only(shop: Warehouse) -> None:
    """The source purged January, and a sale of February was cancelled."""
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, FEBRUARY), sale(4, MARCH), load="increment")
    shop.land(TRANSACTIONS_BRONZE, 3, sale(3, FEBRUARY), sale(4, MARCH))
    shop.refresh()
    assert set(prices_of_sales(shop)) == {1, 3, 4}
    check(shop)
    # An increment corrects a purged sale. It wins, although its time of change is unknown.
    shop.land(TRANSACTIONS_BRONZE, 4, sale(1, JANUARY, quantity=9), load="increment")
    shop.refresh()
    assert (1, 9) in shop.rows(TRANSACTIONS_SILVER, "transaction_id", "quantity")
    check(shop)
    shop.land(TRANSACTIONS_BRONZE, 5, load="increment", gone=[{"transaction_id": 1}])
    shop.refresh()
    assert set(prices_of_sales(shop)) == {3, 4}
    check(shop)


@pytest.mark.first_engine
def test_a_purge_of_the_oldest_month_removes_nothing(shop: Warehouse) -> None:
    for day in range(2, 6):
        months = range(day, 10)
        shop.land(TRANSACTIONS_BRONZE, day, *(sale(month, date(2025, month, 1)) for month in months))
        shop.refresh()
    # Sale 1, of 2026, is in the days that every snapshot covers.
    assert set(prices_of_sales(shop)) == {*range(2, 10)}
    check(shop)


@pytest.mark.first_engine
def test_many_missing_customers_refuse_a_snapshot(filled: Callable[..., Warehouse]) -> None:
    def land_customers(warehouse: Warehouse) -> None:
        warehouse.land(CUSTOMERS_BRONZE, 1, *map(customer, range(1, 21)))
        warehouse.refresh(CUSTOMERS_SILVER)

    shop = filled(land_customers)
    shop.land(CUSTOMERS_BRONZE, 2, *map(customer, range(1, 10)))
    [run] = [each for each in shop.runner().refresh(["customers_bronze", "customers_silver"]) if each.error]
    assert "11 of 20 rows (55%) of customers_silver are missing in it" in run.error
    assert set(presence_of(shop).values()) == {None}
    shop.land(CUSTOMERS_BRONZE, 3, *map(customer, range(1, 11)))
    shop.refresh(CUSTOMERS_SILVER)
    # The refused snapshot is ignored.
    assert set(presence_of(shop).values()) == {None, extracted_at(3)}
    # Inactive customers do not count: 10 are active, and a snapshot without 6 of them is small enough to be judged.
    shop.land(CUSTOMERS_BRONZE, 4, *map(customer, range(1, 5)))
    shop.refresh(CUSTOMERS_SILVER)
    assert list(presence_of(shop).values()).count(None) == 4


@pytest.mark.first_engine
@pytest.mark.parametrize("parameters", [{}, {"full_refresh": "true"}], ids=["incremental", "full refresh"])
def test_compaction_keeps_past_rows_and_their_times(
    shop: Warehouse, tmp_path: Path, parameters: dict[str, str]
) -> None:
    def land_early(warehouse: Warehouse) -> None:
        warehouse.land(CUSTOMERS_BRONZE, 2, customer(2), customer(3))
        warehouse.land(CUSTOMERS_BRONZE, 3, *disputed(2), customer(4))
        warehouse.land(CUSTOMERS_BRONZE, 4, customer(5), load="increment", gone=[{"customer_id": "4"}])
        warehouse.land(TRANSACTIONS_BRONZE, 2, sale(3, FEBRUARY), load="increment")
        warehouse.land(TRANSACTIONS_BRONZE, 3, sale(3, FEBRUARY), sale(4, MARCH), sale(5, FEBRUARY, quantity=0))
        warehouse.land(TRANSACTIONS_BRONZE, 4, sale(4, MARCH), load="increment", gone=[{"transaction_id": 3}])
        warehouse.refresh()

    def land_later(warehouse: Warehouse) -> None:
        warehouse.land(CUSTOMERS_BRONZE, 10, customer(1, updated_at="2026-01-01 00:00:00"), load="increment")
        warehouse.land(CUSTOMERS_BRONZE, 11, customer(9))
        warehouse.land(TRANSACTIONS_BRONZE, 10, sale(1, JANUARY, quantity=5), sale(6, MARCH), load="increment")
        warehouse.land(TRANSACTIONS_BRONZE, 11, sale(6, MARCH))
        warehouse.refresh()

    land_early(shop)
    land_later(shop)
    kept, kept_landing = tmp_path / "kept", tmp_path / "kept_landing"
    expected = shop.contents(*OF_SALES)
    for commit in range(2):
        shutil.copytree(shop.tables_folder, kept, dirs_exist_ok=True)
        shutil.copytree(shop.folder, kept_landing, dirs_exist_ok=True)
        now = extracted_at(7 + 7 * commit) + timedelta(days=5)
        compacted = remove_old_batches(shop.store, shop.landing, 7, now)
        assert [each.skip_reason for each in compacted] == [""] * len(compacted)
        assert compacted
        shop.refresh(**parameters)
        assert shop.contents(*OF_SALES) == expected
        assert shop.complaints() == []
        assert shop.differences("customers_silver", "transactions_silver") == []
    shop.land(CUSTOMERS_BRONZE, 20, customer(9), customer(3))
    shop.refresh(**parameters)
    assert presence_of(shop)[3] is None
    assert shop.complaints() == []
