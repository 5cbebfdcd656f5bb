"""Maximum likelihood, with a name for every way in which it can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from cdp_lib.analytics.histories import Floats

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

State = Literal["fitted", "too_few_customers", "not_converged"]

FEWEST_CUSTOMERS = 100
FEWEST_REPEAT_CUSTOMERS = 30
"""With fewer, four parameters say more of chance than of customers."""

_LOW, _HIGH = np.log(1e-4), np.log(1e4)
"""Logarithms of the least and the greatest parameter: one that gets there runs away, the data do not tell where to."""

_EDGE = 1e-6
_IMPOSSIBLE = 1e10
"""Loss of parameters that the data are impossible with."""

_FLAT = 1e-5
"""Slope of the mean log-likelihood by log-parameter, below which it counts as a maximum."""

_CURVED = 1e-6
"""Curvature there, below which it counts as a ridge: less can't be told from rounding."""

_VAGUE = 3.0
"""Standard error of a log-parameter, from which on its estimate says nothing: it may be twenty times as much."""

_RUNAWAY = 5
"""Iterations at a bound, after which a parameter won't come back from it."""


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


@dataclass(frozen=True)
class Maximum:
    """Where a likelihood is greatest.

    Attributes:
        parameters: All above 0.
        inverse_curvature: Of the loss by log-parameters: how far to go for a slope.
    """

    parameters: Floats
    inverse_curvature: Floats


def maximize(
    mean_log_likelihood: Callable[[Floats], float], customers: int, starts: Sequence[Sequence[float]]
) -> tuple[Maximum | None, str | None]:
    """The parameters of the greatest mean log-likelihood, all above 0, or why there are none.

    The optimizer's word is not enough: it also stops on a ridge, along which parameters may grow without a change of
    likelihood. A maximum is flat, within the bounds, and curved in every direction.

    Args:
        mean_log_likelihood: By parameters; not a number where they are impossible.
        customers: How many customers tell where its maximum is.
        starts: Where to begin; the further ones are tried where the ones before lead nowhere.

    Returns:
        The maximum and None, or None and a message.
    """
    from scipy.optimize import minimize  # half a second, which a run with nothing to fit does not need

    loss = _loss(mean_log_likelihood)
    message = "no starting values lead to a maximum"
    for start in starts:
        found = minimize(
            loss,
            np.log(np.asarray(start, dtype=np.float64)),
            method="L-BFGS-B",
            jac="3-point",
            bounds=[(_LOW, _HIGH)] * len(start),
            callback=_stop_at_bound(),
            options={"ftol": 1e-14, "gtol": 1e-7, "maxiter": 200, "maxfun": 2_000},
        )
        if _is_maximum(loss, found, customers):
            return Maximum(np.exp(found.x), found.hess_inv.todense()), None
        if found.fun < _IMPOSSIBLE and (_is_flat(found) or not _is_inside(found.x)):
            message = "a parameter grows or shrinks without end: the data do not tell customers apart"
    return None, message


def maximize_nearby(mean_log_likelihood: Callable[[Floats], float], customers: int, near: Maximum) -> Maximum | None:
    """The maximum near that of another, similar likelihood, in a few steps; None where it is not found from there."""
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
        value = mean_log_likelihood(np.exp(np.clip(logarithms, _LOW, _HIGH)))
        return -value if np.isfinite(value) else _IMPOSSIBLE

    return loss


def _stop_at_bound() -> Callable[[OptimizeResult], None]:
    iterations = 0

    def stop(intermediate_result: OptimizeResult) -> None:
        nonlocal iterations
        iterations = 0 if _is_inside(intermediate_result.x) else iterations + 1
        if iterations == _RUNAWAY:
            raise StopIteration

    return stop


def _is_maximum(loss: Callable[[Floats], float], found: OptimizeResult, customers: int) -> bool:
    is_candidate = bool(found.fun < _IMPOSSIBLE) and _is_inside(found.x) and _is_flat(found)
    return is_candidate and _is_curved(loss, found.x, customers)


def _is_flat(found: OptimizeResult) -> bool:
    return bool(np.max(np.abs(found.jac)) < _FLAT)


def _is_curved(loss: Callable[[Floats], float], at: Floats, customers: int) -> bool:
    """Whether a loss is curved in every direction, so that so many customers tell where its minimum is.

    The inverse of the curvature of the total is the variance of the estimate (Fisher information).
    """
    hessian = _hessian(loss, at)
    least = np.linalg.eigvalsh(hessian)[0] if np.isfinite(hessian).all() else 0.0
    return bool(least > max(_CURVED, 1 / (_VAGUE**2 * customers)))


def _hessian(function: Callable[[Floats], float], at: Floats) -> Floats:
    """Second derivatives, by central differences."""
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
    return bool(np.all((logarithms > _LOW + _EDGE) & (logarithms < _HIGH - _EDGE)))
