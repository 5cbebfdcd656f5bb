"""Maximum likelihood estimation, with a named state for every way in which it can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from cdp_lib.analytics.histories import Floats

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

State = Literal["fitted", "too_few_customers", "not_converged"]

MIN_CUSTOMERS = 100
MIN_REPEAT_CUSTOMERS = 30
"""Fewest customers for a fit. With fewer, four parameters describe chance rather than customers."""

_LOWER_BOUND, _UPPER_BOUND = np.log(1e-4), np.log(1e4)
"""Bounds of log-parameters. The data do not determine a parameter that reaches a bound."""

_BOUND_TOLERANCE = 1e-6
"""Distance from a bound within which a log-parameter counts as at the bound."""

_IMPOSSIBLE_LOSS = 1e10
"""Loss at parameters for which the data are impossible."""

_MAX_SLOPE = 1e-5
"""Slope of the mean log-likelihood per log-parameter below which a point counts as flat."""

_MIN_CURVATURE = 1e-6
"""Curvature below which a flat point counts as a ridge, because the curvature may be a rounding error."""

_MAX_STANDARD_ERROR = 3.0
"""Greatest useful standard error of a log-parameter: exp(3) is a factor of 20."""

_MAX_ITERATIONS_AT_BOUND = 5
"""Consecutive iterations at a bound after which the search stops, because the parameter does not come back."""


@dataclass(frozen=True)
class Fit:
    """Result of fitting a model.

    Attributes:
        model: Name of the model.
        state: `fitted`, or the reason why the fit has no parameters.
        customers: Number of customers that the model was fitted on.
        repeat_customers: Number of these customers with a repeat purchase.
        histories: Number of distinct histories of these customers.
        parameters: Maximum likelihood estimates by name; empty unless fitted.
        log_likelihood: Log-likelihood of all customers at the parameters; None unless fitted.
        message: Reason for the missing parameters, for people; None if fitted.
    """

    model: str
    state: State
    customers: int
    repeat_customers: int
    histories: int
    parameters: dict[str, float] = field(default_factory=dict)
    log_likelihood: float | None = None
    message: str | None = None


def explain_too_few(customers: int, repeat_customers: int) -> str | None:
    """Return a message if the customers are too few for a fit; None if they are enough."""
    if customers < MIN_CUSTOMERS or repeat_customers < MIN_REPEAT_CUSTOMERS:
        return (
            f"{customers} customers, {repeat_customers} of them with repeat purchases: a fit needs {MIN_CUSTOMERS}"
            f" and {MIN_REPEAT_CUSTOMERS}"
        )
    return None


@dataclass(frozen=True)
class Maximum:
    """Maximum of a likelihood.

    Attributes:
        parameters: Parameters at the maximum, all above 0.
        inverse_curvature: Inverse Hessian of the loss with respect to the log-parameters, from the optimizer.
    """

    parameters: Floats
    inverse_curvature: Floats


def maximize(
    mean_log_likelihood: Callable[[Floats], float], customers: int, starts: Sequence[Sequence[float]]
) -> tuple[Maximum | None, str | None]:
    """Return the parameters that maximize a mean log-likelihood, all above 0, or a message if none are found.

    The optimizer also reports success on a ridge, along which parameters grow without a change of the likelihood. A
    result therefore counts as a maximum only if it is flat, within the bounds, and curved in every direction.

    Args:
        mean_log_likelihood: Function of the parameters; not finite where the data are impossible.
        customers: Number of customers. The more customers, the less curvature a maximum needs.
        starts: Starting values, tried in this order until one leads to a maximum.

    Returns:
        The maximum and None, or None and a message.
    """
    from scipy.optimize import minimize  # takes half a second, which a run without a fit saves

    loss = _loss(mean_log_likelihood)
    message = "no starting values lead to a maximum"
    for start in starts:
        found = minimize(
            loss,
            np.log(np.asarray(start, dtype=np.float64)),
            method="L-BFGS-B",
            jac="3-point",
            bounds=[(_LOWER_BOUND, _UPPER_BOUND)] * len(start),
            callback=_stop_at_bound(),
            options={"ftol": 1e-14, "gtol": 1e-7, "maxiter": 200, "maxfun": 2_000},
        )
        if _is_maximum(loss, found, customers):
            return Maximum(np.exp(found.x), found.hess_inv.todense()), None
        if found.fun < _IMPOSSIBLE_LOSS and (_is_flat(found) or not _is_inside(found.x)):
            message = "a parameter grows or shrinks without end: the data do not tell customers apart"
    return None, message


def maximize_nearby(mean_log_likelihood: Callable[[Floats], float], customers: int, near: Maximum) -> Maximum | None:
    """Return the maximum near the maximum of a similar likelihood; None if a few steps do not reach it."""
    from scipy.optimize import minimize

    loss = _loss(mean_log_likelihood)
    curvature = (near.inverse_curvature + near.inverse_curvature.T) / 2
    found = minimize(
        loss,
        np.log(near.parameters),
        method="BFGS",
        jac="3-point",
        options={"gtol": 1e-7, "hess_inv0": curvature, "maxiter": 50},
    )
    return Maximum(np.exp(found.x), found.hess_inv) if _is_maximum(loss, found, customers) else None


def _loss(mean_log_likelihood: Callable[[Floats], float]) -> Callable[[Floats], float]:
    def loss(logarithms: Floats) -> float:
        value = mean_log_likelihood(np.exp(np.clip(logarithms, _LOWER_BOUND, _UPPER_BOUND)))
        return -value if np.isfinite(value) else _IMPOSSIBLE_LOSS

    return loss


def _stop_at_bound() -> Callable[[OptimizeResult], None]:
    """Return a callback that stops a search whose parameters stay at a bound."""
    iterations = 0

    def stop(intermediate_result: OptimizeResult) -> None:
        nonlocal iterations
        iterations = 0 if _is_inside(intermediate_result.x) else iterations + 1
        if iterations == _MAX_ITERATIONS_AT_BOUND:
            raise StopIteration

    return stop


def _is_maximum(loss: Callable[[Floats], float], found: OptimizeResult, customers: int) -> bool:
    is_candidate = bool(found.fun < _IMPOSSIBLE_LOSS) and _is_inside(found.x) and _is_flat(found)
    return is_candidate and _is_curved(loss, found.x, customers)


def _is_flat(found: OptimizeResult) -> bool:
    return bool(np.max(np.abs(found.jac)) < _MAX_SLOPE)


def _is_curved(loss: Callable[[Floats], float], at: Floats, customers: int) -> bool:
    """Return whether a loss is curved enough in every direction for this number of customers to determine the minimum.

    The inverse of the curvature of the total loss is the variance of the estimate (Fisher information).
    """
    hessian = _hessian(loss, at)
    smallest_curvature = np.linalg.eigvalsh(hessian)[0] if np.isfinite(hessian).all() else 0.0
    return bool(smallest_curvature > max(_MIN_CURVATURE, 1 / (_MAX_STANDARD_ERROR**2 * customers)))


def _hessian(function: Callable[[Floats], float], at: Floats) -> Floats:
    """Return the second derivatives, by central differences."""
    step = 0.01
    moves = np.eye(len(at)) * step
    here = function(at)
    up, down = ([function(at + sign * move) for move in moves] for sign in (1, -1))
    hessian = np.empty((len(at), len(at)))
    for i in range(len(at)):
        hessian[i, i] = (up[i] + down[i] - 2 * here) / step**2
        for j in range(i):
            both = function(at + moves[i] + moves[j]) + function(at - moves[i] - moves[j])
            hessian[i, j] = hessian[j, i] = (both - up[i] - down[i] - up[j] - down[j] + 2 * here) / (2 * step**2)
    return hessian


def _is_inside(logarithms: Floats) -> bool:
    return bool(np.all((logarithms > _LOWER_BOUND + _BOUND_TOLERANCE) & (logarithms < _UPPER_BOUND - _BOUND_TOLERANCE)))
