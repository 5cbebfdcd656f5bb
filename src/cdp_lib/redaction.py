"""Removal of secrets from texts: error messages, logs and tracebacks.

A secret may appear in a text in other forms. These forms are removed too:

- in upper or lower case;
- in base64 at any position, with the standard or the URL-safe alphabet, or in hexadecimal digits;
- with percent-encoding (once or several times) or with the escapes of JSON, HTML and Python;
- broken over several lines;
- in part: at least half of a long token; the token of `Bearer <token>`; the keys and passwords of a connection string;
  the password of a URL.

The values of parameters such as `?api_key=`, and the user and password of a web address, are removed even if they are
not known as secrets.
"""

from __future__ import annotations

import html
import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

REDACTED = "[REDACTED]"

MIN_SECRET_LENGTH = 6
"""Minimum length of a secret. The removal of a shorter secret would also remove parts of ordinary words."""

_MIN_ENCODED_LENGTH = 7
"""Minimum length of the base64 form of a secret. A shorter form may be part of another text."""

_MIN_SPLIT_LENGTH = 20
"""Minimum length of a token of which half is removed."""

_PASSWORD_NAMES = r"\w*(?:account|access|api)[_-]?key|\w*(?:signature|password|passwd|pwd|secret|token)"
_FIELD_OF_SECRET = re.compile(rf"(?:^|[;&?\s])(?:{_PASSWORD_NAMES}|sig)\s*=\s*(\{{[^}}]*\}}|[^;&\s]+)", re.IGNORECASE)
_TOKEN_OF_SECRET = re.compile(r"\s*(?:Bearer|Basic)\s+(\S+)\s*", re.IGNORECASE)
_PASSWORDS_OF_URL = (re.compile(r"://[^:/@\s]*:(.+)@"), re.compile(r"://[^:/@\s]*:([^@]+)@"))
"""A password that contains an @ ends at the last @, and another @ may follow the address. Both readings are removed."""

