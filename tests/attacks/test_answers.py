"""Attacks by the answers of a source: bombs, endless answers and lies. Each ends in one line, and nothing is landed."""

from __future__ import annotations

import gzip
import json
import socket
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cdp_lib import limits as limits_module
from cdp_lib.contracts.bronze import (
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    EXCHANGE_RATES_BRONZE,
    MARKETING_SPEND_BRONZE,
)
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction
from cdp_lib.limits import Limits
from cdp_lib.sources import pages
from cdp_lib.sources.dataverse import land_entity
from cdp_lib.sources.files import land_exchange_rates, land_files
from cdp_lib.sources.rest_api import land_records

from ..unit.sources.conftest import Answer, Api, extraction, landed, landing, serve, waits

__all__ = ["extraction", "landed", "landing", "serve", "waits"]

pytestmark = pytest.mark.first_engine

RECORDS = b'[{"customer_id": 101, "country": "Egypt"}, {"customer_id": 102, "country": "Egypt"}]'
LARGE = 600_000
"""Number of bytes above which these tests limit the compression ratio. The platform's own limit would take longer."""

BOMB = b"[" + b'{"a":1},' * (LARGE // 8 + 1) + b'{"a":1}]'

Refuse = Callable[..., str]


@pytest.fixture(autouse=True)
def _ratio_of_small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "RATIO_FROM_BYTES", LARGE)


def compressed(text: bytes, wbits: int = 31) -> bytes:
    compressor = zlib.compressobj(9, wbits=wbits)
    return compressor.compress(text) + compressor.flush()


@pytest.fixture
def refusal_of(landed: Path) -> Callable[[Callable[[], object]], str]:
    """Return a function that makes a failing extraction, checks that it lands nothing, and returns the error."""

    def refusal_of(land: Callable[[], object]) -> str:
        with pytest.raises(CdpError) as refused:
            land()
        message = str(refused.value)
        assert "\n" not in message and len(message) < 500
        assert not [path for path in landed.rglob("*") if path.is_file()]
        return message

    return refusal_of


@pytest.fixture
def api_refusal(extraction: Extraction, refusal_of: Callable[..., str], waits: list[float]) -> Refuse:
    def refusal(url: str, timeout_seconds: float = 2.0, **limits: float) -> str:
        return refusal_of(
            lambda: land_records(
                extraction,
                CUSTOMERS_BRONZE,
                url,
                token=None,
                timeout_seconds=timeout_seconds,
                limits=Limits(**limits),
            )
        )

    return refusal


@pytest.fixture
def crm_refusal(extraction: Extraction, refusal_of: Callable[..., str], waits: list[float]) -> Refuse:
    def refusal(url: str, **limits: float) -> str:
        return refusal_of(
            lambda: land_entity(
                extraction,
                CRM_CONTACTS_BRONZE,
                url,
                client_id="cdp",
                client_secret="not-for-real",  # pragma: allowlist secret
                timeout_seconds=2.0,
                limits=Limits(**limits),
            )
        )

    return refusal


@pytest.fixture
def file_refusal(extraction: Extraction, refusal_of: Callable[..., str]) -> Refuse:
    def refusal(folder: Path, contract: Any = EVENTS_BRONZE, **limits: float) -> str:
        return refusal_of(
            lambda: land_files(extraction, contract, str(folder), account_key=None, limits=Limits(**limits))
        )

    return refusal


@pytest.fixture
def serve_bytes() -> Iterator[Callable[..., str]]:
    """Return a function that starts a server without rules: it sends the given pieces, one after the other."""
    listeners = []

    def start(pieces: Callable[[], Iterator[bytes]], pause_seconds: float = 0.0) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.recv(65536)
                        for piece in pieces():
                            connection.sendall(piece)
                            time.sleep(pause_seconds)

        Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/customers.json"

    yield start
    for listener in listeners:
        listener.close()


def names_limit(message: str, limit: str) -> bool:
    return f"nothing was landed; check the source, or raise '{limit}' in the variable 'source_limits'" in message


