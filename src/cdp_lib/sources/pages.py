"""Pages of JSON records, each record in the text it was received in; only the record being read is in memory."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

from cdp_lib.errors import CdpError
from cdp_lib.sources.http import Answer, HttpClient

_CHUNK_CHARACTERS = 1 << 16
_LONGEST_TOKEN = 16
"""Characters of `-Infinity` or of two escapes, generously: further from the end, nothing is wrong for want of more."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class Page:
    """The records of one answer: an array, or an object with one array in it.

    Attributes:
        records: The records, each as a line of the text it was received in, and parsed; they can be read once.
        rows: Records read so far.
        columns: Names of the fields read so far.
        members: What the object has besides its records, once they are read.
    """

    def __init__(self, body: IO[bytes], name: str) -> None:
        """Begin to read an answer.

        Args:
            body: UTF-8, with or without byte order mark.
            name: Where it came from, for messages.
        """
        self.records = self._read(body)
        self.rows = 0
        self.columns: set[str] = set()
        self.members: dict[str, Any] = {}
        self._name = name
        self._digest = hashlib.sha256()

    @property
    def checksum(self) -> bytes:
        """SHA-256 of the records read so far."""
        return self._digest.digest()

    def _read(self, body: IO[bytes]) -> Iterator[tuple[bytes, Any]]:
        file = io.TextIOWrapper(body, "utf-8-sig", newline="")
        text = _Text(file)
        try:
            for raw, record in self._records(text):
                # A line break inside a JSON text can only be white space between tokens: a blank means the same.
                line = raw.replace("\r", " ").replace("\n", " ").encode() + b"\n"
                self._digest.update(line)
                self.rows += 1
                self.columns |= columns_of(record)
                yield line, record
            if text.peek():
                raise text.error("Extra data")
        except UnicodeDecodeError as error:
            raise CdpError(f"{self._name} did not answer with UTF-8 ({error.reason}).") from error
        except (ValueError, RecursionError) as error:
            raise CdpError(f"{self._name} did not answer with JSON ({error}).") from error
        finally:
            # Who stopped half way may have closed the body.
            with suppress(ValueError):
                file.detach()

    def _records(self, text: _Text) -> Iterator[tuple[str, Any]]:
        match text.peek():
            case "[":
                yield from text.elements()
            case "{":
                yield from self._records_of_object(text)
            case first:
                found = {"": "nothing", "<": "a web page (HTML or XML)"}.get(first, f"what begins with {first!r}")
                raise CdpError(f"{self._name} answered with {found}: JSON, an array of records, is expected.")

    def _records_of_object(self, text: _Text) -> Iterator[tuple[str, Any]]:
        arrays: list[str] = []
        for name in text.names():
            if text.peek() == "[":
                arrays.append(name)
                if len(arrays) > 1:
                    break
                yield from text.elements()
            else:
                self.members[name] = text.value()[1]
        if len(arrays) != 1:
            found = f"with more than one array ({', '.join(arrays)})" if arrays else "without an array"
            raise CdpError(f"{self._name} answered with an object {found}: one array of records is expected.")


def columns_of(record: Any) -> set[str]:
    """Names of a record's fields; OData's remarks on it (`@odata.etag`) are none."""
    return {name for name in record if "@" not in name} if isinstance(record, dict) else set()


class _Text:
    """A JSON text that is read bit by bit."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._passed = 0

    def error(self, problem: str, at: int | None = None) -> ValueError:
        """What is wrong, and where."""
        return ValueError(f"{problem} at character {self._passed + (self._at if at is None else at)}")

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            self._at = self._skip_space(self._at)
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def elements(self) -> Iterator[tuple[str, Any]]:
        """The elements of the array that begins here, as text and parsed."""
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            yield self.value()
            if self._take(",", "]") == "]":
                return

    def names(self) -> Iterator[str]:
        """The names in the object that begins here; the caller reads the value after each."""
        self._take("{")
        if self.peek() == "}":
            self._take("}")
            return
        while True:
            if self.peek() != '"':
                raise self.error("Expecting a name in double quotes")
            name = str(self.value()[1])
            self._take(":")
            yield name
            if self._take(",", "}") == "}":
                return

    def value(self) -> tuple[str, Any]:
        """The value that begins here, as text and parsed."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                problem, at = "Expecting a comma or a bracket", self._skip_space(end)
                # 12 may be the beginning of 123: a value is whole when a delimiter follows.
                if at < len(self._text) and self._text[at] in ",]}:":
                    text, self._at = self._text[self._at : end], at
                    return text, value
            except json.JSONDecodeError as error:
                problem, at = error.msg.removesuffix(" at"), error.pos
            wrong = self.error(problem, at)
            may_go_on = problem.startswith("Unterminated") or at + _LONGEST_TOKEN > len(self._text)
            if not may_go_on or not self._read_on():
                raise wrong

    def _take(self, *expected: str) -> str:
        found = self.peek()
        if found not in expected:
            raise self.error(f"Expecting {' or '.join(expected)}")
        self._at += 1
        return found

    def _skip_space(self, at: int) -> int:
        return _SPACE.match(self._text, at).end()  # type: ignore[union-attr]  # it matches no text, too

    def _read_on(self) -> bool:
        """Drop what was read and add what follows; twice as much each time one value needs more, so it is quick."""
        more = self._file.read(max(_CHUNK_CHARACTERS, len(self._text) - self._at))
        self._passed += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)


def read_pages(
    client: HttpClient,
    url: str,
    find_next: Callable[[Answer, Page], str | None],
    *,
    headers: Mapping[str, str] | None = None,
    first_headers: Mapping[str, str] | None = None,
    first_raising: Mapping[int, type[Exception]] | None = None,
) -> Iterator[tuple[Answer, Page]]:
    """Read an answer and those that follow it, one after the other.

    Args:
        client: Who asks.
        url: Address of the first page.
        find_next: Gives the address of the page after this one, whose records are read; None at the end.
        headers: Headers of every request.
        first_headers: More headers of the first.
        first_raising: What a status of the first answer raises instead of a `CdpError`.

    Raises:
        CdpError: A page can't be read, is no page of records, or comes twice.
    """
    seen = set[bytes]()  # digests: an address may be long, and there may be many
    address: str | None = url
    while address:
        place = hashlib.sha256(address.encode()).digest()
        if place in seen:
            raise CdpError(f"{client.name_of(url)} leads back to a page it gave before: nothing was landed.")
        is_first = not seen
        seen.add(place)
        asked = {**(headers or {}), **((first_headers or {}) if is_first else {})}
        with client.get(address, asked, first_raising if is_first else None) as answer:
            page = Page(answer.body, client.name_of(address))
            yield answer, page
            for _ in page.records:
                pass  # whatever the caller has left
            if page.rows and page.checksum in seen:
                raise CdpError(f"{client.name_of(url)} gave the same page twice: nothing was landed.")
            seen.add(page.checksum)
            address = find_next(answer, page)
