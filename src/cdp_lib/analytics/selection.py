"""Selection of a purchase model: the candidates in their order, and the holdout likelihood that chooses among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdp_lib.analytics.fits import MIN_CUSTOMERS, Fit
from cdp_lib.analytics.histories import Floats, Histories, weighted_sum
from cdp_lib.analytics.purchases import BgNbd, MbgNbd, ParetoNbd, PurchaseModel, fit_purchases
from cdp_lib.analytics.rates import CommonDropOutNbd, ShrunkenRate

MODELS: dict[str, type[PurchaseModel]] = {
    model.name: model for model in (ParetoNbd, CommonDropOutNbd, MbgNbd, BgNbd, ShrunkenRate)
}
"""Candidates by name, in the order in which they are tried. The last one has parameters from 100 buyers on."""

_STANDARD_ERRORS = 2.0
"""A model replaces an earlier model in `MODELS` only if its score is better by this number of standard errors."""


@dataclass(frozen=True)
class Replay:
    """Histories of the same customers at a cut-off and at the end of the data.

    Customers with equal histories at both times are one group; each array has one element per group.

    Attributes:
        before: Frequency, recency and age at the cut-off.
        after: Frequency, recency and age at the end of the data.
        weight: Number of customers in the group.
    """

    before: tuple[Floats, Floats, Floats]
    after: tuple[Floats, Floats, Floats]
    weight: Floats


def rank_models(replay: Replay) -> list[str]:
    """Return the names of the models in the order in which a fit to all customers tries them.

    Each model is fitted to the histories at the cut-off. Its score is the log-likelihood of what the customers did
    after the cut-off, given their histories. The stated order stays, unless a later model is clearly better: by two
    standard errors of the difference between the customers' log-likelihoods. A model without a fit at the cut-off has
    no score and keeps its place, because more data may give it a fit.
    """
    calibration = Histories.of_customers(*replay.before, replay.weight)
    scores = {name: _scores(model, calibration, replay) for name, model in MODELS.items()}
    names, chosen = [name for name in MODELS if scores[name] is not None], None
    for name in names:
        if chosen is None or _is_clearly_better(scores[name], scores[chosen], replay.weight):
            chosen = name
    passed_over = names[: names.index(chosen)] if chosen else []
    return [name for name in MODELS if name not in passed_over] + passed_over


def fit_best(histories: Histories, replay: Replay | None = None) -> Fit:
    """Fit the models in their order until a fit has parameters, and return the last fit that was tried.

    Args:
        histories: Histories of all customers who have bought.
        replay: Histories to rank the models by; None keeps the stated order.
    """
    has_evidence = replay is not None and float(replay.weight.sum()) >= MIN_CUSTOMERS
    fit: Fit | None = None
    for name in rank_models(replay) if replay and has_evidence else MODELS:
        fit = fit_model(name, histories)
        if fit.parameters or fit.customers < MIN_CUSTOMERS:
            return fit
    assert fit is not None
    return fit


def fit_model(name: str, histories: Histories) -> Fit:
    """Fit the model with a name to all customers."""
    if name != ShrunkenRate.name:
        return fit_purchases(MODELS[name], histories, starts=1)
    counts = (histories.customers, histories.repeat_customers, len(histories))
    if histories.customers < MIN_CUSTOMERS:
        message = f"{histories.customers} buyers; {MIN_CUSTOMERS} are needed"
        return Fit(name, "too_few_customers", *counts, message=message)
    model = ShrunkenRate.of_moments(histories)
    return Fit(name, "fitted", *counts, model.parameters, model.log_likelihood(histories))


def _scores(model: type[PurchaseModel], calibration: Histories, replay: Replay) -> Floats | None:
    """Return the log-likelihood of the purchases after the cut-off by group, or None if the model has no fit."""
    fit = fit_model(model.name, calibration)
    if not fit.parameters:
        return None
    fitted = model(**fit.parameters)
    gained = fitted.log_likelihoods(*replay.after) - fitted.log_likelihoods(*replay.before)
    return gained if np.isfinite(gained).all() else None


def _is_clearly_better(scores: Floats | None, others: Floats | None, weight: Floats) -> bool:
    """Return whether the total of the first scores is higher by two standard errors of the paired difference."""
    if scores is None or others is None:
        return False
    difference, customers = scores - others, float(weight.sum())
    mean = weighted_sum(difference, weight) / customers
    error = np.sqrt(weighted_sum((difference - mean) ** 2, weight)) / customers
    return bool(mean > _STANDARD_ERRORS * error)
