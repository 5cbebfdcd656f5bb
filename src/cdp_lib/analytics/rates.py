"""Models of repeat buying for shops whose customers hardly differ in when they leave: the fallbacks of Pareto/NBD.

Pareto/NBD has no maximum if the drop-out rate is nearly the same for all customers: s and beta grow without limit, and
s / beta tends to the common rate. `CommonDropOutNbd` is this limit. `ShrunkenRate` has no drop-out at all, and always
has parameters.

Sources:
    Schmittlein, Morrison and Colombo (1987), Counting your customers. Management Science 33(1).
    Fader and Hardie (2005), A note on deriving the Pareto/NBD model and related expressions. brucehardie.com/notes/009.
    Robbins (1956), An empirical Bayes approach to statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import gammaln

from cdp_lib.analytics.histories import Floats, Histories, weighted_sum
from cdp_lib.analytics.purchases import PurchaseModel

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
"""Gauss-Legendre rule on (−1, 1). Its error is below 1e-11 for the integrands of `_log_integral`."""

_NEGLIGIBLE = 40.0
"""The rest of an integral is left out where the integrand is below exp(−40) of its first value."""

_MIN_SHAPE, _MAX_SHAPE = 0.1, 100.0
"""Range of the shape of a moment estimate. Rates that hardly differ would give an infinite shape."""


@dataclass(frozen=True)
class CommonDropOutNbd(PurchaseModel):
    """Pareto/NBD with one drop-out rate mu per week for all customers; purchase rate λ ~ Gamma(r, alpha).

    The formulas are the ones of Fader and Hardie (2005) before they average over μ.
    """

    name = "common_drop_out_nbd"
    starts = ((1.0, 10.0, 0.01), (0.5, 5.0, 0.1), (2.0, 2.0, 0.001))
    r: float
    alpha: float
    mu: float

    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return the log-likelihood of each history: the average over λ of equation 14."""
        alive, gone = self._log_likelihoods_alive_and_gone(x, t_x, T)
        return np.asarray(
            gammaln(self.r + x) - gammaln(self.r) + self.r * np.log(self.alpha) + np.logaddexp(alive, gone)
        )

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return P(alive): the share of the likelihood in which the customer is alive at T."""
        alive, gone = self._log_likelihoods_alive_and_gone(x, t_x, T)
        return np.asarray(np.exp(alive - np.logaddexp(alive, gone)))

    def expected_purchases_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return E(purchases in (T, T + t] | alive at T): E(λ) × the expected time alive in the period."""
        time_alive = -np.expm1(-self.mu * t) / self.mu
        return np.asarray((self.r + x) / (self.alpha + T) * time_alive)

    def _probability_of_purchase_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return E(∫ λ exp(−(λ + μ) u) du) over u in (0, t], where λ ~ Gamma(r + x, alpha + T)."""
        R, A = self.r + x, self.alpha + T
        return np.asarray(R * np.exp(_log_integral(R, self.mu * A, np.log1p(t / A))))

    def _log_likelihoods_alive_and_gone(self, x: Floats, t_x: Floats, T: Floats) -> tuple[Floats, Floats]:
        """Return two log-likelihoods: of being alive at T, and of having dropped out between t_x and T."""
        R, A = self.r + x, self.alpha + t_x
        alive = -R * np.log(self.alpha + T) - self.mu * T
        integral = _log_integral(R - 1, self.mu * A, np.log((self.alpha + T) / A))
        gone = np.log(self.mu) - self.mu * t_x + (1 - R) * np.log(A) + integral
        return alive, gone


@dataclass(frozen=True)
class ShrunkenRate(PurchaseModel):
    """Purchase rate λ ~ Gamma(r, alpha) without drop-out: each customer's own rate, shrunk to the rate of the shop.

    P(alive) is always 1. The churn probability is the probability that a customer with such a rate buys nothing.
    """

    name = "shrunken_rate"
    r: float
    alpha: float

    @classmethod
    def of_moments(cls, histories: Histories) -> Self:
        """Estimate the parameters from the mean and the variance of the purchases. The estimate always exists.

        Half a purchase and a week are added to the totals, so that the mean rate is above 0 and finite.
        """
        x, T, weight = histories.frequency, histories.age, histories.weight
        rate = (weighted_sum(x, weight) + 0.5) / (weighted_sum(T, weight) + 1)
        # Variance beyond the variance of Poisson counts.
        excess = weighted_sum((x - rate * T) ** 2 - rate * T, weight)
        shape = rate**2 * weighted_sum(T**2, weight) / excess if excess > 0 else _MAX_SHAPE
        shape = float(np.clip(shape, _MIN_SHAPE, _MAX_SHAPE))
        return cls(shape, shape / rate)

    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return the log-likelihood of each history."""
        constant = gammaln(self.r + x) - gammaln(self.r) + self.r * np.log(self.alpha)
        return np.asarray(constant - (self.r + x) * np.log(self.alpha + T))

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return 1 for each history."""
        return np.ones_like(T)

    def expected_purchases_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return E(purchases in (T, T + t]): the expected rate × t."""
        return np.asarray((self.r + x) / (self.alpha + T) * t)

    def _probability_of_purchase_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        return np.asarray(-np.expm1(-(self.r + x) * np.log1p(t / (self.alpha + T))))


def _log_integral(power: Floats, growth: Floats, end: Floats) -> Floats:
    """Return the logarithm of ∫ exp(−power w − growth (exp(w) − 1)) dw over w from 0 to `end`; −∞ if `end` is 0."""
    decay = np.maximum(power + growth, _NEGLIGIBLE / np.maximum(end, 1e-300))
    half = np.minimum(end, _NEGLIGIBLE / decay) / 2
    total = np.zeros_like(half)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        w = half * (1 + node)
        total += weight * np.exp(-power * w - growth * np.expm1(w))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(half * total))
