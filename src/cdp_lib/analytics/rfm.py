"""RFM: scores of recency, frequency and monetary value.

Scores depend on values, not on ranks: customers with equal values have equal scores, regardless of the order of the
rows. The driver receives only the number of buyers per value, so the work of the driver does not grow with the number
of customers.

Source: Hughes (1994), Strategic Database Marketing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

SCORES = 5
_MIDDLE_SCORE = 3


def rfm_values() -> dict[str, Column]:
    """Return the values that are scored, by the name of the score. A higher value is better."""
    return {
        "recency": -sf.col("recency_days").cast("double"),
        "frequency": sf.col("purchase_day_count").cast("double"),
        "monetary": leading_digits(sf.col("total_revenue")),
    }


def count_by_value(customers: DataFrame, values: Mapping[str, Column]) -> dict[str, dict[float, int]]:
    """Return the number of buyers by value, for each of several values. Nulls are left out.

    Args:
        customers: One row per customer, with `recency_days`, which is null for customers who never bought.
        values: Columns of type DOUBLE, by name.
    """
    # Read the buyers only once, because their query may be expensive.
    buyers = customers.where("recency_days IS NOT NULL").select(
        sf.posexplode(sf.array(*values.values())).alias("position", "value")
    )
    groups = buyers.where("value IS NOT NULL").groupBy("position", "value").agg(sf.count("*").alias("buyers")).toArrow()
    counts: list[dict[float, int]] = [{} for _ in values]
    for at, value, count in zip(*(column.to_pylist() for column in groups.columns), strict=True):
        counts[at][value] = count
    return dict(zip(values, counts, strict=True))


def with_scores(customers: DataFrame, counts: Mapping[str, Mapping[float, int]], minimum_buyers: int) -> DataFrame:
    """Return customers with three scores. Scores are 1 to 5, or null for customers who never bought.

    Args:
        customers: One row per customer, with `recency_days`, `purchase_day_count` and `total_revenue`; `recency_days`
            is null for customers who never bought.
        counts: Number of buyers by value, for each of `rfm_values`.
        minimum_buyers: Minimum number of buyers for a division into fifths.
    """
    has_bought = sf.col("recency_days").isNotNull()
    thresholds = {name: score_thresholds(counts[name], minimum_buyers) for name in rfm_values()}
    # The expression of a score is copied to every use of the score. Cents are cheaper to compare than leading digits.
    thresholds["monetary"] = tuple(_lowest_cents(digits) for digits in thresholds["monetary"])
    values = rfm_values() | {"monetary": _cents(sf.col("total_revenue"))}
    scores = {name: _score(value, thresholds[name]) for name, value in values.items()}
    return customers.select("*", *(sf.when(has_bought, score).alias(f"{name}_score") for name, score in scores.items()))


def leading_digits(amount: Column) -> Column:
    """Return an amount of money in cents, with 0 in place of every digit after the third. The sign stays.

    1,234.56 becomes 123,000. The result has at most 900 distinct values per power of ten, even if every customer has a
    different amount.

    >>> amounts = spark.sql("SELECT explode(array(1234.56, 0.99, 12.50, -1234.56)) AS amount")
    >>> sorted(row.cut for row in amounts.select(leading_digits(amounts.amount).alias("cut")).collect())
    [-123000.0, 99.0, 1250.0, 123000.0]
    """
    cents = sf.abs(_cents(amount))
    digits = sf.floor(sf.log10(sf.greatest(cents, sf.lit(1.0)))) + 1
    unit = sf.pow(sf.lit(10.0), sf.greatest(digits - 3, sf.lit(0)))
    size = sf.floor(cents / unit) * unit
    return sf.when(amount < 0, -size).otherwise(size)


def quantile(counts: Mapping[float, int], share: Fraction) -> float:
    """Return the smallest value such that at least a share of the counted things have this value or less.

    Args:
        counts: Number of things by value; not empty.
        share: Share, above 0 and up to 1.

    >>> quantile({7: 3, 30: 2, 90: 1}, Fraction(1, 2)), quantile({7: 3, 30: 2, 90: 1}, Fraction(2, 3))
    (7, 30)
    """
    needed, below = share * sum(counts.values()), 0
    for value, count in sorted(counts.items()):
        below += count
        if below >= needed:
            return value
    raise ValueError("The counts are empty.")


def score_thresholds(customers_by_value: Mapping[float, int], minimum_buyers: int) -> tuple[float, ...]:
    """Return a threshold for each of the scores 2 to 5: the lowest value that reaches the score.

    A threshold is −∞ if every value reaches the score, and ∞ if no value reaches the score.

    Buyers are sorted by value and divided into fifths. The number of the fifth is the score. If buyers with equal
    values are in several fifths, the fifth in the middle of these buyers is the score of all of them. If the middle is
    on the border of two fifths, the higher fifth counts.

    In the first example, a fifth has two buyers. Buyers 1 to 6 have the value 1.0. Their middle is between buyers 3
    and 4, which are in the second fifth. Buyers 1 to 6 therefore have the score 2.

    All buyers get the middle score if all values are equal, or if there are fewer than the minimum.

    Args:
        customers_by_value: Number of buyers by value. A higher value is better.
        minimum_buyers: Minimum number of buyers for a division into fifths.

    >>> score_thresholds({1.0: 6, 2.0: 2, 3.0: 1, 9.0: 1}, 5)
    (1.0, 2.0, 2.0, 3.0)
    >>> score_thresholds({7.0: 2}, 5)
    (-inf, -inf, inf, inf)
    """
    buyers = sum(customers_by_value.values())
    if buyers < minimum_buyers:
        return tuple(-math.inf if score <= _MIDDLE_SCORE else math.inf for score in range(2, SCORES + 1))
    thresholds = [math.inf] * (SCORES - 1)
    below = 0
    for value, count in sorted(customers_by_value.items()):
        for fifth in range(1, SCORES):
            if (2 * below + count) * SCORES >= 2 * fifth * buyers:
                thresholds[fifth - 1] = min(thresholds[fifth - 1], value)
        below += count
    return tuple(thresholds)


def _cents(amount: Column) -> Column:
    """Return an amount of money in whole cents, as DOUBLE. The result is exact up to 10 trillion."""
    return sf.round(amount.cast("decimal(38,2)").cast("double") * 100)


def _lowest_cents(digits: float) -> float:
    """Return the lowest amount in cents whose leading digits reach a value of `leading_digits`."""
    if digits >= 0 or math.isinf(digits):
        return digits
    unit = 10.0 ** max(len(f"{-digits:.0f}") - 3, 0)
    return digits - unit + 1


def _score(value: Column, thresholds: Sequence[float]) -> Column:
    lowest_score = 1 + sum(threshold == -math.inf for threshold in thresholds)
    reached = [sf.when(value >= threshold, 1).otherwise(0) for threshold in thresholds if math.isfinite(threshold)]
    return reduce(Column.__add__, reached, sf.lit(lowest_score))
