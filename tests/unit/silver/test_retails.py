import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    PRODUCT_PRICES_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.quality import CheckedRows, check_rows
from cdp_lib.silver.retails import build_retails_silver, sale_as_received

SALE = {
    "transaction_id": 31,
    "customer_id": 101,
    "product_id": 3,
    "store_id": 5,
    "quantity": 2,
    "transaction_date": date(2025, 4, 1),
    "sale_month": date(2025, 4, 1),
    "_batch_id": "b1",
}
ALBA = {
    "customer_id": 101,
    "full_name": "Alba Ackerfeld",
    "email": "alba@example.com",
    "country": "Egypt",
    "registration_date": date(2025, 3, 1),
}
MAT = {"product_id": 3, "product_name": "Yoga Mat", "category": "Fitness"}
PRICE = {"product_id": 3, "price": Decimal("499.00")}
PLAZA = {"store_id": 5, "store_name": "Mega Plaza", "location": "Kuwait"}


@pytest.fixture
def checked(frame_of: Callable[..., DataFrame]) -> Callable[..., CheckedRows]:
    """Return a function that checks sales, with one known customer, product and store."""
    # Columns of the joined tables that must not replace the columns of the sale.
    shared_columns = {
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        "_warnings": ["a warning"],
        "_batch_id": "other",
    }

    def check(
        *sales: dict[str, Any],
        customers: tuple[dict[str, Any], ...] = (ALBA,),
        prices: tuple[dict[str, Any], ...] = (PRICE,),
    ) -> CheckedRows:
        rows = build_retails_silver(
            frame_of(TRANSACTIONS_SILVER.columns, *(shared_columns | SALE | sale for sale in sales)),
            frame_of(CUSTOMERS_SILVER.columns, *(shared_columns | customer for customer in customers)),
            # The latest price differs from the price on the day of the sale.
            frame_of(PRODUCTS_SILVER.columns, shared_columns | MAT | {"price": Decimal("1.00")}),
            frame_of(PRODUCT_PRICES_SILVER.columns, *({"_batch_id": "other"} | price for price in prices)),
            frame_of(STORES_SILVER.columns, shared_columns | PLAZA),
        )
        return check_rows(rows, RETAILS_SILVER, sale_as_received())

    return check


def test_build_retails_silver_adds_columns_of_customer_product_and_store(checked) -> None:
    [row] = checked({}).kept.collect()
    expected = SALE | ALBA | MAT | PRICE | PLAZA | {"_warnings": []}
    assert tuple(row) == tuple(expected[name] for name in RETAILS_SILVER.column_names)


def test_build_retails_silver_warns_of_a_sale_before_registration(checked) -> None:
    days = {"transaction_id": 31, "transaction_date": date(2025, 2, 28)}, {"transaction_date": date(2025, 3, 1)}
    result = checked(days[0], days[1] | {"transaction_id": 32})
    assert {row.transaction_id: row["_warnings"] for row in result.kept.collect()} == {
        31: ["sale_is_not_before_registration"],
        32: [],
    }


PRICES = (
    PRICE | {"price": Decimal("400.00"), "valid_to": date(2025, 4, 1)},
    PRICE | {"price": Decimal("450.00"), "valid_from": date(2025, 4, 1), "valid_to": date(2025, 5, 1)},
    PRICE | {"price": Decimal("500.00"), "valid_from": date(2025, 5, 1)},
    {"product_id": 4, "price": Decimal("9.00")},
)


@pytest.mark.parametrize(
    ("day", "price"),
    [
        (date(1990, 1, 1), "400.00"),
        (date(2025, 3, 31), "400.00"),
        (date(2025, 4, 1), "450.00"),
        (date(2025, 4, 30), "450.00"),
        (date(2025, 5, 1), "500.00"),
        (date(2030, 1, 1), "500.00"),
    ],
)
def test_sale_has_the_price_of_its_day(checked, day: date, price: str) -> None:
    [row] = checked({"transaction_date": day}, prices=PRICES).kept.collect()
    assert str(row.price) == price


def test_sale_without_a_price_for_its_day_goes_to_quarantine(checked) -> None:
    result = checked({}, prices=PRICES[2:])
    assert [row.broken_rules for row in result.refused.collect()] == [["product_is_known"]]
    assert result.kept.count() == 0


@pytest.mark.parametrize("noun", ["customer", "product", "store"])
@pytest.mark.parametrize("number", [999, None])
def test_build_retails_silver_sends_a_sale_with_an_unknown_reference_to_quarantine(checked, noun: str, number) -> None:
    result = checked({}, {"transaction_id": 32, f"{noun}_id": number})
    [refused] = result.refused.collect()
    assert refused.broken_rules == [f"{noun}_is_known"]
    assert json.loads(refused.record).get(f"{noun}_id") == number
    assert json.loads(refused.record)["transaction_id"] == 32
    assert [row.transaction_id for row in result.kept.collect()] == [31]


def test_build_retails_silver_names_every_unknown_reference(checked) -> None:
    [refused] = checked({"customer_id": 9, "product_id": 9, "store_id": 9}).refused.collect()
    assert refused.broken_rules == ["customer_is_known", "product_is_known", "store_is_known"]


def test_sale_is_accepted_when_its_customer_has_arrived(checked) -> None:
    sale = {"customer_id": 102}
    assert checked(sale).kept.count() == 0
    assert checked(sale, customers=(ALBA, ALBA | {"customer_id": 102})).kept.count() == 1


def test_quarantined_sale_keeps_its_batch_and_only_its_received_columns(checked) -> None:
    [refused] = checked({"customer_id": 999, "_batch_id": "b7"}).refused.collect()
    assert (refused["_batch_id"], refused.record_key) == ("b7", "31")
    record = json.loads(refused.record)
    del record["updated_at"]
    assert record == {
        "transaction_id": 31,
        "customer_id": 999,
        "product_id": 3,
        "store_id": 5,
        "quantity": 2,
        "transaction_date": "2025-04-01",
    }


def test_sales_are_neither_lost_nor_multiplied(checked) -> None:
    result = checked(*({"transaction_id": number, "customer_id": number % 3 + 100} for number in range(30)))
    assert (result.kept.count(), result.refused.count()) == (10, 20)


def test_customers_without_purchases_are_in_no_sale(checked) -> None:
    result = checked({}, customers=(ALBA, ALBA | {"customer_id": 102}))
    assert [row.customer_id for row in result.kept.collect()] == [101]


def test_no_sales_give_no_rows(checked) -> None:
    result = checked()
    assert (result.kept.count(), result.refused.count()) == (0, 0)
