from __future__ import annotations

import numpy as np
import pytest
from lifetimes import GammaGammaFitter
from lifetimes.datasets import load_cdnow_summary_data_with_monetary_value

from cdp_lib.analytics.fits import SAMPLE_SIZE, maximize
from cdp_lib.analytics.spend import GammaGamma, Spending, fit_spend


@pytest.fixture(scope="module")
def cdnow_spending() -> Spending:
    """Mean spend per repeat purchase of the 946 CDNOW customers who bought again within 39 weeks."""
    summary = load_cdnow_summary_data_with_monetary_value()
    back = summary[summary.frequency > 0]
    mean = back.monetary_value.to_numpy(dtype=float)
    return Spending(back.frequency.to_numpy(dtype=float), mean, np.ones(len(back)))


def test_fit_finds_published_parameters_of_cdnow(cdnow_spending: Spending) -> None:
    fit = fit_spend(cdnow_spending)
    assert (fit.state, fit.customers) == ("fitted", 946)
    assert fit.parameters == {
        "p": pytest.approx(6.25, rel=0.005),
        "q": pytest.approx(3.74, rel=0.005),
        "v": pytest.approx(15.44, rel=0.005),
    }
    assert fit.log_likelihood == pytest.approx(-4055.92, abs=0.01)


def test_lifetimes_gives_same_expected_mean(cdnow_spending: Spending) -> None:
    import pandas as pd

    oracle = GammaGammaFitter()
    oracle.params_ = pd.Series({"p": 6.25, "q": 3.74, "v": 15.44})
    x, m = pd.Series(cdnow_spending.frequency), pd.Series(cdnow_spending.mean)
    expected = oracle.conditional_expected_average_profit(x, m)
    assert GammaGamma(6.25, 3.74, 15.44).expected_mean(cdnow_spending.frequency, cdnow_spending.mean) == pytest.approx(
        expected.to_numpy(), rel=1e-9
    )


def test_expected_mean_without_repeat_purchase_is_population_mean() -> None:
    model = GammaGamma(6.25, 3.74, 15.44)
    assert model.expected_mean(np.zeros(1), np.zeros(1))[0] == pytest.approx(6.25 * 15.44 / 2.74)


def test_fit_of_many_customers_via_sample_finds_full_maximum(cdnow_spending: Spending) -> None:
    weight = 40 + np.arange(len(cdnow_spending.mean)) % 7
    many = Spending(cdnow_spending.frequency, cdnow_spending.mean, weight.astype(float))
    unit = float(np.average(many.mean, weights=many.weight))
    assert many.customers > 2 * many.sample(SAMPLE_SIZE).customers > 30_000
    fit = fit_spend(many)
    found, _ = maximize(
        lambda p: GammaGamma(p[0], p[1], p[2] * unit).log_likelihood(many) / many.customers,
        many.customers,
        [(6.0, 4.0, 0.4)],
    )
    assert list(fit.parameters.values()) == pytest.approx([*found[:2], found[2] * unit], rel=1e-4)


@pytest.mark.parametrize("unit", [0.001, 1.0, 3.67, 15_000.0])
def test_fit_scales_with_currency(cdnow_spending: Spending, unit: float) -> None:
    fit = fit_spend(cdnow_spending)
    other = fit_spend(Spending(cdnow_spending.frequency, cdnow_spending.mean * unit, cdnow_spending.weight))
    assert other.parameters == pytest.approx(fit.parameters | {"v": fit.parameters["v"] * unit}, rel=1e-4)


def test_grouping_means_by_three_digits_keeps_parameters(cdnow_spending: Spending) -> None:
    digits = 10.0 ** (np.floor(np.log10(cdnow_spending.mean)) - 2)
    cut = np.floor(cdnow_spending.mean / digits) * digits
    rows, number = np.unique(np.column_stack([cdnow_spending.frequency, cut]), axis=0, return_inverse=True)
    weight = np.bincount(number.ravel()).astype(float)
    mean = np.bincount(number.ravel(), weights=cdnow_spending.mean) / weight
    fit = fit_spend(Spending(rows[:, 0], mean, weight))
    assert fit.histories < 946
    assert fit.parameters == pytest.approx(fit_spend(cdnow_spending).parameters, rel=1e-3)


def equal_customers(customers: int, frequency: float, mean: float) -> Spending:
    return Spending(*(np.array([value]) for value in (frequency, mean, float(customers))))


@pytest.mark.parametrize(
    ("spending", "state", "message"),
    [
        (Spending(*np.zeros((3, 0))), "too_few_customers", "0 customers"),
        (equal_customers(99, 2, 10), "too_few_customers", "99 customers"),
        (equal_customers(5000, 2, 10), "not_converged", "without limit"),
    ],
    ids=["none", "few", "all equal"],
)
def test_fit_without_enough_information_fails(spending: Spending, state: str, message: str) -> None:
    fit = fit_spend(spending)
    assert (fit.state, fit.parameters, fit.log_likelihood) == (state, {}, None)
    assert message in fit.message


def test_infinite_population_mean_fails() -> None:
    """Spend is so unequal that the parameter q of the model is below 1. The population mean is then infinite."""
    generator = np.random.default_rng(5)
    nu = generator.gamma(0.5, 1.0, 4000)
    mean = generator.gamma(20.0, 1 / nu) / 4
    fit = fit_spend(Spending(np.full(4000, 4.0), np.maximum(mean, 1e-9), np.ones(4000)))
    assert fit.state == "not_converged"
    assert "infinite" in fit.message or "without limit" in fit.message


def test_population_mean_far_above_observed_mean_fails() -> None:
    generator = np.random.default_rng(7)
    mean = generator.gamma(12.0, 1 / generator.gamma(1.02, 1.0, 1500)) / 4
    fit = fit_spend(Spending(np.full(1500, 4.0), mean, np.ones(1500)))
    assert (fit.state, fit.parameters) == ("not_converged", {})


@pytest.mark.parametrize("row", [(0, 1, 1), (1, 0, 1), (1, -5, 1), (1, 1, 0), (1, np.nan, 1)])
def test_invalid_spending_is_refused(row: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="every frequency must be 1 or more, every mean and weight above 0"):
        Spending(*(np.array([float(value)]) for value in row))
