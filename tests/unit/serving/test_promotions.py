"""Tests of the figures of promotions."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from cdp_lib.serving import serving_views

FIRST = date(2026, 1, 1)


def line(day: int, product: int, revenue: float, code: str | None = None, discount: float = 0, quantity: int = 1):
    return FIRST + timedelta(days=day), product, float(revenue), float(discount), quantity, code


LINES = [
    # Product 1 earns 10 per day, and 30 in the three days of the promotion, of which 20 have the code.
    *(line(day, 1, 10) for day in range(40)),
    *(line(day, 1, 20, "SPRING", discount=5) for day in (40, 41, 42)),
    *(line(day, 1, 10) for day in (40, 41, 42)),
    # Product 2 is not promoted.
    *(line(day, 2, 1000) for day in range(80)),
    # A return after the last sale belongs to no run.
    line(50, 1, -20, "SPRING", quantity=-1),
    # The same code again, after more than 14 days: nothing was sold of product 3 before.
    *(line(day, 3, 8, "SPRING", discount=2) for day in (70, 75)),
    # In the first 28 days of the shop, nobody knows what is usual.
    line(3, 4, 7, "OPENING"),
    line(5, 4, -7, "OPENING", quantity=-1),
    line(6, 4, 7, "OPENING"),
]


@pytest.fixture
def promotions(spark, request: pytest.FixtureRequest) -> dict[tuple[str, date], tuple[object, ...]]:
    columns = (
        "transaction_date date, product_id bigint, revenue double, discount double, quantity int, promotion_code string"
    )
    spark.createDataFrame(LINES, columns).createOrReplaceTempView("retails_silver")
    request.addfinalizer(lambda: spark.catalog.dropTempView("retails_silver"))
    rows = spark.sql(serving_views()["promotion_sales"]).collect()
    return {(row.promotion_code, row.first_day): tuple(row[2:]) for row in rows}


def test_a_run_of_a_promotion_has_its_share_and_its_uplift(promotions) -> None:
    day = [FIRST + timedelta(days=number) for number in range(80)]
    assert promotions == {
        ("SPRING", day[40]): (day[42], 3, 60, 15, pytest.approx(60 / 90), pytest.approx(30 / 10 - 1)),
        ("SPRING", day[70]): (day[75], 2, 16, 4, 1, None),
        ("OPENING", day[3]): (day[6], 2, 7, 0, 1, None),
    }