_UNKNOWN_SECRETS = (
    # User and password of an address. The container in `abfss://container@account` is no user.
    (re.compile(r"://[^\s/@:]*:\S*@"), f"://{REDACTED}@"),
    (re.compile(r"(https?)://[^\s/@]+@", re.IGNORECASE), rf"\1://{REDACTED}@"),
    # Parameters of an address.
    (
        re.compile(
            r"""([?&][\w.-]*(?:key|token|secret|passw(?:or)?d|pwd|sig(?:nature)?)=)[^&\s"'<>#)]+""", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
    # Fields of a connection string, of JSON, and of a login.
    (
        re.compile(rf"""\b((?:{_PASSWORD_NAMES})(?:\s*=\s*["']?|["']\s*:\s*["']))[^\s;&,"']+""", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(Bearer|Basic)(\s+)[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1\2{REDACTED}"),
)
"""(pattern, replacement) pairs that remove values which are secrets because of their place in a text."""


class Redactor:
    """A set of secrets, and the method that removes them from texts."""

    def __init__(self, *secrets: str | None) -> None:
        """Start with the given secrets."""
        self._secrets = set[str]()
        self._pattern: re.Pattern[str] | None = None
        self._fragments: dict[int, set[str]] = {}
        self.add(*secrets)

    def __reduce__(self) -> tuple[type[Redactor], tuple[()]]:
        """Leave the secrets out when the object is sent to another process."""
        return Redactor, ()

    def add(self, *secrets: str | None) -> None:
        """Add secrets. Ignore empty secrets, and secrets that are shorter than `MIN_SECRET_LENGTH`."""
        parts = {part for secret in secrets if secret for part in _parts_of(secret)}
        if parts <= self._secrets:
            return
        self._secrets |= parts
        forms = {form: None for secret in sorted(self._secrets, key=len, reverse=True) for form in _forms_of(secret)}
        self._pattern = re.compile("|".join(forms), re.IGNORECASE)
        for token in parts:
            if len(token) >= _MIN_SPLIT_LENGTH and not re.search(r"://|[;\s]", token):
                length, text = -(-len(token) // 2), token.lower()
                self._fragments.setdefault(length, set()).update(
                    text[start : start + length] for start in range(len(text) - length + 1)
                )

    def redact(self, text: str) -> str:
        """Return a text without the secrets."""
        if self._pattern:
            text = self._pattern.sub(REDACTED, text)
        for length, fragments in self._fragments.items():
            text = _without_fragments(text, length, fragments)
        for pattern, replacement in _UNKNOWN_SECRETS:
            text = pattern.sub(replacement, text)
        return text


_KNOWN = Redactor()
"""Secrets that this process has read."""


def register(*secrets: str | None) -> None:
    """Add secrets that `redact` removes from texts, and that no log of this process shows."""
    _KNOWN.add(*secrets)
    redact_logs()


def redact(text: str) -> str:
    """Return a text without the secrets that this process has read."""
    return _KNOWN.redact(text)


class _LogFilter(logging.Filter):
    """Filter that removes secrets from log records, such as the addresses that an HTTP client logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # the arguments do not fit the message
            message = str(record.msg)
        record.msg, record.args = redact(message), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


_LOG_FILTER = _LogFilter()


def redact_logs() -> None:
    """Remove secrets from everything that this process logs.

    The filter is added to the handlers of the root logger, and to the handler that Python uses if there is no other.
    """
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler:
            handler.addFilter(_LOG_FILTER)


def _parts_of(secret: str) -> Iterator[str]:
    """Yield a secret, and the parts of the secret that are secrets themselves."""
    found: list[str] = [secret, *_FIELD_OF_SECRET.findall(secret)]
    found += [match[1] for match in [_TOKEN_OF_SECRET.fullmatch(secret)] if match]
    found += [password for pattern in _PASSWORDS_OF_URL for password in pattern.findall(secret)]
    for part in found:
        for text in (part, part.strip("{}\"'"), unquote(part)):
            if len(text.strip()) >= MIN_SECRET_LENGTH:
                yield text.strip()


def _forms_of(secret: str) -> Iterator[str]:
    """Yield a regular expression for each form of a secret."""
    yield re.escape(secret)
    yield _tolerant(secret)
    content = secret.encode(errors="surrogatepass")
    yield _tolerant(content.hex())
    for encoded in _base64_forms(content):
        if len(encoded) >= _MIN_ENCODED_LENGTH:
            yield _tolerant(encoded, {"+": "-", "/": "_"})


def _base64_forms(content: bytes) -> Iterator[str]:
    """Yield the base64 text of some bytes for each position that they may have in a longer text.

    Characters that also depend on the bytes before or after are left out.
    """
    for shift in range(3):
        text = b64encode(bytes(shift) + content).decode()
        yield text[-(-shift * 8 // 6) : (shift + len(content)) * 8 // 6]


def _tolerant(text: str, alternatives: dict[str, str] | None = None) -> str:
    """Return a regular expression for a text whose characters may be escaped or broken over several lines.

    The quantifiers of the expression are bounded and possessive, so that a search takes linear time.

    Args:
        text: The text.
        alternatives: Another character that may stand for a character, by character.
    """
    expression, between = list[str](), ""
    for char in text:
        if char.isspace():
            between = r"(?:[\s\\+]|%(?:25)*20){0,64}+"  # in a web address, a blank is a plus sign or %20
        elif char != "\\":
            expression += [between, _one_of(char, (alternatives or {}).get(char, ""))]
            between = r"[\s\\]{0,64}+"
    return "".join(expression) or r"(?!)"


def _one_of(char: str, alternative: str) -> str:
    """Return a regular expression for a character and its escapes."""
    if char.isascii() and char.isalnum():
        return char
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in char.encode(errors="surrogatepass"))
    escapes = [f"u{ord(char):04x}", re.escape(html.escape(char)), *([re.escape(alternative)] if alternative else [])]
    return f"(?:{'|'.join(dict.fromkeys([re.escape(char), percent, *escapes]))})"


def _without_fragments(text: str, length: int, fragments: Iterable[str]) -> str:
    """Return a text without the runs of characters that consist of fragments of a token.

    Args:
        text: The text.
        length: Length of the fragments.
        fragments: All parts of tokens that have this length, in lower case.
    """
    lower = text.lower()
    if len(lower) != len(text):  # a few characters become longer in lower case, and positions would differ
        lower = "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
    kept, end = list[str](), 0
    for start in range(len(text) - length + 1):
        if lower[start : start + length] in fragments:
            if start >= end:
                kept += [text[end:start], REDACTED]
            end = start + length
    return "".join([*kept, text[end:]])
