"""Comparisons of two records, as SQL with the same result on every engine and in DuckDB.

The training of a model runs in DuckDB and the scoring on the engine of the platform. Both run the SQL of this module,
so the trained parameters belong to exactly the levels that are scored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from cdp_lib.identity.nicknames import is_nickname_sql

SMALLEST_PROBABILITY = 1e-7
"""Least probability of a level. A level that the training never saw would otherwise have infinite evidence."""

Names = Callable[[str], str]
"""Function that returns the SQL name of a column of one of the two records."""

_MAILBOX = "translate(split_part(split_part({value}, '@', 1), '+', 1), '._-', '')"

TESTS = {
    "equal": "{a} = {b}",
    "known": "({a} IS NOT NULL AND {b} IS NOT NULL)",
    "mailbox": f"{_MAILBOX.format(value='{a}')} = {_MAILBOX.format(value='{b}')}",
    "levenshtein": "levenshtein({a}, {b}) <= {at_most}",
    "soundex": "soundex({a}) = soundex({b})",
    "prefix": "(left({a}, length({b})) = {b} OR left({b}, length({a})) = {a})",
    "contains": "(instr({a}, {b}) > 0 OR instr({b}, {a}) > 0)",
    "nickname": "",  # see nicknames.py
    "swapped": "({a} = {other_b} AND {other_a} = {b})",
    "same_year": "year({a}) = year({b})",
    "day_month_swapped": "(year({a}) = year({b}) AND month({a}) = day({b}) AND day({a}) = month({b}))",
    "date_levenshtein": "levenshtein(CAST({a} AS STRING), CAST({b} AS STRING)) <= {at_most}",
}
"""SQL of each test of a condition."""

PARTS = {
    "value": "{a}",
    "soundex": "soundex({a})",
    "year": "year({a})",
    "month": "month({a})",
    "day": "day({a})",
    "initial": "left({a}, 1)",
    "local_part": "split_part({a}, '@', 1)",
    "mailbox": _MAILBOX.format(value="{a}"),
}
"""SQL of each part of a column that a blocking key can use. `mailbox` is the local part without dots and tag."""


@dataclass(frozen=True)
class Condition:
    """Condition on the values of two records. It is null if one of the values is null.

    Attributes:
        test: Name of a test in TESTS.
        column: Compared column.
        at_most: Most edits, for the tests with a number of edits.
        min_length: Least number of characters of both values. 0 for any.
        other: Second column of the test `swapped`.
    """

    test: str
    column: str
    at_most: int = 0
    min_length: int = 0
    other: str = ""

    def sql(self, a: Names, b: Names) -> str:
        """Return the condition as SQL.

        Args:
            a: Names of the columns of the first record.
            b: Names of the columns of the second record.
        """
        values = {"a": a(self.column), "b": b(self.column), "at_most": self.at_most}
        if self.test == "nickname":
            return is_nickname_sql(a(self.column), b(self.column))
        if self.other:
            values |= {"other_a": a(self.other), "other_b": b(self.other)}
        test = TESTS[self.test].format(**values)
        if not self.min_length:
            return test
        return f"(length({values['a']}) >= {self.min_length} AND length({values['b']}) >= {self.min_length} AND {test})"


@dataclass(frozen=True)
class Level:
    """Level of agreement of two records in a comparison.

    Attributes:
        name: Name of the level.
        when: Conditions that all hold on this level. Empty for the last level, which takes all other pairs.
        m: Probability of the level if the records belong to one person. 0 if the model is not trained.
        u: Probability of the level if the records belong to two persons. 0 if the model is not trained.
        term_frequency: Column whose frequent values are weaker evidence. Empty for none.
        is_identifier: Whether the rules weigh this agreement as an identifier. The level then has no evidence here.
    """

    name: str
    when: tuple[Condition, ...] = ()
    m: float = 0.0
    u: float = 0.0
    term_frequency: str = ""
    is_identifier: bool = False

    @property
    def bits(self) -> float:
        """Return the evidence of the level in bits: the logarithm to base 2 of m / u."""
        return 0.0 if self.is_identifier else evidence_bits(self.m, self.u)

    def sql(self, a: Names, b: Names) -> str:
        """Return the conditions of the level as SQL."""
        return " AND ".join(condition.sql(a, b) for condition in self.when)


@dataclass(frozen=True)
class Comparison:
    """Comparison of one attribute of two records.

    Attributes:
        name: Name of the evidence.
        columns: Compared columns. A pair has no evidence if each column is null in one of the two records.
        levels: Levels in order. A pair has the first level whose conditions hold.
    """

    name: str
    columns: tuple[str, ...]
    levels: tuple[Level, ...]

    def null_sql(self, a: Names, b: Names) -> str:
        """Return SQL that says whether the two records have nothing to compare."""
        return " AND ".join(f"({a(column)} IS NULL OR {b(column)} IS NULL)" for column in self.columns)


@dataclass(frozen=True)
class BlockingKey:
    """Key of records: the model compares only records that share a key.

    Attributes:
        name: Name of the key.
        parts: Column and part of the column, as in PARTS. A record without one of the values has no such key.
    """

    name: str
    parts: tuple[tuple[str, str], ...]

    def sql(self, names: Names) -> list[str]:
        """Return the parts of the key as SQL."""
        return [PARTS[part].format(a=names(column)) for column, part in self.parts]


def evidence_bits(m: float, u: float) -> float:
    """Return the logarithm to base 2 of m / u, rounded to 0.001 bits.

    >>> evidence_bits(0.5, 0.125)
    2.0
    """
    return round(math.log2(max(m, SMALLEST_PROBABILITY) / max(u, SMALLEST_PROBABILITY)), 3)
