"""Pages of JSON records. Each record keeps its original text, and only the current record is in memory."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

from cdp_lib.errors import CdpError
from cdp_lib.json_text import DECODER, add_field_names, end_of_value, field_names
from cdp_lib.limits import MAX_RECORD_LENGTH, Limits
from cdp_lib.sources.http import Answer, HttpClient

_CHUNK_CHARACTERS = 1 << 16
_MAX_TOKEN_LENGTH = 16
"""Upper bound of the number of characters in a token, such as `-Infinity` or two escapes.

A parse error at least this far from the end of the buffer means that the text is invalid. If the error is closer to the
end, the buffer may have cut off a token.
"""

_SPACE = re.compile(r"[ \t\r\n]*")


class Page:
    """The records of one response: an array, or an object with one array in it.

    Attributes:
        records: Iterator of pairs: the original text of a record in one line, and the parsed record.
        rows: Number of records read so far.
        columns: Names of the fields of the records read so far.
        members: Members of the object other than the array of records. They are complete after all records are read.
    """

    def __init__(self, body: IO[bytes], name: str, limits: Limits | None = None, rows_before: int = 0) -> None:
        """Begin to read a response.

        Args:
            body: Body of the response in UTF-8, with or without byte order mark.
            name: Name of the server and address, for messages.
            limits: Limits of the extraction. None for the default limits.
            rows_before: Number of records on earlier pages of the extraction.
        """
        self.records = self._read(body)
        self.rows = 0
        self.columns: set[str] = set()
        self.members: dict[str, Any] = {}
        self._name = name
        self._limits = limits or Limits()
        self._max_rows = self._limits.rows - rows_before
        self._digest = hashlib.sha256()

    @property
    def checksum(self) -> bytes:
        """SHA-256 of the records read so far."""
        return self._digest.digest()

    def _read(self, body: IO[bytes]) -> Iterator[tuple[bytes, Any]]:
        file = io.TextIOWrapper(body, "utf-8-sig", newline="")
        text = _JsonText(file)
        try:
            for raw, record in self._records(text):
                # In JSON, a line break can only be white space between tokens, so a blank can replace it.
                line = raw.replace("\r", " ").replace("\n", " ").encode() + b"\n"
                self._digest.update(line)
                self.rows += 1
                if self.rows > self._max_rows:
                    raise self._limits.error(self._name, "rows")
                add_field_names(self.columns, columns_of(record))
                yield line, record
            if text.peek():
                raise text.error("Extra data")
        except UnicodeDecodeError as error:
            raise CdpError(f"{self._name} did not return valid UTF-8 ({error.reason}).") from error
        except (ValueError, RecursionError) as error:
            raise CdpError(f"{self._name} did not return valid JSON ({error}).") from error
        finally:
            # `detach` raises ValueError if the caller stopped early and has closed the body.
            with suppress(ValueError):
                file.detach()

    def _records(self, text: _JsonText) -> Iterator[tuple[str, Any]]:
        match text.peek():
            case "[":
                yield from text.elements()
            case "{":
                yield from self._records_of_object(text)
            case first:
                found = {"": "nothing", "<": "a web page (HTML or XML)"}.get(first, f"text that begins with {first!r}")
                raise CdpError(f"{self._name} returned {found} instead of JSON with an array of records.")

    def _records_of_object(self, text: _JsonText) -> Iterator[tuple[str, Any]]:
        arrays, length = list[str](), 0
        for name in text.names():
            if text.peek() == "[":
                arrays.append(name)
                if len(arrays) > 1:
                    break
                yield from text.elements()
            else:
                raw, self.members[name] = text.value()
                length += len(name) + len(raw)
                if length > MAX_RECORD_LENGTH:
                    raise text.error(f"More than {MAX_RECORD_LENGTH} characters outside the array of records")
        if len(arrays) != 1:
            found = f"with more than one array ({', '.join(arrays)})" if arrays else "without an array"
            raise CdpError(f"{self._name} returned an object {found}: exactly one array of records is expected.")


def columns_of(record: Any) -> set[str]:
    """Return the names of a record's fields, without OData's annotations (`@odata.etag`)."""
    return {name for name in field_names(record) if "@" not in name}


class _JsonText:
    """A JSON text that is read and parsed in chunks."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._position = 0
        self._consumed = 0

    def error(self, problem: str, at: int | None = None) -> ValueError:
        """Return an error whose message includes the position in the text."""
        return ValueError(f"{problem} at character {self._consumed + (self._position if at is None else at)}")

    def peek(self) -> str:
        """Return the next character that is not white space, or an empty string at the end."""
        while True:
            self._position = self._skip_space(self._position)
            if self._position < len(self._text) or not self._read_more():
                return self._text[self._position : self._position + 1]

    def elements(self) -> Iterator[tuple[str, Any]]:
        """Yield the original text and the parsed value of each element in the array at the current position."""
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            yield self.value()
            if self._take(",", "]") == "]":
                return

    def names(self) -> Iterator[str]:
        """Yield the names in the object at the current position. The caller reads the value after each name."""
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
        """Return the value at the current position: its original text, and the parsed value.

        The parsed value is None if the text has too many levels. Bronze then refuses the record, not the whole page.
        """
        self.peek()
        while True:
            try:
                value, end = self._decode()
                problem, at = "Expecting a comma or a bracket", self._skip_space(end)
                # A value is complete only if a delimiter follows it: the text 12 may be the beginning of 123.
                if at < len(self._text) and self._text[at] in ",]}:":
                    text, self._position = self._text[self._position : end], at
                    return text, value
            except json.JSONDecodeError as error:
                problem, at = error.msg.removesuffix(" at"), error.pos
            parse_error = self.error(problem, at)
            may_be_cut_off = problem.startswith("Unterminated") or at + _MAX_TOKEN_LENGTH > len(self._text)
            if not may_be_cut_off or not self._read_more():
                raise parse_error
            if len(self._text) > 2 * MAX_RECORD_LENGTH:
                raise self.error(f"A record of more than {MAX_RECORD_LENGTH} characters begins")

    def _decode(self) -> tuple[Any, int]:
        try:
            return DECODER.raw_decode(self._text, self._position)
        except RecursionError:
            if end := end_of_value(self._text, self._position):
                return None, end
            raise json.JSONDecodeError("Unterminated value", self._text, len(self._text)) from None

    def _take(self, *expected: str) -> str:
        found = self.peek()
        if found not in expected:
            raise self.error(f"Expecting {' or '.join(expected)}")
        self._position += 1
        return found

    def _skip_space(self, at: int) -> int:
        return _SPACE.match(self._text, at).end()  # type: ignore[union-attr]  # the pattern also matches an empty text

    def _read_more(self) -> bool:
        """Remove the consumed text from the buffer, and read the next chunk. Return whether any text was read.

        If a value is longer than a chunk, each read doubles the buffer. Therefore, the total time is linear in the
        length of the text.
        """
        more = self._file.read(max(_CHUNK_CHARACTERS, len(self._text) - self._position))
        self._consumed += self._position
        self._text, self._position = self._text[self._position :] + more, 0
        return bool(more)


