"""Purchase histories: the input of the models of repeat buying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Histories:
    """Distinct purchase histories of buyers, and the number of customers with each history. Times are in weeks.

    Attributes:
        frequency: x, repeat purchases: number of purchase days after the first purchase day.
        recency: t_x, time from the first to the latest purchase; 0 without a repeat purchase.
        age: T, time from the first purchase to the end of the observation period.
        weight: Number of customers with exactly this history.
    """

    frequency: Floats
    recency: Floats
    age: Floats
    weight: Floats

    def __post_init__(self) -> None:
        """Validate the arrays.

        Raises:
            ValueError: The arrays differ in length, or a value is out of its range.
        """
        if len({len(self.frequency), len(self.recency), len(self.age), len(self.weight)}) != 1:
            raise ValueError("histories: columns differ in length")
        faults = {
            "a frequency is not a whole number of 0 or more": ~((self.frequency >= 0) & _is_whole(self.frequency)),
            "a recency is below 0 or above the age": ~((self.recency >= 0) & (self.recency <= self.age)),
            "a recency is not 0 although its frequency is 0": (self.frequency == 0) & (self.recency != 0),
            "an age is not finite": ~np.isfinite(self.age),
            "a weight is not above 0": ~((self.weight > 0) & np.isfinite(self.weight)),
        }
        for fault, rows in faults.items():
            if rows.any():
                raise ValueError(f"histories: {fault} (row {int(np.argmax(rows))})")

    @classmethod
    def of_customers(cls, frequency: Floats, recency: Floats, age: Floats, weight: Floats | None = None) -> Self:
        """Group equal histories and sort them, so that the result does not depend on the order of the rows.

        Args:
            frequency: Repeat purchases (x) of each row.
            recency: Recency (t_x) of each row, in weeks.
            age: Age (T) of each row, in weeks.
            weight: Number of customers that each row stands for; 1 by default.
        """
        rows = np.column_stack([np.asarray(column, dtype=np.float64) for column in (frequency, recency, age)])
        weights = np.ones(len(rows)) if weight is None else np.asarray(weight, dtype=np.float64)
        distinct, group = np.unique(rows, axis=0, return_inverse=True)
        counts = np.bincount(group.ravel(), weights=weights, minlength=len(distinct))
        x, t_x, T = distinct.T
        return cls(x, t_x, T, counts.astype(np.float64))

    @property
    def customers(self) -> int:
        """Number of customers."""
        return round(float(self.weight.sum()))

    @property
    def repeat_customers(self) -> int:
        """Number of customers with a repeat purchase."""
        return round(float(self.weight[self.frequency > 0].sum()))

    def sample(self, customers: int) -> Histories:
        """Return the histories of a sample of about `customers` customers, or of all customers if there are fewer.

        The customers are in the order of their histories. The sample takes customers at equal intervals, for example
        every third customer.
        """
        chosen = sample_weights(self.weight, customers)
        kept = chosen > 0
        return Histories(self.frequency[kept], self.recency[kept], self.age[kept], chosen[kept])

    def __len__(self) -> int:
        """Return the number of distinct histories."""
        return len(self.frequency)


def weighted_sum(values: Floats, weight: Floats) -> float:
    """Return the sum of values times weights. The result does not depend on the number of cores.

    NumPy computes a scalar product (`@`) on all cores. Its last digits, and so the names of fits, would differ between
    machines, and its threads wait for each other on a busy machine.
    """
    return float(np.sum(values * weight))


def sample_weights(weight: Floats, customers: int) -> Floats:
    """Return the number of customers of each group in a sample, taken at equal intervals.

    Args:
        weight: Number of customers of each group.
        customers: Approximate number of customers in the sample. All customers are in it if there are fewer.

    >>> sample_weights(np.array([6.0, 1.0, 1.0, 4.0]), 4)
    array([2., 0., 0., 2.])
    """
    last = np.cumsum(weight)
    step = max(1.0, float(last[-1]) / customers)
    return np.asarray(np.floor(last / step) - np.floor((last - weight) / step))


def _is_whole(numbers: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(numbers) & (np.floor(numbers) == numbers))
