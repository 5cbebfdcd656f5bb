"""Nicknames: first names that differ in all letters, but may belong to one person, such as bob and robert."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from itertools import combinations


@cache
def nickname_pairs() -> tuple[str, ...]:
    """Return pairs of first names that may belong to one person, as `<name>|<name>` in the order of the alphabet.

    >>> {"bob|robert", "bob|rob"} <= set(nickname_pairs()), "robert|thomas" in nickname_pairs()
    (True, False)
    """
    with (files("cdp_lib.reference") / "nicknames.csv").open(encoding="utf-8") as file:
        groups = [{row["name"], *row["nicknames"].split(";")} for row in csv.DictReader(file)]
    return tuple(sorted({"|".join(pair) for group in groups for pair in combinations(sorted(group), 2)}))


def is_nickname_sql(a: str, b: str) -> str:
    """Return SQL that says whether two first names are a pair of nicknames.

    Args:
        a: SQL of the first name of a record.
        b: SQL of the first name of the other record.
    """
    pairs = ", ".join(f"'{pair}'" for pair in nickname_pairs())
    return f"concat(least({a}, {b}), '|', greatest({a}, {b})) IN ({pairs})"
