"""RFM: scores of recency, frequency and monetary value, and segments from the scores.

Scores depend on values, not on ranks: customers with equal values have equal scores, regardless of the order of the
rows. The driver receives only the number of buyers per value, so the work of the driver does not grow with the number
of customers.

Source: Hughes (1994), Strategic Database Marketing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.segments import SEGMENTS

SCORES = 5
MIN_BUYERS = 5
"""Minimum number of buyers for a division into fifths. If there are fewer buyers, all buyers get the middle score."""

_MIDDLE_SCORE = 3


def with_rfm(customers: DataFrame) -> DataFrame:
    """Return customers with three scores and `segment`. Scores are 1 to 5, or null for customers who never bought.

    Args:
        customers: One row per customer, with `recency_days`, `purchase_day_count` and `total_revenue`; `recency_days`
            is null for customers who never bought.
    """
    values = {
        "recency": -sf.col("recency_days").cast("double"),
        "frequency": sf.col("purchase_day_count").cast("double"),
        "monetary": leading_digits(sf.col("total_revenue")),
    }
    has_bought = sf.col("recency_days").isNotNull()
    thresholds = _thresholds(customers.where(has_bought), values)
    scored = customers.select(
        "*",
        *(
            sf.when(has_bought, _score(value, thresholds[name])).alias(f"{name}_score")
            for name, value in values.items()
        ),
    )
    return scored.select("*", segment().alias("segment"))


def segment() -> Column:
    """Return the name of the first segment whose rule holds for the scores of a row."""
    first, *rest = SEGMENTS
    names = reduce(
        lambda case, each: case.when(sf.expr(each.holds), each.name), rest, sf.when(sf.expr(first.holds), first.name)
    )
    return names


def leading_digits(amount: Column) -> Column:
    """Return an amount of money in cents, with 0 in place of every digit after the third. The sign stays.

    1,234.56 becomes 123,000. The result has at most 900 distinct values per power of ten, even if every customer has a
    different amount.

    >>> amounts = spark.sql("SELECT explode(array(1234.56, 0.99, 12.50, -1234.56)) AS amount")
    >>> sorted(row.cut for row in amounts.select(leading_digits(amounts.amount).alias("cut")).collect())
    [-123000.0, 99.0, 1250.0, 123000.0]
    """
    cents = sf.replace(sf.abs(amount).cast("decimal(38,2)").cast("string"), sf.lit("."), sf.lit(""))
    digits = cents.cast("decimal(38,0)").cast("string")  # the cast removes leading zeros
    zeros = sf.repeat(sf.lit("0"), sf.greatest(sf.length(digits) - 3, sf.lit(0)))
    size = sf.concat(sf.substring(digits, 1, 3), zeros).cast("double")
    return sf.when(amount < 0, -size).otherwise(size)


def score_thresholds(customers_by_value: Mapping[float, int]) -> tuple[float, ...]:
    """Return a threshold for each of the scores 2 to 5: the lowest value that reaches the score.

    A threshold is −∞ if every value reaches the score, and ∞ if no value reaches the score.

    Buyers are sorted by value and divided into fifths. The number of the fifth is the score. If buyers with equal
    values are in several fifths, the fifth in the middle of these buyers is the score of all of them. If the middle is
    on the border of two fifths, the higher fifth counts.

    In the first example, a fifth has two buyers. Buyers 1 to 6 have the value 1.0. Their middle is between buyers 3
    and 4, which are in the second fifth. Buyers 1 to 6 therefore have the score 2.

    All buyers get the middle score if all values are equal, or if there are fewer than `MIN_BUYERS` buyers.

    Args:
        customers_by_value: Number of buyers by value. A higher value is better.

    >>> score_thresholds({1.0: 6, 2.0: 2, 3.0: 1, 9.0: 1})
    (1.0, 2.0, 2.0, 3.0)
    >>> score_thresholds({7.0: 2})
    (-inf, -inf, inf, inf)
    """
    buyers = sum(customers_by_value.values())
    if buyers < MIN_BUYERS:
        return tuple(-math.inf if score <= _MIDDLE_SCORE else math.inf for score in range(2, SCORES + 1))
    thresholds = [math.inf] * (SCORES - 1)
    below = 0
    for value, count in sorted(customers_by_value.items()):
        for fifth in range(1, SCORES):
            if (2 * below + count) * SCORES >= 2 * fifth * buyers:
                thresholds[fifth - 1] = min(thresholds[fifth - 1], value)
        below += count
    return tuple(thresholds)


def _thresholds(buyers: DataFrame, values: Mapping[str, Column]) -> dict[str, tuple[float, ...]]:
    by_name = sf.create_map(*(part for name, value in values.items() for part in (sf.lit(name), value)))
    # Read the buyers only once, because their query may be expensive.
    values_by_name = buyers.select(sf.explode(by_name).alias("name", "value"))
    by_value: dict[str, dict[float, int]] = {name: {} for name in values}
    for name, value, count in values_by_name.groupBy("name", "value").agg(sf.count("*")).collect():
        by_value[name][value] = count
    return {name: score_thresholds(counts) for name, counts in by_value.items()}


def _score(value: Column, thresholds: Sequence[float]) -> Column:
    lowest_score = 1 + sum(threshold == -math.inf for threshold in thresholds)
    reached = [sf.when(value >= threshold, 1).otherwise(0) for threshold in thresholds if math.isfinite(threshold)]
    return reduce(Column.__add__, reached, sf.lit(lowest_score))
