from __future__ import annotations

import numpy as np
import pytest
from lifetimes import GammaGammaFitter
from lifetimes.datasets import load_cdnow_summary_data_with_monetary_value

from cdp_lib.analytics.spend import GammaGamma, Spending, fit_spend


@pytest.fixture(scope="module")
def cdnow_spending() -> Spending:
    """The 946 customers of CDNOW who came back within 39 weeks."""
    summary = load_cdnow_summary_data_with_monetary_value()
    back = summary[summary.frequency > 0]
    mean = back.monetary_value.to_numpy(dtype=float)
    return Spending(back.frequency.to_numpy(dtype=float), mean, np.ones(len(back)))


def test_a_fit_finds_the_published_parameters_of_cdnow(cdnow_spending: Spending) -> None:
    fit = fit_spend(cdnow_spending)
    assert (fit.state, fit.customers) == ("fitted", 946)
    assert fit.parameters == {
        "p": pytest.approx(6.25, rel=0.005),
        "q": pytest.approx(3.74, rel=0.005),
        "v": pytest.approx(15.44, rel=0.005),
    }
    assert fit.log_likelihood == pytest.approx(-4055.92, abs=0.01)


def test_lifetimes_expects_the_same(cdnow_spending: Spending) -> None:
    import pandas as pd

    oracle = GammaGammaFitter()
    oracle.params_ = pd.Series({"p": 6.25, "q": 3.74, "v": 15.44})
    x, m = pd.Series(cdnow_spending.frequency), pd.Series(cdnow_spending.mean)
    expected = oracle.conditional_expected_average_profit(x, m)
    assert GammaGamma(6.25, 3.74, 15.44).expected_mean(cdnow_spending.frequency, cdnow_spending.mean) == pytest.approx(
        expected.to_numpy(), rel=1e-9
    )


def test_of_who_has_not_come_back_the_mean_of_all_is_expected() -> None:
    model = GammaGamma(6.25, 3.74, 15.44)
    assert model.expected_mean(np.zeros(1), np.zeros(1))[0] == pytest.approx(6.25 * 15.44 / 2.74)


@pytest.mark.parametrize("unit", [0.001, 1.0, 3.67, 15_000.0])
def test_the_currency_makes_no_difference(cdnow_spending: Spending, unit: float) -> None:
    fit = fit_spend(cdnow_spending)
    other = fit_spend(Spending(cdnow_spending.frequency, cdnow_spending.mean * unit, cdnow_spending.weight))
    assert other.parameters == pytest.approx(fit.parameters | {"v": fit.parameters["v"] * unit}, rel=1e-4)


def test_means_that_agree_in_three_digits_may_be_taken_together(cdnow_spending: Spending) -> None:
    digits = 10.0 ** (np.floor(np.log10(cdnow_spending.mean)) - 2)
    cut = np.floor(cdnow_spending.mean / digits) * digits
    rows, number = np.unique(np.column_stack([cdnow_spending.frequency, cut]), axis=0, return_inverse=True)
    weight = np.bincount(number.ravel()).astype(float)
    mean = np.bincount(number.ravel(), weights=cdnow_spending.mean) / weight
    fit = fit_spend(Spending(rows[:, 0], mean, weight))
    assert fit.histories < 946
    assert fit.parameters == pytest.approx(fit_spend(cdnow_spending).parameters, rel=1e-3)


def alike(customers: int, frequency: float, mean: float) -> Spending:
    return Spending(*(np.array([value]) for value in (frequency, mean, float(customers))))


@pytest.mark.parametrize(
    ("spending", "state", "message"),
    [
        (Spending(*np.zeros((3, 0))), "too_few_customers", "0 customers"),
        (alike(99, 2, 10), "too_few_customers", "99 customers"),
        (alike(5000, 2, 10), "not_converged", "without end"),
    ],
    ids=["nobody", "few", "all alike"],
)
def test_a_fit_does_not_pretend(spending: Spending, state: str, message: str) -> None:
    fit = fit_spend(spending)
    assert (fit.state, fit.parameters, fit.log_likelihood) == (state, {}, None)
    assert message in fit.message


def test_a_mean_that_does_not_exist_is_no_fit() -> None:
    """Spend so unequal that the mean of all would be infinite: q below 1."""
    generator = np.random.default_rng(5)
    nu = generator.gamma(0.5, 1.0, 4000)
    mean = generator.gamma(20.0, 1 / nu) / 4
    fit = fit_spend(Spending(np.full(4000, 4.0), np.maximum(mean, 1e-9), np.ones(4000)))
    assert fit.state == "not_converged"
    assert "infinite" in fit.message or "without end" in fit.message


def test_a_mean_of_all_that_is_far_above_that_of_those_known_is_no_fit() -> None:
    generator = np.random.default_rng(7)
    mean = generator.gamma(12.0, 1 / generator.gamma(1.02, 1.0, 1500)) / 4
    fit = fit_spend(Spending(np.full(1500, 4.0), mean, np.ones(1500)))
    assert (fit.state, fit.parameters) == ("not_converged", {})


@pytest.mark.parametrize("row", [(0, 1, 1), (1, 0, 1), (1, -5, 1), (1, 1, 0), (1, np.nan, 1)])
def test_what_is_no_spending_is_refused(row: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="frequency is 1 or more, mean and weight are above 0"):
        Spending(*(np.array([float(value)]) for value in row))
