"""Tests of the baselines of churn, on customers whose best forecast is known."""

from __future__ import annotations

import numpy as np
import pytest

from cdp_lib.analytics.baselines import Calibration, active_if_recent, baseline_forecasts
from cdp_lib.analytics.histories import Histories

WEEKS = 13.0


def histories(*rows: tuple[float, float, float, float]) -> Histories:
    """Build histories from rows of (frequency, recency, age, number of customers)."""
    return Histories(*(np.array(column, dtype=float) for column in zip(*rows, strict=True)))


# Weekly buyers, silent for 1 and for 20 weeks, and buyers every ten weeks, silent for as long.
BUYERS = histories((40, 40, 41, 1000), (40, 40, 60, 1000), (4, 40, 41, 1000), (4, 40, 60, 1000))
BOUGHT = np.array([10.0, 0.0, 1.0, 1.0])


def churn(known: Histories = BUYERS, past: Histories = BUYERS, bought: np.ndarray = BOUGHT) -> dict[str, list[float]]:
    """Return the churn probabilities of each baseline."""
    return {
        name: forecast[1].tolist()
        for name, forecast in baseline_forecasts(known, WEEKS, Calibration(past, bought)).items()
    }


def test_customers_are_recent_if_they_bought_in_the_last_period() -> None:
    assert active_if_recent(BUYERS, WEEKS).tolist() == [1, 0, 1, 0]
    assert churn()["active_if_recent"] == [0, 1, 0, 1]


def test_own_rhythm_orders_customers_by_intervals_missed() -> None:
    weekly_recent, weekly_silent, slow_recent, slow_silent = churn()["own_rhythm"]
    assert weekly_silent > slow_silent > weekly_recent > slow_recent
    assert weekly_silent > 0.5


def test_customer_with_one_purchase_has_the_interval_of_the_shop() -> None:
    once = histories((0, 0, 10, 1), (0, 0, 100, 1))
    shop = histories((10, 100, 110, 500), (10, 100, 200, 500))  # an interval of ten weeks, missed once and ten times
    rhythm = churn(once, shop, np.array([2.0, 0.0]))["own_rhythm"]
    assert rhythm == pytest.approx(churn(shop, shop, np.array([2.0, 0.0]))["own_rhythm"])


def test_logistic_regression_recovers_the_share_of_each_group() -> None:
    # Half of the recent customers and a tenth of the others bought.
    past = histories((1, 5, 6, 5e5), (1, 5, 6, 5e5), (1, 5, 30, 1e5), (1, 5, 30, 9e5))
    shares = churn(past, past, np.array([1.0, 0.0, 1.0, 0.0]))["logistic"]
    assert shares == pytest.approx([0.5, 0.5, 0.9, 0.9], abs=1e-3)


@pytest.mark.parametrize("bought", [0.0, 2.0])
def test_forecasts_are_finite_if_all_customers_did_the_same(bought: float) -> None:
    for purchases, probability in baseline_forecasts(BUYERS, WEEKS, Calibration(BUYERS, np.full(4, bought))).values():
        assert np.isfinite(purchases).all()
        assert ((probability >= 0) & (probability <= 1)).all()


def test_purchases_of_the_calibration_add_up() -> None:
    for purchases, _ in baseline_forecasts(BUYERS, WEEKS, Calibration(BUYERS, BOUGHT)).values():
        assert purchases @ BUYERS.weight == pytest.approx(BOUGHT @ BUYERS.weight)
