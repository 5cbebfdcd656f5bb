"""Contradictions: pairs of records that can't belong to one person, whatever identifiers they share."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as sf

_GENERATION_YEARS = 15
"""Least years between the birth dates of a parent and a child with the same name."""


def is_contradiction(a: str, b: str) -> Column:
    """Return whether two records can't belong to one person. Never null. It needs no model and is symmetric.

    An e-mail address or phone number is often shared in a family. These pairs are contradictions:

    - The first names clearly differ, and the birth dates are not known to be equal: spouses, or parent and child. A
      missing birth date counts as not equal, because shops know few birth dates, and most contradictions are couples.
    - The first names clearly differ and the genders differ: twins, although the birth date is equal.
    - The birth dates clearly differ and are a generation apart: father and son with the same name.

    These pairs are none:

    - Typing errors, initials, short forms (max, maximilian), parts of compound names (anna, anna maria), names that
      sound alike, and first and last name in the wrong order: the first names do not clearly differ.
    - Nicknames (bob, robert) with equal birth dates. Without birth dates, a nickname is a contradiction.
    - Married persons: last names do not count.
    - Typing errors in the birth date, swapped day and month, and 1 January, which often stands for an unknown day.

    Twins of the same gender with one e-mail address can't be told from a nickname: they are no contradiction.

    Args:
        a: Alias of the first record, or name of a struct column with its columns.
        b: Alias of the second record, or name of a struct column with its columns.
    """
    names_differ = sf.coalesce(sf.expr(_names_differ_sql(a, b)), sf.lit(False))
    birth_dates_equal = sf.coalesce(sf.expr(f"{a}.birth_date = {b}.birth_date"), sf.lit(False))
    genders_differ = sf.coalesce(sf.expr(f"{a}.gender <> {b}.gender"), sf.lit(False))
    generations = sf.coalesce(sf.expr(_generations_sql(a, b)), sf.lit(False))
    return (names_differ & (~birth_dates_equal | genders_differ)) | generations


def _names_differ_sql(a: str, b: str) -> str:
    """Return SQL that says whether the first names clearly differ; null if one is unknown.

    Two edits turn one short name into another, such as eva and ida, so names of up to four letters may differ by one.
    """
    first_a, first_b = f"{a}.first_name", f"{b}.first_name"
    return f"""
        instr({first_a}, {first_b}) = 0 AND instr({first_b}, {first_a}) = 0
        AND levenshtein({first_a}, {first_b}) > if(least(length({first_a}), length({first_b})) <= 4, 1, 2)
        AND soundex({first_a}) <> soundex({first_b})
        AND NOT coalesce({first_a} = {b}.last_name AND {a}.last_name = {first_b}, false)
    """


def _generations_sql(a: str, b: str) -> str:
    """Return SQL that says whether the birth dates are a generation apart; null if one is unknown."""
    birth_a, birth_b = f"{a}.birth_date", f"{b}.birth_date"
    return f"""
        abs(year({birth_a}) - year({birth_b})) >= {_GENERATION_YEARS}
        AND levenshtein(CAST({birth_a} AS STRING), CAST({birth_b} AS STRING)) > 2
        AND NOT (month({birth_a}) = 1 AND day({birth_a}) = 1) AND NOT (month({birth_b}) = 1 AND day({birth_b}) = 1)
    """
