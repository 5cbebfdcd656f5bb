from __future__ import annotations

import math
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as sf

from cdp_lib.analytics.rfm import leading_digits, score_thresholds, segment, with_rfm
from cdp_lib.contracts.segments import SEGMENTS
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


def scores(frame):
    rows = frame.orderBy("person_id").collect()
    return [(row.recency_score, row.frequency_score, row.monetary_score, row.segment) for row in rows]


def test_scores_are_fifths_of_buyers(customers) -> None:
    rows = [(100 - 10 * n, n + 1, 100 * (n + 1)) for n in range(10)]
    scored = scores(with_rfm(customers(*rows)))
    assert [s[:3] for s in scored] == [(n // 2 + 1,) * 3 for n in range(10)]


def test_equal_values_get_the_score_of_their_middle(customers) -> None:
    # Six of ten customers bought once. The middle of their ranks is at three tenths, in the second fifth.
    rows = [(5, 1, 10)] * 6 + [(5, 2, 20), (5, 2, 20), (5, 3, 30), (5, 9, 90)]
    scored = scores(with_rfm(customers(*rows)))
    assert [s[1] for s in scored] == [2] * 6 + [4, 4, 5, 5]
    assert [s[0] for s in scored] == [3] * 10  # equal recency gets the middle score


def test_one_time_buyers_are_never_in_repeat_segments(customers) -> None:
    segments = [s[3] for s in scores(with_rfm(customers(*[(n, 1, 10 * (20 - n)) for n in range(20)])))]
    assert not {"Champions", "Loyal", "At risk", "Cannot lose"} & set(segments)


def test_customers_without_purchases_have_no_scores_and_do_not_affect_fifths(customers) -> None:
    rows = [None, *[(100 - 10 * n, n + 1, 100) for n in range(5)], None]
    scored = scores(with_rfm(customers(*rows)))
    assert scored[0] == scored[-1] == (None, None, None, "Never bought")
    assert [s[1] for s in scored[1:-1]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("buyers", [1, 4])
def test_fewer_than_five_buyers_get_middle_score(customers, buyers: int) -> None:
    rows = [(n, n + 1, n) for n in range(buyers)]
    assert [s[:3] for s in scores(with_rfm(customers(*rows)))] == [(3, 3, 3)] * buyers


def test_no_customers_give_no_rows(customers) -> None:
    assert scores(with_rfm(customers())) == []


def test_amounts_with_equal_first_three_digits_get_equal_scores(customers) -> None:
    rows = [(5, 1, "100100.00"), (5, 1, "100999.99"), (5, 1, "0.00"), (5, 1, "12.34"), (5, 1, "99999.00")]
    monetary = [s[2] for s in scores(with_rfm(customers(*rows)))]
    assert monetary == [5, 5, 1, 2, 3]


def test_leading_digits_truncates(spark) -> None:
    amounts = "SELECT explode(array(999999.99, 1000000000000000000000000000000.00, 7.5, 0.0)) AS amount"
    rows = spark.sql(amounts).select(leading_digits(sf.col("amount")).alias("cut")).collect()
    assert sorted(row.cut for row in rows) == [0.0, 750.0, 99900000.0, 1e32]


def test_every_score_combination_has_a_segment_and_every_segment_is_used(spark) -> None:
    combinations = [(r, f, m, n) for r, f, m in product(range(1, 6), repeat=3) for n in (1, 2)]
    values = ", ".join(map(str, [*combinations, (None, None, None, 0)])).replace("None", "CAST(NULL AS INT)")
    rows = spark.sql(
        f"SELECT * FROM VALUES {values} AS t (recency_score, frequency_score, monetary_score, purchase_day_count)"
    ).select("*", segment().alias("segment"))
    counts = {row.segment: row["count"] for row in rows.groupBy("segment").count().collect()}
    assert sum(counts.values()) == 251
    assert set(counts) == {each.name for each in SEGMENTS}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ((5, 5, 5, 9), "Champions"),
        ((1, 5, 4, 9), "Cannot lose"),
        ((3, 4, 4, 5), "Loyal"),
        ((2, 3, 3, 3), "At risk"),
        ((5, 1, 2, 1), "New"),
        ((4, 1, 2, 1), "Promising"),
        ((4, 2, 2, 2), "Potential loyalists"),
        ((3, 2, 2, 2), "Need attention"),
        ((3, 1, 1, 1), "About to sleep"),
        ((2, 1, 2, 1), "Hibernating"),
        ((1, 1, 1, 1), "Lost"),
    ],
)
def test_segment_matches_example_scores(spark, row, name: str) -> None:
    r, f, m, days = row
    frame = spark.sql(
        f"SELECT {r} AS recency_score, {f} AS frequency_score, {m} AS monetary_score, {days} AS purchase_day_count"
    )
    assert frame.select(segment().alias("segment")).first().segment == name


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.floats(-1e6, 1e6), st.integers(1, 1000), min_size=1))
def test_thresholds_rise_and_cut_off_whole_fifths(counts: dict[float, int]) -> None:
    thresholds = score_thresholds(counts)
    assert len(thresholds) == 4
    assert list(thresholds) == sorted(thresholds)
    buyers = sum(counts.values())
    if buyers >= 5:
        for score, threshold in enumerate(thresholds, 2):
            if math.isfinite(threshold):
                below = sum(count for value, count in counts.items() if value < threshold)
                assert (2 * below + counts[threshold]) * 5 >= 2 * (score - 1) * buyers
