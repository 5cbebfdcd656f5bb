"""Identifiers that a person types, in the form of `person_lookup_gold`.

A look-up starts no engine, so this module repeats two functions in plain Python: `normal_email` of
`cdp_lib.identity.normalise`, and `with_e164` of `cdp_lib.identity.phones`. Tests compare the results.
"""

from __future__ import annotations

import csv
import re
import zlib
from functools import cache
from importlib.resources import files
from string import ascii_lowercase, ascii_uppercase

from cdp_lib.contracts.profile import BUCKETS

_TAGGED = frozenset(
    "gmail.com outlook.com hotmail.com live.com icloud.com me.com mac.com fastmail.com proton.me protonmail.com"
    " pm.me".split()
)
"""Domains that deliver messages to name+anything to the mailbox `name`."""

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_EXTENSION = re.compile(r"[\s,;./-]*(?:;?ext=|extension|ext|durchwahl|dw|x|#)[\s.:]*[0-9]{1,7}\s*#?$", re.IGNORECASE)
_DIGITS = str.maketrans(
    {zero + digit: str(digit) for zero in (0xFF10, 0x660, 0x6F0) for digit in range(10)} | {0xFF0B: "+"}
)
_CODES_OF_TWO = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")


def bucket_of(identifier: str) -> int:
    """Return the partition of an identifier in `person_lookup_gold`.

    >>> bucket_of("email:nour@example.com")
    41
    """
    return zlib.crc32(identifier.encode()) % BUCKETS


def email_text(typed: str) -> str | None:
    """Return the normal form of an e-mail address; None if it is malformed. See `normal_email`.

    >>> email_text(" A.Nour+shop@GoogleMail.com"), email_text("n/a")
    ('anour@gmail.com', None)
    """
    address = " ".join(typed.split()).translate(_LOWER)
    address = re.sub(r"@googlemail\.com$", "@gmail.com", address)
    if not _ADDRESS.fullmatch(address):
        return None
    name, _, domain = address.partition("@")
    if domain in _TAGGED and not name.startswith("+"):
        name = name.partition("+")[0]
    return f"{name.replace('.', '') if domain == 'gmail.com' else name}@{domain}"


def phone_text(typed: str, country: str = "") -> str | None:
    """Return a phone number in E.164; None if it is not a possible number. See `with_e164`.

    Args:
        typed: Number as typed.
        country: ISO 3166-1 alpha-2 code of the country of a number without calling code. Empty if unknown.

    >>> phone_text("0043 (664) 123 45 67"), phone_text("0664/1234567", "AT"), phone_text("1", "AT")
    ('+436641234567', '+436641234567', None)
    """
    digits = _digits(typed)
    if not digits:
        return None
    own = _plans().get(country, {})
    full = _international(digits, own)
    if full is None:
        plan, code, rest = own, own.get("calling_code", ""), digits.replace("+", "")
    else:
        code = _calling_code(full)
        plan, rest = _main_plans().get(code, {}), full[len(code) :]
    if not plan:
        return None
    short = _without_prefix(rest, plan)
    possible = [number for number in (short, rest) if f",{len(number)}," in plan["lengths"]]
    return f"+{code}{possible[0]}" if possible else None


@cache
def _plans() -> dict[str, dict[str, str]]:
    """Return the numbering plans by country."""
    with (files("cdp_lib.reference") / "phone_plans.csv").open(encoding="utf-8") as file:
        return {row["country_code"]: row for row in csv.DictReader(file)}


@cache
def _main_plans() -> dict[str, dict[str, str]]:
    """Return the numbering plan of the main country of each calling code."""
    return {plan["calling_code"]: plan for plan in _plans().values() if plan["is_main"] == "true"}


def _digits(typed: str) -> str:
    """Return the digits of a number, after a + if it has one; empty if it has letters."""
    number = _EXTENSION.sub("", re.sub(r"^\s*tel:", "", typed.translate(_DIGITS), flags=re.IGNORECASE))
    if "@" in number or any(character.isalpha() for character in number):
        return ""
    return re.sub(r"(.)\+.*$", r"\1", re.sub(r"[^0-9+]", "", number))


def _international(digits: str, own: dict[str, str]) -> str | None:
    """Return a number that begins with a calling code; None for a national number."""
    if digits.startswith("+"):
        return digits[1:]
    without_prefix = re.sub(own.get("international_prefix") or "^(?:00)", "", digits)
    if without_prefix != digits and not without_prefix.startswith("0"):
        return without_prefix
    code = own.get("calling_code", "")
    if not code or not digits.startswith(code):
        return None
    shorter = re.sub(own["national_prefix"] or "^$", "", digits[len(code) :])
    is_national = re.search(own["pattern"], digits)
    longest = int(own["lengths"].strip(",").split(",")[-1])
    return digits if (not is_national and re.search(own["pattern"], shorter)) or len(digits) > longest else None


def _calling_code(full: str) -> str:
    """Return the calling code at the beginning of a number."""
    return full[:1] if full[:1] in ("1", "7") else full[:2] if _CODES_OF_TWO.match(full) else full[:3]


def _without_prefix(rest: str, plan: dict[str, str]) -> str:
    """Return a number without the national prefix, such as the 0 of 0664."""
    prefix = plan["national_prefix"] or "^$"
    captured = re.sub(prefix, _template(plan["captured"] or "<>"), rest)
    changed = re.sub(prefix, "" if captured.startswith("<>") else _template(plan["transform"]), rest)
    return rest if re.search(plan["pattern"], rest) and not re.search(plan["pattern"], changed) else changed


def _template(replacement: str) -> str:
    """Return a replacement with groups as `$1` in the syntax of Python."""
    return re.sub(r"\$(\d)", r"\\g<\1>", replacement)
