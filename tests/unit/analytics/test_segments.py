from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd
import pytest

from cdp_lib.analytics.promises import Outcome, is_kept, promise_sentences
from cdp_lib.analytics.segments import SegmentTerms, segment, segments_at
from cdp_lib.contracts.segments import ALL_BUYERS, SEGMENTS
from cdp_lib.gold.segment_quality import build_segment_quality_gold

from ...buyers import Buyers, cdnow, day, fashion, grocer

TERMS = SegmentTerms(churn_horizon_days=90, minimum_scored_buyers=5)
PROMISES = {each.name: each.promise for each in SEGMENTS if each.promise}
RECORDED_AT = datetime(2026, 7, 1, tzinfo=UTC)


def quality(spark, buyers: Buyers, as_of: int, minimum_size: int = 30) -> dict[str, dict[str, object]]:
    """Return the rows of segment_quality_gold at a day that is counted from the start of the shop, by segment."""
    frames = buyers.tables(spark)
    rows = build_segment_quality_gold(*frames, frames[0], day(as_of), 90, 5, minimum_size, RECORDED_AT)
    return {row.segment: row.asDict() for row in rows.collect()}


def purchases(*days_of_customers: list[int]) -> Buyers:
    """Return customers who each spent 1000 on each of the given days."""
    rows = [(number, at, 1000) for number, days in enumerate(days_of_customers, 1) for at in days]
    return Buyers(pd.DataFrame(rows, columns=["person_id", "day", "revenue"]), 1000)


@pytest.mark.first_engine  # thousands of purchases; the smaller tests of this module run on both engines
@pytest.mark.parametrize(
    ("shop", "as_of"),
    [
        pytest.param(lambda: grocer(1, 2000), 450, id="grocer"),
        pytest.param(lambda: grocer(2, 2000), 539, id="grocer-2"),
        pytest.param(lambda: fashion(1, 3000), 800, id="fashion"),
        pytest.param(lambda: fashion(2, 3000), 1094, id="fashion-2"),
        pytest.param(cdnow, 272, id="cdnow-39-weeks"),
        pytest.param(cdnow, 363, id="cdnow-52-weeks"),
        pytest.param(cdnow, 545, id="cdnow-whole"),
    ],
)
def test_segments_keep_their_promises(spark, shop, as_of: int) -> None:
    rows = quality(spark, shop(), as_of, minimum_size=20)
    assert {name: rows[name]["is_kept"] for name in PROMISES} == dict.fromkeys(PROMISES, True)
    assert rows["Lost"]["bought_share"] <= 0.15
    assert rows["At risk"]["bought_share"] < rows["Loyal"]["bought_share"]
    assert 1 - rows["Champions"]["bought_share"] < 0.5 * (1 - rows[ALL_BUYERS]["bought_share"])


def test_rhythm_mixes_the_intervals_of_the_customer_and_of_the_shop(spark) -> None:
    # The intervals are 10, 20 and 40 days, so the shop's interval is 20 days.
    shop = purchases([0, 10, 20, 30, 40], [0, 20], [0, 40], [60])
    rows = segments_at(*shop.tables(spark), day(80), TERMS).orderBy("person_id").collect()
    assert [(row.purchase_interval_days, row.overdue) for row in rows] == [
        (pytest.approx((40 + 40) / 6), pytest.approx(40 / (80 / 6))),
        (pytest.approx(20), pytest.approx(3)),
        (pytest.approx(80 / 3), pytest.approx(1.5)),
        (20, 1),
    ]
    assert [row.segment for row in rows] == ["At risk", "At risk", "Promising", "New"]


def test_shop_without_repeat_purchases_has_the_churn_horizon_as_its_interval(spark) -> None:
    [row] = segments_at(*purchases([0]).tables(spark), day(45), TERMS).collect()
    assert (row.purchase_interval_days, row.overdue, row.segment) == (90, 0.5, "New")


def test_customer_without_purchases_has_no_rhythm(spark) -> None:
    acquisitions, bought = purchases([0], [50]).tables(spark)
    rows = segments_at(acquisitions, bought.where("person_id = 1"), day(60), TERMS).orderBy("person_id").collect()
    assert tuple(rows[1][name] for name in ("monetary_score", "purchase_interval_days", "overdue", "segment")) == (
        None,
        None,
        None,
        "Never bought",
    )


@pytest.mark.first_engine
def test_segments_do_not_depend_on_later_purchases(spark) -> None:
    shop = purchases([0, 10, 20], [0, 90], [5, 95, 100], [110])
    known = Buyers(shop.purchases[shop.purchases.day <= 60], 60)
    found, expected = (
        segments_at(*each.tables(spark), day(60), TERMS).where("person_id < 4").orderBy("person_id").collect()
        for each in (shop, known)
    )
    assert [row.segment for row in found] == [row.segment for row in expected]


