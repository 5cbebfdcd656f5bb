"""Maximum likelihood, with a name for every way in which it can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.optimize import minimize

from cdp_lib.analytics.histories import Floats

State = Literal["fitted", "too_few_customers", "not_converged"]

FEWEST_CUSTOMERS = 100
FEWEST_REPEAT_CUSTOMERS = 30
"""With fewer, four parameters say more of chance than of customers."""

_BOUNDS = (1e-4, 1e5)
"""Parameters that reach a bound run away: the data do not tell where they end."""

_FLAT = 1e-5
"""Slope of the mean log-likelihood by log-parameter, below which it counts as a maximum."""


@dataclass(frozen=True)
class Fit:
    """What a fit has come to.

    Attributes:
        model: Name of the model.
        state: `fitted`, or why there are no parameters.
        customers: Customers fitted on.
        repeat_customers: Of those, customers who came back.
        histories: Different histories among them.
        parameters: Maximum likelihood estimates by name; empty unless fitted.
        log_likelihood: Of all customers at these; None unless fitted.
        message: Why it is not fitted, for people; None where it is.
    """

    model: str
    state: State
    customers: int
    repeat_customers: int
    histories: int
    parameters: dict[str, float] = field(default_factory=dict)
    log_likelihood: float | None = None
    message: str | None = None


def too_few(customers: int, repeat_customers: int) -> str | None:
    """Why there are too few customers to fit on; None where there are enough."""
    if customers < FEWEST_CUSTOMERS or repeat_customers < FEWEST_REPEAT_CUSTOMERS:
        return (
            f"{customers} customers, {repeat_customers} of them with repeat purchases: a fit needs {FEWEST_CUSTOMERS}"
            f" and {FEWEST_REPEAT_CUSTOMERS}"
        )
    return None


def maximize(
    mean_log_likelihood: Callable[[Floats], float], starts: Sequence[Sequence[float]]
) -> tuple[Floats | None, str | None]:
    """The parameters of the greatest mean log-likelihood, all above 0, or why there are none.

    Args:
        mean_log_likelihood: By parameters; not a number where they are impossible.
        starts: Where to begin; the further ones are tried where the ones before lead nowhere.

    Returns:
        The parameters and None, or None and a message.
    """

    def loss(logarithms: Floats) -> float:
        value = mean_log_likelihood(np.exp(logarithms))
        return -value if np.isfinite(value) else 1e10

    low, high = np.log(_BOUNDS)
    message = "no starting values lead to a maximum"
    for start in starts:
        found = minimize(
            loss,
            np.log(np.asarray(start, dtype=np.float64)),
            method="L-BFGS-B",
            jac="3-point",
            bounds=[(low, high)] * len(start),
            options={"ftol": 1e-14, "gtol": 1e-8, "maxiter": 500, "maxfun": 20_000},
        )
        is_inside = bool(np.all((found.x > low + 1e-6) & (found.x < high - 1e-6)))
        is_flat = bool(np.max(np.abs(found.jac)) < _FLAT)
        if is_inside and is_flat and found.fun < 1e10:
            return np.exp(found.x), None
        if not is_inside:
            message = "a parameter grows or shrinks without end: the data do not tell customers apart"
    return None, message
