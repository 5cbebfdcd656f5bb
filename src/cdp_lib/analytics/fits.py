"""Maximum likelihood estimation, with a named state for each kind of failure."""

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
"""Minimum numbers of customers and repeat customers for a fit. With fewer customers, the parameters would fit noise."""

_LOWER_BOUND, _UPPER_BOUND = np.log(1e-4), np.log(1e4)
"""Bounds of the logarithm of a parameter. The data do not determine a parameter that reaches a bound."""

_BOUND_TOLERANCE = 1e-6
"""If the distance of a log-parameter from a bound is smaller than this value, the parameter counts as at the bound."""

_IMPOSSIBLE_LOSS = 1e10
"""Loss for parameters under which the data are impossible: their probability is 0."""

_MAX_SLOPE = 1e-5
"""A point is treated as flat if the slope of the mean log-likelihood is below this value in every log-parameter."""

_MIN_CURVATURE = 1e-6
"""A flat point with a curvature below this value is treated as a ridge: the curvature may be a rounding error."""

_MAX_STANDARD_ERROR = 3.0
"""Largest accepted standard error of a log-parameter. An error of 3 means a factor of exp(3) ≈ 20."""

_MAX_ITERATIONS_AT_BOUND = 5
"""The search stops if a parameter is at a bound in this number of consecutive iterations."""