@pytest.mark.parametrize(
    ("days", "overdue", "interval", "money", "silent", "name"),
    [
        (0, None, None, None, None, "Never bought"),
        (9, 4, 30, 5, 120, "Lost"),
        (9, 9, 7, 3, 63, "At risk"),  # four intervals, but shorter than the churn horizon
        (1, 2, 40, 1, 80, "New"),
        (1, 2.1, 40, 5, 84, "Hibernating"),
        (3, 2, 36, 4, 72, "Champions"),
        (3, 2, 36.1, 4, 72, "Loyal"),
        (3, 2, 36, 3, 72, "Loyal"),
        (2, 0, 7, 5, 0, "Promising"),
        (2, 2.1, 7, 4, 15, "Cannot lose"),
        (2, 2.1, 7, 3, 15, "At risk"),
    ],
)
def test_segment_at_the_borders_of_its_rule(spark, days, overdue, interval, money, silent, name: str) -> None:
    values = {
        "purchase_day_count": (days, "bigint"),
        "overdue": (overdue, "double"),
        "purchase_interval_days": (interval, "double"),
        "monetary_score": (money, "int"),
        "recency_days": (silent, "int"),
        "churn_horizon_days": (90, "int"),
    }
    columns = ", ".join(
        f"CAST({'NULL' if value is None else value} AS {kind}) AS {column}" for column, (value, kind) in values.items()
    )
    assert spark.sql(f"SELECT {columns}").select(segment().alias("segment")).first().segment == name


def test_no_customers_give_no_segments(spark) -> None:
    frames = [frame.limit(0) for frame in purchases([0]).tables(spark)]
    assert segments_at(*frames, day(60), TERMS).collect() == []


def test_quality_compares_segments_at_the_cut_off_with_later_purchases(spark) -> None:
    shop = purchases([0, 7, 14, 100], [0, 7, 14, 500], [0], [100], [14, 300])
    rows = quality(spark, shop, 104, minimum_size=2)  # the cut-off is day 14
    counts = {name: (row["customer_count"], row["bought_share"], row["revenue_after"]) for name, row in rows.items()}
    assert counts["Loyal"] == (2, 0.5, Decimal(1000))
    assert counts["New"] == (2, 0, 0)
    assert counts[ALL_BUYERS] == (4, 0.25, Decimal(1000))
    assert counts["Lost"] == (0, None, 0)
    assert {row["is_kept"] for row in rows.values()} == {None}
    assert {row["checkable_from"] for row in rows.values()} == {None}


def test_quality_says_when_the_first_horizon_is_over(spark) -> None:
    rows = quality(spark, purchases([20, 30]), 60)
    assert rows["Lost"]["checkable_from"] == day(110)
    assert promise_sentences(list(rows.values())) == [
        "Segments: the first churn horizon is not over. Their promises can be checked from 1997-04-21 on."
    ]


OUTCOMES = {
    "Lost": Outcome(100, 15),
    "Champions": Outcome(100, 81),
    "At risk": Outcome(100, 29),
    "Loyal": Outcome(100, 30),
    ALL_BUYERS: Outcome(400, 240),
}


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("Lost", {"Lost": Outcome(100, 16)}),
        ("Champions", {"Champions": Outcome(100, 80)}),  # churns half as often as the average, not less
        ("At risk", {"At risk": Outcome(100, 30)}),
    ],
)
def test_promise_is_kept_up_to_its_limit(name: str, broken: dict[str, Outcome]) -> None:
    assert is_kept(PROMISES[name], OUTCOMES, 100) is True
    assert is_kept(PROMISES[name], OUTCOMES | broken, 100) is False


def test_promise_of_a_small_segment_has_no_result() -> None:
    assert is_kept(PROMISES["At risk"], OUTCOMES | {"Loyal": Outcome(99, 99)}, 100) is None
    assert is_kept(PROMISES["Lost"], OUTCOMES | {"Lost": Outcome(0, 0)}, 0) is None


def result(name: str, kept: bool | None, as_of: date = date(2026, 6, 30), share: float = 0.3) -> dict[str, object]:
    return {
        "segment": name,
        "as_of": as_of,
        "cut_off": date(2026, 4, 1),
        "customer_count": 1200,
        "bought_share": share,
        "is_kept": kept,
        "checkable_from": None,
    }


def test_broken_promise_is_told_with_its_figures() -> None:
    rows = [result("Lost", True), result("Champions", None), result("At risk", False), result("Loyal", None, share=0.2)]
    earlier = [result("Lost", False, as_of=date(2026, 5, 31))]
    assert promise_sentences([*rows, *earlier]) == [
        "Segments: it is not true on your data that customers at risk churn more often than loyal customers. From"
        " 2026-04-01 to 2026-06-30, these customers bought: 30% of 1,200 in At risk, 20% of 1,200 in Loyal.",
        "Segments: too few customers to check the promise of Champions.",
    ]
    assert promise_sentences([result(name, True) for name in PROMISES]) == promise_sentences([]) == []
