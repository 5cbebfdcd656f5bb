"""Fixtures with CDNOW, a public data set: 2,357 customers of an online music shop who first bought in early 1997."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from cdp_lib.analytics.fits import Fit
from cdp_lib.analytics.histories import Floats, Histories
from cdp_lib.analytics.purchases import BgNbd, MbgNbd, ParetoNbd, fit_purchases

FIRST_DAY = date(1997, 1, 1)


@pytest.fixture(scope="session")
def cdnow_sales() -> pd.DataFrame:
    """Sales of 78 weeks, with the columns customer_id, day and amount."""
    path = str(files("lifetimes.datasets") / "CDNOW_sample.txt")
    sales = pd.read_csv(path, sep=r"\s+", header=None, names=["_", "customer_id", "day", "quantity", "amount"])
    return sales.assign(day=pd.to_datetime(sales.day, format="%Y%m%d"))


@dataclass(frozen=True)
class Split:
    """History of each customer at a cut-off day, and number of purchases in the weeks after the cut-off."""

    x: Floats
    t_x: Floats
    T: Floats
    after: Floats
    weeks: float


@pytest.fixture(scope="session")
def cdnow_split(cdnow_sales: pd.DataFrame):
    """Function that splits CDNOW at a cut-off week. Times are exact fractions of weeks, or rounded to whole weeks."""

    def split(cut_off_week: int, weeks: int, *, rounded: bool) -> Split:
        cut_off = pd.Timestamp(FIRST_DAY) + timedelta(weeks=cut_off_week, days=-1)
        days = cdnow_sales.drop_duplicates(["customer_id", "day"])
        known = days[days.day <= cut_off].groupby("customer_id").day.agg(["min", "max", "count"])
        later = days[(days.day > cut_off) & (days.day <= cut_off + timedelta(weeks=weeks))]
        t_x, T = ((last - known["min"]).dt.days.to_numpy() / 7 for last in (known["max"], cut_off))
        if rounded:
            t_x, T = np.rint(t_x), np.rint(T)
        after = later.groupby("customer_id").size().reindex(known.index, fill_value=0).to_numpy(dtype=float)
        return Split((known["count"] - 1).to_numpy(dtype=float), t_x, T, after, float(weeks))

    return split


@pytest.fixture(scope="session")
def cdnow(cdnow_split) -> Histories:
    """Histories of the CDNOW customers after 39 weeks, with times in exact fractions of weeks."""
    split = cdnow_split(39, 39, rounded=False)
    return Histories.of_customers(split.x, split.t_x, split.T)


@pytest.fixture(scope="session")
def cdnow_fits(cdnow: Histories) -> dict[str, Fit]:
    """One fit to the CDNOW histories for each purchase model, by name of the model."""
    return {model.name: fit_purchases(model, cdnow) for model in (ParetoNbd, MbgNbd, BgNbd)}
