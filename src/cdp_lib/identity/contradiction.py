"""Contradictions: pairs of records that can't belong to one person, whatever identifiers they share."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as sf

from cdp_lib.identity.nicknames import is_nickname_sql

_GENERATION_YEARS = 15
"""Least years between the birth dates of a parent and a child with the same name."""


def is_contradiction(a: str, b: str) -> Column:
    """Return whether two records can't belong to one person. Never null. It needs no model and is symmetric.

    An e-mail address or phone number is often shared in a family. These pairs are contradictions:

    - The first names clearly differ, and birth dates and e-mail addresses are not both known to be equal: spouses,
      parent and child, or twins. A missing value counts as not equal, because shops know few birth dates, and most
      contradictions are couples.
    - The first names clearly differ and the genders differ: twins, although the birth date is equal.
    - The birth dates clearly differ and are a generation apart: father and son with the same name.
    - Birth dates and genders clearly differ, whatever the names: spouses of whom one has only an initial, or no name.

    These pairs are none:

    - Typing errors, initials, nicknames (bob, robert), short forms (max, maximilian), parts of compound names (anna,
      anna maria), names that sound alike, and first and last name in the wrong order: the first names do not clearly
      differ.
    - Nicknames that `nicknames.csv` does not know, with equal birth dates and e-mail addresses. Otherwise, they
      contradict.
    - Married persons: last names do not count.
    - Typing errors in the birth date, swapped day and month, and 1 January, which often stands for an unknown day.

    Twins of the same gender who share a landline contradict each other, but twins who share an e-mail address can't be
    told from an unknown nickname: they are no contradiction.

    Args:
        a: Alias of the first record, or name of a struct column with its columns.
        b: Alias of the second record, or name of a struct column with its columns.
    """
    names_differ = sf.coalesce(sf.expr(_names_differ_sql(a, b)), sf.lit(False))
    both_equal = sf.expr(f"{a}.birth_date = {b}.birth_date AND {a}.email = {b}.email")
    is_nickname = sf.coalesce(both_equal, sf.lit(False))
    genders_differ = sf.coalesce(sf.expr(f"{a}.gender <> {b}.gender"), sf.lit(False))
    generations = sf.coalesce(sf.expr(_generations_sql(a, b)), sf.lit(False))
    births_differ = sf.coalesce(sf.expr(_births_differ_sql(a, b)), sf.lit(False))
    return (names_differ & (~is_nickname | genders_differ)) | generations | (births_differ & genders_differ)


def _names_differ_sql(a: str, b: str) -> str:
    """Return SQL that says whether the first names clearly differ; null if one is unknown.

    Two edits turn one short name into another, such as thora and thomas, so names of up to five letters may differ by
    one. An initial is the first letter of a name, and not any letter.
    """
    first_a, first_b = f"{a}.first_name", f"{b}.first_name"
    return f"""
        NOT {_is_part_sql(first_a, first_b)} AND NOT {_is_part_sql(first_b, first_a)}
        AND levenshtein({first_a}, {first_b}) > if(least(length({first_a}), length({first_b})) <= 5, 1, 2)
        AND soundex({first_a}) <> soundex({first_b})
        AND NOT {is_nickname_sql(first_a, first_b)}
        AND NOT coalesce({first_a} = {b}.last_name AND {a}.last_name = {first_b}, false)
    """


def _generations_sql(a: str, b: str) -> str:
    """Return SQL that says whether the birth dates are a generation apart; null if one is unknown."""
    birth_a, birth_b = f"{a}.birth_date", f"{b}.birth_date"
    return f"""
        abs(year({birth_a}) - year({birth_b})) >= {_GENERATION_YEARS} AND {_births_differ_sql(a, b)}
    """


def _births_differ_sql(a: str, b: str) -> str:
    """Return SQL that says whether the birth dates clearly differ; null if one is unknown."""
    birth_a, birth_b = f"{a}.birth_date", f"{b}.birth_date"
    return f"""(
        levenshtein(CAST({birth_a} AS STRING), CAST({birth_b} AS STRING)) > 2
        AND NOT (year({birth_a}) = year({birth_b})
            AND month({birth_a}) = day({birth_b}) AND day({birth_a}) = month({birth_b}))
        AND NOT (month({birth_a}) = 1 AND day({birth_a}) = 1) AND NOT (month({birth_b}) = 1 AND day({birth_b}) = 1)
    )"""


def _is_part_sql(part: str, name: str) -> str:
    """Return SQL that says whether a first name is an initial, a short form or a part of another."""
    return f"if(length({part}) = 1, left({name}, 1) = {part}, instr({name}, {part}) > 0)"
