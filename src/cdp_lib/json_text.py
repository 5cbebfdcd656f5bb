"""JSON that a source sends. No text of a source raises an error that its reader does not expect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

EXTRA = "_extra"
"""Bronze column with the received fields that have no column of their own, as a JSON object.

In the columns of a manifest, this name stands for these fields.
"""

MAX_FIELD_NAMES = 1_000
"""Maximum number of names of received fields that a manifest lists."""

_MAX_NAME_LENGTH = 200
_MAX_DIGITS = 4_300
"""Maximum number of digits that Python converts to a number, because the time is quadratic in the number of digits."""

_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"(?:[^"\\]++|\\.)*+(?P<end>"?)', re.DOTALL)


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


DECODER = json.JSONDecoder(parse_int=_whole_number)
"""Decoder of JSON text. Unlike the decoder of Python, it accepts a number of any length."""


def parse_json(text: str | bytes) -> Any:
    r"""Return the value of a JSON text, or None if the text is not JSON, or has too many levels.

    >>> parse_json('{"a": 1}'), parse_json("{"), parse_json("[" * 100_000), parse_json(b"\xff")
    ({'a': 1}, None, None, None)
    """
    try:
        return DECODER.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError):
        return None


def end_of_value(text: str, start: int) -> int | None:
    """Return the end of the array or object that begins at a position, or None if the text ends before.

    The function does not check the syntax. It has no limit of levels, unlike the decoder.

    >>> end_of_value('[{"a]": 1}], 2', 0), end_of_value('[["', 0)
    (11, None)
    """
    levels = 0
    for found in _BRACKET_OR_STRING.finditer(text, start):
        if found[0][0] == '"':
            if not found["end"]:
                return None
        else:
            levels += 1 if found[0] in "[{" else -1
            if not levels:
                return found.end()
    return None


def add_field_names(known: set[str], names: Iterable[str]) -> None:
    r"""Add the names of received fields to a set of names.

    `EXTRA` is added in place of each name that can't be the name of a column, and in place of all names above the
    maximum number of names. The set therefore stays small, whatever a source sends.

    Args:
        known: Names that are already known.
        names: Names of the fields of a record.

    >>> names = {"customer_id"}
    >>> add_field_names(names, ["customer_id", "Store Name", "line\nbreak", "x" * 10_000])
    >>> sorted(names)
    ['Store Name', '_extra', 'customer_id']
    """
    for name in names:
        if name not in known:
            is_full = len(known) >= MAX_FIELD_NAMES
            known.add(EXTRA if is_full or not _can_be_column(name) else name)


def field_names(record: Any) -> Iterable[str]:
    """Return the names of a record's fields. A record that is not an object has no fields."""
    return record.keys() if isinstance(record, dict) else ()


def _can_be_column(name: str) -> bool:
    # A character that is not printable is for example a control character or half of a surrogate pair.
    return len(name) <= _MAX_NAME_LENGTH and name.isprintable()
