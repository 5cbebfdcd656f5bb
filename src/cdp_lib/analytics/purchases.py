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
from scipy.special import betaln, gammaln, hyp2f1

from cdp_lib.analytics.fits import Fit, State, maximize, maximize_nearby, too_few
from cdp_lib.analytics.histories import Floats, Histories

_NO_LIMIT = 1e-7
"""Where a formula divides by a − 1 or s − 1, a parameter so close to 1 is moved this far away from it."""


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
        order = self.s - 1 if abs(self.s - 1) > _NO_LIMIT else _NO_LIMIT
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
    overflows for customers with many purchases.
    """
    wide, narrow = np.maximum(A, B), np.minimum(A, B)
    power_of_narrow, b = np.where(A >= B, q, p), np.where(A >= B, p, q)
    order = p + q - 1
    series = hyp2f1(1.0, b, order + 1, (wide - narrow) / wide)
    return np.asarray(np.log(series / order) + (1 - power_of_narrow) * np.log(narrow) - b * np.log(wide))


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
        return np.asarray(constant + alive + np.log1p(self._odds_of_gone(x, t_x, T)))

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """1 / (1 + odds of having dropped out)."""
        return np.asarray(1 / (1 + self._odds_of_gone(x, t_x, T)))

    def expected_purchases(self, t: float, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """Fader, Hardie and Lee (2005), equation 10, with Euler's transformation: the usual form overflows."""
        a = self.a if abs(self.a - 1) > _NO_LIMIT else 1 + _NO_LIMIT
        z = t / (self.alpha + T + t)
        k = self._chances(x)
        c = a + self.b + k - 1
        still = np.exp((a - 1) * np.log1p(-z)) * hyp2f1(c - self.r - x, a - 1, c, z)
        return np.asarray(self.probability_alive(x, t_x, T) * c / (a - 1) * (1 - still))

    def _purchase_while_alive(self, t: float, x: Floats, T: Floats) -> Floats:
        """Who is alive drops out at a purchase at the earliest: λ ~ Gamma(r + x, α + T) alone decides on the next."""
        return np.asarray(-np.expm1(-(self.r + x) * np.log1p(t / (self.alpha + T))))

    def _odds_of_gone(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        k = self._chances(x)
        with np.errstate(over="ignore"):  # as good as certain
            odds = np.exp((self.r + x) * (np.log(self.alpha + T) - np.log(self.alpha + t_x)))
            return np.asarray(np.where(k > 0, self.a / (self.b + np.maximum(k, 1) - 1) * odds, 0.0))


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
    found, message = maximize(_mean_log_likelihood(model, histories.sample(_SAMPLE)), _STARTS)
    if found is not None and histories.customers > _SAMPLE:
        found = maximize_nearby(_mean_log_likelihood(model, histories), found)
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
