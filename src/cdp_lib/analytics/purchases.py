"""Models of repeat buying by customers who leave without notice: Pareto/NBD, MBG/NBD and BG/NBD.

A customer buys at random, at a constant individual rate λ, until the customer drops out (churns). The drop-out itself
is not observed. The models differ in when a customer can drop out:

- Pareto/NBD: at any moment
- BG/NBD: right after a repeat purchase
- MBG/NBD: right after any purchase

The notation follows the papers. All times are in weeks:

- x: number of repeat purchases
- t_x: time from the first to the latest purchase
- T: time from the first purchase to now

The functions take arrays of one shape and return arrays of the same shape.

Sources:
    Schmittlein, Morrison and Colombo (1987), Counting your customers. Management Science 33(1).
    Fader and Hardie (2005), A note on deriving the Pareto/NBD model and related expressions. brucehardie.com/notes/009.
    Fader, Hardie and Lee (2005), "Counting your customers" the easy way. Marketing Science 24(2).
    Batislam, Denizel and Filiztekin (2007), Empirical validation and comparison of models for customer base analysis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import betaln, expit, gammaln, hyp2f1

from cdp_lib.analytics.fits import SAMPLE_SIZE, Fit, MeanLogLikelihood, State, explain_too_few, maximize
from cdp_lib.analytics.histories import Floats, Histories, weighted_sum

_SINGULARITY_DISTANCE = 1e-7
"""Minimum distance from the points at which a formula of BG/NBD divides by zero: a = 1 and a + b + x = 1."""

_NEAR_ONE = 0.99
"""For arguments from this value up, the hypergeometric function is slow. Its result is sometimes NaN, or wrong in the
sixth digit.
"""

_STEP = 0.3
"""Step of the trapezoidal rule for integrals over log u. The error of the rule is about exp(−π² / step) = 5e-15."""

_NEGLIGIBLE = 36.0
"""If two terms of a sum differ by a factor of exp(36) or more, rounding loses the smaller term: exp(−36) ≈ 2e-16."""


class PurchaseModel(ABC):
    """Model of repeat buying. All its parameters are above 0."""

    name: ClassVar[str]
    starts: ClassVar[tuple[tuple[float, ...], ...]] = (
        (1.0, 10.0, 1.0, 10.0),
        (0.5, 5.0, 0.5, 5.0),
        (2.0, 50.0, 2.0, 50.0),
        (0.3, 1.0, 0.3, 10.0),
    )
    """Starting values of the parameters for a fit, in the order in which the model declares its parameters."""

    @abstractmethod
    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return the log-likelihood of each history."""

    @abstractmethod
    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return P(the customer has not dropped out by T), 0 to 1."""

    @abstractmethod
    def expected_purchases_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return E(purchases in (T, T + t]), given the history and that the customer is alive at T."""

    @abstractmethod
    def _probability_of_purchase_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return P(at least one purchase in (T, T + t]), given the history and that the customer is alive at T."""

    def expected_purchases(self, t: float, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return E(purchases in (T, T + t]), given the history."""
        return self.probability_alive(x, t_x, T) * self.expected_purchases_if_alive(t, x, T)

    def probability_of_no_purchase(self, t: float, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return the churn probability: P(no purchase in (T, T + t]), given the history.

        The probability is at least 1 − P(alive), because even a customer who is alive may buy nothing in (T, T + t].
        """
        purchase = self.probability_alive(x, t_x, T) * self._probability_of_purchase_if_alive(t, x, T)
        return np.clip(1 - purchase, 0.0, 1.0)

    def log_likelihood(self, histories: Histories) -> float:
        """Return the log-likelihood of all customers."""
        by_history = self.log_likelihoods(histories.frequency, histories.recency, histories.age)
        return weighted_sum(by_history, histories.weight)

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters by name."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class ParetoNbd(PurchaseModel):
    """Pareto/NBD: purchase rate λ ~ Gamma(r, alpha), drop-out rate μ ~ Gamma(s, beta)."""

    name = "pareto_nbd"
    r: float
    alpha: float
    s: float
    beta: float

    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return the log-likelihood of each history: Fader and Hardie (2005), equation 17."""
        alive, gone = self._log_likelihoods_alive_and_gone(x, t_x, T)
        constant = gammaln(self.r + x) - gammaln(self.r) + self.r * np.log(self.alpha) + self.s * np.log(self.beta)
        return np.asarray(constant + np.logaddexp(alive, gone))

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return P(alive): Fader and Hardie (2005), equation 24."""
        alive, gone = self._log_likelihoods_alive_and_gone(x, t_x, T)
        return np.asarray(np.exp(alive - np.logaddexp(alive, gone)))

    def expected_purchases_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return E(purchases in (T, T + t] | alive at T): Fader and Hardie (2005), equation 41."""
        # With s = 1, the formula divides by zero; 1e-15 in place of 0 gives the limit for s → 1 in full precision.
        order = self.s - 1 or 1e-15
        # Compute (1 − ((β + T) / (β + T + t))^(s − 1)) / (s − 1) in a form that stays precise for s near 1.
        time_alive = (self.beta + T) * -np.expm1(-order * np.log1p(t / (self.beta + T))) / order
        return np.asarray((self.r + x) / (self.alpha + T) * time_alive)

    def _probability_of_purchase_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return P(at least one purchase in (T, T + t]), given that the customer is alive at T.

        The probability is E(∫ λ exp(−(λ + μ) u) du) over u in (0, t]. λ ~ Gamma(r + x, α + T) and μ ~ Gamma(s, β + T)
        are independent.

        Source: Fader and Hardie (2014), Deriving the conditional PMF of the Pareto/NBD model. The paper derives the
        probability of exactly n purchases, for every n.
        """
        R, A, B = self.r + x, self.alpha + T, self.beta + T
        to_end = _log_tail(R + 1, np.full_like(R, self.s), A, B)
        after = _log_tail(R + 1, np.full_like(R, self.s), A + t, B + t)
        ever = np.exp(np.log(R) + R * np.log(A) + self.s * np.log(B) + to_end)
        return np.asarray(ever * -np.expm1(after - to_end))

    def _log_likelihoods_alive_and_gone(self, x: Floats, t_x: Floats, T: Floats) -> tuple[Floats, Floats]:
        """Return two log-likelihoods: of being alive at T, and of having dropped out between t_x and T.

        `log_likelihoods` adds a term that both values lack.
        """
        R = self.r + x
        alive = -R * np.log(self.alpha + T) - self.s * np.log(self.beta + T)
        q = np.full_like(R, self.s + 1)
        since = _log_tail(R, q, self.alpha + t_x, self.beta + t_x)
        after = _log_tail(R, q, self.alpha + T, self.beta + T)
        with np.errstate(divide="ignore"):  # log 0 = −∞ if t_x = T: no time is left to drop out
            gone = np.log(self.s) + since + np.log(np.maximum(-np.expm1(after - since), 0.0))
        return alive, gone


def _log_tail(p: Floats, q: Floats, A: Floats, B: Floats) -> Floats:
    """Return the logarithm of ∫ (A + u)^−p (B + u)^−q du over u from 0 to infinity, where p + q > 1.

    The integral equals the hypergeometric series ₂F₁(1, b; p + q; z) times a factor. The papers use another series,
    which overflows for customers with many purchases. The terms of the series here are positive and decrease. If the
    result of `hyp2f1` is unreliable, the function computes the integral numerically.
    """
    wide, narrow = np.maximum(A, B), np.minimum(A, B)
    power_of_narrow, b = np.where(A >= B, q, p), np.where(A >= B, p, q)
    order = p + q - 1
    z = (wide - narrow) / wide
    is_series = z < _NEAR_ONE
    series = hyp2f1(1.0, b, order + 1, np.where(is_series, z, 0.0))
    is_series &= (series >= 1) & (series * (1 - z) <= 1 + 1e-9)  # correct results are in [1, 1 / (1 − z)]; NaN is not
    series = np.where(is_series, series, 1.0)
    logarithm = np.log(series / order) + (1 - power_of_narrow) * np.log(narrow) - b * np.log(wide)
    rest = ~is_series
    if rest.any():
        logarithm[rest] = _log_tail_by_quadrature(p[rest], q[rest], A[rest], B[rest])
    return np.asarray(logarithm)


def _log_tail_by_quadrature(p: Floats, q: Floats, A: Floats, B: Floats) -> Floats:
    """Return the same logarithm as `_log_tail`. This method works for all arguments.

    The function applies the trapezoidal rule over y = log u. The integrand u (A + u)^−p (B + u)^−q has no singularity
    within π of the real axis of y, and decreases exponentially at both ends. A smaller step therefore reduces the error
    exponentially. Beyond the last step, the integrand is almost equal to u^(1 − p − q), so the remaining terms are
    summed as a geometric series.

    Source: Trefethen and Weideman (2014), The exponentially convergent trapezoidal rule. SIAM Review 56(3).
    """
    order = p + q - 1
    # Divide the integrand by its value at a point near its peak, so that the sum stays in range.
    near_peak = 1 / (p / A + q / B)
    scale = np.log(near_peak) - p * np.log(A + near_peak) - q * np.log(B + near_peak)
    begin = np.log(near_peak) - _NEGLIGIBLE
    end = np.minimum(np.log(p * A + q * B) + _NEGLIGIBLE, np.log(np.maximum(A, B)) + _NEGLIGIBLE / order)
    total = term = np.zeros_like(p)
    for step in range(int(np.ceil(np.max((end - begin) / _STEP))) + 1):
        y = begin + step * _STEP
        u = np.exp(y)
        term = np.exp(y - p * np.log(A + u) - q * np.log(B + u) - scale)
        total = total + term
    beyond = term * np.exp(-order * _STEP) / -np.expm1(-order * _STEP)
    return np.asarray(np.log(_STEP * (total + beyond)) + scale)


@dataclass(frozen=True)
class _GeometricNbd(PurchaseModel):
    """Base of BG/NBD and MBG/NBD: purchase rate λ ~ Gamma(r, alpha), drop-out probability p ~ Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    @abstractmethod
    def _drop_out_chances(self, x: Floats) -> Floats:
        """Return how many chances to drop out the customer had: x in BG/NBD, x + 1 in MBG/NBD."""

    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return the log-likelihood of each history: Fader, Hardie and Lee (2005), equation 6.

        In MBG/NBD, the customer has one more chance to drop out than in BG/NBD: Batislam et al. (2007).
        """
        R, k = self.r + x, self._drop_out_chances(x)
        constant = gammaln(R) - gammaln(self.r) + self.r * np.log(self.alpha)
        alive = betaln(self.a, self.b + k) - betaln(self.a, self.b) - R * np.log(self.alpha + T)
        return np.asarray(constant + alive + np.logaddexp(0.0, self._log_odds_of_drop_out(x, t_x, T)))

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return P(alive): 1 / (1 + odds of having dropped out)."""
        return np.asarray(expit(-self._log_odds_of_drop_out(x, t_x, T)))

    def expected_purchases_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return E(purchases in (T, T + t] | alive at T): Fader, Hardie and Lee (2005), equation 10.

        The hypergeometric function is computed after Euler's transformation, because the usual form overflows.
        """
        a = self.a if abs(self.a - 1) > _SINGULARITY_DISTANCE else 1 + _SINGULARITY_DISTANCE
        z = t / (self.alpha + T + t)
        k = self._drop_out_chances(x)
        c = a + self.b + k - 1
        c = np.where(np.abs(c) > _SINGULARITY_DISTANCE, c, _SINGULARITY_DISTANCE)
        still = np.exp((a - 1) * np.log1p(-z)) * hyp2f1(c - self.r - x, a - 1, c, z)
        return np.asarray(c / (a - 1) * (1 - still))

    def _probability_of_purchase_if_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Return P(at least one purchase in (T, T + t]), given that the customer is alive at T.

        The probability depends only on λ ~ Gamma(r + x, α + T), because a customer can drop out only right after a
        purchase.
        """
        return np.asarray(-np.expm1(-(self.r + x) * np.log1p(t / (self.alpha + T))))

    def _log_odds_of_drop_out(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Return the logarithm of the odds that the customer has dropped out.

        The odds themselves overflow for customers who bought often and have not bought for a long time.
        """
        k = self._drop_out_chances(x)
        drop_out = np.log(self.a) - np.log(self.b + np.maximum(k, 1) - 1)
        silence = (self.r + x) * (np.log(self.alpha + T) - np.log(self.alpha + t_x))
        return np.asarray(np.where(k > 0, drop_out + silence, -np.inf))


@dataclass(frozen=True)
class BgNbd(_GeometricNbd):
    """BG/NBD. A customer cannot drop out at the first purchase, so P(alive) of a one-time buyer is always 1."""

    name = "bg_nbd"

    def _drop_out_chances(self, x: Floats) -> Floats:
        return x


@dataclass(frozen=True)
class MbgNbd(_GeometricNbd):
    """MBG/NBD: BG/NBD in which a customer can also drop out at the first purchase."""

    name = "mbg_nbd"

    def _drop_out_chances(self, x: Floats) -> Floats:
        return x + 1


_WEEKS_PER_YEAR = 52.0


def fit_purchases(model: type[PurchaseModel], histories: Histories, starts: int | None = None) -> Fit:
    """Fit a model to all customers by maximum likelihood, without a penalty on the parameters.

    Args:
        model: Class of the model.
        histories: Histories of all customers who have bought, one-time buyers included.
        starts: Number of starting values to try; None for all starting values of the model.

    Returns:
        The fit. It has no parameters if the customers are too few, or if no usable maximum is found.
    """

    def fit(state: State, message: str | None = None, **found: Any) -> Fit:
        return Fit(
            model.name,
            state,
            histories.customers,
            histories.repeat_customers,
            len(histories),
            message=message,
            **found,
        )

    if message := explain_too_few(histories.customers, histories.repeat_customers):
        return fit("too_few_customers", message)
    found, message = maximize(
        _mean_log_likelihood(model, histories),
        histories.customers,
        model.starts[:starts],
        _mean_log_likelihood(model, histories.sample(SAMPLE_SIZE)) if histories.customers > SAMPLE_SIZE else None,
    )
    if found is None:
        return fit("not_converged", message)
    fitted = model(*found.tolist())
    if not _is_usable(fitted, histories):
        return fit("not_converged", "the parameters are too extreme to compute expected purchases")
    return fit("fitted", parameters=fitted.parameters, log_likelihood=fitted.log_likelihood(histories))


def _is_usable(model: PurchaseModel, histories: Histories) -> bool:
    """Return whether, for every history, the expected purchases of the next year are finite and not negative."""
    with np.errstate(all="ignore"):
        expected = model.expected_purchases(_WEEKS_PER_YEAR, histories.frequency, histories.recency, histories.age)
    return bool(np.all(np.isfinite(expected) & (expected >= 0)))


def _mean_log_likelihood(model: type[PurchaseModel], histories: Histories) -> MeanLogLikelihood:
    return lambda parameters: model(*parameters.tolist()).log_likelihood(histories) / histories.customers
