from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma

from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.purchases import ParetoNbd
from cdp_lib.analytics.rates import CommonDropOutNbd, ShrunkenRate

MODEL = CommonDropOutNbd(1.4, 6.0, 0.02)
X, T_X, T = (
    np.array(values, dtype=float) for values in ([0, 1, 7, 90, 300], [0, 5, 30, 100, 90], [20, 60, 40, 101, 104])
)


def test_common_drop_out_is_the_limit_of_pareto_nbd() -> None:
    limit = ParetoNbd(MODEL.r, MODEL.alpha, s=1e6 * MODEL.mu, beta=1e6)
    for name in ("log_likelihoods", "probability_alive"):
        assert getattr(MODEL, name)(X, T_X, T) == pytest.approx(getattr(limit, name)(X, T_X, T), rel=2e-3), name
    for name in ("expected_purchases", "probability_of_no_purchase"):
        assert getattr(MODEL, name)(13.0, X, T_X, T) == pytest.approx(
            getattr(limit, name)(13.0, X, T_X, T), rel=2e-3, abs=1e-9
        ), name


@pytest.mark.parametrize("row", range(3))
def test_common_drop_out_equals_its_integral_over_the_rate(row: int) -> None:
    x, t_x, age = X[row], T_X[row], T[row]

    def likelihood(rate: float) -> float:
        both = rate + MODEL.mu
        gone = MODEL.mu / both * (np.exp(-both * t_x) - np.exp(-both * age))
        return rate**x * (gone + np.exp(-both * age))

    def weighted(rate: float) -> float:
        return float(likelihood(rate) * gamma.pdf(rate, MODEL.r, scale=1 / MODEL.alpha))

    total = quad(weighted, 0, 20, limit=500, epsabs=0.0)[0]  # epsabs: the likelihood is far below the default of 1.5e-8
    one = (np.array([value]) for value in (x, t_x, age))
    assert np.exp(MODEL.log_likelihoods(*one)[0]) == pytest.approx(total, rel=1e-6)


def test_shrunken_rate_moves_customers_towards_the_shop() -> None:
    rng = np.random.default_rng(3)
    rate = rng.gamma(2.0, 1 / 8.0, 5000)
    age = rng.integers(20, 60, 5000).astype(float)
    x = rng.poisson(rate * age).astype(float)
    model = ShrunkenRate.of_moments(Histories.of_customers(x, np.where(x > 0, age, 0.0), age))
    assert (model.r, model.alpha) == (pytest.approx(2.0, rel=0.1), pytest.approx(8.0, rel=0.1))
    expected = model.expected_purchases(10.0, x, age, age)
    assert expected.sum() == pytest.approx((rate * 10).sum(), rel=0.02)
    assert np.mean((expected - rate * 10) ** 2) < np.mean((x / age * 10 - rate * 10) ** 2)


def test_shrunken_rate_exists_without_a_repeat_purchase() -> None:
    once = Histories(np.zeros(1), np.zeros(1), np.zeros(1), np.array([100.0]))
    model = ShrunkenRate.of_moments(once)
    churn = model.probability_of_no_purchase(13.0, np.zeros(1), np.zeros(1), np.zeros(1))
    assert 0 < churn[0] < 1
