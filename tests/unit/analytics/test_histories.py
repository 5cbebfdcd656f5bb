from __future__ import annotations

import numpy as np
import pytest

from cdp_lib.analytics.histories import Histories


def histories(x, t_x, T, weight=None) -> Histories:
    columns = [np.array(column, dtype=float) for column in (x, t_x, T)]
    return Histories.of_customers(*columns, None if weight is None else np.array(weight, dtype=float))


def test_equal_histories_are_grouped_into_one_row() -> None:
    grouped = histories([1, 0, 1, 2], [3, 0, 3, 3], [9, 9, 9, 9])
    assert grouped.frequency.tolist() == [0, 1, 2]
    assert grouped.weight.tolist() == [1, 2, 1]
    assert (grouped.customers, grouped.repeat_customers, len(grouped)) == (4, 3, 3)


def test_grouping_groups_again_in_any_order_changes_nothing() -> None:
    once = histories([1, 0, 1, 2], [3, 0, 3, 3], [9, 9, 9, 9])
    again = histories([2, 1, 0, 1], [3, 3, 0, 3], [9, 9, 9, 9], [1, 1, 1, 1])
    assert all(np.array_equal(getattr(once, name), getattr(again, name)) for name in ("frequency", "recency", "weight"))


def test_no_customers_give_no_histories() -> None:
    assert (len(histories([], [], [])), histories([], [], []).customers) == (0, 0)


def test_sample_takes_every_nth_customer() -> None:
    grouped = histories([0, 1, 2, 3], [0, 3, 3, 3], [9, 9, 9, 9], [6, 1, 1, 4])
    sample = grouped.sample(4)
    assert (sample.frequency.tolist(), sample.weight.tolist()) == ([0, 3], [2, 2])
    assert sample.customers == 4
    assert grouped.sample(100).weight.tolist() == grouped.weight.tolist()


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ((-1, 0, 5), "frequency is not a whole number"),
        ((0.5, 0, 5), "frequency is not a whole number"),
        ((np.inf, 0, 5), "frequency is not a whole number"),
        ((np.nan, 0, 5), "frequency is not a whole number"),
        ((1, -1, 5), "recency is below 0"),
        ((1, 6, 5), "or above the age"),
        ((1, np.nan, 5), "recency is below 0"),
        ((0, 1, 5), "a recency is not 0 although its frequency is 0"),
        ((1, 1, np.inf), "age is not finite"),
    ],
)
def test_invalid_history_is_refused_with_row_number(row, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        histories([0, row[0]], [0, row[1]], [5, row[2]])


@pytest.mark.parametrize("weight", [0, -1, np.nan, np.inf])
def test_weight_not_above_zero_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight is not above 0"):
        histories([1], [1], [5], [weight])


def test_arrays_of_different_lengths_are_refused() -> None:
    one, two = np.ones(1), np.ones(2)
    with pytest.raises(ValueError, match="differ in length"):
        Histories(one, one, two, one)
