"""Measures of identity resolution: how well the persons that it found agree with the true persons.

Pairs are counted from sizes of groups, not listed. A record that is in only one of the two assignments is an error.

A blob, one found person with the records of many true persons, hardly lowers B³, but `largest_ratio` shows it:

>>> truth = pd.Series({f"r{n}": n // 2 for n in range(1000)})
>>> blob = truth.where(truth >= 25, 0)
>>> measured = measure(blob, truth)
>>> round(measured.b3_precision, 3), measured.largest_ratio
(0.952, 25.0)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Measures:
    """How well found persons agree with true persons.

    Attributes:
        precision: Share of the found pairs of records that are true pairs. 1 without found pairs.
        recall: Share of the true pairs that are found. 1 without true pairs.
        f1: Harmonic mean of precision and recall.
        b3_precision: Mean over records of the share of its found person's records that are of its true person.
        b3_recall: Mean over records of the share of its true person's records that are in its found person.
        b3_f1: Harmonic mean of both.
        largest: Records of the largest found person.
        largest_ratio: `largest` divided by the records of the largest true person.
        records: Number of records.
        persons: Number of found persons.
        true_persons: Number of true persons.
    """

    precision: float
    recall: float
    f1: float
    b3_precision: float
    b3_recall: float
    b3_f1: float
    largest: int
    largest_ratio: float
    records: int
    persons: int
    true_persons: int


def measure(found: pd.Series, truth: pd.Series) -> Measures:
    """Return the measures of an assignment of records to persons.

    One found person {a, b, c} with the true persons {a, b} and {c, d}, and d
    alone: 3 found pairs, 2 true pairs, 1 right pair.

    >>> measured = measure(pd.Series({"a": 1, "b": 1, "c": 1, "d": 2}), pd.Series({"a": 7, "b": 7, "c": 8, "d": 8}))
    >>> round(measured.precision, 4), measured.recall, round(measured.f1, 4)
    (0.3333, 0.5, 0.4)

    B³ precision is (2/3 + 2/3 + 1/3 + 1) / 4, and B³ recall is (1 + 1 + 1/2 + 1/2) / 4:

    >>> round(measured.b3_precision, 4), measured.b3_recall, measured.largest, measured.largest_ratio
    (0.6667, 0.75, 3, 1.5)

    Args:
        found: Found person by record.
        truth: True person by record.

    Raises:
        ValueError: If both do not have the same records, each once.
    """
    frame = _both(found, truth)
    both = frame.groupby(["found", "truth"], sort=False).size()
    sizes_found, sizes_true = frame["found"].value_counts(), frame["truth"].value_counts()
    right, pairs_found, pairs_true = (_pairs(sizes) for sizes in (both, sizes_found, sizes_true))
    precision, recall = _ratio(right, pairs_found), _ratio(right, pairs_true)
    squares = both.to_numpy(dtype=float) ** 2
    b3_precision, b3_recall = (
        float((squares / sizes.loc[both.index.get_level_values(level)].to_numpy()).sum()) / len(frame)
        for level, sizes in (("found", sizes_found), ("truth", sizes_true))
    )
    return Measures(
        precision,
        recall,
        _harmonic(precision, recall),
        b3_precision,
        b3_recall,
        _harmonic(b3_precision, b3_recall),
        int(sizes_found.iloc[0]),
        float(sizes_found.iloc[0] / sizes_true.iloc[0]),
        len(frame),
        len(sizes_found),
        len(sizes_true),
    )


def worst_persons(found: pd.Series, truth: pd.Series, count: int = 10) -> pd.DataFrame:
    """Return the found persons with the most wrong pairs, the worst person first.

    >>> worst = worst_persons(pd.Series({"a": 1, "b": 1, "c": 1, "d": 2}), pd.Series({"a": 7, "b": 7, "c": 8, "d": 8}))
    >>> worst.to_dict("index")
    {1: {'records': 3, 'true_persons': 2, 'wrong_pairs': 2}}

    Args:
        found: Found person by record.
        truth: True person by record.
        count: Most persons to return. Persons without a wrong pair are left out.
    """
    frame = _both(found, truth)
    both = frame.groupby(["found", "truth"]).size()
    right = (both * (both - 1) // 2).groupby("found").sum()
    sizes = frame.groupby("found").size()
    wrong = sizes * (sizes - 1) // 2 - right
    persons = pd.DataFrame({"records": sizes, "true_persons": both.groupby("found").size(), "wrong_pairs": wrong})
    return persons[persons["wrong_pairs"] > 0].sort_values("wrong_pairs", ascending=False, kind="stable").head(count)


def torn_persons(found: pd.Series, truth: pd.Series, count: int = 10) -> pd.DataFrame:
    """Return the true persons with the most missing pairs, the worst person first."""
    worst = worst_persons(truth, found, count).rename_axis("truth")
    return worst.rename(columns={"true_persons": "persons", "wrong_pairs": "missing_pairs"})


def _both(found: pd.Series, truth: pd.Series) -> pd.DataFrame:
    if not found.index.is_unique or not truth.index.is_unique:
        raise ValueError("A record has several persons.")
    lost, unknown = truth.index.difference(found.index), found.index.difference(truth.index)
    if len(lost) or len(unknown):
        raise ValueError(f"Records differ: not found {list(lost[:3])}, unknown {list(unknown[:3])}, …")
    return pd.DataFrame({"found": found, "truth": truth})


def _pairs(sizes: pd.Series) -> int:
    values = sizes.to_numpy(dtype=np.int64)
    return int((values * (values - 1) // 2).sum())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
