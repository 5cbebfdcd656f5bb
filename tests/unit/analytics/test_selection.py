from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.holdout import measure_models
from cdp_lib.analytics.selection import MODELS, fit_best, rank_models
from shops import Shop, cdnow, fashion, grocer

HORIZON_WEEKS = 13
HORIZON = timedelta(weeks=HORIZON_WEEKS)
BASELINES = ("active_if_recent", "own_rhythm", "logistic")


def measure(shop: Shop, cut_off: date, weeks: int) -> tuple[str, dict[str, dict[str, float]]]:
    """The chosen model, and the measures of this model and of the baselines, by name."""
    holdout = shop.holdout(cut_off, weeks)
    fit = fit_best(holdout.histories, shop.replay(cut_off, HORIZON_WEEKS))
    assert fit.state == "fitted", fit.message
    found: dict[str, dict[str, float]] = {}
    for row in measure_models(holdout, fit.model):
        if not row["decile"] and "value" in row:
            found.setdefault(str(row["model"]), {})[str(row["measure"])] = float(str(row["value"]))
    return fit.model, found


def test_grocer_gets_the_common_drop_out_and_calibrated_predictions() -> None:
    shop = grocer(1, 800)
    name, found = measure(shop, shop.last_day - HORIZON, HORIZON_WEEKS)
    assert name == "common_drop_out_nbd"
    assert abs(found[name]["total_error"]) <= 0.05
    assert abs(found[name]["spend_error"]) <= 0.10
    assert found[name]["auc"] > found["active_if_recent"]["auc"]
    assert found[name]["brier_score"] < found["active_if_recent"]["brier_score"]


def test_fashion_shop_keeps_pareto_nbd_and_beats_every_baseline() -> None:
    shop = fashion(1, 3000)
    name, found = measure(shop, shop.last_day - HORIZON, HORIZON_WEEKS)
    assert name == "pareto_nbd"
    assert -0.2 <= found[name]["total_error"] <= 0.05  # the models do not know the peak in the predicted weeks
    assert found[name]["auc"] > max(found[each]["auc"] for each in BASELINES)
    assert found[name]["brier_score"] < min(found[each]["brier_score"] for each in BASELINES)


@pytest.mark.parametrize(("weeks", "error", "spend"), [(26, -0.09, 0.1), (39, -0.116, 0.15), (52, 0.038, 0.1)])
def test_cdnow_is_predicted_no_worse_than_by_pareto_nbd(weeks: int, error: float, spend: float) -> None:
    name, found = measure(cdnow(), date(1997, 1, 1) + timedelta(weeks=weeks, days=-1), 78 - weeks)
    assert abs(found[name]["total_error"]) <= abs(error) + 0.001
    assert abs(found[name]["spend_error"]) <= spend


def test_ranking_names_every_model_once() -> None:
    shop = grocer(2, 150)
    assert sorted(rank_models(shop.replay(shop.last_day - HORIZON, HORIZON_WEEKS))) == sorted(MODELS)


def test_too_few_buyers_say_how_many_are_needed() -> None:
    few = Histories.of_customers(np.ones(27), np.ones(27), np.full(27, 10.0))
    fit = fit_best(few)
    assert (fit.state, fit.parameters) == ("too_few_customers", {})
    assert fit.message and "27" in fit.message and "100" in fit.message


def test_buyers_without_repeat_purchases_get_the_rate_of_the_shop() -> None:
    once = Histories.of_customers(np.zeros(120), np.zeros(120), np.full(120, 10.0))
    fit = fit_best(once)
    assert (fit.model, fit.state) == ("shrunken_rate", "fitted")
