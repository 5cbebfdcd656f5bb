"""Tests of the purchase models: comparisons with published results, with `lifetimes` and with the definitions."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifetimes import BetaGeoFitter, ModifiedBetaGeoFitter, ParetoNBDFitter
from scipy.integrate import quad

from cdp_lib.analytics.backtest import Forecast, measure_forecast
from cdp_lib.analytics.fits import maximize
from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.purchases import (
    BgNbd,
    MbgNbd,
    ParetoNbd,
    _log_tail,
    _log_tail_by_quadrature,
    fit_purchases,
)

# Published results for CDNOW. The parameters of our fits agree within 0.5 %, and the log-likelihoods within 0.01.
PUBLISHED = {
    "bg_nbd": ({"r": 0.2426, "alpha": 4.4136, "a": 0.7929, "b": 2.4259}, -9582.43),
    "pareto_nbd": ({"r": 0.5532, "alpha": 10.576, "s": 0.6063, "beta": 11.672}, -9594.98),
    "mbg_nbd": ({"r": 0.5248, "alpha": 6.1830, "a": 0.8914, "b": 1.6140}, -9582.13),
}
MODELS = {model.name: model for model in (ParetoNbd, MbgNbd, BgNbd)}
CDNOW_MODELS = {name: MODELS[name](**parameters) for name, (parameters, _) in PUBLISHED.items()}
EVERY_MODEL = [
    *CDNOW_MODELS.values(),
    ParetoNbd(r=1.5, alpha=30.0, s=0.4, beta=8.0),
    ParetoNbd(r=0.8, alpha=9.0, s=1.0, beta=9.0),
    ParetoNbd(r=0.3, alpha=2.0, s=3.0, beta=90.0),
    ParetoNbd(r=1.0, alpha=10.0, s=1e-4, beta=1e5),
    BgNbd(r=0.9, alpha=5.0, a=1.0, b=3.0),
    BgNbd(r=0.5, alpha=5.0, a=0.4, b=0.6),
    MbgNbd(r=2.0, alpha=20.0, a=2.5, b=1.0),
]
every_model = pytest.mark.parametrize("model", EVERY_MODEL, ids=repr)

# In this order: an old and a new one-time buyer, an active and a lapsed regular buyer, a lapsed frequent buyer, two
# active wholesalers, a buyer of age 0, and a lapsed wholesaler.
X = np.array([0.0, 0, 2, 2, 10, 150, 5000, 0, 5000])
T_X = np.array([0.0, 0, 30.4, 5, 3, 149.9, 990, 0, 100])
T = np.array([38.9, 1, 38.9, 38.9, 100, 150, 1000, 0, 1000])


@pytest.mark.parametrize("name", PUBLISHED)
def test_fit_finds_published_parameters_of_cdnow(cdnow_fits, name: str) -> None:
    parameters, log_likelihood = PUBLISHED[name]
    assert cdnow_fits[name].state == "fitted"
    assert cdnow_fits[name].parameters == {key: pytest.approx(value, rel=0.005) for key, value in parameters.items()}
    assert cdnow_fits[name].log_likelihood == pytest.approx(log_likelihood, abs=0.01)
    assert (cdnow_fits[name].customers, cdnow_fits[name].repeat_customers) == (2357, 946)


@pytest.mark.parametrize(
    ("model", "fitter"),
    [
        (CDNOW_MODELS["bg_nbd"], BetaGeoFitter),
        (CDNOW_MODELS["mbg_nbd"], ModifiedBetaGeoFitter),
        (CDNOW_MODELS["pareto_nbd"], ParetoNBDFitter),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_expectations_equal_expectations_of_lifetimes(model, fitter) -> None:
    import pandas as pd

    oracle = fitter()
    oracle.params_ = pd.Series(model.parameters)
    few = X <= 10  # `lifetimes` overflows for customers with many purchases
    for t in (1.0, 13.0, 52.0):
        expected = oracle.conditional_expected_number_of_purchases_up_to_time(t, X[few], T_X[few], T[few])
        assert model.expected_purchases(t, X[few], T_X[few], T[few]) == pytest.approx(np.asarray(expected), rel=1e-6)
    alive = np.asarray(oracle.conditional_probability_alive(X[few], T_X[few], T[few])).ravel()
    assert model.probability_alive(X[few], T_X[few], T[few]) == pytest.approx(alive, rel=1e-6)


@pytest.mark.parametrize("model", [model for model in EVERY_MODEL if isinstance(model, ParetoNbd)], ids=repr)
@pytest.mark.parametrize("row", range(6))
def test_pareto_nbd_equals_numerical_integration(model: ParetoNbd, row: int) -> None:
    x, t_x, age = X[row], T_X[row], T[row]
    r, alpha, s, beta = model.r, model.alpha, model.s, model.beta

    def drops_out_at(u: float) -> float:
        return np.exp(
            (r + x) * np.log((alpha + age) / (alpha + u)) + s * np.log(beta + age) - (s + 1) * np.log(beta + u)
        )

    gone = s * quad(drops_out_at, t_x, age, epsabs=0, epsrel=1e-11, limit=500)[0]
    alive = model.probability_alive(X[row : row + 1], T_X[row : row + 1], T[row : row + 1])[0]
    assert alive == pytest.approx(1 / (1 + gone), rel=1e-8)

    shape, rate_of_buying, rate_of_leaving = r + x, alpha + age, beta + age

    def buys_at(u: float) -> float:  # E(λ exp(−λ u)) E(exp(−μ u))
        buying = shape / rate_of_buying * (rate_of_buying / (rate_of_buying + u)) ** (shape + 1)
        return buying * (rate_of_leaving / (rate_of_leaving + u)) ** s

    for t in (1.0, 13.0, 100.0):
        purchase = alive * quad(buys_at, 0, t, epsabs=0, epsrel=1e-11, limit=500)[0]
        churn = model.probability_of_no_purchase(t, X[row : row + 1], T_X[row : row + 1], T[row : row + 1])[0]
        assert churn == pytest.approx(1 - purchase, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize(
    ("model", "history", "expected"),
    [
        (ParetoNbd(20.0, 1000.0, 0.01, 0.01), (5000, 0.5, 1000), (3166.5248235, 0, 0, 1)),
        (
            ParetoNbd(1.0, 10.0, 1e-4, 1e5),
            (0, 0, 39),
            (-1.58923516625, 0.999999922139, 0.265306100068, 0.790322598227),
        ),
        (
            ParetoNbd(3.0, 0.001, 0.001, 1000.0),
            (150, 149.9, 150),
            (-172.983506474, 0.999999908449, 13.2598357204, 3.95009972275e-06),
        ),
        (
            ParetoNbd(1.0, 0.2, 0.41, 334.0),
            (2, 1, 39),
            (-8.64974602608, 0.036230488491, 0.0357922333001, 0.979232255964),
        ),
        (ParetoNbd(0.6, 8.0, 0.6, 0.001), (180, 20, 100), (143.903934676, 0, 0, 1)),
        (CDNOW_MODELS["bg_nbd"], (5000, 100, 1000), (14325.9727198, 0, 0, 1)),
        (CDNOW_MODELS["mbg_nbd"], (5000, 100, 1000), (14243.4327389, 0, 0, 1)),
        (
            BgNbd(0.5, 5.0, 0.4, 0.6),
            (2, 1, 39),
            (-6.05552907097, 0.0267324444016, 0.0185615677267, 0.987262888209),
        ),
    ],
    ids=str,
)
def test_figures_are_exact_where_powers_overflow(model, history, expected) -> None:
    """The expected figures were computed with 60 digits (mpmath)."""
    known = tuple(np.array([float(value)]) for value in history)
    figures = (
        model.log_likelihoods(*known),
        model.probability_alive(*known),
        model.expected_purchases(13.0, *known),
        model.probability_of_no_purchase(13.0, *known),
    )
    assert [figure[0] for figure in figures] == pytest.approx(expected, rel=1e-9, abs=1e-11)


@settings(max_examples=100, deadline=None)
@given(
    p=st.one_of(st.floats(1, 6000), st.integers(1, 6000).map(float)),
    q=st.floats(0.01, 20),
    logarithms=st.tuples(st.floats(-6, 10), st.floats(-6, 10)),
)
def test_tail_integral_is_equal_by_series_and_by_quadrature(p: float, q: float, logarithms) -> None:
    """For some arguments, the result of the series alone would be NaN or wrong."""
    arguments = tuple(np.array([value]) for value in (p, q, *np.exp(logarithms)))
    assert _log_tail(*arguments) == pytest.approx(_log_tail_by_quadrature(*arguments), rel=1e-11, abs=1e-9)


def test_pareto_nbd_agrees_with_simulated_customers() -> None:
    """Compare two figures of one-time buyers: the share without later purchases, and the mean number of purchases."""
    model = CDNOW_MODELS["pareto_nbd"]
    generator = np.random.default_rng(20261125)
    customers, age, t = 400_000, 39.0, 13.0
    rate = generator.gamma(model.r, 1 / model.alpha, customers)
    lifetime = generator.exponential(1 / generator.gamma(model.s, 1 / model.beta, customers))
    first = generator.exponential(1 / rate)
    is_one_time_buyer = first > np.minimum(lifetime, age)
    later = generator.poisson(rate * np.clip(np.minimum(lifetime, age + t) - age, 0, None))[is_one_time_buyer]
    history = np.zeros(1), np.zeros(1), np.array([age])
    assert model.probability_of_no_purchase(t, *history)[0] == pytest.approx((later == 0).mean(), abs=0.003)
    assert model.expected_purchases(t, *history)[0] == pytest.approx(later.mean(), abs=0.005)


@every_model
def test_figures_of_extreme_customers_are_in_range(model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.log_likelihoods(X, T_X, T)).all()
        alive = model.probability_alive(X, T_X, T)
        before = np.zeros_like(X)
        churn_before = np.ones_like(X)
        for t in (0.0, 1.0, 13.0, 52.0, 520.0):
            churn = model.probability_of_no_purchase(t, X, T_X, T)
            purchases = model.expected_purchases(t, X, T_X, T)
            assert ((alive >= 0) & (alive <= 1) & (churn >= 0) & (churn <= 1)).all()
            assert (purchases >= before - 1e-12).all(), "a longer period has no fewer purchases"
            assert (churn <= churn_before + 1e-12).all()
            assert (1 - churn <= purchases + 1e-9).all(), "P(at least one) is at most the mean number"
            assert (churn >= 1 - alive - 1e-12).all(), "a customer who has dropped out buys nothing"
            before, churn_before = purchases, churn
        assert model.probability_of_no_purchase(0.0, X, T_X, T) == pytest.approx(np.ones_like(X))
        assert model.expected_purchases(0.0, X, T_X, T) == pytest.approx(np.zeros_like(X))


def test_one_time_buyer_has_uncertain_churn() -> None:
    """In BG/NBD a one-time buyer is certainly alive, so the churn probability cannot be computed as 1 − P(alive)."""
    once = np.zeros(1), np.zeros(1), np.array([38.9])
    assert CDNOW_MODELS["bg_nbd"].probability_alive(*once) == [1]
    for model in CDNOW_MODELS.values():
        assert 0.5 < model.probability_of_no_purchase(13.0, *once)[0] < 0.99
    assert ParetoNbd is ParetoNbd
    assert CDNOW_MODELS["pareto_nbd"].probability_alive(*once)[0] < 0.5


@pytest.mark.parametrize("parameter", ["a", "s"])
def test_expected_purchases_are_continuous_where_formula_divides_by_zero(parameter: str) -> None:
    base = {"r": 0.5, "alpha": 5.0, "b": 2.0} if parameter == "a" else {"r": 0.5, "alpha": 5.0, "beta": 9.0}
    model = BgNbd if parameter == "a" else ParetoNbd
    below, at, above = (
        model(**base, **{parameter: value}).expected_purchases(13.0, X, T_X, T) for value in (1 - 1e-5, 1.0, 1 + 1e-5)
    )
    assert at == pytest.approx((below + above) / 2, rel=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_fit_on_grouped_histories_equals_fit_on_customers(cdnow, cdnow_fits, name: str) -> None:
    each = np.repeat(np.arange(len(cdnow)), cdnow.weight.astype(int))
    customers = Histories(cdnow.frequency[each], cdnow.recency[each], cdnow.age[each], np.ones(len(each)))
    fit = fit_purchases(MODELS[name], customers)
    assert fit.parameters == pytest.approx(cdnow_fits[name].parameters, rel=1e-4)
    assert fit.log_likelihood == pytest.approx(cdnow_fits[name].log_likelihood, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_fit_of_many_customers_via_sample_finds_full_maximum(cdnow, name: str) -> None:
    many = replace(cdnow, weight=cdnow.weight * 20 + np.arange(len(cdnow)) % 7)
    assert many.customers > 40_000
    fit = fit_purchases(MODELS[name], many)
    found, _ = maximize(
        lambda p: MODELS[name](*p.tolist()).log_likelihood(many) / many.customers, many.customers, [(1, 10, 1, 10)]
    )
    assert list(fit.parameters.values()) == pytest.approx(found.tolist(), rel=1e-4)
    assert fit.log_likelihood == pytest.approx(MODELS[name](*found.tolist()).log_likelihood(many), abs=1e-4)


@pytest.mark.parametrize("rounded", [False, True], ids=["days", "weeks"])
def test_default_model_forecasts_39_weeks_of_cdnow(cdnow_split, rounded: bool) -> None:
    """For comparison: a fit with a penalty on parameters and without one-time buyers has a total error of +37.6 %."""
    measures = forecast(cdnow_split(39, 39, rounded=rounded), ParetoNbd)
    assert abs(measures["total_error"]) <= 0.12
    assert measures["mae"] <= 0.77
    assert measures["auc"] >= 0.75


@pytest.mark.parametrize("rounded", [False, True], ids=["days", "weeks"])
@pytest.mark.parametrize(("cut_off", "weeks", "total_error", "mae"), [(26, 39, 0.08, 0.96), (52, 26, 0.05, 0.52)])
def test_default_model_forecasts_from_other_cut_offs(
    cdnow_split, cut_off: int, weeks: int, total_error: float, mae: float, rounded: bool
) -> None:
    measures = forecast(cdnow_split(cut_off, weeks, rounded=rounded), ParetoNbd)
    assert abs(measures["total_error"]) <= total_error
    assert measures["mae"] <= mae


def forecast(split, model) -> dict[str, float]:
    known = split.x, split.t_x, split.T
    fitted = model(**fit_purchases(model, Histories.of_customers(*known)).parameters)
    purchases = fitted.expected_purchases(split.weeks, *known)
    churn = fitted.probability_of_no_purchase(split.weeks, *known)
    measured = measure_forecast(Forecast(purchases, churn, split.after, np.ones_like(split.x)))
    return {each.measure: each.value for each in measured if each.decile == 0}


def test_rounding_to_whole_weeks_changes_parameters_by_less_than_two_percent(cdnow_split, cdnow_fits) -> None:
    split = cdnow_split(39, 39, rounded=True)
    weekly = fit_purchases(ParetoNbd, Histories.of_customers(split.x, split.t_x, split.T))
    assert weekly.histories < 0.7 * cdnow_fits["pareto_nbd"].histories
    assert weekly.parameters == pytest.approx(cdnow_fits["pareto_nbd"].parameters, rel=0.02)


def equal_customers(customers: int, x: float, t_x: float, age: float) -> Histories:
    return Histories(*(np.array([value]) for value in (x, t_x, age, float(customers))))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("histories", "state", "message"),
    [
        (Histories.of_customers(*np.zeros((3, 0))), "too_few_customers", "0 customers (a fit needs 100), 0 of them"),
        (
            equal_customers(99, 1, 2, 9),
            "too_few_customers",
            "99 customers (a fit needs 100), 99 of them with repeat purchases",
        ),
        (
            equal_customers(5000, 0, 0, 9),
            "too_few_customers",
            "5000 customers (a fit needs 100), 0 of them with repeat purchases (a fit needs 30)",
        ),
        (equal_customers(5000, 4, 8, 9), "not_converged", "without limit"),
    ],
    ids=["none", "few", "no repeat customer", "all equal"],
)
def test_fit_without_enough_information_fails(name: str, histories: Histories, state: str, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_purchases(MODELS[name], histories)
    assert (fit.state, fit.parameters, fit.log_likelihood) == (state, {}, None)
    assert message in fit.message


def test_fit_with_diverging_parameters_fails_or_is_usable() -> None:
    """If all customers have the same drop-out probability, a and b grow without limit, and expectations become NaN."""
    generator = np.random.default_rng(3)
    x, t_x = np.zeros(2000), np.zeros(2000)
    for customer in range(2000):
        rate, at = generator.gamma(0.8, 1 / 6), 0.0
        while generator.random() > 0.5 and (at := at + generator.exponential(1 / rate)) < 100:
            x[customer], t_x[customer] = x[customer] + 1, at
    histories = Histories.of_customers(x, np.rint(t_x), np.full(2000, 100.0))
    for model in MODELS.values():
        fit = fit_purchases(model, histories)
        assert fit.state in ("fitted", "not_converged")
        if fit.parameters:
            known = histories.frequency, histories.recency, histories.age
            assert np.isfinite(model(**fit.parameters).expected_purchases(52.0, *known)).all()


def simulated(rate, lifetime, age) -> Histories:
    """Simulate customers who buy at a constant rate until they churn. Return their histories in whole weeks."""
    generator = np.random.default_rng(7)
    observed = np.minimum(age, lifetime)
    repeats = generator.poisson(rate * observed).astype(float)
    latest = np.rint(observed * generator.random(len(age)) ** (1 / np.maximum(repeats, 1)))
    return Histories.of_customers(repeats, np.where(repeats > 0, np.minimum(latest, age), 0.0), age)


def gamma(shape: float, rate: float, customers: int, seed: int):
    return np.random.default_rng(seed).gamma(shape, 1 / rate, customers)


@pytest.mark.parametrize("name", MODELS)
def test_wholesale_customers_are_fitted(name: str) -> None:
    """If a customer pauses after hundreds of purchases, the odds of churn overflow a floating-point number."""
    lifetime = 1 / gamma(0.6, 11.0, 1000, 2)
    histories = simulated(gamma(3.0, 0.2, 1000, 1), lifetime, np.arange(1000) % 104 + 1.0)
    assert histories.frequency.max() > 1000
    fit = fit_purchases(MODELS[name], histories)
    assert fit.state == "fitted"
    assert fit.parameters["r"] / fit.parameters["alpha"] == pytest.approx(15, rel=0.15)


@pytest.mark.parametrize("name", MODELS)
def test_ridge_is_not_accepted_as_maximum(name: str) -> None:
    """If no customer churns, the data do not determine the drop-out parameters: the likelihood has a ridge, no peak."""
    histories = simulated(gamma(0.6, 8.0, 500, 1), np.full(500, np.inf), np.arange(500) % 104 + 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_purchases(MODELS[name], histories)
    assert (fit.state, fit.parameters) == ("not_converged", {})
    assert "without limit" in fit.message


rows = st.lists(
    st.tuples(st.integers(0, 200), st.floats(0, 1), st.integers(0, 200), st.integers(1, 5)), min_size=1, max_size=20
)


@settings(max_examples=50, deadline=None)
@given(rows=rows, t=st.floats(0.1, 200))
def test_grouping_keeps_likelihood_and_figures_are_in_range(rows, t: float) -> None:
    x = np.array([float(row[0]) for row in rows])
    age = np.array([float(row[2]) for row in rows])
    t_x = np.where(x > 0, np.floor(age * np.array([row[1] for row in rows])), 0.0)
    weight = np.array([float(row[3]) for row in rows])
    grouped = Histories.of_customers(x, t_x, age, weight)
    for model in CDNOW_MODELS.values():
        assert model.log_likelihood(grouped) == pytest.approx(
            float(model.log_likelihoods(x, t_x, age) @ weight), rel=1e-9
        )
        churn = model.probability_of_no_purchase(t, x, t_x, age)
        purchases = model.expected_purchases(t, x, t_x, age)
        assert ((churn >= 0) & (churn <= 1) & (purchases >= 0)).all()
        assert (1 - churn <= purchases + 1e-9).all()
