"""What models of repeat buying know of customers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Histories:
    """Different histories of customers who have bought, and how many customers have each. Time is in weeks.

    Attributes:
        frequency: x, repeat purchases: days with a purchase after the first one.
        recency: t_x, time from the first purchase to the latest, 0 where there is no repeat.
        age: T, time from the first purchase to the end of the observation.
        weight: Customers with exactly this history.
    """

    frequency: Floats
    recency: Floats
    age: Floats
    weight: Floats

    def __post_init__(self) -> None:
        """Refuse what is no history.

        Raises:
            ValueError: Columns differ in length, or a value is out of its range.
        """
        if len({len(self.frequency), len(self.recency), len(self.age), len(self.weight)}) != 1:
            raise ValueError("histories: columns differ in length")
        faults = {
            "a frequency is no whole number of 0 or more": ~((self.frequency >= 0) & _is_whole(self.frequency)),
            "a recency is below 0, or above the age": ~((self.recency >= 0) & (self.recency <= self.age)),
            "a recency without a repeat purchase is not 0": (self.frequency == 0) & (self.recency != 0),
            "an age is not finite": ~np.isfinite(self.age),
            "a weight is not above 0": ~((self.weight > 0) & np.isfinite(self.weight)),
        }
        for fault, rows in faults.items():
            if rows.any():
                raise ValueError(f"histories: {fault} (row {int(np.argmax(rows))})")

    @classmethod
    def of_customers(cls, frequency: Floats, recency: Floats, age: Floats, weight: Floats | None = None) -> Self:
        """Group equal histories, in order: the same customers are the same histories, however they are listed.

        Args:
            frequency: x of each row.
            recency: t_x of each row, weeks.
            age: T of each row, weeks.
            weight: Customers of each row; one, where it is left out.
        """
        rows = np.column_stack([np.asarray(column, dtype=np.float64) for column in (frequency, recency, age)])
        weights = np.ones(len(rows)) if weight is None else np.asarray(weight, dtype=np.float64)
        different, number = np.unique(rows, axis=0, return_inverse=True)
        counts = np.bincount(number.ravel(), weights=weights, minlength=len(different))
        x, t_x, T = different.T
        return cls(x, t_x, T, counts.astype(np.float64))

    @property
    def customers(self) -> int:
        """How many customers there are."""
        return round(float(self.weight.sum()))

    @property
    def repeat_customers(self) -> int:
        """How many of them came back."""
        return round(float(self.weight[self.frequency > 0].sum()))

    def sample(self, customers: int) -> Histories:
        """About so many of the customers: every n-th, in the order of their histories. All, where there are no more."""
        last = np.cumsum(self.weight)
        step = max(1.0, float(last[-1]) / customers)
        chosen = np.floor(last / step) - np.floor((last - self.weight) / step)
        kept = chosen > 0
        return Histories(self.frequency[kept], self.recency[kept], self.age[kept], chosen[kept])

    def __len__(self) -> int:
        """How many different histories there are."""
        return len(self.frequency)


def _is_whole(numbers: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(numbers) & (np.floor(numbers) == numbers))
