"""What the demo shop sells, where and when: products, stores, promotions and seasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdp_local.demo.names import CITIES

FIRST_DAY = date(2024, 1, 1)
LAST_DAY = date(2025, 12, 31)
DAYS = (LAST_DAY - FIRST_DAY).days + 1
CALENDAR = pd.date_range(FIRST_DAY, LAST_DAY)
MONTHS = [f"{month}" for month in CALENDAR.to_period("M").unique()]
"""Months of the data, such as 2024-01."""

PRODUCTS_PER_CATEGORY = 14

CURRENCIES = {"GB": ("GBP", 0.86), "IE": ("EUR", 1.0), "US": ("USD", 1.08)}
"""Currency of the prices in each country, and its units per euro."""

# Department, category, typical price in EUR, tax, popularity, whether weighed, month of the strongest demand (0: none)
_CATEGORIES = (
    ("Fresh food", "Fruit", 2.8, 0.0, 9.0, True, 7),
    ("Fresh food", "Vegetables", 2.4, 0.0, 9.0, True, 6),
    ("Fresh food", "Cheese", 15.0, 0.0, 5.0, True, 12),
    ("Fresh food", "Meat and fish", 17.0, 0.0, 5.0, True, 12),
    ("Fresh food", "Bread", 3.2, 0.0, 8.0, False, 0),
    ("Pantry", "Breakfast", 4.1, 0.0, 5.0, False, 0),
    ("Pantry", "Pasta and rice", 2.6, 0.0, 5.0, False, 1),
    ("Pantry", "Snacks", 2.9, 0.2, 6.0, False, 12),
    ("Pantry", "Coffee and tea", 6.8, 0.0, 4.0, False, 11),
    ("Drinks", "Soft drinks", 2.2, 0.2, 5.0, False, 7),
    ("Drinks", "Beer", 8.5, 0.2, 3.0, False, 7),
    ("Drinks", "Wine", 11.0, 0.2, 3.0, False, 12),
    ("Home", "Kitchen", 24.0, 0.2, 1.4, False, 11),
    ("Home", "Bed and bath", 32.0, 0.2, 1.0, False, 1),
    ("Home", "Cleaning", 4.6, 0.2, 4.0, False, 3),
    ("Home", "Garden", 21.0, 0.2, 1.2, False, 5),
    ("Beauty", "Skin care", 13.0, 0.2, 2.0, False, 12),
    ("Beauty", "Hair care", 7.5, 0.2, 2.4, False, 0),
    ("Beauty", "Fragrance", 45.0, 0.2, 0.6, False, 12),
    ("Leisure", "Toys", 22.0, 0.2, 1.4, False, 12),
    ("Leisure", "Books", 12.5, 0.0, 1.8, False, 12),
    ("Leisure", "Sports", 36.0, 0.2, 0.9, False, 6),
    ("Electronics", "Audio", 78.0, 0.2, 0.5, False, 11),
    ("Electronics", "Small appliances", 95.0, 0.2, 0.5, False, 11),
)
CATEGORIES = pd.DataFrame(
    _CATEGORIES, columns=["department", "category", "price", "tax", "popularity", "is_weighed", "peak_month"]
)
_KINDS = ("Classic", "Everyday", "Select", "Organic", "Large", "Small", "Premium")
_BRANDS = ("Alder Row", "Bluestem", "Copperleaf", "Drumlin", "Elmgate", "Fernhollow", "Own label")


@dataclass(frozen=True)
class Promotion:
    """A discount on some departments during some days, with a mailing on its first day.

    Attributes:
        code: Code on the receipts.
        first_day: First day.
        days: Number of days.
        departments: Departments with a discount.
        rate: Discount as a share of the price.
        uplift: Factor on the number of visits.
    """

    code: str
    first_day: date
    days: int
    departments: tuple[str, ...]
    rate: float
    uplift: float


PROMOTIONS = tuple(
    Promotion(f"{name}{year % 100}", date(year, month, day), days, departments, rate, uplift)
    for year in (FIRST_DAY.year, LAST_DAY.year)
    for name, month, day, days, departments, rate, uplift in (
        ("SPRING", 3, 18, 10, ("Home", "Leisure"), 0.15, 1.15),
        ("SUMMER", 6, 24, 14, ("Drinks", "Leisure"), 0.20, 1.15),
        ("PANTRY", 9, 9, 10, ("Pantry",), 0.15, 1.10),
        ("BLACKWEEK", 11, 22, 9, ("Electronics", "Home", "Beauty"), 0.25, 1.35),
        ("XMAS", 12, 10, 14, ("Leisure", "Beauty", "Drinks"), 0.10, 1.15),
    )
)
WELCOME_CODE, WELCOME_RATE = "WELCOME10", 0.10


def products(rng: np.random.Generator) -> pd.DataFrame:
    """Return one row per product, the most popular product of each category first. Prices are in EUR."""
    rows = CATEGORIES.loc[CATEGORIES.index.repeat(PRODUCTS_PER_CATEGORY)].reset_index(names="category_number")
    number = np.arange(len(rows)) % PRODUCTS_PER_CATEGORY
    brand = rng.integers(0, len(_BRANDS), len(rows))
    rows["price"] = (rows["price"] * rng.lognormal(0, 0.35, len(rows))).round(1) - 0.01
    rows["unit_cost"] = (rows["price"] * rng.uniform(0.5, 0.75, len(rows))).round(2)
    rows["brand"] = np.array(_BRANDS)[brand]
    rows["subcategory"] = rows["category"] + " " + np.where(number < PRODUCTS_PER_CATEGORY // 2, "basics", "specials")
    rows["title"] = [
        f"{brand} {category} {_KINDS[at % len(_KINDS)]}{' Plus' if at >= len(_KINDS) else ''}"
        for brand, category, at in zip(rows["brand"], rows["category"], number.tolist(), strict=True)
    ]
    rows["sku"] = [f"{c[:3].upper()}-{n:04}" for n, c in enumerate(rows["category"], 1)]
    return rows


def stores() -> pd.DataFrame:
    """Return one row per store: 24 branches, and the online shop of each country, which has the number 0."""
    rows = [
        (f"{code}-{number:02}", code, number, city if number else f"Online shop {code}")
        for code, cities in (("GB", CITIES[0:13]), ("IE", CITIES[13:20]), ("US", CITIES[20:27]))
        for number, city in enumerate(cities)
    ]
    return pd.DataFrame(rows, columns=["code", "country", "number", "title"])


def visit_weights() -> NDArray[np.float64]:
    """Return the relative number of visits on each day: season, day of the week and promotions."""
    of_month = np.array([0.88, 0.92, 0.98, 1.0, 1.02, 0.98, 0.92, 0.92, 1.0, 1.02, 1.12, 1.35])
    of_weekday = np.array([0.9, 0.9, 0.95, 1.0, 1.2, 1.5, 0.55])
    weights: NDArray[np.float64] = of_month[CALENDAR.month - 1] * of_weekday[CALENDAR.weekday]
    for promotion in PROMOTIONS:
        weights[days_of(promotion)] *= promotion.uplift
    return weights


def category_weights() -> NDArray[np.float64]:
    """Return the popularity of each category on each day, as an array of days and categories."""
    peak = CATEGORIES["peak_month"].to_numpy()
    distance = np.abs((CALENDAR.month.to_numpy()[:, None] - peak + 6) % 12 - 6)
    season = np.where(peak == 0, 1, 1.5 - 0.15 * distance)
    weights: NDArray[np.float64] = CATEGORIES["popularity"].to_numpy() * season
    for promotion in PROMOTIONS:
        weights[np.ix_(days_of(promotion), CATEGORIES["department"].isin(promotion.departments))] *= 1.8
    return weights


def days_of(promotion: Promotion) -> NDArray[np.int64]:
    """Return the numbers of the days of a promotion, from 0 for the first day of the shop's data."""
    first = (promotion.first_day - FIRST_DAY) // timedelta(days=1)
    return np.arange(first, min(first + promotion.days, DAYS))


def days_as_text(days: ArrayLike) -> NDArray[np.str_]:
    """Return days as text, such as 2024-01-01 for day 0."""
    text: NDArray[np.str_] = (np.datetime64(FIRST_DAY) + np.asarray(days).astype("timedelta64[D]")).astype(str)
    return text


def times_as_text(days: ArrayLike, seconds: ArrayLike) -> NDArray[np.str_]:
    """Return times as text, such as 2024-01-01T00:01:30Z for second 90 of day 0."""
    times = np.datetime64(FIRST_DAY, "s") + np.asarray(days).astype("timedelta64[D]")
    return np.char.add((times + np.asarray(seconds).astype("timedelta64[s]")).astype(str), "Z")
