"""The reference table of numbering plans. README.md lists the source."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("phone_plans.csv")


@cache
def read_countries_with_plan() -> frozenset[str]:
    """Return the ISO 3166-1 alpha-2 codes of the countries with a numbering plan.

    >>> [code in read_countries_with_plan() for code in ("AT", "NA", "UK", "at")]
    [True, True, False, False]
    """
    with _FILE.open(encoding="utf-8", newline="") as file:
        return frozenset(row["country_code"] for row in csv.DictReader(file))
