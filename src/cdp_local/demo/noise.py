"""Ways in which people and staff type the same value differently."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date

import numpy as np
from numpy.typing import NDArray

from cdp_local.demo.names import CALLING_CODES

Objects = NDArray[np.object_]
Mask = NDArray[np.bool_]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def without_accents(text: str) -> str:
    """Return a text without accents.

    >>> without_accents("Renée Söström")
    'Renee Sostrom'
    """
    folded = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("Ø", "O"))
    return "".join(character for character in folded if not unicodedata.combining(character))


def with_typo(text: str, rng: np.random.Generator, letters: str = _LETTERS) -> str:
    """Return a text with one error after its first character: insertion, deletion, substitution or transposition."""
    if len(text) < 4:
        return text
    at, kind, letter = int(rng.integers(1, len(text) - 1)), int(rng.integers(4)), letters[rng.integers(len(letters))]
    if kind == 0:
        return text[:at] + letter + text[at:]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + letter + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def with_digit_typo(text: str, rng: np.random.Generator) -> str:
    """Return a text in which one of the last four digits differs: a phone number stays in its reserved range."""
    at = len(text) - 1 - int(rng.integers(4))
    return text[:at] + str((int(text[at]) + int(rng.integers(1, 10))) % 10) + text[at + 1 :]


def mistyped_date(day: date, rng: np.random.Generator) -> date:
    """Return a date with day and month swapped, or with another digit in the year or the day.

    >>> mistyped_date(date(1980, 5, 5), np.random.default_rng(1)) != date(1980, 5, 5)
    True
    """
    if day.day <= 12 and day.day != day.month and rng.random() < 0.5:
        return day.replace(month=day.day, day=day.month)
    if rng.random() < 0.5:
        other = day.day + 10 if day.day <= 18 else day.day - 10
        return day.replace(
            day=other if rng.random() < 0.5 else day.day + (1 if day.day % 10 < 8 and day.day < 28 else -1)
        )
    return day.replace(
        year=day.year + (1 if day.year % 10 < 9 else -1) * (10 if rng.random() < 0.3 else 1), day=min(day.day, 28)
    )


def spelled_email(email: str, kind: int) -> str:
    """Return an e-mail address with a plus tag (0) or without dots (1).

    >>> [spelled_email("ann.lee@example.com", kind) for kind in (0, 1)]
    ['ann.lee+shop@example.com', 'annlee@example.com']
    """
    local, host = email.split("@")
    return f"{local}+shop@{host}" if kind == 0 else f"{local.replace('.', '')}@{host}"


def spelled_phone(national: str, country: str, kind: int) -> str:
    """Return a phone number as a person types it. `national` has no trunk prefix.

    >>> spelled_phone("1632960123", "GB", 3)
    '(01632) 960123'
    >>> spelled_phone("2905550123", "US", 0)
    '+1 290 5550123'
    """
    code, trunk = CALLING_CODES[country], "" if country == "US" else "0"
    head, tail = national[: len(national) - 6], national[-6:]
    if country == "US":
        head, tail = national[:3], national[3:]
    return (
        f"+{code} {head} {tail}",
        f"+{code}{national}",
        f"{trunk}{national}",
        f"({trunk}{head}) {tail}",
        f"{trunk}{head}-{tail[:3]}-{tail[3:]}",
        f"00{code} {head} {tail}" if country != "US" else f"1-{head}-{tail[:3]}-{tail[3:]}",
    )[kind]


def changed(values: Objects, where: Mask, change: Callable[..., object]) -> Objects:
    """Return the values, with `change(value, position)` in the places of the mask. Nulls stay null."""
    result = values.copy()
    for at in np.flatnonzero(where):
        if result[at] is not None:
            result[at] = change(result[at], at)
    return result
