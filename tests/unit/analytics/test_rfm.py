from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as sf

from cdp_lib.analytics.rfm import count_by_value, leading_digits, rfm_values, score_thresholds, with_scores
from cdp_lib.contracts.table import Column

CUSTOMER = (
    Column("person_id", "INT", ""),
    Column("recency_days", "INT", ""),
    Column("purchase_day_count", "BIGINT", ""),
    Column("total_revenue", "DECIMAL(38,2)", ""),
)


@pytest.fixture
def customers(frame_of):
    """Return a function that builds one customer from each argument.

    An argument is (days since the latest purchase, number of purchase days, revenue), or None without purchases.
    """

    def build(*rows):
        return frame_of(
            CUSTOMER,
            *(
                {
                    "person_id": number,
                    "recency_days": days,
                    "purchase_day_count": count,
                    "total_revenue": Decimal(money),
                }
                for number, (days, count, money) in enumerate((row or (None, 0, 0) for row in rows), 1)
            ),
        )

    return build


def scores(customers):
    scored = with_scores(customers, count_by_value(customers, rfm_values()), minimum_buyers=5)
    rows = scored.orderBy("person_id").collect()
    return [(row.recency_score, row.frequency_score, row.monetary_score) for row in rows]


def test_scores_are_fifths_of_buyers(customers) -> None:
    rows = [(100 - 10 * n, n + 1, 100 * (n + 1)) for n in range(10)]
    scored = scores(customers(*rows))
    assert scored == [(n // 2 + 1,) * 3 for n in range(10)]


def test_equal_values_get_the_score_of_their_middle(customers) -> None:
    # Six of ten customers bought once. The middle of their ranks is at three tenths, in the second fifth.
    rows = [(5, 1, 10)] * 6 + [(5, 2, 20), (5, 2, 20), (5, 3, 30), (5, 9, 90)]
    scored = scores(customers(*rows))
    assert [s[1] for s in scored] == [2] * 6 + [4, 4, 5, 5]
    assert [s[0] for s in scored] == [3] * 10  # equal recency gets the middle score


def test_customers_without_purchases_have_no_scores_and_do_not_affect_fifths(customers) -> None:
    rows = [None, *[(100 - 10 * n, n + 1, 100) for n in range(5)], None]
    scored = scores(customers(*rows))
    assert scored[0] == scored[-1] == (None, None, None)
    assert [s[1] for s in scored[1:-1]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("buyers", [1, 4])
def test_fewer_than_five_buyers_get_middle_score(customers, buyers: int) -> None:
    rows = [(n, n + 1, n) for n in range(buyers)]
    assert scores(customers(*rows)) == [(3, 3, 3)] * buyers


def test_no_customers_give_no_rows(customers) -> None:
    assert scores(customers()) == []


def test_amounts_with_equal_first_three_digits_get_equal_scores(customers) -> None:
    rows = [(5, 1, "100100.00"), (5, 1, "100999.99"), (5, 1, "0.00"), (5, 1, "12.34"), (5, 1, "99999.00")]
    monetary = [s[2] for s in scores(customers(*rows))]
    assert monetary == [5, 5, 1, 2, 3]


def test_negative_amounts_with_equal_first_three_digits_get_equal_scores(customers) -> None:
    amounts = ["-1240.00", "-1239.99", "-1230.00", "-12.34", "0.00"]
    assert [s[2] for s in scores(customers(*((5, 1, amount) for amount in amounts)))] == [1, 3, 3, 4, 5]


def test_leading_digits_truncates(spark) -> None:
    amounts = "SELECT explode(array(999999.99, 1000000000000000000000000000000.00, 7.5, 0.0)) AS amount"
    rows = spark.sql(amounts).select(leading_digits(sf.col("amount")).alias("cut")).collect()
    assert sorted(row.cut for row in rows) == [0.0, 750.0, 99900000.0, 1e32]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.floats(-1e6, 1e6), st.integers(1, 1000), min_size=1))
def test_thresholds_rise_and_cut_off_whole_fifths(counts: dict[float, int]) -> None:
    thresholds = score_thresholds(counts, 5)
    assert len(thresholds) == 4
    assert list(thresholds) == sorted(thresholds)
    buyers = sum(counts.values())
    if buyers >= 5:
        for score, threshold in enumerate(thresholds, 2):
            if math.isfinite(threshold):
                below = sum(count for value, count in counts.items() if value < threshold)
                assert (2 * below + counts[threshold]) * 5 >= 2 * (score - 1) * buyers
