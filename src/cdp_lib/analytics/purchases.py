"""Models of repeat buying where nobody says that they leave: Pareto/NBD, MBG/NBD and BG/NBD.

A customer buys at random at a rate λ of their own, until they drop out, unseen. The models differ in how: Pareto/NBD at
any moment, BG/NBD right after a purchase, MBG/NBD right after a purchase, the first one too.

Notation is that of the papers. x: repeat purchases. t_x: time from the first to the latest purchase. T: time from the
first purchase to now. Time is in weeks. All functions take arrays of equal shape and give one of the same shape.

Sources:
    Schmittlein, Morrison and Colombo (1987), Counting your customers. Management Science 33(1).
    Fader and Hardie (2005), A note on deriving the Pareto/NBD model and related expressions. brucehardie.com/notes/009.
    Fader, Hardie and Lee (2005), "Counting your customers" the easy way. Marketing Science 24(2).
    Batislam, Denizel and Filiztekin (2007), Empirical validation and comparison of models for customer base analysis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import betaln, expit, gammaln, hyp2f1

from cdp_lib.analytics.fits import Fit, State, maximize, maximize_nearby, too_few
from cdp_lib.analytics.histories import Floats, Histories

_NO_LIMIT = 1e-7
"""Where a formula of BG/NBD divides by nothing (a = 1, a + b + x = 1), it is taken this far away from there."""

_NEAR_ONE = 0.99
"""From here on the hypergeometric function is slow, and for some shapes not a number, or wrong in the sixth digit."""

_STEP = 0.3
"""Of the trapezoidal rule over log u. Its error is about exp(−π² / step), 5e-15."""

_NOTHING = 36.0
"""exp(−36) of a number, 2e-16, is lost in its rounding."""


class PurchaseModel(ABC):
    """A model with its parameters, each above 0."""

    name: ClassVar[str]

    @abstractmethod
    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Log-likelihood of each history."""

    @abstractmethod
    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """P(the customer has not dropped out by T), 0 to 1."""

    @abstractmethod
    def expected_purchases(self, t: float, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """E(purchases in (T, T + t]), given the history."""

    @abstractmethod
    def _purchase_while_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """P(at least one purchase in (T, T + t]), given the history and that the customer is alive at T."""

    def probability_of_no_purchase(self, t: float, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """P(no purchase in (T, T + t]), given the history: the probability of churn. It is more than 1 − P(alive).

        Who has dropped out buys nothing, and who has not may buy nothing for so long, too.
        """
        purchase = self.probability_alive(x, t_x, T) * self._purchase_while_alive(t, x, T)
        return np.clip(1 - purchase, 0.0, 1.0)

    def log_likelihood(self, histories: Histories) -> float:
        """Log-likelihood of all customers."""
        each = self.log_likelihoods(histories.frequency, histories.recency, histories.age)
        return float(each @ histories.weight)

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters by name."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class ParetoNbd(PurchaseModel):
    """Pareto/NBD: λ ~ Gamma(r, alpha), drop-out at a rate μ ~ Gamma(s, beta)."""

    name = "pareto_nbd"
    r: float
    alpha: float
    s: float
    beta: float

    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Fader and Hardie (2005), equation 17."""
        alive, gone = self._log_likelihoods_of_fates(x, t_x, T)
        constant = gammaln(self.r + x) - gammaln(self.r) + self.r * np.log(self.alpha) + self.s * np.log(self.beta)
        return np.asarray(constant + np.logaddexp(alive, gone))

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Fader and Hardie (2005), equation 24."""
        alive, gone = self._log_likelihoods_of_fates(x, t_x, T)
        return np.asarray(np.exp(alive - np.logaddexp(alive, gone)))

    def expected_purchases(self, t: float, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Fader and Hardie (2005), equation 41."""
        order = self.s - 1 or 1e-15  # the limit for s = 1, to the last digit
        # (1 − ((β + T) / (β + T + t))^(s − 1)) / (s − 1), exact for s near 1, too
        time_alive = (self.beta + T) * -np.expm1(-order * np.log1p(t / (self.beta + T))) / order
        rate = (self.r + x) / (self.alpha + T)
        return np.asarray(self.probability_alive(x, t_x, T) * rate * time_alive)

    def _purchase_while_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """E(∫ λ exp(−(λ + μ) u) du) over (0, t], where λ ~ Gamma(r + x, α + T) and μ ~ Gamma(s, β + T) are independent.

        Fader and Hardie (2014), Deriving the conditional PMF of the Pareto/NBD model, has the same for any number.
        """
        R, A, B = self.r + x, self.alpha + T, self.beta + T
        to_end = _log_tail(R + 1, np.full_like(R, self.s), A, B)
        after = _log_tail(R + 1, np.full_like(R, self.s), A + t, B + t)
        ever = np.exp(np.log(R) + R * np.log(A) + self.s * np.log(B) + to_end)
        return np.asarray(ever * -np.expm1(after - to_end))

    def _log_likelihoods_of_fates(self, x: Floats, t_x: Floats, T: Floats) -> tuple[Floats, Floats]:
        """Of being alive at T, and of having dropped out between t_x and T, up to a factor that both share."""
        R = self.r + x
        alive = -R * np.log(self.alpha + T) - self.s * np.log(self.beta + T)
        q = np.full_like(R, self.s + 1)
        since = _log_tail(R, q, self.alpha + t_x, self.beta + t_x)
        after = _log_tail(R, q, self.alpha + T, self.beta + T)
        with np.errstate(divide="ignore"):  # nobody drops out in no time: log 0
            gone = np.log(self.s) + since + np.log(np.maximum(-np.expm1(after - since), 0.0))
        return alive, gone


def _log_tail(p: Floats, q: Floats, A: Floats, B: Floats) -> Floats:
    """Logarithm of ∫ (A + u)^−p (B + u)^−q du over u from 0 on, where p + q > 1.

    Written with the hypergeometric function of first argument 1, whose terms are all positive and fall: the usual form
    overflows for customers with many purchases. Where even that can't be relied on, the integral is taken by steps.
    """
    wide, narrow = np.maximum(A, B), np.minimum(A, B)
    power_of_narrow, b = np.where(A >= B, q, p), np.where(A >= B, p, q)
    order = p + q - 1
    z = (wide - narrow) / wide
    is_series = z < _NEAR_ONE
    series = hyp2f1(1.0, b, order + 1, np.where(is_series, z, 0.0))
    is_series &= (series >= 1) & (series * (1 - z) <= 1 + 1e-9)  # what its terms add up to; false for no number
    series = np.where(is_series, series, 1.0)
    logarithm = np.log(series / order) + (1 - power_of_narrow) * np.log(narrow) - b * np.log(wide)
    rest = ~is_series
    if rest.any():
        logarithm[rest] = _log_tail_by_steps(p[rest], q[rest], A[rest], B[rest])
    return np.asarray(logarithm)


def _log_tail_by_steps(p: Floats, q: Floats, A: Floats, B: Floats) -> Floats:
    """The same for any arguments, by the trapezoidal rule over y = log u.

    The integrand u (A + u)^−p (B + u)^−q has no singularity within π of the real axis of y, and falls exponentially at
    both ends, so that the error of the rule falls exponentially with its step. Beyond the last step it is a power of u,
    whose steps add up to a geometric series.

    Source: Trefethen and Weideman (2014), The exponentially convergent trapezoidal rule. SIAM Review 56(3).
    """
    order = p + q - 1
    usual = 1 / (p / A + q / B)  # u up to which the integrand grows; its logarithm there keeps the sum in range
    scale = np.log(usual) - p * np.log(A + usual) - q * np.log(B + usual)
    begin = np.log(usual) - _NOTHING
    end = np.minimum(np.log(p * A + q * B) + _NOTHING, np.log(np.maximum(A, B)) + _NOTHING / order)
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
    """λ ~ Gamma(r, alpha); drop-out with a probability p ~ Beta(a, b) after a purchase."""

    r: float
    alpha: float
    a: float
    b: float

    @abstractmethod
    def _chances(self, x: Floats) -> Floats:
        """How often a customer has had the chance to drop out and has not, if they are alive."""

    def log_likelihoods(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Fader, Hardie and Lee (2005), equation 6; Batislam et al. (2007) with one more chance to drop out."""
        R, k = self.r + x, self._chances(x)
        constant = gammaln(R) - gammaln(self.r) + self.r * np.log(self.alpha)
        alive = betaln(self.a, self.b + k) - betaln(self.a, self.b) - R * np.log(self.alpha + T)
        return np.asarray(constant + alive + np.logaddexp(0.0, self._log_odds_of_gone(x, t_x, T)))

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """1 / (1 + odds of having dropped out)."""
        return np.asarray(expit(-self._log_odds_of_gone(x, t_x, T)))

    def expected_purchases(self, t: float, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Fader, Hardie and Lee (2005), equation 10, with Euler's transformation: the usual form overflows."""
        a = self.a if abs(self.a - 1) > _NO_LIMIT else 1 + _NO_LIMIT
        z = t / (self.alpha + T + t)
        k = self._chances(x)
        c = a + self.b + k - 1
        c = np.where(np.abs(c) > _NO_LIMIT, c, _NO_LIMIT)
        still = np.exp((a - 1) * np.log1p(-z)) * hyp2f1(c - self.r - x, a - 1, c, z)
        return np.asarray(self.probability_alive(x, t_x, T) * c / (a - 1) * (1 - still))

    def _purchase_while_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Who is alive drops out at a purchase at the earliest: λ ~ Gamma(r + x, α + T) alone decides on the next."""
        return np.asarray(-np.expm1(-(self.r + x) * np.log1p(t / (self.alpha + T))))

    def _log_odds_of_gone(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Logarithm of the odds of having dropped out: those of a regular who has left overflow."""
        k = self._chances(x)
        drop_out = np.log(self.a) - np.log(self.b + np.maximum(k, 1) - 1)
        silence = (self.r + x) * (np.log(self.alpha + T) - np.log(self.alpha + t_x))
        return np.asarray(np.where(k > 0, drop_out + silence, -np.inf))


@dataclass(frozen=True)
class BgNbd(_GeometricNbd):
    """BG/NBD. A customer has no chance to drop out at the first purchase: P(alive) of a one-time buyer is always 1."""

    name = "bg_nbd"

    def _chances(self, x: Floats) -> Floats:
        return x


@dataclass(frozen=True)
class MbgNbd(_GeometricNbd):
    """MBG/NBD: BG/NBD with a chance to drop out at the first purchase, too."""

    name = "mbg_nbd"

    def _chances(self, x: Floats) -> Floats:
        return x + 1


MODELS: dict[str, type[PurchaseModel]] = {model.name: model for model in (ParetoNbd, MbgNbd, BgNbd)}
"""The models by name; the first is the default."""


_STARTS = ((1.0, 10.0, 1.0, 10.0), (0.5, 5.0, 0.5, 5.0), (2.0, 50.0, 2.0, 50.0), (0.3, 1.0, 0.3, 10.0))
"""Starting values of four parameters; all three models take them in the order they are named."""

_SAMPLE = 20_000
"""Of more customers, a sample of so many finds the neighbourhood of the maximum."""

_A_YEAR = 52.0


def fit_purchases(model: type[PurchaseModel], histories: Histories) -> Fit:
    """Fit a model to all customers by maximum likelihood, without a penalty.

    Args:
        model: The model.
        histories: Histories of customers who have bought, one-time buyers too.

    Returns:
        The fit. It has no parameters where there are too few customers, or no maximum was found.
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

    if message := too_few(histories.customers, histories.repeat_customers):
        return fit("too_few_customers", message)
    # Of many customers, a sample tells at little cost whether there is a maximum, and where about.
    customers = histories.customers
    found, message = maximize(_mean_log_likelihood(model, histories.sample(_SAMPLE)), customers, _STARTS)
    if found is not None and customers > _SAMPLE:
        found = maximize_nearby(_mean_log_likelihood(model, histories), customers, found)
        message = "the maximum of a sample of the customers leads to none of all"
    if found is None:
        return fit("not_converged", message)
    fitted = model(*found.parameters.tolist())
    if not _is_usable(fitted, histories):
        return fit("not_converged", "parameters so far out that expectations are no numbers")
    return fit("fitted", parameters=fitted.parameters, log_likelihood=fitted.log_likelihood(histories))


def _is_usable(model: PurchaseModel, histories: Histories) -> bool:
    """Whether what the model expects of the customers it was fitted on are numbers, and none below 0."""
    with np.errstate(all="ignore"):
        expected = model.expected_purchases(_A_YEAR, histories.frequency, histories.recency, histories.age)
    return bool(np.all(np.isfinite(expected) & (expected >= 0)))


def _mean_log_likelihood(model: type[PurchaseModel], histories: Histories) -> Callable[[Floats], float]:
    return lambda parameters: model(*parameters.tolist()).log_likelihood(histories) / histories.customers
