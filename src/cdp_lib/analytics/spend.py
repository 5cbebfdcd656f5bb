"""Gamma-Gamma: a model of the spend of customers per purchase day.

The spend of a customer varies around an individual mean. This mean does not depend on how often the customer buys.

The notation follows the paper:

- x: number of repeat purchase days
- m: mean spend per repeat purchase day

Source: Fader and Hardie (2013), The gamma-gamma model of monetary value. brucehardie.com/notes/025.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy.special import gammaln

from cdp_lib.analytics.fits import SAMPLE_SIZE, Fit, MeanLogLikelihood, explain_too_few, maximize
from cdp_lib.analytics.histories import Floats, sample_weights, weighted_sum

_Number = TypeVar("_Number", Floats, Any)
"""Arrays, or column expressions of the engine. The same formula works for both."""


@dataclass(frozen=True)
class Spending:
    """Distinct (frequency, mean spend) pairs of repeat buyers, and the number of customers with each pair.

    Attributes:
        frequency: x, repeat purchase days, 1 or more.
        mean: m, mean spend per repeat purchase day, above 0, in the reporting currency.
        weight: Number of customers with this pair.
    """

    frequency: Floats
    mean: Floats
    weight: Floats

    def __post_init__(self) -> None:
        """Validate the arrays.

        Raises:
            ValueError: The arrays differ in length, or a value is out of its range.
        """
        if len({len(self.frequency), len(self.mean), len(self.weight)}) != 1:
            raise ValueError("spending: columns differ in length")
        if not (np.all(self.frequency >= 1) and np.all(self.mean > 0) and np.all(self.weight > 0)):
            raise ValueError("spending: every frequency must be 1 or more, every mean and weight above 0")

    @property
    def customers(self) -> int:
        """Number of customers."""
        return round(float(self.weight.sum()))

    def sample(self, customers: int) -> Spending:
        """Return a sample of about `customers` customers at equal intervals, or all customers if there are fewer."""
        chosen = sample_weights(self.weight, customers)
        kept = chosen > 0
        return Spending(self.frequency[kept], self.mean[kept], chosen[kept])


@dataclass(frozen=True)
class GammaGamma:
    """Gamma-Gamma model: spend on a purchase day ~ Gamma(p, rate); the rate of a customer ~ Gamma(q, v)."""

    name: ClassVar[str] = "gamma_gamma"
    p: float
    q: float
    v: float

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters by name."""
        return asdict(self)

    def expected_mean(self, x: _Number, m: _Number) -> _Number:
        """Return E(mean spend of a customer), given x and m: Fader and Hardie (2013), equation 5.

        Without a repeat purchase (x = 0), the result is the population mean p v / (q − 1). The mean exists if q > 1.
        """
        return (x * m + self.v) * self.p / (x * self.p + (self.q - 1))

    def log_likelihood(self, spending: Spending) -> float:
        """Return the log-likelihood of all customers: Fader and Hardie (2013), equation 1a."""
        x, m = spending.frequency, spending.mean
        shape = self.p * x
        by_pair = (
            gammaln(shape + self.q)
            - gammaln(shape)
            - gammaln(self.q)
            + self.q * np.log(self.v)
            + (shape - 1) * np.log(m)
            + shape * np.log(x)
            - (shape + self.q) * np.log(self.v + m * x)
        )
        return weighted_sum(by_pair, spending.weight)


_STARTS = ((6.0, 4.0, 15.0), (1.0, 2.0, 50.0), (10.0, 2.0, 5.0))
"""Starting values for amounts with a mean of about 35, as in the paper."""

_TYPICAL_MEAN = 35.0
"""Mean amount for which the starting values are suitable."""

_MAX_MEAN_RATIO = 1.5
"""Largest plausible ratio of the population mean to the observed mean. Near q = 1, the population mean is unbounded."""


def fit_spend(spending: Spending) -> Fit:
    """Fit Gamma-Gamma to all repeat buyers, by maximum likelihood.

    Args:
        spending: Frequency and mean spend of the repeat buyers.

    Returns:
        The fit. It has no parameters in three cases:

        - the customers are too few
        - no maximum is found
        - the population mean at the maximum is infinite (q ≤ 1) or implausibly far above the observed mean
    """
    pairs = len(spending.frequency)

    def unfitted(state: str, message: str) -> Fit:
        customers = spending.customers
        return Fit(GammaGamma.name, state, customers, customers, pairs, message=message)  # type: ignore[arg-type]

    if message := explain_too_few(spending.customers, spending.customers):
        return unfitted("too_few_customers", message)
    # Scale the amounts, so that the starting values suit any currency.
    unit = weighted_sum(spending.mean, spending.weight) / spending.customers / _TYPICAL_MEAN
    scaled = Spending(spending.frequency, spending.mean / unit, spending.weight)
    found, failure = maximize(
        _mean_log_likelihood(scaled),
        scaled.customers,
        _STARTS,
        _mean_log_likelihood(scaled.sample(SAMPLE_SIZE)) if scaled.customers > SAMPLE_SIZE else None,
    )
    if found is None:
        return unfitted("not_converged", str(failure))
    p, q, v = found.tolist()
    if q <= 1:
        return unfitted(
            "not_converged", f"q is {q:.3f}, but the mean spend of the population is finite only if q is above 1"
        )
    fitted = GammaGamma(p, q, v * unit)
    mean = float(fitted.expected_mean(0.0, 0.0))
    if mean > _MAX_MEAN_RATIO * unit * _TYPICAL_MEAN:
        return unfitted(
            "not_converged",
            f"the mean spend of the population would be {mean:,.2f}, but the observed mean is"
            f" {unit * _TYPICAL_MEAN:,.2f}",
        )
    return Fit(
        GammaGamma.name,
        "fitted",
        spending.customers,
        spending.customers,
        pairs,
        fitted.parameters,
        fitted.log_likelihood(spending),
    )


def _mean_log_likelihood(spending: Spending) -> MeanLogLikelihood:
    return lambda parameters: GammaGamma(*parameters.tolist()).log_likelihood(spending) / spending.customers