def read_pages(
    client: HttpClient,
    url: str,
    find_next: Callable[[Answer, Page], str | None],
    *,
    headers: Mapping[str, str] | None = None,
    first_headers: Mapping[str, str] | None = None,
    first_status_errors: Mapping[int, type[Exception]] | None = None,
) -> Iterator[tuple[Answer, Page]]:
    """Yield the pages of a resource one after the other.

    Args:
        client: Client of the server.
        url: Address of the first page.
        find_next: Function that is called after all records of a page are read. It gets the response and its page, and
            returns the address of the next page, or None after the last page.
        headers: Headers of every request.
        first_headers: Additional headers of the first request.
        first_status_errors: Exceptions to raise instead of a `CdpError` for the first response, by HTTP status code.

    Raises:
        CdpError: A page can't be read, is not a page of records, or is returned twice; or the pages exceed a limit.
    """
    seen = set[bytes]()  # digests of the addresses and pages read so far; the texts would take more memory
    address: str | None = url
    pages = rows = 0
    while address:
        pages += 1
        client.meter.check(client.label_of(url), pages=pages)
        address_digest = hashlib.sha256(address.encode(errors="surrogatepass")).digest()
        if address_digest in seen:
            raise CdpError(f"{client.label_of(url)} returned a link to an earlier page: nothing was landed.")
        is_first = not seen
        seen.add(address_digest)
        request_headers = {**(headers or {}), **((first_headers or {}) if is_first else {})}
        with client.get(address, request_headers, first_status_errors if is_first else None) as answer:
            page = Page(answer.body, client.label_of(address), client.meter.limits, rows)
            yield answer, page
            for _ in page.records:
                pass  # read the remaining records, in case the caller stopped early
            rows += page.rows
            if page.rows and page.checksum in seen:
                raise CdpError(f"{client.label_of(url)} returned the same page twice: nothing was landed.")
            seen.add(page.checksum)
            address = find_next(answer, page)
