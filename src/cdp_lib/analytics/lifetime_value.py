"""Predictive customer lifetime value: expected margin, discounted to today.

    CLV = margin × E(spend on a purchase day) × Σ E(purchases in month i) / (1 + d) ^ (i / 12)

Purchases and spend are assumed to be independent, so their expectations multiply. The purchases of a month are
discounted as if they were made at the end of the month.

Source: Fader, Hardie and Lee (2005), RFM and CLV: using iso-value curves for customer base analysis. Journal of
Marketing Research 42(4).
"""

from __future__ import annotations

import numpy as np

from cdp_lib.analytics.histories import Floats
from cdp_lib.analytics.purchases import PurchaseModel

WEEKS_PER_MONTH = 365.25 / 12 / 7


def discounted_purchases(
    model: PurchaseModel, months: int, annual_discount_rate: float, x: Floats, t_x: Floats, T: Floats
) -> Floats:
    """Return the sum of the expected purchases in the months after T, discounted.

    The purchases of a month are discounted as if they were made at the end of the month.

    Args:
        model: Fitted model.
        months: Number of months after T.
        annual_discount_rate: Discount rate per year; 0.1 for 10 %.
        x: Repeat purchases.
        t_x: Weeks from the first to the latest purchase.
        T: Weeks from the first purchase to now.
    """
    total = np.zeros_like(T)
    previous = np.zeros_like(T)
    for month in range(1, months + 1):
        cumulative = model.expected_purchases_if_alive(month * WEEKS_PER_MONTH, x, T)
        total += (cumulative - previous) / (1 + annual_discount_rate) ** (month / 12)
        previous = cumulative
    return total * model.probability_alive(x, t_x, T)
