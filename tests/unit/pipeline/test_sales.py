"""Sales, and what they are made from, batch by batch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.pipeline.state import mark_for_rewrite
from cdp_lib.pipeline.work import RowCounts
from cdp_lib.reconciliation import verify
from effort import IS_TORTURE

from ..warehouse import Warehouse, batch_id_of, customer, product, sale, store
from .shop import FEBRUARY, MARCH, sell, sold

# Every write is the torture's; another engine does not make another order of them.
STEP = 1 if IS_TORTURE else 7


@pytest.mark.torture
@pytest.mark.parametrize(
    ("missing", "arrival", "rule"),
    [
        ({"customer_id": 2}, (CUSTOMERS_BRONZE, [customer(1), customer(2)]), "customer_is_known"),
        ({"product_id": 2}, (PRODUCTS_BRONZE, [product(1), product(2)]), "product_is_known"),
        ({"store_id": 2}, (STORE_BRONZE, [store(1), store(2)]), "store_is_known"),
    ],
    ids=["customer", "product", "store"],
)
def test_a_sale_of_something_unknown_waits_and_comes_out_by_itself_and_once(
    shop: Warehouse, missing: dict[str, int], arrival: Any, rule: str
) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH, **missing), load="increment")
    shop.refresh()
    assert shop.broken_rules(RETAILS_SILVER) == {"3": [rule]}
    assert set(sold(shop)) == {1, 2}
    assert shop.complaints() == []

    bronze, rows = arrival
    shop.land(bronze, 3, *rows)
    shop.refresh()
    assert shop.broken_rules(RETAILS_SILVER) == {}
    assert set(sold(shop)) == {1, 2, 3}
    assert shop.complaints() == []


@pytest.mark.torture
def test_the_sales_of_a_customer_who_is_gone_wait_and_come_back_with_them(shop: Warehouse) -> None:
    shop.land(CUSTOMERS_BRONZE, 2, customer(2))
    shop.refresh()
    assert shop.broken_rules(RETAILS_SILVER) == {"1": ["customer_is_known"], "2": ["customer_is_known"]}
    assert sold(shop) == {}
    shop.land(CUSTOMERS_BRONZE, 3, customer(1), customer(2))
    shop.refresh()
    assert set(sold(shop)) == {1, 2}
    assert shop.broken_rules(RETAILS_SILVER) == {}
    assert shop.complaints() == []


@pytest.mark.torture
def test_a_sale_that_is_deleted_while_it_waits_leaves_the_quarantine(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, customer_id=9), load="increment")
    shop.refresh()
    shop.land(TRANSACTIONS_BRONZE, 3, load="increment", gone=[{"transaction_id": 3}, {"transaction_id": 1}])
    shop.refresh()
    assert shop.broken_rules(RETAILS_SILVER) == {}
    assert set(sold(shop)) == {2}
    assert shop.complaints() == []


def test_a_sale_is_corrected_and_a_customer_moves(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(2, FEBRUARY, quantity=7), load="increment")
    shop.land(CUSTOMERS_BRONZE, 2, customer(1, country="UAE"))
    shop.refresh()
    assert shop.rows(RETAILS_SILVER, "transaction_id", "quantity", "country") == [(1, 2, "UAE"), (2, 7, "UAE")]


@pytest.mark.first_engine
def test_only_the_sales_that_can_be_other_than_they_were_are_written_again(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    assert shop.refresh()["retails_silver"].rows == 1


@pytest.mark.first_engine
def test_nothing_new_does_nothing(shop: Warehouse) -> None:
    before = shop.contents()
    assert {*shop.refresh().values()} == {RowCounts()}
    assert shop.contents() == before


@pytest.mark.torture
def test_a_replayed_batch_heals_what_a_hand_has_changed(shop: Warehouse, spark: Any) -> None:
    before = shop.contents()
    spark.sql(f"DELETE FROM {shop.store.name_of(RETAILS_SILVER.name)} WHERE transaction_id = 1").collect()
    shop.refresh(full_refresh="true")
    assert shop.contents() == before
    assert shop.complaints() == []


@pytest.mark.first_engine
def test_what_a_hand_has_changed_is_found_and_said(shop: Warehouse, spark: Any) -> None:
    spark.sql(f"DELETE FROM {shop.store.name_of(RETAILS_SILVER.name)} WHERE transaction_id = 1").collect()
    complaint = "2 rows in, but 1 out + 0 quarantined + 0 superseded: 1 missing"
    assert shop.complaints() == [f"retails_silver, batch {batch_id_of(1)}: {complaint}", f"retails_silver: {complaint}"]
    assert [str(found) for found in verify(shop.store) if found.missing] == [
        "retails_silver: 1 keys missing, 0 too many"
    ]
    mark_for_rewrite(shop.store, ["retails_silver"])
    shop.refresh()
    assert shop.complaints() == []


def second_day(shop: Warehouse) -> None:
    """Something of every kind: new, corrected, removed, refused, waiting, mended, and a price."""
    shop.land(CUSTOMERS_BRONZE, 2, customer(1, country="UAE"), customer(3), customer(4, registration_date=None))
    shop.land(PRODUCTS_BRONZE, 2, product(1, "12.00"), product(2))
    rows = [sale(2, FEBRUARY, quantity=3), sale(3, MARCH), sale(4, customer_id=9), sale(5, quantity=0), sale(None)]
    shop.land(TRANSACTIONS_BRONZE, 2, *rows, load="increment", gone=[{"transaction_id": 1}])


@pytest.mark.first_engine  # tests/faults kills runs, of a further engine in make torture
def test_a_refresh_killed_before_any_of_its_commits_and_repeated_gives_the_tables_of_one_that_was_not(
    filled: Callable[..., Warehouse], tmp_path: Path
) -> None:
    shop = filled(sell)
    copy = tmp_path / "copy"
    second_day(shop)
    shutil.copytree(shop.tables_folder, copy)
    shop.refresh()
    expected, accounts = shop.contents(), shop.reconcile()
    assert shop.complaints() == []
    commit = 0
    while True:
        shop.restore(copy)
        if not shop.is_killed_at(commit):
            break
        shop.refresh()
        assert shop.contents() == expected, commit
        assert shop.reconcile() == accounts, commit
        commit += STEP
    assert commit > 20
