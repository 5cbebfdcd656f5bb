"""Tests of prices that change over time, and of the prices that sales get."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cdp_lib.contracts.bronze import PRODUCTS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.silver import PRODUCT_PRICES_SILVER

from ..warehouse import Warehouse, product, sale
from .shop import prices_of_sales


@pytest.mark.first_engine
@pytest.mark.parametrize("updated_at", ["2026-03-05 08:00:00", None])
def test_a_price_change_keeps_the_price_of_earlier_sales(shop: Warehouse, updated_at: str | None) -> None:
    """Without a time of change, the new price is valid from the day of extraction, here 6 March."""
    shop.land(PRODUCTS_BRONZE, 6, product(1, "12.00", updated_at=updated_at))
    rows = [sale(3, date(2026, 3, 4)), sale(4, date(2026, 3, 7))]
    shop.land(TRANSACTIONS_BRONZE, 7, *rows, load="increment")
    shop.refresh()
    old, new = Decimal("10.00"), Decimal("12.00")
    assert prices_of_sales(shop) == {1: old, 2: old, 3: old, 4: new}
    valid_from = date(2026, 3, 5 if updated_at else 6)
    assert shop.rows(PRODUCT_PRICES_SILVER, "price", "valid_from", "valid_to") == [
        (old, None, valid_from),
        (new, valid_from, None),
    ]


@pytest.mark.torture
def test_a_late_price_changes_existing_sales(shop: Warehouse) -> None:
    shop.land(PRODUCTS_BRONZE, 6, product(1, "12.00", updated_at="2026-02-01 00:00:00"))
    shop.refresh()
    assert prices_of_sales(shop) == {1: Decimal("10.00"), 2: Decimal("12.00")}


@pytest.mark.torture
def test_a_later_batch_overrides_price_periods_of_earlier_batches(shop: Warehouse) -> None:
    for day, price, since in ((2, "12.00", "2026-02-05"), (3, "10.00", "2026-02-20"), (4, "15.00", "2026-02-08")):
        shop.land(PRODUCTS_BRONZE, day, product(1, price, updated_at=since))
        shop.refresh()
    incrementally = shop.rows(PRODUCT_PRICES_SILVER, "price", "valid_from", "valid_to")
    assert [(f"{price:.2f}", str(first), str(end)) for price, first, end in incrementally] == [
        ("10.00", "None", "2026-02-05"),
        ("12.00", "2026-02-05", "2026-02-08"),
        ("15.00", "2026-02-08", "None"),
    ]
    shop.refresh(full_refresh="true")
    assert shop.rows(PRODUCT_PRICES_SILVER, "price", "valid_from", "valid_to") == incrementally
    assert prices_of_sales(shop) == {1: Decimal("10.00"), 2: Decimal("15.00")}
