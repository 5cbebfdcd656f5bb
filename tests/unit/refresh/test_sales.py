"""Sales, and what they are made from, batch by batch."""

from __future__ import annotations

from typing import Any

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.ops import PIPELINE_RUNS_OPS
from cdp_lib.contracts.silver import RETAILS_SILVER
from effort import IS_TORTURE

from ..warehouse import OF_SALES, Warehouse, customer, product, sale, store
from .shop import FEBRUARY, JANUARY, MARCH, sold

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


def test_only_the_sales_that_can_be_other_than_they_were_are_written_again(shop: Warehouse) -> None:
    shop.land(TRANSACTIONS_BRONZE, 2, sale(3, MARCH), load="increment")
    assert shop.refresh()["retails_silver"].rows == 1


def test_nothing_new_does_nothing(shop: Warehouse) -> None:
    before = shop.contents()
    assert all(not vars(refreshed) or set(vars(refreshed).values()) == {0} for refreshed in shop.refresh().values())
    assert shop.contents() == before


@pytest.mark.torture
def test_a_replayed_batch_heals_what_a_hand_has_changed(shop: Warehouse, spark: Any) -> None:
    before = shop.contents()
    spark.sql(f"DELETE FROM {shop.tables.name_of(RETAILS_SILVER)} WHERE transaction_id = 1").collect()
    shop.refresh(full_refresh="true")
    assert shop.contents() == before
    assert shop.complaints() == []


def second_day(shop: Warehouse) -> None:
    """Something of every kind: new, corrected, removed, refused, waiting, mended, and a price."""
    shop.land(CUSTOMERS_BRONZE, 2, customer(1, country="UAE"), customer(3), customer(4, registration_date=None))
    shop.land(PRODUCTS_BRONZE, 2, product(1, "12.00"), product(2))
    rows = [sale(2, FEBRUARY, quantity=3), sale(3, MARCH), sale(4, customer_id=9), sale(5, quantity=0), sale(None)]
    shop.land(TRANSACTIONS_BRONZE, 2, *rows, load="increment", gone=[{"transaction_id": 1}])


@pytest.mark.first_engine  # tests/faults kills runs, of a further engine in make torture
def test_a_refresh_killed_before_any_of_its_writes_and_made_again_gives_the_tables_of_one_that_was_not(
    shop: Warehouse,
) -> None:
    def start_again() -> None:
        bronze = (CUSTOMERS_BRONZE, PRODUCTS_BRONZE, STORE_BRONZE, TRANSACTIONS_BRONZE)
        quarantines = [contract.quarantine for contract in OF_SALES if shop.tables.exists(contract.quarantine)]
        shop.empty(*bronze, *OF_SALES, *quarantines, PIPELINE_RUNS_OPS)
        shop.land_sales(
            1,
            customers=[customer(1)],
            products=[product(1)],
            store=[store(1)],
            transactions=[sale(1, JANUARY), sale(2, FEBRUARY), sale(6, quantity=-1)],
        )
        shop.refresh()
        second_day(shop)

    start_again()
    shop.refresh()
    expected, accounts = shop.contents(), {(r.table_name, r.batch_id): r.account for r in shop.reconcile()}
    assert shop.complaints() == []
    write = 0
    while True:
        start_again()
        if not shop.is_killed_at(write):
            break
        shop.refresh()
        assert shop.contents() == expected, write
        assert {(r.table_name, r.batch_id): r.account for r in shop.reconcile()} == accounts, write
        write += STEP
    assert write > 10
