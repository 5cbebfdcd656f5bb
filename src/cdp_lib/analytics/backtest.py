"""Quality of a forecast: predictions made at a cut-off, compared with the purchases that followed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cdp_lib.analytics.histories import Floats, weighted_sum

DECILES = 10


@dataclass(frozen=True)
class Forecast:
    """Predictions and actual purchases of groups of customers.

    Each array has one element per group. The customers of a group have the same predictions and the same number of
    actual purchases.

    Attributes:
        purchases: Number of purchases in the holdout that the model predicts for each customer of the group.
        churn: Predicted probability of no purchase in the holdout, 0 to 1.
        actual: Number of purchases that each customer of the group made in the holdout.
        weight: Number of customers in the group.
    """

    purchases: Floats
    churn: Floats
    actual: Floats
    weight: Floats


@dataclass(frozen=True)
class ForecastMeasure:
    """One quality measure of a forecast, for all customers or for one decile of the customers.

    Attributes:
        measure: Name of the measure:

            - `total_error`: predicted / actual − 1
            - `mae`: mean absolute error of purchases per customer
            - `brier_score`: mean squared error of the churn probability
            - `auc`: probability that a customer who churned has a higher predicted churn probability than a customer
              who stayed
            - `purchases_by_decile`, `churn_by_decile`: predicted and actual mean of a decile
        decile: Decile of the customers by prediction: 1 is the lowest decile, 10 is the highest; 0 for all customers.
        customers: Number of customers that the measure covers.
        predicted: Predicted total (`total_error`) or predicted mean (all other measures).
        actual: Actual total (`total_error`) or actual mean (all other measures).
        value: Value of the measure; None if it is undefined. The value for a decile is predicted − actual.
    """

    measure: str
    decile: int
    customers: float
    predicted: float | None
    actual: float | None
    value: float | None


def measure_forecast(forecast: Forecast) -> list[ForecastMeasure]:
    """Return all measures of a forecast, or an empty list if the forecast has no customers."""
    customers = float(forecast.weight.sum())
    if not customers:
        return []
    churned = (forecast.actual == 0).astype(np.float64)
    mean_churn, mean_churned = (_mean(values, forecast.weight) for values in (forecast.churn, churned))
    mean_predicted = _mean(forecast.purchases, forecast.weight)
    mean_actual = _mean(forecast.actual, forecast.weight)
    total, total_actual = mean_predicted * customers, mean_actual * customers
    error = total / total_actual - 1 if total_actual else None
    mae = _mean(np.abs(forecast.purchases - forecast.actual), forecast.weight)
    brier = _mean((forecast.churn - churned) ** 2, forecast.weight)
    auc = area_under_curve(forecast.churn, churned, forecast.weight)
    return [
        ForecastMeasure("total_error", 0, customers, total, total_actual, error),
        ForecastMeasure("mae", 0, customers, mean_predicted, mean_actual, mae),
        ForecastMeasure("brier_score", 0, customers, mean_churn, mean_churned, brier),
        ForecastMeasure("auc", 0, customers, mean_churn, mean_churned, auc),
        *_by_decile("purchases_by_decile", forecast.purchases, forecast.actual, forecast.weight),
        *_by_decile("churn_by_decile", forecast.churn, churned, forecast.weight),
    ]


def area_under_curve(score: Floats, is_positive: Floats, weight: Floats) -> float | None:
    """Return the probability that a positive case has a higher score than a negative case.

    A positive case and a negative case with equal scores count as one half. Return None if there are no positive cases
    or no negative cases.

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
    return weighted_sum(values, weight) / float(weight.sum())


def _by_decile(measure: str, predicted: Floats, actual: Floats, weight: Floats) -> Iterator[ForecastMeasure]:
    """Yield the predicted and the actual mean of each decile. Equal predictions are in the same decile."""
    _, group = np.unique(predicted, return_inverse=True)
    customers = np.bincount(group, weights=weight)
    middle = (np.cumsum(customers) - customers / 2) / customers.sum()
    decile = np.minimum((middle * DECILES).astype(int), DECILES - 1)[group]
    for number in range(DECILES):
        members = decile == number
        if members.any():
            mean_predicted, mean_actual = (_mean(values[members], weight[members]) for values in (predicted, actual))
            total = float(weight[members].sum())
            yield ForecastMeasure(measure, number + 1, total, mean_predicted, mean_actual, mean_predicted - mean_actual)