# Bombs


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", compressed(BOMB)),
        ("deflate", compressed(BOMB, wbits=15)),
        ("deflate", compressed(BOMB, wbits=-15)),
        ("gzip, gzip", compressed(compressed(BOMB))),
        ("gzip", compressed(b" " * LARGE + RECORDS)),
        ("gzip", compressed(RECORDS) + compressed(b" " * 2 * LARGE)),
    ],
    ids=["gzip", "zlib", "deflate", "gzip twice", "white space", "second gzip member"],
)
def test_an_answer_that_expands_too_much_is_refused(serve, api_refusal, encoding: str, body: bytes) -> None:
    assert len(body) < 100_000
    api = serve(body, headers={"Content-Encoding": encoding})
    assert names_limit(api_refusal(api.url), "ratio")
    assert len(api.requests) == 1


def test_a_bomb_needs_little_memory(serve, api_refusal) -> None:
    url = serve(compressed(compressed(b"0" * (64 << 20))), headers={"Content-Encoding": "gzip, gzip"}).url
    tracemalloc.start()
    try:
        api_refusal(url)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("status", [200, 401, 404])
def test_an_answer_that_is_too_large_is_refused(serve, api_refusal, status: int) -> None:
    url = serve(b"[" + b" " * 2_000_000 + b"]", status).url
    assert names_limit(api_refusal(url, megabytes=1), "megabytes")


def endless_chunks() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b" " * 65536 + b"\r\n"


