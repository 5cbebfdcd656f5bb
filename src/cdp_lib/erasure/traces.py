"""How a person's values may be written in files: every spelling that a search for the person looks for."""

from __future__ import annotations

import base64
import codecs
import hashlib
import html
import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import quote, quote_plus

from cdp_lib.erasure.names import CONTACT, CUSTOMER, DEVICE
from cdp_lib.erasure.persons import Found

ID_COLUMNS = {
    CUSTOMER: ("customer_id", "cdp_customerid"),
    CONTACT: ("contact_id", "contactid"),
    DEVICE: ("anonymous_id",),
}
"""Columns of the platform's tables that have identifiers, by kind."""

_MIN_LENGTH = 5
"""Length in bytes of the shortest spelling that is searched in any text. Shorter texts occur everywhere."""

_MIN_ENCODED = 8
"""Length in bytes of the shortest base64 that is searched."""

_MIN_DIGITS = 7
"""Number of digits of the shortest phone number that is searched."""

_NESTED = 4
"""Number of levels to which texts of JSON may be nested, such as a record within statistics within a log."""

_HASHES = ("md5", "sha1", "sha256", "sha512")


@dataclass(frozen=True, order=True)
class Spelling:
    """One way to write a value of the person.

    Attributes:
        kind: Kind of the value: email, phone, full_name, contact …
        way: How the value is written: text, JSON, URL, HTML, base64, UTF-16, or a hash.
        is_word: Whether the spelling counts only as a whole word. Encoded bytes may stand anywhere.
    """

    kind: str
    way: str
    is_word: bool = True


@dataclass(frozen=True)
class Traces:
    """What a search for persons looks for.

    Attributes:
        spellings: Spellings by their bytes, in lower case. They are traces wherever they are.
        ids: Identifiers as in the sources, without leading zeros. They are traces only in the columns `id_columns`.
        numbers: Numbers of customers in the tables. They are traces only in columns of numbers in `id_columns`.
        id_columns: Columns and fields that have identifiers.
        weak: Spellings of values that others have as well, such as a city. They are traces only in rows that were the
            person's.
        row_keys: Values by column that tell which rows were the person's: the sales that were kept.
        public_columns: Columns whose values describe no person. They are not searched for weak values.
    """

    spellings: Mapping[bytes, Spelling]
    ids: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    id_columns: frozenset[str] = frozenset()
    weak: Mapping[bytes, Spelling] = field(default_factory=dict)
    row_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    public_columns: frozenset[str] = frozenset()


def traces_of(
    persons: Iterable[Found],
    *,
    id_columns: Collection[str] = (),
    row_keys: Mapping[str, Collection[str]] | None = None,
    public_columns: Collection[str] = (),
) -> Traces:
    """Return what a search for persons looks for.

    Args:
        persons: Identifiers and values of the persons.
        id_columns: Further columns that have identifiers, such as the names in the sources.
        row_keys: Values by column that tell which rows were the persons'.
        public_columns: Columns whose values describe no person.
    """
    spellings: dict[bytes, Spelling] = {}
    weak: dict[bytes, Spelling] = {}
    ids, numbers = set[str](), set[str]()
    for person in persons:
        numbers |= {str(number) for number in person.numbers}
        for kind, texts in [*person.names.items(), *person.values.items()]:
            for text in texts:
                if text.isdecimal() and kind in ID_COLUMNS or len(text) < _MIN_LENGTH:
                    ids.add(text.lstrip("0"))
                else:
                    for spelled, each in _spellings_of(kind, text):
                        spellings.setdefault(spelled, each)
        first_names = {text.split()[0] for text in person.values.get("full_name", ()) if text.split()}
        for kind, shared in [*person.rows_only.items(), ("first_name", first_names)]:
            for text in shared:
                forms = _dates(text) if kind == "birth_date" else {text, text.lower(), text.upper()}
                weak |= {form.encode().lower(): Spelling(kind, "text") for form in forms if len(form) > 1}
    known = {column for columns in ID_COLUMNS.values() for column in columns}
    return Traces(
        spellings,
        frozenset(ids),
        frozenset(numbers),
        frozenset({*known, *id_columns}),
        weak,
        {column: frozenset(values) for column, values in (row_keys or {}).items()},
        frozenset(public_columns),
    )


