import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import (
    CUSTOMERS_SILVER,
    EXCHANGE_RATES_SILVER,
    PRODUCT_PRICES_SILVER,
    PRODUCTS_SILVER,
    RETAILS_SILVER,
    STORES_SILVER,
    TRANSACTIONS_SILVER,
)
from cdp_lib.quality import CheckedRows, check_rows
from cdp_lib.silver.retails import RETAILS, build_retails_silver, sale_as_received

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
RATE = {"month": date(2025, 4, 1), "currency": "EUR", "rate": Decimal("1.2")}
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
        amounts_include_tax: bool = False,
        lacks: Iterable[str] = (),
    ) -> CheckedRows:
        rows = build_retails_silver(
            frame_of(TRANSACTIONS_SILVER.columns, *(shared_columns | SALE | sale for sale in sales)).drop(*lacks),
            frame_of(CUSTOMERS_SILVER.columns, *(shared_columns | customer for customer in customers)),
            # The latest price differs from the price on the day of the sale.
            frame_of(PRODUCTS_SILVER.columns, shared_columns | MAT | {"price": Decimal("1.00")}).drop(*lacks),
            frame_of(PRODUCT_PRICES_SILVER.columns, *({"_batch_id": "other"} | price for price in prices)).drop(*lacks),
            frame_of(STORES_SILVER.columns, shared_columns | PLAZA),
            frame_of(EXCHANGE_RATES_SILVER.columns, {"_batch_id": "other"} | RATE),
            reporting_currency="USD",
            amounts_include_tax=amounts_include_tax,
        )
        return check_rows(rows, RETAILS_SILVER, sale_as_received())

    return check


def test_build_retails_silver_adds_columns_of_customer_product_and_store(checked) -> None:
    [row] = checked({}).kept.collect()
    expected = SALE | ALBA | MAT | PRICE | PLAZA | {"revenue": Decimal("998.00"), "_warnings": []}
    assert tuple(row) == tuple(expected.get(name) for name in RETAILS_SILVER.column_names)


def test_columns_whose_source_has_no_value_have_none(checked) -> None:
    [row] = checked({}).kept.collect()
    names = {name for names in RETAILS.may_lack.values() for name in names.values()} - {""}
    assert {name: row[name] for name in names} == dict.fromkeys(names)


LACKS = {
    "all": {name for names in RETAILS.may_lack.values() for name in names},
    "amounts": {"unit_price", "line_amount", "discount_amount", "tax_amount"},
    "currency": {"currency", "unit_price", "tax_amount"},
}


@pytest.mark.parametrize("lacks", LACKS.values(), ids=LACKS)
def test_sale_without_a_column_equals_a_sale_without_a_value(checked, lacks: set[str]) -> None:
    amounts = {"line_amount": Decimal(90), "discount_amount": Decimal(9), "currency": "EUR", "channel": "web"}
    line = amounts | dict.fromkeys(lacks & {*TRANSACTIONS_SILVER.column_names})
    sales = line, line | {"transaction_id": 32, "product_id": 9}
    with_columns, without = checked(*sales), checked(*sales, lacks=lacks)
    assert without.kept.collect() == with_columns.kept.collect()
    [refused], [expected] = without.refused.collect(), with_columns.refused.collect()
    assert (refused, refused.broken_rules) == (expected, ["product_is_known"])


@pytest.mark.parametrize(
    ("amounts", "revenue"),
    [
        ({}, "998.0000"),
        ({"line_amount": "900", "unit_price": "1", "discount_amount": "98"}, "900.0000"),
        ({"unit_price": "480.5", "discount_amount": "10"}, "951.0000"),
        ({"unit_price": "480.5"}, "961.0000"),
        ({"discount_amount": "98"}, "998.0000"),
        ({"unit_price": "0.0001", "quantity": Decimal("0.5")}, "0.0001"),
        ({"unit_price": "0.0001", "quantity": Decimal("-0.5")}, "-0.0001"),
        ({"line_amount": "0"}, "0.0000"),
        ({"line_amount": "100", "currency": "EUR"}, "120.0000"),
        ({"line_amount": "100", "currency": "USD"}, "100.0000"),
        ({"quantity": Decimal("0.315")}, "157.1850"),
        ({"quantity": Decimal(-2)}, "-998.0000"),
    ],
)
def test_revenue_is_what_was_paid(checked, amounts: dict[str, Any], revenue: str) -> None:
    names = ("line_amount", "unit_price", "discount_amount")
    typed = {name: Decimal(value) if name in names else value for name, value in amounts.items()}
    [row] = checked(typed).kept.collect()
    assert str(row.revenue) == revenue


def test_tax_is_subtracted_from_amounts_that_include_it(checked) -> None:
    line = {"line_amount": Decimal(120), "tax_amount": Decimal(20)}
    revenues = [checked(line, amounts_include_tax=flag).kept.collect()[0].revenue for flag in (False, True)]
    assert revenues == [120, 100]


def test_discount_and_cost_are_in_the_reporting_currency(checked) -> None:
    line = {"line_amount": Decimal(100), "discount_amount": Decimal(10), "currency": "EUR"}
    [row] = checked(line, prices=(PRICE | {"unit_cost": Decimal("1.5")},)).kept.collect()
    assert (row.discount, row.cost) == (12, 3)


def test_line_in_a_currency_without_a_rate_waits_in_quarantine(checked) -> None:
    for line in ({"currency": "CHF"}, {"currency": "EUR", "sale_month": date(2025, 5, 1)}):
        [refused] = checked(line | {"line_amount": Decimal(1)}).refused.collect()
        assert refused.broken_rules == ["exchange_rate_is_known"]


def test_revenue_that_does_not_fit_is_refused(checked) -> None:
    [refused] = checked({"quantity": Decimal("999999999999999")}).refused.collect()
    assert refused.broken_rules == ["revenue_fits"]


def test_anonymous_sale_is_kept_with_an_unknown_country(checked) -> None:
    [row] = checked({"customer_id": None}).kept.collect()
    assert (row.customer_id, row.country, row.full_name, row.revenue) == (None, "unknown", None, 998)


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
    assert row.price == Decimal(price)


def test_sale_without_a_price_for_its_day_goes_to_quarantine(checked) -> None:
    result = checked({}, prices=PRICES[2:])
    assert [row.broken_rules for row in result.refused.collect()] == [["product_is_known"]]
    assert result.kept.count() == 0


@pytest.mark.parametrize(
    ("noun", "number"), [("customer", 999), ("product", 999), ("product", None), ("store", 999), ("store", None)]
)
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
