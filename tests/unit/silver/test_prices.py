from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame

from cdp_lib.contracts.silver import PRODUCT_PRICES_SILVER
from cdp_lib.contracts.table import Column
from cdp_lib.silver.prices import price_periods

OBSERVED_PRICE = (
    Column("product_id", "BIGINT", ""),
    Column("price", "DECIMAL(18,4)", ""),
    Column("unit_cost", "DECIMAL(18,4)", ""),
    Column("updated_at", "TIMESTAMP", ""),
    Column("extracted_at", "TIMESTAMP", ""),
    Column("_batch_id", "STRING", ""),
)

ObservedPrice = tuple[int, str] | tuple[int, str, int]
Periods = list[tuple[str, date | None, date | None, str]]


def april(day: int) -> date:
    return date(2025, 4, day)


@pytest.fixture
def periods(frame_of: Callable[..., DataFrame]) -> Callable[..., Periods]:
    """Return a function that builds price periods of a product.

    An argument is (day of extraction, price) or (day of extraction, price, day of the change). All days
    are in April.
    """

    def build(*observed: ObservedPrice, product_id: int = 1) -> Periods:
        rows = [
            {
                "product_id": product,
                "price": Decimal(price),
                "updated_at": datetime(2025, 4, changed[0], 8, tzinfo=UTC) if changed else None,
                "extracted_at": datetime(2025, 4, extracted, 23, tzinfo=UTC),
                "_batch_id": f"b{extracted:02}",
            }
            for product, (extracted, price, *changed) in [
                *((1, price) for price in observed),
                (2, (1, "7")),
                (2, (2, "7")),
            ]
        ]
        prices = price_periods(frame_of(OBSERVED_PRICE, *rows))
        assert prices.dtypes == [(column.name, column.type.lower()) for column in PRODUCT_PRICES_SILVER.columns]
        periods_of_product = [row for row in prices.collect() if row.product_id == product_id]
        periods_of_product.sort(key=lambda row: row.valid_from or date.min)
        return [(f"{row.price:.2f}", row.valid_from, row.valid_to, row["_batch_id"]) for row in periods_of_product]

    return build


def test_first_known_price_has_no_start_and_no_end(periods) -> None:
    assert periods((5, "10")) == [("10.00", None, None, "b05")]
    assert periods((5, "10", 3)) == [("10.00", None, None, "b05")]


def test_unchanged_price_is_one_period_with_the_first_batch(periods) -> None:
    assert periods((5, "10"), (6, "10.0"), (7, "10", 7)) == [("10.00", None, None, "b05")]


def test_price_without_a_change_time_is_valid_from_the_day_of_extraction(periods) -> None:
    assert periods((5, "10"), (9, "12")) == [("10.00", None, april(9), "b05"), ("12.00", april(9), None, "b09")]


def test_price_with_a_change_time_is_valid_from_that_day(periods) -> None:
    assert periods((5, "10"), (9, "12", 6)) == [("10.00", None, april(6), "b05"), ("12.00", april(6), None, "b09")]


def test_price_that_returns_to_an_earlier_value_starts_a_new_period(periods) -> None:
    assert periods((5, "10"), (6, "12"), (7, "10")) == [
        ("10.00", None, april(6), "b05"),
        ("12.00", april(6), april(7), "b06"),
        ("10.00", april(7), None, "b07"),
    ]


def test_last_change_of_a_day_counts_for_the_whole_day(periods) -> None:
    assert periods((5, "10"), (8, "12", 8), (9, "14", 8)) == [
        ("10.00", None, april(8), "b05"),
        ("14.00", april(8), None, "b09"),
    ]


def test_later_batch_with_an_earlier_change_time_replaces_a_period(periods) -> None:
    assert periods((5, "10"), (6, "12", 6), (7, "14", 4)) == [
        ("10.00", None, april(4), "b05"),
        ("14.00", april(4), None, "b07"),
    ]


def test_price_may_be_valid_from_before_the_first_extraction(periods) -> None:
    assert periods((5, "10"), (6, "12", 2)) == [("10.00", None, april(2), "b05"), ("12.00", april(2), None, "b06")]


def test_prices_of_products_are_independent(periods) -> None:
    assert periods((5, "10"), (6, "12"), product_id=2) == [("7.00", None, None, "b01")]


def test_periods_cover_every_day_exactly_once(periods) -> None:
    found = periods((1, "10"), (3, "12", 2), (5, "14"), (7, "10", 4), (8, "9", 8), (9, "11", 8))
    assert [valid_to for _, _, valid_to, _ in found[:-1]] == [valid_from for _, valid_from, _, _ in found[1:]]
    assert (found[0][1], found[-1][2]) == (None, None)
    assert len({valid_from for _, valid_from, _, _ in found}) == len(found)


def test_no_observed_prices_give_no_periods(frame_of) -> None:
    assert price_periods(frame_of(OBSERVED_PRICE)).count() == 0
