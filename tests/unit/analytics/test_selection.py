from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from cdp_lib.analytics.backtest import area_under_curve
from cdp_lib.analytics.histories import Floats, Histories
from cdp_lib.analytics.selection import MODELS, Replay, fit_best, rank_models
from shops import Shop, Split, cdnow, fashion, grocer

HORIZON = timedelta(weeks=13)


def replay_of(shop: Shop, cut_off: date) -> Replay:
    """The customers of a shop 13 weeks before a cut-off, and the same customers at the cut-off."""
    before, after = shop.split(cut_off - HORIZON, 13), shop.split(cut_off, 13)
    first = shop.first_days
    is_known = (first[first <= str(cut_off)] <= str(cut_off - HORIZON)).to_numpy()
    pairs = ((split.x, split.t_x, split.T) for split in (before, after))
    known, later = next(pairs), tuple(values[is_known] for values in next(pairs))
    return Replay(known, (later[0], later[1], later[2]), np.ones(len(before.x)))


def forecast(shop: Shop, cut_off: date, weeks: float) -> tuple[str, Split, Floats, Floats]:
    """The chosen model, the split, and the expected purchases and churn probabilities of the customers."""
    split = shop.split(cut_off, weeks)
    known = (split.x, split.t_x, split.T)
    fit = fit_best(Histories.of_customers(*known), replay_of(shop, cut_off))
    assert fit.state == "fitted", fit.message
    model = MODELS[fit.model](**fit.parameters)
    return fit.model, split, model.expected_purchases(weeks, *known), model.probability_of_no_purchase(weeks, *known)


def test_grocer_gets_the_common_drop_out_and_calibrated_predictions() -> None:
    shop = grocer(1, 800)
    name, split, purchases, churn = forecast(shop, shop.last_day - HORIZON, 13)
    churned = (split.after == 0).astype(float)
    assert name == "common_drop_out_nbd"
    assert purchases.sum() == pytest.approx(split.after.sum(), rel=0.05)
    is_silent = (split.T - split.t_x > 13).astype(float)
    weight = np.ones(len(churn))
    assert (area_under_curve(churn, churned, weight) or 0) > (area_under_curve(is_silent, churned, weight) or 1)
    assert np.mean((churn - churned) ** 2) < np.mean((is_silent - churned) ** 2)


def test_fashion_shop_keeps_pareto_nbd_and_beats_recency() -> None:
    shop = fashion(1, 3000)
    name, split, _, churn = forecast(shop, shop.last_day - HORIZON, 13)
    churned = (split.after == 0).astype(float)
    is_silent = (split.T - split.t_x > 13).astype(float)
    weight = np.ones(len(churn))
    assert name == "pareto_nbd"
    assert (area_under_curve(churn, churned, weight) or 0) > (area_under_curve(is_silent, churned, weight) or 1)
    assert np.mean((churn - churned) ** 2) < np.mean((is_silent - churned) ** 2)


@pytest.mark.parametrize(("weeks", "error"), [(26, -0.09), (39, -0.116), (52, 0.038)])
def test_cdnow_is_predicted_no_worse_than_by_pareto_nbd(weeks: int, error: float) -> None:
    _, split, purchases, _ = forecast(cdnow(), date(1997, 1, 1) + timedelta(weeks=weeks, days=-1), 78 - weeks)
    assert abs(purchases.sum() / split.after.sum() - 1) <= abs(error) + 0.001


def test_ranking_names_every_model_once() -> None:
    shop = grocer(2, 150)
    assert sorted(rank_models(replay_of(shop, shop.last_day - HORIZON))) == sorted(MODELS)


def test_too_few_buyers_say_how_many_are_needed() -> None:
    few = Histories.of_customers(np.ones(27), np.ones(27), np.full(27, 10.0))
    fit = fit_best(few)
    assert (fit.state, fit.parameters) == ("too_few_customers", {})
    assert fit.message and "27" in fit.message and "100" in fit.message


def test_buyers_without_repeat_purchases_get_the_rate_of_the_shop() -> None:
    once = Histories.of_customers(np.zeros(120), np.zeros(120), np.full(120, 10.0))
    fit = fit_best(once)
    assert (fit.model, fit.state) == ("shrunken_rate", "fitted")
