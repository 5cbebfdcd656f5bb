"""Receipts of the demo shop: who buys when, where and what, at which price.

Each person has a purchase rate, a lifetime, a favourite store and a taste of their own. Visits are a Poisson process
whose rate follows the season, the day of the week and promotions, and which ends when the person drops out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdp_local.demo.assortment import (
    CATEGORIES,
    CURRENCIES,
    DAYS,
    PRODUCTS_PER_CATEGORY,
    PROMOTIONS,
    WELCOME_CODE,
    WELCOME_RATE,
    category_weights,
    days_of,
    visit_weights,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MEAN_DAYS_BETWEEN_VISITS = 30
MEAN_LIFETIME_DAYS = 500
RETURNED, UNKNOWN_PRODUCT, WITHOUT_CARD = 0.06, 0.0006, 0.12
"""Shares of lines that come back (only what is not food), of lines of a delisted product, of visits without card."""


def draw_shoppers(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return how each person shops. More people join in the first weeks, in which the loyalty programme begins.

    Columns: day of joining, visits per day, day on which the person drops out, lines per receipt, and share of visits
    online.
    """
    weights = np.cumsum(visit_weights() * (1 + 3 * np.exp(-np.arange(DAYS) / 45)))
    first_day = np.searchsorted(weights, rng.random(count) * weights[-1])
    rate = rng.gamma(1.1, 1 / (1.1 * MEAN_DAYS_BETWEEN_VISITS), count)
    lifetime = rng.exponential(MEAN_LIFETIME_DAYS * rng.gamma(3, 1 / 3, count))
    return pd.DataFrame(
        {
            "first_day": first_day,
            "rate": rate,
            "last_day": first_day + lifetime,
            "lines": rng.gamma(4, 0.45, count) * (0.7 + 0.3 * np.sqrt(rate * MEAN_DAYS_BETWEEN_VISITS)),
            "online": rng.beta(1, 3.5, count),
        }
    )


def draw_visits(
    shoppers: pd.DataFrame, stores: pd.DataFrame, country: NDArray[np.object_], rng: np.random.Generator
) -> pd.DataFrame:
    """Return one row per visit, in the order of time.

    Columns: person (-1 without card), person whose taste the basket has, day, second, store, country, channel, and
    whether the visit is the person's first one.
    """
    weights = np.concatenate([[0], np.cumsum(visit_weights() / visit_weights().mean())])
    begin = shoppers["first_day"].to_numpy()
    end = np.clip(shoppers["last_day"], begin + 1, DAYS).to_numpy(dtype=np.int64)
    count = rng.poisson(shoppers["rate"] * (weights[end] - weights[begin]))
    person = np.repeat(np.arange(len(shoppers)), count)
    at = weights[begin][person] + rng.random(len(person)) * (weights[end] - weights[begin])[person]
    day = np.searchsorted(weights, at, side="right") - 1
    new = np.flatnonzero(rng.random(len(shoppers)) < 0.93)
    extra = rng.integers(0, len(person), int(len(person) * WITHOUT_CARD))
    taste = np.concatenate([person, new, person[extra]])
    visits = pd.DataFrame(
        {
            "taste": taste,
            "person": np.concatenate([person, new, np.full(len(extra), -1)]),
            "day": np.concatenate([day, begin[new], day[extra]]),
        }
    )
    online = rng.random(len(visits)) < shoppers["online"].to_numpy()[taste]
    online &= (visits["person"] >= 0).to_numpy()
    visits["channel"] = np.where(online, np.where(rng.random(len(visits)) < 0.35, "app", "web"), "store")
    branches = stores[stores["number"] > 0].groupby("country").size()
    favourite = rng.random(len(shoppers))[taste]
    place = np.where(rng.random(len(visits)) < 0.8, favourite, rng.random(len(visits)))
    number = 1 + (place**1.5 * branches[country[taste]].to_numpy()).astype(int)
    visits["country"] = country[taste]
    first = stores.reset_index().groupby("country")["index"].min()
    visits["store"] = first[country[taste]].to_numpy() + np.where(online, 0, number)
    hour = np.where(online, rng.normal(19, 3, len(visits)), rng.normal(14, 3, len(visits)))
    visits["second"] = (np.clip(hour, 7, 21.9) * 3600).astype(int)
    visits = visits.sort_values(["day", "second"], ignore_index=True)
    visits["is_first"] = ~visits["person"].duplicated() & (visits["person"] >= 0)
    return visits


