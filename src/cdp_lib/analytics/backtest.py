"""How good a forecast was: what was predicted at a cut-off, beside what came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cdp_lib.analytics.histories import Floats

DECILES = 10


@dataclass(frozen=True)
class Forecast:
    """Groups of customers alike in all of this, and how many customers each is.

    Attributes:
        purchases: Purchases predicted for the holdout, by customer.
        churn: Probability predicted that there is none, 0 to 1.
        actual: Purchases that came.
        weight: Customers.
    """

    purchases: Floats
    churn: Floats
    actual: Floats
    weight: Floats


@dataclass(frozen=True)
class Measured:
    """One measure of a forecast.

    Attributes:
        measure: `total_error` (predicted / actual − 1), `mae` (mean absolute error of a customer's purchases),
            `brier_score` (mean squared error of churn), `auc` (chance that of a churned and a staying customer the
            churned one has the higher probability of churn), `purchases_by_decile` or `churn_by_decile`.
        decile: Tenth of the customers by prediction, 1 lowest; 0 for all.
        customers: Customers compared.
        predicted: Total (`total_error`) or mean predicted.
        actual: Total or mean that came.
        value: The measure; None where it is not defined. Of a decile, predicted − actual.
    """

    measure: str
    decile: int
    customers: float
    predicted: float | None
    actual: float | None
    value: float | None


def measure_forecast(forecast: Forecast) -> list[Measured]:
    """All measures of a forecast; none of an empty one."""
    customers = float(forecast.weight.sum())
    if not customers:
        return []
    churned = (forecast.actual == 0).astype(np.float64)
    mean_churn, mean_churned = (_mean(of, forecast.weight) for of in (forecast.churn, churned))
    mean_predicted, mean_actual = (_mean(of, forecast.weight) for of in (forecast.purchases, forecast.actual))
    total, total_actual = mean_predicted * customers, mean_actual * customers
    error = total / total_actual - 1 if total_actual else None
    mae = _mean(np.abs(forecast.purchases - forecast.actual), forecast.weight)
    brier = _mean((forecast.churn - churned) ** 2, forecast.weight)
    auc = area_under_curve(forecast.churn, churned, forecast.weight)
    return [
        Measured("total_error", 0, customers, total, total_actual, error),
        Measured("mae", 0, customers, mean_predicted, mean_actual, mae),
        Measured("brier_score", 0, customers, mean_churn, mean_churned, brier),
        Measured("auc", 0, customers, mean_churn, mean_churned, auc),
        *_by_decile("purchases_by_decile", forecast.purchases, forecast.actual, forecast.weight),
        *_by_decile("churn_by_decile", forecast.churn, churned, forecast.weight),
    ]


def last_period_rate(purchases: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The forecast that the last period goes on: everybody buys as often, and as large a share buys nothing.

    Args:
        purchases: Purchases in the last period, by customer.
        weight: Customers.

    Returns:
        Purchases and churn, the same for all.
    """
    share = _mean((purchases == 0).astype(np.float64), weight) if weight.any() else 0.0
    return purchases, np.full_like(purchases, share)


def active_if_recent(is_recent: Floats, purchases_if_active: float) -> tuple[Floats, Floats]:
    """The forecast that who bought lately buys again, as often as such customers do, and others do not.

    Args:
        is_recent: 1 for who bought within the last period, else 0.
        purchases_if_active: Purchases of a customer who buys again.
    """
    return is_recent * purchases_if_active, 1 - is_recent


def area_under_curve(score: Floats, is_positive: Floats, weight: Floats) -> float | None:
    """P(a positive has a higher score than a negative), equal scores counted half; None where one of them is missing.

    Source: Hanley and McNeil (1982), The meaning and use of the area under a ROC curve. Radiology 143(1).
    """
    _, group = np.unique(score, return_inverse=True)
    positives = np.bincount(group, weights=weight * is_positive)
    negatives = np.bincount(group, weights=weight * (1 - is_positive))
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return None
    negatives_below = np.cumsum(negatives) - negatives
    return float((positives * (negatives_below + negatives / 2)).sum() / pairs)


def _mean(values: Floats, weight: Floats) -> float:
    return float(values @ weight / weight.sum())


def _by_decile(measure: str, predicted: Floats, actual: Floats, weight: Floats) -> Iterator[Measured]:
    """Calibration. A group of customers with one prediction stays together, in the decile that its middle is in."""
    values, group = np.unique(predicted, return_inverse=True)
    customers = np.bincount(group, weights=weight)
    middle = (np.cumsum(customers) - customers / 2) / customers.sum()
    decile = np.minimum((middle * DECILES).astype(int), DECILES - 1)[group]
    for number in range(DECILES):
        members = decile == number
        if members.any():
            mean_predicted, mean_actual = (_mean(of[members], weight[members]) for of in (predicted, actual))
            total = float(weight[members].sum())
            yield Measured(measure, number + 1, total, mean_predicted, mean_actual, mean_predicted - mean_actual)