def endless_body() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n["
    while True:
        yield b'{"customer_id": 1},' * 1000


@pytest.mark.parametrize("pieces", [endless_chunks, endless_body], ids=["chunks", "no length"])
def test_an_endless_answer_is_refused(serve_bytes, api_refusal, pieces: Callable[[], Iterator[bytes]]) -> None:
    assert names_limit(api_refusal(serve_bytes(pieces), megabytes=1), "megabytes")


def slow_body() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    while True:
        yield b" "


def slow_chunk() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n"
    while True:
        yield b" "


@pytest.mark.parametrize("pieces", [slow_body, slow_chunk], ids=["body", "chunk"])
def test_an_answer_of_a_byte_at_a_time_is_refused(serve_bytes, api_refusal, pieces) -> None:
    begin = time.monotonic()
    assert names_limit(api_refusal(serve_bytes(pieces, pause_seconds=0.02), hours=0.3 / 3600), "hours")
    assert time.monotonic() - begin < 5


def test_a_record_that_does_not_fit_in_memory_is_refused(serve, api_refusal, monkeypatch) -> None:
    monkeypatch.setattr(pages, "MAX_RECORD_LENGTH", 100_000)
    message = api_refusal(serve(b'[{"note": "' + b"x" * 1_000_000 + b'"}]').url)
    assert "A record of more than 100000 characters begins at character 1" in message


@pytest.mark.parametrize(
    "member",
    [b'"note": "' + b"x" * 3000 + b'"', b",".join(b'"n%d": 1' % n for n in range(1000))],
    ids=["long member", "many members"],
)
def test_members_that_do_not_fit_in_memory_are_refused(serve, api_refusal, monkeypatch, member: bytes) -> None:
    monkeypatch.setattr(pages, "MAX_RECORD_LENGTH", 2000)
    message = api_refusal(serve(b"{" + member + b', "value": ' + RECORDS + b"}").url)
    assert "More than 2000 characters outside the array of records" in message


# Endless pages


def link(number: int) -> dict[str, Any]:
    return {"next": f"/customers.json?page={number}"}


def cursor(number: int) -> dict[str, Any]:
    return {"next_cursor": f"c{number}"}


@pytest.mark.parametrize("next_of", [link, cursor], ids=["link", "cursor"])
@pytest.mark.parametrize("rows", [0, 1], ids=["empty pages", "pages of a row"])
def test_endless_pages_are_refused(serve, api_refusal, next_of: Callable[[int], dict[str, Any]], rows: int) -> None:
    api, numbers = serve(b""), count(1)

    def take(path: str, headers: dict[str, str]) -> Answer:
        number = next(numbers)
        records = [{"customer_id": number}] * rows
        return Answer(json.dumps({"value": records, **next_of(number)}).encode())

    api.take = take
    assert names_limit(api_refusal(api.url, pages=5), "pages")
    assert next(numbers) == 6


def test_endless_numbered_pages_are_refused(serve, api_refusal) -> None:
    api, numbers = serve(b""), count(1)
    api.take = lambda path, headers: Answer(json.dumps([{"customer_id": next(numbers)}]).encode())
    assert names_limit(api_refusal(f"{api.url}?page={{page}}", pages=5), "pages")


@pytest.mark.parametrize("body", [RECORDS, b'{"value": ' + RECORDS + b', "next": "/2"}'], ids=["a page", "pages"])
def test_too_many_rows_are_refused(serve, api_refusal, body: bytes) -> None:
    api = serve(body).at("/2", b'[{"customer_id": 103}, {"customer_id": 104}]')
    assert names_limit(api_refusal(api.url, rows=3 if b"/2" in body else 1), "rows")


def test_an_extraction_that_takes_too_long_is_refused(serve, api_refusal) -> None:
    api, numbers = serve(b""), count(1)

    def take(path: str, headers: dict[str, str]) -> Answer:
        number = next(numbers)
        return Answer(json.dumps({"value": [{"customer_id": number}], **link(number)}).encode(), after_seconds=0.05)

    api.take = take
    assert names_limit(api_refusal(api.url, hours=0.3 / 3600), "hours")


def endless_contacts(api: Api) -> Callable[[str, dict[str, str]], Answer]:
    numbers = count(1)

    def take(path: str, headers: dict[str, str]) -> Answer:
        number = next(numbers)
        records = [{"contactid": f"{number}-{part}", "modifiedon": "2026-01-01T00:00:00Z"} for part in range(10)]
        content = {"value": records, "@odata.nextLink": f"{api.root}/api/data/v9.2/contacts?$skiptoken={number}"}
        return Answer(json.dumps(content).encode())

    return take


@pytest.mark.parametrize(("limit", "most"), [("pages", 4), ("rows", 35), ("hours", 0.000_01)])
def test_endless_crm_pages_are_refused(serve, crm_refusal, limit: str, most: float) -> None:
    api = serve(b"")
    api.take = endless_contacts(api)
    assert names_limit(crm_refusal(api.root, **{limit: most}), limit)


def test_a_sign_in_answer_that_is_too_large_is_refused(serve, crm_refusal) -> None:
    api = serve()
    challenge = f'Bearer authorization_uri="{api.root}/t/oauth2/v2.0/authorize"'
    api.then(b"", 401, {"WWW-Authenticate": challenge}).at("/t/oauth2/v2.0/token", b" " * 1_100_000)
    assert "Sign-in" in (message := crm_refusal(api.root))
    assert "has more than 1 MB of decompressed data" in message


# Files


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", compressed(b"{}\n" * (LARGE // 2))),
        ("a.jsonl.gz", compressed(b"\n" * 2 * LARGE)),
        ("a.jsonl.gz", compressed(b"{}\n") + compressed(b" " * 2 * LARGE)),
        ("a.jsonl", compressed(b"\n" * 2 * LARGE)),
        ("a.csv.gz", compressed(b"event_id,event_type,occurred_at\n" + b"1,2,3\n" * (LARGE // 3))),
        ("a.csv.gz", compressed(b"\n" * 2 * LARGE)),
    ],
    ids=["short rows", "blank lines", "second gzip member", "no suffix", "CSV rows", "blank CSV lines"],
)
def test_a_file_that_expands_too_much_is_refused(tmp_path, file_refusal, name: str, content: bytes) -> None:
    assert len(content) < 200_000
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert names_limit(file_refusal(folder), "ratio")


@pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzip"])
def test_a_file_that_is_too_large_is_refused(tmp_path, file_refusal, suffix: str) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    content = b'{"event_id": "e1"}\n' * 100_000
    (folder / f"a.jsonl{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    assert names_limit(file_refusal(folder, megabytes=1), "megabytes")


def test_too_many_rows_in_several_files_are_refused(tmp_path, file_refusal) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jsonl").write_bytes(b'{"event_id": "%d-1"}\n{"event_id": "%d-2"}\n' % (number, number))
    assert names_limit(file_refusal(folder, rows=5), "rows")


def test_files_that_take_too_long_are_refused(tmp_path, file_refusal) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "2026-01.csv").write_bytes(b"month,channel,amount\n2026-01,email,1\n")
    assert names_limit(file_refusal(folder, MARKETING_SPEND_BRONZE, hours=1e-12), "hours")


def test_a_bomb_instead_of_exchange_rates_is_refused(tmp_path, extraction, refusal_of) -> None:
    path = tmp_path / "rates.csv"
    path.write_bytes(compressed(b"month,currency,rate\n" + b"2026-01,EUR,1\n" * (LARGE // 7)))
    message = refusal_of(
        lambda: land_exchange_rates(
            extraction, EXCHANGE_RATES_BRONZE, str(path), reporting_currency="EUR", account_key=None
        )
    )
    assert names_limit(message, "ratio")


# Lies


@pytest.mark.parametrize(
    ("body", "status", "options", "reason"),
    [
        (RECORDS, 206, {}, "returned 206"),
        (RECORDS, 203, {}, "returned 203"),
        (RECORDS, 202, {}, "returned 202"),
        (b"", 204, {}, "returned 204"),
        (RECORDS, 304, {}, "returned 304"),
        (RECORDS, 200, {"missing_bytes": 5}, "the response is incomplete"),
        (RECORDS[:-1], 200, {}, "valid JSON"),
        (b"[]", 200, {}, "returned an empty array"),
        (b"<html>", 200, {}, "a web page"),
        (RECORDS, 200, {"headers": {"Content-Encoding": "gzip"}}, "not compressed as its header says"),
        (RECORDS, 200, {"headers": {"Content-Encoding": "br"}}, "compressed with br, but only gzip, deflate"),
        (RECORDS, 200, {"headers": {"Content-Encoding": "gzip, zstd"}}, "compressed with zstd, but only"),
        (b'{"value": ' + RECORDS + b', "total": 3}', 200, {}, "reports 3 records but returned 2"),
        (b'{"value": ' + RECORDS + b', "has_more": true}', 200, {}, "more records than it returned"),
        (b'{"value": ' + RECORDS + b', "next": "/customers.json"}', 200, {}, "a link to an earlier page"),
        (b'{"value": ' + RECORDS + b', "next": "/customers.json?x"}', 200, {}, "the same page twice"),
        (b'{"value": ' + RECORDS + b', "next": ["/2"]}', 200, {}, "more than one array"),
        (b'{"value": ' + RECORDS + b', "next": {"href": 7}}', 200, {}, "not a string"),
    ],
    ids=[
        "partial", "changed by a proxy", "not ready", "no content", "not modified", "cut off", "cut off JSON", "empty",
        "web page", "not compressed", "brotli", "zstandard", "total", "more", "circle", "same page",
        "array of links", "number as link",
    ],
)  # fmt: skip
def test_a_lying_answer_is_refused(serve, api_refusal, body: bytes, status: int, options: Any, reason: str) -> None:
    assert reason in api_refusal(serve(body, status, **options).url)


# Limits


@pytest.mark.parametrize(
    "text",
    ["rows", "rows=", "rows=many", "rows=0", "rows=-1", "rows=nan", "rows=inf", "gigabytes=1", "rows=1 rows=2", "=1"],
)
def test_a_limit_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(CdpError, match="^Parameter 'source_limits' contains '.*': write each limit once") as refused:
        Limits.parse(text)
    assert "megabytes, ratio, rows, pages, hours" in str(refused.value)
