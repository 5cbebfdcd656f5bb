"""Baselines: simple forecasts of churn that a purchase model must beat.

A baseline sees the same customers one period earlier, and what they bought in that period. It is calibrated to these
purchases, and then applied to the customers at the cut-off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from cdp_lib.analytics.histories import Floats, Histories, weighted_sum

_SHORTEST_INTERVAL = 1 / 7
"""Shortest mean interval between two purchases, in weeks: a day."""

_PENALTY = 1.0
"""Penalty on the squared coefficients of the logistic regression. It keeps them finite if a feature separates churned
customers from all others.
"""

_MAX_STEPS, _TOLERANCE = 50, 1e-8


@dataclass(frozen=True)
class Calibration:
    """Customers one period before the cut-off, in groups.

    Attributes:
        histories: Histories at that time, one per group. The weight of a history is the number of its customers.
        bought: Purchase days per customer in the period that followed, which ends with the cut-off.
    """

    histories: Histories
    bought: Floats


def active_if_recent(histories: Histories, weeks: float) -> Floats:
    """Return 1 for customers who bought in the last `weeks` weeks, else 0."""
    return (histories.age - histories.recency < weeks).astype(np.float64)


def baseline_forecasts(known: Histories, weeks: float, calibration: Calibration) -> Mapping[str, tuple[Floats, Floats]]:
    """Return the purchases and the churn probability that each baseline forecasts, by name of the baseline.

    - `active_if_recent`: the customers who bought in the last period buy again, all others do not.
    - `own_rhythm`: the probability depends on how overdue a customer is: the time since the latest purchase, divided by
      the customer's own mean interval. For a customer with one purchase, the mean interval of the shop counts.
    - `logistic`: logistic regression on the time since the latest purchase, and on the number of purchases.

    The purchases are the probability of a purchase times a factor, with which the total of the calibration is right.

    Args:
        known: Histories at the cut-off.
        weeks: Length of a period, in weeks.
        calibration: The customers one period earlier, at least one.
    """
    interval = _mean_interval(calibration.histories)

    def calibrated(features: Callable[[Histories], Floats]) -> tuple[Floats, Floats]:
        past, has_bought = calibration.histories, (calibration.bought > 0).astype(np.float64)
        coefficients = _fit_logistic(features(past), has_bought, past.weight)
        return _probability(features(past), coefficients), _probability(features(known), coefficients)

    probabilities = {
        "active_if_recent": (active_if_recent(calibration.histories, weeks), active_if_recent(known, weeks)),
        "own_rhythm": calibrated(lambda histories: _overdue(histories, interval)[:, None]),
        "logistic": calibrated(_recency_and_frequency),
    }
    weight, total = calibration.histories.weight, weighted_sum(calibration.bought, calibration.histories.weight)
    forecasts = {}
    for name, (past, now) in probabilities.items():
        expected = weighted_sum(past, weight)
        forecasts[name] = (now * (total / expected if expected else 0.0), 1 - now)
    return forecasts


def _mean_interval(histories: Histories) -> float:
    """Return the mean time between two purchases in the shop, in weeks; the mean age without repeat purchases."""
    repeats = weighted_sum(histories.frequency, histories.weight)
    if repeats:
        return weighted_sum(histories.recency, histories.weight) / repeats
    return weighted_sum(histories.age, histories.weight) / histories.customers


def _overdue(histories: Histories, shop_interval: float) -> Floats:
    own = np.where(histories.frequency > 0, histories.recency / np.maximum(histories.frequency, 1), shop_interval)
    return np.log1p((histories.age - histories.recency) / np.maximum(own, _SHORTEST_INTERVAL))


def _recency_and_frequency(histories: Histories) -> Floats:
    return np.column_stack([np.log1p(histories.age - histories.recency), np.log1p(histories.frequency)])


def _probability(features: Floats, coefficients: Floats) -> Floats:
    return np.asarray(expit(coefficients[0] + features @ coefficients[1:]))


def _fit_logistic(features: Floats, outcome: Floats, weight: Floats) -> Floats:
    """Return the intercept and the coefficients of a logistic regression, by Newton's method."""
    columns = np.column_stack([np.ones(len(features)), features])
    penalty = np.diag([_TOLERANCE, *np.full(features.shape[1], _PENALTY)])
    coefficients = np.zeros(columns.shape[1])
    for _ in range(_MAX_STEPS):
        probability = expit(columns @ coefficients)
        gradient = columns.T @ (weight * (outcome - probability)) - penalty @ coefficients
        spread = weight * np.maximum(probability * (1 - probability), _TOLERANCE)
        step = np.linalg.solve((columns * spread[:, None]).T @ columns + penalty, gradient)
        coefficients += np.clip(step, -5, 5)
        if np.abs(step).max() < _TOLERANCE:
            break
    return coefficients
