"""The reference table of currencies. README.md lists the source."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("currencies.csv")


@cache
def read_currency_codes() -> frozenset[str]:
    """Return the ISO 4217 codes of the currencies.

    >>> [code in read_currency_codes() for code in ("EUR", "eur", "EURO", "XAU")]
    [True, False, False, False]
    """
    with _FILE.open(encoding="utf-8", newline="") as file:
        return frozenset(row["currency"] for row in csv.DictReader(file))
