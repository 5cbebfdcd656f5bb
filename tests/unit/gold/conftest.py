"""Fixtures: sales for tests of gold tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import RETAILS_SILVER

from .kpi_sources import sources_of as sources_of

_SALE = {
    "transaction_id": 1,
    "customer_id": 101,
    "product_id": 1,
    "store_id": 1,
    "quantity": 1,
    "transaction_date": date(2025, 4, 1),
    "full_name": "Alba Ackerfeld",
    "email": "alba.ackerfeld@example.com",
    "country": "Egypt",
    "registration_date": date(2025, 10, 16),
    "product_name": "Yoga Mat",
    "category": "Fitness",
    "price": Decimal("10.00"),
    "store_name": "City Mall Store",
    "location": "UAE",
}


@pytest.fixture
def sales(frame_of: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
    """Return a function that builds rows of retails_silver.

    The function numbers the lines, and sets defaults for columns that a test omits. The default of the revenue is
    quantity × price.
    """

    def build(*rows: dict[str, Any]) -> DataFrame:
        numbered = (_SALE | {"transaction_id": number} | row for number, row in enumerate(rows, 1))
        complete = (
            {"sale_month": row["transaction_date"].replace(day=1), "revenue": row["quantity"] * row["price"]} | row
            for row in numbered
        )
        return frame_of(RETAILS_SILVER.columns, *complete)

    return build
