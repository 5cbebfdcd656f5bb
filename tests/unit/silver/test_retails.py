import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.quality import CheckedRows, check_rows
from cdp_lib.silver.retails import build_retails_silver

SALE = {
    "transaction_id": 31,
    "customer_id": 101,
    "product_id": 3,
    "store_id": 5,
    "quantity": 2,
    "transaction_date": date(2025, 4, 1),
    "_batch_id": "b1",
}
ALBA = {
    "customer_id": 101,
    "full_name": "Alba Ackerfeld",
    "email": "alba@example.com",
    "country": "Egypt",
    "registration_date": date(2025, 10, 16),
}
MAT = {"product_id": 3, "product_name": "Yoga Mat", "category": "Fitness", "price": Decimal("499.00")}
PLAZA = {"store_id": 5, "store_name": "Mega Plaza", "location": "Kuwait"}


@pytest.fixture
def checked(frame_of: Callable[..., DataFrame]) -> Callable[..., CheckedRows]:
    """Sales of one known customer, product and store after the check."""

    def check(*sales: dict[str, Any], customers: tuple[dict[str, Any], ...] = (ALBA,)) -> CheckedRows:
        rows = build_retails_silver(
            frame_of(TRANSACTIONS_SILVER.columns, *(SALE | sale for sale in sales)),
            frame_of(CUSTOMERS_SILVER.columns, *customers),
            frame_of(PRODUCTS_SILVER.columns, MAT),
            frame_of(STORES_SILVER.columns, PLAZA),
        )
        return check_rows(rows, RETAILS_SILVER)

    return check


def test_build_retails_silver_adds_what_is_known_of_customer_product_and_store(checked) -> None:
    [row] = checked({}).kept.collect()
    expected = SALE | ALBA | MAT | PLAZA
    assert tuple(row) == tuple(expected[name] for name in RETAILS_SILVER.column_names)


def test_build_retails_silver_keeps_a_sale_dated_before_its_customer_registered(checked) -> None:
    [row] = checked({"transaction_date": date(2025, 4, 1)}).kept.collect()
    assert row.transaction_date < row.registration_date


@pytest.mark.parametrize("noun", ["customer", "product", "store"])
@pytest.mark.parametrize("number", [999, None])
def test_build_retails_silver_keeps_a_sale_of_something_unknown_in_quarantine(checked, noun: str, number) -> None:
    result = checked({}, {"transaction_id": 32, f"{noun}_id": number})
    [refused] = result.refused.collect()
    assert refused.broken_rules == [f"{noun}_is_known"]
    assert json.loads(refused.record).get(f"{noun}_id") == number
    assert json.loads(refused.record)["transaction_id"] == 32
    assert [row.transaction_id for row in result.kept.collect()] == [31]


def test_build_retails_silver_names_everything_that_is_unknown(checked) -> None:
    [refused] = checked({"customer_id": 9, "product_id": 9, "store_id": 9}).refused.collect()
    assert refused.broken_rules == ["customer_is_known", "product_is_known", "store_is_known"]


def test_a_sale_comes_out_of_quarantine_when_its_customer_has_arrived(checked) -> None:
    sale = {"customer_id": 102}
    assert checked(sale).kept.count() == 0
    assert checked(sale, customers=(ALBA, ALBA | {"customer_id": 102})).kept.count() == 1


def test_a_quarantined_sale_keeps_its_batch_and_the_record_nothing_else(checked) -> None:
    [refused] = checked({"customer_id": 999, "_batch_id": "b7"}).refused.collect()
    assert refused["_batch_id"] == "b7"
    assert json.loads(refused.record) == {
        "transaction_id": 31,
        "customer_id": 999,
        "product_id": 3,
        "store_id": 5,
        "quantity": 2,
        "transaction_date": "2025-04-01",
    }


def test_sales_are_neither_lost_nor_multiplied(checked) -> None:
    result = checked(*({"transaction_id": number, "customer_id": number % 3 + 100} for number in range(30)))
    assert (result.received, result.kept.count(), result.refused.count()) == (30, 10, 20)


def test_customers_who_never_bought_are_in_no_sale(checked) -> None:
    result = checked({}, customers=(ALBA, ALBA | {"customer_id": 102}))
    assert [row.customer_id for row in result.kept.collect()] == [101]


def test_no_sales_are_no_rows(checked) -> None:
    result = checked()
    assert (result.received, result.kept.count(), result.refused.count()) == (0, 0, 0)
