"""Gamma-Gamma: what customers spend on a purchase day.

What a customer spends varies around a mean of their own, which does not depend on how often they buy. Notation is that
of the paper. x: repeat purchase days. m: mean spend on them.

Source: Fader and Hardie (2013), The gamma-gamma model of monetary value. brucehardie.com/notes/025.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy.special import gammaln

from cdp_lib.analytics.fits import Fit, maximize, too_few
from cdp_lib.analytics.histories import Floats

_Number = TypeVar("_Number", Floats, Any)
"""Arrays, or columns of an engine: the formula is the same."""


@dataclass(frozen=True)
class Spending:
    """Different pairs of frequency and mean spend of customers who came back, and how many customers have each.

    Attributes:
        frequency: x, repeat purchase days, 1 or more.
        mean: m, mean spend on them, above 0, in the reporting currency.
        weight: Customers of each pair.
    """

    frequency: Floats
    mean: Floats
    weight: Floats

    def __post_init__(self) -> None:
        """Refuse what no spending is.

        Raises:
            ValueError: Columns differ in length, or a value is out of its range.
        """
        if len({len(self.frequency), len(self.mean), len(self.weight)}) != 1:
            raise ValueError("spending: columns differ in length")
        if not (np.all(self.frequency >= 1) and np.all(self.mean > 0) and np.all(self.weight > 0)):
            raise ValueError("spending: frequency is 1 or more, mean and weight are above 0")

    @property
    def customers(self) -> int:
        """How many customers there are."""
        return round(float(self.weight.sum()))


@dataclass(frozen=True)
class GammaGamma:
    """Spend ~ Gamma(p, ν) around a customer's mean, with ν ~ Gamma(q, v)."""

    name: ClassVar[str] = "gamma_gamma"
    p: float
    q: float
    v: float

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters by name."""
        return asdict(self)

    def expected_mean(self, x: _Number, m: _Number) -> _Number:
        """E(mean spend of a customer), given x and m: Fader and Hardie (2013), equation 5.

        Without a repeat (x = 0) it is the mean of the population, p v / (q − 1), which exists for q > 1.
        """
        return (x * m + self.v) * self.p / (x * self.p + (self.q - 1))

    def log_likelihood(self, spending: Spending) -> float:
        """Log-likelihood of all customers: Fader and Hardie (2013), equation 1a."""
        x, m = spending.frequency, spending.mean
        shape = self.p * x
        each = (
            gammaln(shape + self.q)
            - gammaln(shape)
            - gammaln(self.q)
            + self.q * np.log(self.v)
            + (shape - 1) * np.log(m)
            + shape * np.log(x)
            - (shape + self.q) * np.log(self.v + m * x)
        )
        return float(each @ spending.weight)


_STARTS = ((6.0, 4.0, 15.0), (1.0, 2.0, 50.0), (10.0, 2.0, 5.0))
"""Starting values, of money in such units that customers spend about 35 on average, as in the paper."""

_USUAL_MEAN = 35.0

_PLAUSIBLE = 1.5
"""How far the mean of the population may be above that of those known: near q = 1 it grows without end."""


def fit_spend(spending: Spending) -> Fit:
    """Fit Gamma-Gamma to all customers who came back, by maximum likelihood.

    Args:
        spending: What they spend.

    Returns:
        The fit. It has no parameters where there are too few customers, no maximum was found, or the mean of the
        population does not exist at it (q ≤ 1).
    """
    groups = len(spending.frequency)

    def unfitted(state: str, message: str) -> Fit:
        customers = spending.customers
        return Fit(GammaGamma.name, state, customers, customers, groups, message=message)  # type: ignore[arg-type]

    if message := too_few(spending.customers, spending.customers):
        return unfitted("too_few_customers", message)
    # Money may be in any currency: fitted in units in which the starting values are near.
    unit = float(spending.mean @ spending.weight) / spending.customers / _USUAL_MEAN
    scaled = Spending(spending.frequency, spending.mean / unit, spending.weight)

    def mean_log_likelihood(parameters: Floats) -> float:
        return GammaGamma(*parameters.tolist()).log_likelihood(scaled) / scaled.customers

    found, failure = maximize(mean_log_likelihood, scaled.customers, _STARTS)
    if found is None:
        return unfitted("not_converged", str(failure))
    p, q, v = found.parameters.tolist()
    if q <= 1:
        return unfitted("not_converged", f"q is {q:.3f}: with 1 or less the mean spend of the population is infinite")
    fitted = GammaGamma(p, q, v * unit)
    mean = float(fitted.expected_mean(0.0, 0.0))
    if mean > _PLAUSIBLE * unit * _USUAL_MEAN:
        return unfitted(
            "not_converged",
            f"the mean spend of the population would be {mean:,.2f}, and is {unit * _USUAL_MEAN:,.2f} of those known",
        )
    return Fit(
        GammaGamma.name,
        "fitted",
        spending.customers,
        spending.customers,
        groups,
        fitted.parameters,
        fitted.log_likelihood(spending),
    )