def draw_lines(
    visits: pd.DataFrame, shoppers: pd.DataFrame, products: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return one row per line of a receipt, returns included. Amounts are in the currency of the country."""
    tastes = rng.gamma(1.2, 1, (len(shoppers), len(CATEGORIES)))
    count = 1 + rng.poisson(shoppers["lines"].to_numpy()[visits["taste"]])
    visit = np.repeat(np.arange(len(visits)), count)
    lines = visits.iloc[visit].reset_index(drop=True).assign(visit=visit)
    wanted = np.cumsum(category_weights()[lines["day"]] * tastes[lines["taste"]], axis=1)
    category = (wanted < rng.random(len(lines))[:, None] * wanted[:, -1:]).sum(axis=1)
    place = (rng.random(len(lines)) ** 1.8 * PRODUCTS_PER_CATEGORY).astype(int)
    lines["product"], lines["category"] = category * PRODUCTS_PER_CATEGORY + place, category
    lines["line"] = lines.groupby("visit").cumcount() + 1
    is_weighed = CATEGORIES["is_weighed"].to_numpy()[category]
    weighed = rng.gamma(4, 0.15, len(lines)).clip(0.05).round(3)
    lines["quantity"] = np.where(is_weighed, weighed, rng.geometric(0.72, len(lines)))
    _add_amounts(lines, products, rng)
    lines = pd.concat([lines, _returns(lines, rng)], ignore_index=True)
    lines["sku"] = products["sku"].to_numpy()[lines["product"]]
    lines.loc[rng.random(len(lines)) < UNKNOWN_PRODUCT, "sku"] = "DELISTED-0001"
    return lines


def _add_amounts(lines: pd.DataFrame, products: pd.DataFrame, rng: np.random.Generator) -> None:
    """Add currency, unit price, discount, amount paid and tax. Prices rise by 4 % in the second year."""
    currency, rate = (np.array([CURRENCIES[code][at] for code in lines["country"]]) for at in (0, 1))
    rise = np.where(lines["day"] >= 366, 1.0, 1 / 1.04)
    lines["currency"] = currency
    lines["unit_price"] = (products["price"].to_numpy()[lines["product"]] * rate.astype(float) * rise).round(2)
    code = np.where(lines["is_first"] & (rng.random(len(lines)) < 0.6), WELCOME_CODE, "")
    share = np.where(code == WELCOME_CODE, WELCOME_RATE, 0.0)
    for promotion in PROMOTIONS:
        departments = CATEGORIES["department"].isin(promotion.departments).to_numpy()
        applies = lines["day"].isin(days_of(promotion)) & departments[lines["category"]] & (share < promotion.rate)
        code, share = np.where(applies, promotion.code, code), np.where(applies, promotion.rate, share)
    gross = (lines["unit_price"] * lines["quantity"]).round(2)
    lines["discount"] = (gross * share).round(2)
    lines["paid"] = (gross - lines["discount"]).round(2)
    tax = CATEGORIES["tax"].to_numpy()[lines["category"]]
    lines["tax"] = (lines["paid"] * tax / (1 + tax)).round(2)
    lines["promotion"] = np.where(lines["discount"] > 0, code, None)  # type: ignore[call-overload]


def _returns(lines: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the lines that bring back what was bought some days before, each on a receipt of its own."""
    is_food = CATEGORIES["department"].isin(("Fresh food", "Pantry", "Drinks")).to_numpy()[lines["category"]]
    back = lines[~is_food & (rng.random(len(lines)) < RETURNED)].copy()
    back["day"] += rng.integers(2, 25, len(back))
    back = back[back["day"] < DAYS].assign(line=1)
    back["visit"] = lines["visit"].max() + 1 + np.arange(len(back))
    for column in ("quantity", "discount", "paid", "tax"):
        back[column] = -back[column]
    return back
