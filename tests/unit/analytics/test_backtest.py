"""Tests of the measures of a forecast, which are compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_lib.analytics.backtest import Forecast, area_under_curve, measure_forecast


def forecast(*rows: tuple[float, float, float, float]) -> Forecast:
    """Build a forecast from rows of (predicted purchases, predicted churn, actual purchases, number of customers)."""
    return Forecast(*(np.array(column, dtype=float) for column in zip(*rows, strict=True)))


# Four customers with predicted purchases 1.0, 0.5, 0.2 and 0.2, and actual purchases 2, 0, 0 and 1.
FOUR_CUSTOMERS = forecast((1.0, 0.2, 2, 1), (0.5, 0.5, 0, 1), (0.2, 0.8, 0, 1), (0.2, 0.8, 1, 1))


def overall(measures) -> dict[str, tuple[float, float, float]]:
    return {each.measure: (each.predicted, each.actual, each.value) for each in measures if each.decile == 0}


def test_measures_equal_values_computed_by_hand() -> None:
    assert overall(measure_forecast(FOUR_CUSTOMERS)) == {
        "total_error": pytest.approx((1.9, 3.0, 1.9 / 3 - 1)),
        "mae": pytest.approx((1.9 / 4, 3 / 4, (1.0 + 0.5 + 0.2 + 0.8) / 4)),
        # The customers 2 and 3 churned.
        "brier_score": pytest.approx((2.3 / 4, 2 / 4, (0.04 + 0.25 + 0.04 + 0.64) / 4)),
        # Predicted churn for all pairs of a churned and an active customer: .5 > .2, .5 < .8, .8 > .2, .8 = .8.
        "auc": pytest.approx((2.3 / 4, 2 / 4, 2.5 / 4)),
    }


def test_weight_of_a_group_equals_that_many_single_customers() -> None:
    once = forecast((1.0, 0.2, 2, 3), (0.2, 0.8, 0, 2))
    each = forecast(*[(1.0, 0.2, 2, 1)] * 3, *[(0.2, 0.8, 0, 1)] * 2)
    assert overall(measure_forecast(once)) == {
        name: pytest.approx(values) for name, values in overall(measure_forecast(each)).items()
    }


def test_deciles_are_tenths_of_customers_sorted_by_prediction() -> None:
    measured = measure_forecast(forecast(*((n / 100, 1 - n / 100, n % 2, 1) for n in range(100))))
    deciles = [each for each in measured if each.measure == "purchases_by_decile"]
    assert [(each.decile, each.customers) for each in deciles] == [(number, 10) for number in range(1, 11)]
    assert deciles[0].predicted == pytest.approx(0.045)
    assert (deciles[0].actual, deciles[0].value) == (pytest.approx(0.5), pytest.approx(0.045 - 0.5))
    churn = [each for each in measured if each.measure == "churn_by_decile"]
    assert churn[0].predicted == pytest.approx(0.055)


def test_customers_with_equal_predictions_stay_in_one_decile() -> None:
    measured = measure_forecast(forecast((0.1, 0.9, 0, 60), (0.5, 0.5, 1, 40)))
    deciles = {each.decile: each.customers for each in measured if each.measure == "purchases_by_decile"}
    assert deciles == {4: 60, 9: 40}


def test_undefined_measures_are_none() -> None:
    measured = overall(measure_forecast(forecast((1.0, 0.2, 0, 1), (0.5, 0.5, 0, 1))))
    assert measured["total_error"][2] is None  # no actual purchases
    assert measured["auc"][2] is None  # all customers churned
    assert measure_forecast(forecast((1.0, 0.2, 0, 1)))[1].value == 1
    empty = Forecast(*np.zeros((4, 0)))
    assert measure_forecast(empty) == []


scores = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(1, 4)), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(scores)
def test_area_under_curve_is_share_of_pairs_in_order(rows) -> None:
    score, positive, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    pairs = [
        (a_weight * b_weight, 1.0 if a > b else 0.5 if a == b else 0.0)
        for a, is_positive, a_weight in rows
        for b, other_is_positive, b_weight in rows
        if is_positive and not other_is_positive
    ]
    area = area_under_curve(score, positive, weight)
    if pairs:
        assert area == pytest.approx(sum(w * is_in_order for w, is_in_order in pairs) / sum(w for w, _ in pairs))
    else:
        assert area is None