def _spellings_of(kind: str, text: str) -> Iterator[tuple[bytes, Spelling]]:
    """Yield each spelling of a value, in lower case."""
    for form in sorted(_forms(kind, text)):
        words = [("text", form), *_escaped(form)]
        for way, word in words:
            if len(word.encode()) >= _MIN_LENGTH:
                yield word.encode().lower(), Spelling(kind, way)
        for encoding in ("utf-16-le", "utf-16-be"):
            yield form.encode(encoding).lower(), Spelling(kind, "UTF-16", is_word=False)
        for encoded in _base64(form.encode()):
            yield encoded.lower(), Spelling(kind, "base64", is_word=False)
        yield form.encode().hex().encode(), Spelling(kind, "hexadecimal", is_word=False)
        for name in _HASHES:
            digest = hashlib.new(name, form.encode(), usedforsecurity=False).digest()
            yield digest.hex().encode(), Spelling(kind, name, is_word=False)
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield encode(digest).rstrip(b"=").lower(), Spelling(kind, f"{name}, base64", is_word=False)


def _forms(kind: str, text: str) -> set[str]:
    """Return the value in its normal forms: cases, Unicode forms, without accents, and the forms of its kind."""
    forms = {text, " ".join(text.split())}
    if kind == "phone":
        digits = "".join(character for character in text if character.isdecimal())
        if len(digits) >= _MIN_DIGITS:
            forms |= {digits, f"+{digits}", f"00{digits}", digits.lstrip("0")}
    elif kind == "full_name":
        forms |= {form for each in [*forms] for form in _names(each.split())}
    elif kind == CONTACT:
        forms |= {text.replace("-", "")}
    if kind not in (DEVICE, CONTACT):
        forms |= {_without_accents(form) for form in forms}
    forms |= {unicodedata.normalize(name, form) for name in ("NFC", "NFD") for form in forms}
    return forms | {form.lower() for form in forms} | {form.upper() for form in forms}


def _names(words: list[str]) -> Iterator[str]:
    """Yield a full name with the family name first."""
    if len(words) > 1:
        given, family = " ".join(words[:-1]), words[-1]
        yield f"{family} {given}"
        yield f"{family}, {given}"
        yield f"{family},{given}"


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _escaped(text: str) -> Iterator[tuple[str, str]]:
    """Yield how JSON, HTML and URLs write a text."""
    escaped = in_utf8 = text
    for _ in range(_NESTED):
        escaped = json.dumps(escaped)[1:-1]
        in_utf8 = json.dumps(in_utf8, ensure_ascii=False)[1:-1]
        yield "JSON", escaped
        yield "JSON", in_utf8
    yield "URL", quote(text, safe="")
    yield "URL", quote(text)
    yield "URL", quote_plus(text)
    yield "URL in URL", quote(quote(text, safe=""), safe="")
    yield "HTML", html.escape(text)
    named = codecs.encode(html.escape(text), "ascii", "xmlcharrefreplace").decode()
    yield "HTML", named
    yield "HTML", text.replace("@", "&#64;")
    yield "HTML", text.replace("@", "&#x40;")
    yield "HTML", text.replace("@", "&commat;")


def _base64(content: bytes) -> Iterator[bytes]:
    """Yield the base64 of bytes at each of the three positions in a longer text.

    The characters that depend on the neighbours are left out.
    """
    for offset in range(3):
        start, whole = (-(-offset * 4 // 3)), base64.b64encode(b"\0" * offset + content)
        length = (offset + len(content)) * 4 // 3
        part = whole[start:length]
        if len(part) >= _MIN_ENCODED:
            yield part
            yield part.translate(bytes.maketrans(b"+/", b"-_"))


def _dates(text: str) -> set[str]:
    """Return how a day is written."""
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return {text}
    return {day.strftime(form) for form in ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d")}
