from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifetimes import BetaGeoFitter
from lifetimes.utils import _customer_lifetime_value

from cdp_lib.analytics.lifetime_value import WEEKS_PER_MONTH, discounted_purchases
from cdp_lib.analytics.purchases import BgNbd, ParetoNbd

MODEL = ParetoNbd(r=0.5532, alpha=10.576, s=0.6063, beta=11.672)
KNOWN = np.array([0.0, 2, 10]), np.array([0.0, 30.0, 38]), np.array([39.0, 39, 39])


def test_without_discount_purchases_equal_expected_purchases_of_whole_horizon() -> None:
    whole = MODEL.expected_purchases(12 * WEEKS_PER_MONTH, *KNOWN)
    assert discounted_purchases(MODEL, 12, 0.0, *KNOWN) == pytest.approx(whole)


def test_each_month_is_discounted_from_its_end() -> None:
    """Discount factors of two months at 21 % per year, by hand: 1.21 ^ (1 / 12) and 1.21 ^ (2 / 12)."""
    first = MODEL.expected_purchases(WEEKS_PER_MONTH, *KNOWN)
    second = MODEL.expected_purchases(2 * WEEKS_PER_MONTH, *KNOWN) - first
    expected = first / 1.0160119 + second / 1.0322801
    assert discounted_purchases(MODEL, 2, 0.21, *KNOWN) == pytest.approx(expected, rel=1e-6)


def test_lifetimes_gives_same_discounted_purchases() -> None:
    """In `lifetimes`, a month has 4.345 weeks, so the results are only approximately equal."""
    parameters = {"r": 0.2426, "alpha": 4.4136, "a": 0.7929, "b": 2.4259}
    oracle = BetaGeoFitter()
    oracle.params_ = pd.Series(parameters)
    oracle.predict = oracle.conditional_expected_number_of_purchases_up_to_time
    value = _customer_lifetime_value(
        oracle,
        *(pd.Series(column) for column in KNOWN),
        monetary_value=pd.Series(np.ones(3)),
        time=12,
        discount_rate=1.1 ** (1 / 12) - 1,
        freq="W",
    )
    ours = discounted_purchases(BgNbd(**parameters), 12, 0.1, *KNOWN)
    assert ours == pytest.approx(value.to_numpy(), rel=0.001)