@dataclass(frozen=True)
class Fit:
    """Result of fitting a model.

    Attributes:
        model: Name of the model.
        state: `fitted`, or the reason why the fit has no parameters.
        customers: Number of customers that the model was fitted to.
        repeat_customers: Number of these customers with a repeat purchase.
        histories: Number of distinct histories of these customers.
        parameters: Maximum likelihood estimates by parameter name; empty unless the state is `fitted`.
        log_likelihood: Log-likelihood of all customers at these parameters; None unless the state is `fitted`.
        message: Readable reason why the fit has no parameters; None if the state is `fitted`.
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
    """Return a message if a fit needs more customers or more repeat customers, else None."""
    if customers < MIN_CUSTOMERS or repeat_customers < MIN_REPEAT_CUSTOMERS:
        return (
            f"{customers} customers (a fit needs {MIN_CUSTOMERS}), {repeat_customers} of them with repeat purchases"
            f" (a fit needs {MIN_REPEAT_CUSTOMERS})"
        )
    return None


SAMPLE_SIZE = 20_000
"""Number of customers in a sample. If the data have more customers, the search first finds the maximum for a sample."""

MeanLogLikelihood = Callable[[Floats], float]
"""Function that returns the mean log-likelihood of customers for given parameters. The result is not finite if the data
are impossible under the parameters.
"""


def maximize(
    mean_log_likelihood: MeanLogLikelihood,
    customers: int,
    starts: Sequence[Sequence[float]],
    of_sample: MeanLogLikelihood | None = None,
) -> tuple[Floats | None, str | None]:
    """Return the positive parameters that maximize a mean log-likelihood, or a message if no maximum is found.

    The optimizer also reports success on a ridge: a line along which the parameters grow but the likelihood stays the
    same. A result is therefore accepted only if the parameters are within the bounds, the slope is nearly 0, and the
    likelihood is curved in every direction.

    Args:
        mean_log_likelihood: Mean log-likelihood of all customers.
        customers: Number of all customers. With more customers, a smaller curvature is enough (`_is_curved`).
        starts: Starting values, tried in this order until one leads to a maximum.
        of_sample: Mean log-likelihood of a sample of the customers. The sample quickly shows whether there is a
            maximum, and where; a few steps with all customers then suffice. None: the search uses all customers.

    Returns:
        Two values: the parameters and None, or None and a message if no maximum is found.
    """
    loss = _loss(of_sample or mean_log_likelihood)
    at, hessian, message = _search(loss, customers, starts)
    if at is not None and of_sample:
        at = _search_nearby(_loss(mean_log_likelihood), customers, at, np.asarray(np.linalg.inv(hessian)))
        message = "the optimizer found a maximum for a sample of the customers, but none near it for all customers"
    return (None, message) if at is None else (np.exp(at), None)


def _search(
    loss: MeanLogLikelihood, customers: int, starts: Sequence[Sequence[float]]
) -> tuple[Floats | None, Floats, str]:
    """Return the log-parameters at the minimum, the Hessian there, and a message if there is no minimum."""
    from scipy.optimize import minimize  # imported only for a fit: the import takes half a second

    message = "the optimizer found no maximum from any of the starting values"
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
        hessian = _hessian_of_minimum(loss, found, customers)
        if hessian is not None:
            return found.x, hessian, ""
        if found.fun < _IMPOSSIBLE_LOSS and (_is_flat(found) or not _is_inside(found.x)):
            message = "a parameter grows or shrinks without limit: the data do not show differences between customers"
    return None, np.empty(0), message


def _search_nearby(loss: MeanLogLikelihood, customers: int, near: Floats, inverse_hessian: Floats) -> Floats | None:
    """Return the log-parameters at the minimum, or None if none is found within the limit of iterations.

    Args:
        loss: Function to minimize.
        customers: Number of customers.
        near: Log-parameters at the minimum of a similar function.
        inverse_hessian: Inverse Hessian of that function at `near`.
    """
    from scipy.optimize import minimize

    found = minimize(
        loss,
        near,
        method="BFGS",
        jac="3-point",
        options={"gtol": 1e-7, "hess_inv0": (inverse_hessian + inverse_hessian.T) / 2, "maxiter": 50},
    )
    return None if _hessian_of_minimum(loss, found, customers) is None else found.x


def _loss(mean_log_likelihood: MeanLogLikelihood) -> MeanLogLikelihood:
    def loss(logarithms: Floats) -> float:
        value = mean_log_likelihood(np.exp(np.clip(logarithms, _LOWER_BOUND, _UPPER_BOUND)))
        return -value if np.isfinite(value) else _IMPOSSIBLE_LOSS

    return loss


def _stop_at_bound() -> Callable[[OptimizeResult], None]:
    """Return a callback that stops the optimizer if a parameter stays at a bound for several iterations in a row."""
    iterations = 0

    def stop(intermediate_result: OptimizeResult) -> None:
        nonlocal iterations
        iterations = 0 if _is_inside(intermediate_result.x) else iterations + 1
        if iterations == _MAX_ITERATIONS_AT_BOUND:
            raise StopIteration

    return stop


def _hessian_of_minimum(loss: MeanLogLikelihood, found: OptimizeResult, customers: int) -> Floats | None:
    """Return the Hessian at the point that an optimizer has found, or None if the point is no accepted minimum."""
    if not (found.fun < _IMPOSSIBLE_LOSS and _is_inside(found.x) and _is_flat(found)):
        return None
    hessian = _hessian(loss, found.x)
    return hessian if _is_curved(hessian, customers) else None


def _is_flat(found: OptimizeResult) -> bool:
    return bool(np.max(np.abs(found.jac)) < _MAX_SLOPE)


def _is_curved(hessian: Floats, customers: int) -> bool:
    """Return whether the loss is curved enough in every direction to identify its minimum.

    The variance of an estimate is about 1 / (curvature × customers), because the loss is a mean per customer. With a
    small curvature, an estimate is therefore unreliable. With more customers, a smaller curvature is enough.
    """
    smallest_curvature = np.linalg.eigvalsh(hessian)[0] if np.isfinite(hessian).all() else 0.0
    return bool(smallest_curvature > max(_MIN_CURVATURE, 1 / (_MAX_STANDARD_ERROR**2 * customers)))


def _hessian(function: MeanLogLikelihood, at: Floats) -> Floats:
    """Return the second derivatives of a function at a point, computed from central differences."""
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
