"""Purchases of three shops, to check segments: a simulated grocer, a simulated fashion shop, and CDNOW.

Customers of the simulated shops buy at random times at a rate of their own, and stop at a random time. The rates follow
a gamma distribution, and the lifetimes are exponential with a mean that is gamma distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

START = date(1997, 1, 1)


@dataclass(frozen=True)
class Buyers:
    """Purchases of a shop.

    Attributes:
        purchases: One row per customer and day with a purchase: `person_id`, `day` since `START`, and `revenue`, a
            whole number.
        last_day: Last day of the data, counted from `START`.
    """

    purchases: pd.DataFrame
    last_day: int

    def tables(self, spark: SparkSession) -> tuple[DataFrame, DataFrame]:
        """Return the tables customer_acquisitions_silver and purchases_silver."""
        days = self.purchases.sort_values(["person_id", "day"])
        first = days.groupby("person_id", as_index=False).day.min()
        acquired = _dates(first.day)
        acquisitions = pa.table(
            {"person_id": pa.array(first.person_id, pa.int64())}
            | dict.fromkeys(("registration_date", "first_purchase_date", "acquisition_date"), acquired)
        )
        purchases = pa.table(
            {
                "person_id": pa.array(days.person_id, pa.int64()),
                "purchase_date": _dates(days.day),
                "transaction_count": pa.array(np.ones(len(days)), pa.int64()),
                "revenue": pa.array(days.revenue, pa.int64()).cast(pa.decimal128(38, 0)).cast(pa.decimal128(38, 4)),
            }
        )
        return spark.createDataFrame(acquisitions), spark.createDataFrame(purchases)


def _dates(days: pd.Series) -> pa.Array:
    since_1970 = days.to_numpy() + (START - date(1970, 1, 1)).days
    return pa.array(since_1970, pa.int32()).cast(pa.date32())


def day(number: int) -> date:
    """Return the date of a day that is counted from `START`."""
    return START + timedelta(days=number)


def grocer(seed: int, customers: int) -> Buyers:
    """Return 18 months of a grocer: customers buy about once a week, and most of them know the shop from the start."""
    return _simulated(seed, customers, 540, new_share=0.4, rate=(1.5, 8.0), lifetime=(0.6, 900.0))


def fashion(seed: int, customers: int) -> Buyers:
    """Return three years of a fashion shop: customers buy a few times a year, and many never come back."""
    return _simulated(seed, customers, 1095, new_share=1.0, rate=(0.7, 110.0), lifetime=(0.5, 500.0))


def cdnow() -> Buyers:
    """Return the purchases of the data set CDNOW: customers of a music shop who first bought in early 1997.

    Source: Fader and Hardie (2001), a tenth of the customers.
    """
    path = str(files("lifetimes.datasets") / "CDNOW_sample.txt")
    sales = pd.read_csv(path, sep=r"\s+", header=None, names=["_", "person_id", "date", "quantity", "amount"])
    sales["day"] = (pd.to_datetime(sales.date, format="%Y%m%d") - pd.Timestamp(START)).dt.days
    sales["revenue"] = (sales.amount * 100).round().astype("int64")
    by_day = sales.groupby(["person_id", "day"], as_index=False).revenue.sum()
    return Buyers(by_day, int(by_day.day.max()))


def _simulated(
    seed: int,
    customers: int,
    days: int,
    new_share: float,
    rate: tuple[float, float],
    lifetime: tuple[float, float],
) -> Buyers:
    """Simulate a shop.

    Args:
        seed: Seed of the random numbers.
        customers: Number of customers.
        days: Length of the data in days.
        new_share: Share of the customers whose first purchase is on a random day, 0 to 1. All others buy on
            the first day.
        rate: Shape of the gamma distribution of the rates, and days between purchases at the mean rate.
        lifetime: Shape of the gamma distribution of the mean lifetimes, and their mean in days.
    """
    random = np.random.default_rng(seed)
    first = np.where(random.random(customers) < new_share, random.integers(0, days, customers), 0)
    rates = random.gamma(rate[0], 1 / (rate[0] * rate[1]), customers)
    lifetimes = random.exponential(random.gamma(lifetime[0], lifetime[1] / lifetime[0], customers))
    end = np.minimum(days, first + lifetimes)
    repeats = random.poisson(rates * (end - first))
    buyer = np.repeat(np.arange(customers), repeats)
    later = np.floor(first[buyer] + random.random(len(buyer)) * (end - first)[buyer])
    usual = np.exp(random.normal(8, 0.6, customers))
    person_id = np.concatenate([np.arange(customers), buyer])
    amounts = usual[person_id] * np.exp(random.normal(0, 0.5, len(person_id)))
    sales = pd.DataFrame(
        {
            "person_id": person_id,
            "day": np.concatenate([first, later]).astype("int64"),
            "revenue": np.rint(amounts).astype("int64"),
        }
    )
    return Buyers(sales.groupby(["person_id", "day"], as_index=False).revenue.sum(), days - 1)
