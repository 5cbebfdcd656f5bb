"""RFM: recency, frequency and monetary scores, and the segments they make (Hughes, Strategic Database Marketing, 1994).

Scores compare values, not places in a list: who has equal values has equal scores, whatever the order of the rows. Only
counts by value leave the engine, so that the cost on the driver does not grow with customers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from cdp_lib.contracts.segments import SEGMENTS

SCORES = 5
FEWEST_BUYERS = 5
"""Fewer buyers have no fifths: all of them score in the middle."""

_MIDDLE = 3


def with_rfm(customers: DataFrame) -> DataFrame:
    """Customers with three scores of 1 to 5, null for who never bought, and with `segment`.

    Args:
        customers: One row per customer, with `recency_days`, `purchase_day_count` and `total_revenue`; `recency_days`
            is null for who never bought.
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
    """Name of the segment of a row with scores: the first whose rule holds."""
    first, *others = SEGMENTS
    named = reduce(
        lambda case, each: case.when(sf.expr(each.holds), each.name), others, sf.when(sf.expr(first.holds), first.name)
    )
    return named


def leading_digits(amount: Column) -> Column:
    """An amount of money of 0 or more, in cents, cut to three digits: 1,234.56 is 123,000, and so are its neighbours.

    Amounts are as many as customers; these are at most nine hundred for each power of ten.

    >>> amounts = spark.sql("SELECT explode(array(1234.56, 0.99, 12.50)) AS amount")
    >>> sorted(row.cut for row in amounts.select(leading_digits(amounts.amount).alias("cut")).collect())
    [99.0, 1250.0, 123000.0]
    """
    cents = sf.replace(amount.cast("decimal(38,2)").cast("string"), sf.lit("."), sf.lit(""))
    digits = cents.cast("decimal(38,0)").cast("string")  # without leading zeros
    zeros = sf.repeat(sf.lit("0"), sf.greatest(sf.length(digits) - 3, sf.lit(0)))
    return sf.concat(sf.substring(digits, 1, 3), zeros).cast("double")


def score_thresholds(customers_by_value: Mapping[float, int]) -> tuple[float, ...]:
    """The least value of each score above 1; infinite where no value has it.

    A value scores one more than the whole fifths of buyers who are below the middle of those who have it: equal values
    are never parted, and where all are equal, all score in the middle.

    Args:
        customers_by_value: How many buyers have each value; of higher values, more is better.

    >>> score_thresholds({1.0: 6, 2.0: 2, 3.0: 1, 9.0: 1})
    (1.0, 2.0, 2.0, 3.0)
    >>> score_thresholds({7.0: 2})
    (-inf, -inf, inf, inf)
    """
    buyers = sum(customers_by_value.values())
    if buyers < FEWEST_BUYERS:
        return tuple(-math.inf if score <= _MIDDLE else math.inf for score in range(2, SCORES + 1))
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
    # One pass, whatever it takes to work out who the buyers are.
    each = buyers.select(sf.explode(by_name).alias("of", "value"))
    by_value: dict[str, dict[float, int]] = {name: {} for name in values}
    for name, value, count in each.groupBy("of", "value").agg(sf.count("*")).collect():
        by_value[name][value] = count
    return {name: score_thresholds(counts) for name, counts in by_value.items()}


def _score(value: Column, thresholds: Sequence[float]) -> Column:
    given = 1 + sum(threshold == -math.inf for threshold in thresholds)
    reached = [sf.when(value >= threshold, 1).otherwise(0) for threshold in thresholds if math.isfinite(threshold)]
    return reduce(Column.__add__, reached, sf.lit(given))
