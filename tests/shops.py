"""Three shops on which predictions and segments are tested: a grocer, a fashion shop, and the public data set CDNOW.

The grocer and the fashion shop are simulated. The simulations do not use the models of `cdp_lib.analytics`: intervals
between purchases are not exponential, rates are lognormal, and lifetimes are not Pareto distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdp_lib.analytics.baselines import Calibration
from cdp_lib.analytics.histories import Histories
from cdp_lib.analytics.holdout import Holdout
from cdp_lib.analytics.selection import Replay
from cdp_lib.analytics.spend import Spending, fit_spend

Floats = NDArray[np.float64]

SIMULATION_START = date(2024, 1, 1)
_GROCER_DAYS, _FASHION_DAYS = 2 * 365, 3 * 365


@dataclass(frozen=True)
class Split:
    """Each customer at a cut-off day, and in the weeks after the cut-off. Times are in weeks.

    Attributes:
        x: Repeat purchase days up to the cut-off.
        t_x: Time from the first to the latest purchase.
        T: Time from the first purchase to the cut-off.
        spend: Mean spend per repeat purchase day; 0 without a repeat purchase.
        after: Purchase days in the weeks after the cut-off.
        spend_after: Total spend in the weeks after the cut-off.
        weeks: Length of the period after the cut-off.
    """

    x: Floats
    t_x: Floats
    T: Floats
    spend: Floats
    after: Floats
    spend_after: Floats
    weeks: float


@dataclass(frozen=True)
class Shop:
    """Purchase days of a shop.

    Attributes:
        name: Name of the shop.
        sales: One row per sale, with the columns `customer_id`, `day` (timestamp at midnight) and `amount`.
        last_day: Last day of the data.
    """

    name: str
    sales: pd.DataFrame
    last_day: date

    @property
    def first_days(self) -> pd.Series:
        """First purchase day of each customer, by `customer_id`."""
        return self.sales.groupby("customer_id").day.min()

    def split(self, cut_off: date, weeks: float, *, rounded: bool = True) -> Split:
        """Split the shop at a cut-off day. Times are exact fractions of weeks, or rounded to whole weeks."""
        end = pd.Timestamp(cut_off)
        days = self.sales.groupby(["customer_id", "day"], as_index=False).amount.sum()
        known, later = days[days.day <= end], days[(days.day > end) & (days.day <= end + timedelta(weeks=weeks))]
        figures = known.groupby("customer_id").agg(first=("day", "min"), last=("day", "max"), n=("day", "count"))
        repeats = known[known.day > figures["first"].reindex(known.customer_id).to_numpy()]
        t_x, T = ((last - figures["first"]).dt.days.to_numpy() / 7 for last in (figures["last"], end))
        if rounded:
            t_x, T = np.rint(t_x), np.rint(T)
        after = later.groupby("customer_id").amount.agg(["size", "sum"]).reindex(figures.index, fill_value=0)
        spend = repeats.groupby("customer_id").amount.mean().reindex(figures.index, fill_value=0.0)
        return Split(
            (figures.n - 1).to_numpy(dtype=float),
            t_x,
            T,
            spend.to_numpy(dtype=float),
            after["size"].to_numpy(dtype=float),
            after["sum"].to_numpy(dtype=float),
            float(weeks),
        )

    def holdout(self, cut_off: date, weeks: int) -> Holdout:
        """Return the customers at a cut-off day, one group per customer, and what they bought in the weeks after it."""
        split, past = self.split(cut_off, weeks), self.split(cut_off - timedelta(weeks=weeks), weeks)
        has_spent = (split.x > 0) & (split.spend > 0)
        return Holdout(
            histories=Histories(split.x, split.t_x, split.T, np.ones(len(split.x))),
            after=split.after,
            repeat_revenue=split.spend * split.x,
            revenue_after=split.spend_after,
            calibration=Calibration(Histories(past.x, past.t_x, past.T, np.ones(len(past.x))), past.after)
            if len(past.x)
            else None,
            spend=fit_spend(Spending(split.x[has_spent], split.spend[has_spent], np.ones(has_spent.sum()))),
            cut_off=cut_off,
            as_of=cut_off + timedelta(weeks=weeks),
        )

    def replay(self, cut_off: date, weeks: int) -> Replay:
        """Return the customers known some weeks before a cut-off day, then and at the cut-off."""
        earlier, first = cut_off - timedelta(weeks=weeks), self.first_days
        before, after = self.split(earlier, weeks), self.split(cut_off, weeks)
        is_known = (first[first <= str(cut_off)] <= str(earlier)).to_numpy()
        later = (after.x[is_known], after.t_x[is_known], after.T[is_known])
        return Replay((before.x, before.t_x, before.T), later, np.ones(len(before.x)))


def grocer(seed: int, customers: int) -> Shop:
    """Simulate a grocer's households over two years.

    A household buys about once a week: its mean interval is lognormal around 8 days. Intervals are gamma distributed
    with a shape of 1 (irregular) to 4 (regular). Half of the visits move to the household's favourite weekday. About
    3 % of the households leave per year, at the same rate for all. Most households are there from the first months.
    Frequent buyers spend slightly less per visit.
    """
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(customers) < 0.8, rng.integers(0, 120, customers), rng.integers(0, 640, customers))
    interval = 8 * np.exp(rng.normal(0, 0.6, customers))
    shape = rng.uniform(1, 4, customers)
    life = rng.exponential(365 / 0.03, customers)
    visits = int(np.ceil(_GROCER_DAYS / interval.min())) * 2
    buyer, day = _renewals(rng, first, interval, shape, life, _GROCER_DAYS, min(visits, 1000))
    favourite = rng.integers(0, 7, customers)[buyer]
    is_moved = (rng.random(len(day)) < 0.5) & (day > first[buyer])
    day = np.where(is_moved, np.maximum(day + (favourite - day + 3) % 7 - 3, first[buyer]), day)
    mean = 30 * np.exp(rng.normal(0, 0.5, customers)) * (interval / 8) ** 0.2
    amount = mean[buyer] * np.exp(rng.normal(0, 0.6, len(day)))
    return _shop("grocer", buyer, day, amount, _GROCER_DAYS)


def fashion(seed: int, customers: int) -> Shop:
    """Simulate a fashion shop over three years.

    A customer buys a few times a year: the mean interval is lognormal around 80 days. Sales double in spring and in
    autumn compared with the quiet months. Lifetimes are Weibull distributed (shape 0.8) with a lognormal scale, so many
    customers leave early and some stay for years. Amounts are heavy-tailed, and frequent buyers spend more per visit.
    """
    rng = np.random.default_rng(seed)
    first = rng.integers(0, _FASHION_DAYS - 30, customers)
    interval = 80 * np.exp(rng.normal(0, 0.7, customers))
    life = 300 * np.exp(rng.normal(0, 1.0, customers)) * rng.weibull(0.8, customers)
    # Propose visits at a third of the interval and keep a seasonal share of them, a third on average.
    buyer, day = _renewals(rng, first, interval / 3, np.ones(customers), life, _FASHION_DAYS, 400)
    season = (1 - np.cos(4 * np.pi * (day - 15) / 365) / 3) / 3
    is_kept = (rng.random(len(day)) < season) | (day == first[buyer])
    buyer, day = buyer[is_kept], day[is_kept]
    mean = 60 * np.exp(rng.normal(0, 0.6, customers)) * (interval / 80) ** -0.35
    amount = mean[buyer] * np.exp(rng.normal(0, 0.9, len(day)))
    return _shop("fashion", buyer, day, amount, _FASHION_DAYS)


def cdnow() -> Shop:
    """Load CDNOW: 2,357 customers of an online music shop who first bought in early 1997, with 78 weeks of sales."""
    path = str(files("lifetimes.datasets") / "CDNOW_sample.txt")
    sales = pd.read_csv(path, sep=r"\s+", header=None, names=["_", "customer_id", "day", "quantity", "amount"])
    return Shop("cdnow", sales.assign(day=pd.to_datetime(sales.day, format="%Y%m%d")), date(1998, 6, 30))


def _renewals(
    rng: np.random.Generator,
    first: NDArray[np.int64],
    interval: Floats,
    shape: Floats,
    life: Floats,
    days: int,
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the buyer and the day of each visit: the first visit, then visits at gamma distributed intervals."""
    buyers, at = [np.arange(len(first))], [first.astype(float)]
    for _ in range(most):
        who, now = buyers[-1], at[-1]
        then = now + rng.gamma(shape[who], interval[who] / shape[who])
        stays = (then < days) & (then - first[who] < life[who])
        if not stays.any():
            break
        buyers.append(who[stays])
        at.append(then[stays])
    return np.concatenate(buyers), np.floor(np.concatenate(at)).astype(np.int64)


def _shop(name: str, buyer: NDArray[np.int64], day: NDArray[np.int64], amount: Floats, days: int) -> Shop:
    is_inside = day < days
    sales = pd.DataFrame({"customer_id": buyer + 1, "day": day, "amount": np.round(np.maximum(amount, 0.01), 2)})
    sales = sales[is_inside].sort_values(["customer_id", "day"], ignore_index=True)
    sales["day"] = pd.Timestamp(SIMULATION_START) + pd.to_timedelta(sales.day, unit="D")
    return Shop(name, sales, SIMULATION_START + timedelta(days=days - 1))
