import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from uuid import uuid4

import pytest
from urllib3.util import retry

from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Landing, Manifest
from cdp_lib.sources.rest_api import RETRIES, land_json_array, split_json_array

ANSWER = b'[{"customer_id": 101, "country": "Egypt"}, {"customer_id": 102, "email": "b@example.com"}]'
RECORDS = json.loads(ANSWER)


@dataclass
class Answer:
    body: bytes = ANSWER
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing_bytes: int = 0
    after_seconds: float = 0.0


@dataclass
class Api:
    """A web server that gives its answers one after the other, and the last one for ever."""

    url: str
    answers: list[Answer]
    requests: list[dict[str, str]] = field(default_factory=list)
    closing: Event = field(default_factory=Event)


@pytest.fixture
def serve() -> Iterator[Callable[..., Api]]:
    running: list[tuple[ThreadingHTTPServer, Api]] = []

    def start(*answers: Answer) -> Api:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.requests.append(dict(self.headers))
                answer = api.answers.pop(0) if len(api.answers) > 1 else api.answers[0]
                api.closing.wait(answer.after_seconds)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body) + answer.missing_bytes))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        api = Api(f"http://127.0.0.1:{server.server_port}/customers.json", list(answers))
        running.append((server, api))
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return api

    yield start
    for server, api in running:
        api.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds waited between attempts, which here take no time."""
    seconds: list[float] = []
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=seconds.append, time=time.time))
    return seconds


@pytest.fixture
def land(extraction: Extraction, waits: list[float]) -> Callable[..., list[Manifest]]:
    def land(url: str, token: str | None = None, timeout_seconds: float = 2.0) -> list[Manifest]:
        return land_json_array(extraction, "customers", url, token=token, timeout_seconds=timeout_seconds)

    return land


@pytest.fixture
def refusal(land: Callable[..., list[Manifest]], landed: Path) -> Callable[..., str]:
    """The message of an attempt that lands nothing."""

    def refusal(url: str, **options: object) -> str:
        with pytest.raises(CdpError) as refused:
            land(url, **options)
        message = str(refused.value)
        assert url in message
        assert len(message.splitlines()) == 1
        assert len(message) < 300
        assert not [word for word in ("Traceback", "object at 0x", "HTTPConnectionPool") if word in message]
        assert not landed.exists()
        return message

    return refusal


def lines_of(landed: Path) -> list[str]:
    text = (landed / "customers/b1/data/part-00000.jsonl").read_bytes().decode()
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def test_an_array_is_landed_as_received_and_as_one_record_a_line(serve, land, landed) -> None:
    [manifest] = land(serve(Answer()).url)
    assert (landed / "customers/b1/received/answer.json").read_bytes() == ANSWER
    assert lines_of(landed) == [
        '{"customer_id": 101, "country": "Egypt"}',
        '{"customer_id": 102, "email": "b@example.com"}',
    ]
    assert (manifest.rows, manifest.format) == (2, "jsonl")
    assert manifest.columns == ("country", "customer_id", "email")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS, indent=2),
        json.dumps([{"a": {"b": [1, {"c": "}, {"}]}, "d": "] ["}], indent="\t"),
        json.dumps([{"name": "Zoë ﷺ 😀 नूर"}], ensure_ascii=False),
        r'[{"name": "Zo\u00eb \ud83d\ude00", "lone": "\ud800"}]',
        r'[{"name": "two\nlines\r\n\ttabbed \"quoted\" \\n"}]',
        '[{"name": "line\u2028paragraph\u2029next\u0085end"}, {"name": "second"}]',
        '[\r\n {"a":\r 1.10},\n\n {"a": 1e400, "b": 12345678901234567890123.45} ]',
        '\n [ {"a": null}, [1, [2]], "text", 3, true, null, {} ] \n',
        '[{"a": 1, "a": 2}]',
    ],
    ids=[
        "pretty-printed",
        "nested",
        "unicode",
        "escaped unicode",
        "escaped line breaks",
        "U+2028",
        "numbers",
        "no objects",
        "name twice",
    ],
)
def test_every_record_is_one_line_that_means_the_same(serve, land, landed, text: str) -> None:
    [manifest] = land(serve(Answer(text.encode())).url)
    lines = lines_of(landed)
    assert [json.loads(line) for line in lines] == json.loads(text)
    assert manifest.rows == len(lines)
    assert (landed / "customers/b1/received/answer.json").read_bytes() == text.encode()


def test_numbers_keep_the_digits_they_came_with(serve, land, landed) -> None:
    land(serve(Answer(b'[{"price": 1.10, "id": 12345678901234567890.50, "x": 1E5}]')).url)
    assert lines_of(landed) == ['{"price": 1.10, "id": 12345678901234567890.50, "x": 1E5}']


def test_a_byte_order_mark_is_kept_in_the_answer_and_not_in_the_records(serve, land, landed) -> None:
    land(serve(Answer(b"\xef\xbb\xbf" + ANSWER)).url)
    assert (landed / "customers/b1/received/answer.json").read_bytes() == b"\xef\xbb\xbf" + ANSWER
    assert [json.loads(line) for line in lines_of(landed)] == RECORDS


def test_a_compressed_answer_is_landed_uncompressed(serve, land, landed) -> None:
    land(serve(Answer(gzip.compress(ANSWER), headers={"Content-Encoding": "gzip"})).url)
    assert (landed / "customers/b1/received/answer.json").read_bytes() == ANSWER


def test_an_earlier_attempt_of_the_run_is_not_asked_for_again(serve, land) -> None:
    api = serve(Answer(), Answer(b"[]"))
    assert land(api.url) == land(api.url)
    assert len(api.requests) == 1


def test_a_redirect_is_followed(serve, land) -> None:
    target = serve(Answer())
    [manifest] = land(serve(Answer(b"", 302, {"Location": target.url})).url)
    assert manifest.rows == 2


def test_redirects_in_a_circle_are_an_error(serve, refusal) -> None:
    message = refusal(serve(Answer(b"", 301, {"Location": "/customers.json"})).url)
    assert "30 redirects" in message


def test_the_token_is_sent_as_a_bearer_token(serve, land) -> None:
    token = uuid4().hex
    api = serve(Answer())
    land(api.url, token=token)
    assert api.requests[0]["Authorization"] == f"Bearer {token}"


def test_without_a_token_no_authorization_is_sent(serve, land) -> None:
    api = serve(Answer())
    land(api.url)
    assert "Authorization" not in api.requests[0]


@pytest.mark.parametrize("status", [401, 403])
def test_an_api_that_refuses_the_token_names_the_secret_and_never_shows_it(serve, refusal, status: int) -> None:
    token = uuid4().hex
    api = serve(Answer(f"wrong token {token}".encode(), status))
    message = refusal(api.url, token=token)
    assert f"refused access ({status})" in message
    assert "'api_token'" in message
    assert token not in message
    assert len(api.requests) == 1


@pytest.mark.parametrize("ending", ["\n", "\r\nX-Other: 1", "\u2026", "\x00"])
def test_a_token_that_no_header_can_hold_is_an_error_that_does_not_show_it(serve, land, landed, ending: str) -> None:
    token = uuid4().hex
    with pytest.raises(CdpError, match="Secret 'api_token' can't be sent") as refused:
        land(serve(Answer()).url, token=token + ending)
    assert token not in str(refused.value)
    assert not landed.exists()


def test_the_token_is_not_sent_to_another_host_that_is_redirected_to(serve, land) -> None:
    target = serve(Answer())
    elsewhere = target.url.replace("127.0.0.1", "localhost")
    land(serve(Answer(b"", 302, {"Location": elsewhere})).url, token=uuid4().hex)
    assert "Authorization" not in target.requests[0]


def test_an_address_that_is_not_there_is_an_error(serve, refusal) -> None:
    api = serve(Answer(b"nothing here", 404))
    assert "answered 404 Not Found" in refusal(api.url)
    assert len(api.requests) == 1


def test_too_many_requests_are_tried_again_after_the_time_the_api_asks_for(serve, land, waits) -> None:
    api = serve(Answer(b"slow down", 429, {"Retry-After": "0"}), Answer())
    [manifest] = land(api.url)
    assert manifest.rows == 2
    assert len(api.requests) == 2
    assert waits == []


def test_the_time_an_api_asks_to_wait_is_bounded(serve, land, waits) -> None:
    land(serve(Answer(b"", 429, {"Retry-After": "86400"}), Answer(b"", 503, {"Retry-After": "7"}), Answer()).url)
    assert waits == [60, 7]


def test_a_wait_that_cannot_be_read_is_an_error(serve, refusal) -> None:
    assert "Retry-After" in refusal(serve(Answer(b"", 503, {"Retry-After": "soon"})).url)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_api_that_is_down_for_a_while_is_asked_again_with_growing_waits(serve, land, waits, status: int) -> None:
    api = serve(*(Answer(b"", status) for _ in range(3)), Answer())
    [manifest] = land(api.url)
    assert manifest.rows == 2
    assert len(api.requests) == 4
    assert waits == [1, 2]


def test_an_api_that_stays_down_is_an_error_after_bounded_retries(serve, refusal, waits) -> None:
    api = serve(Answer(b"", 503))
    assert "answered 503 Service Unavailable" in refusal(api.url)
    assert len(api.requests) == 1 + RETRIES
    assert waits == [1, 2, 4]


def test_an_api_that_is_too_slow_is_asked_twice_and_is_an_error(serve, refusal) -> None:
    api = serve(Answer(after_seconds=5))
    started = time.monotonic()
    assert "no answer within 0.3 seconds" in refusal(api.url, timeout_seconds=0.3)
    assert len(api.requests) == 2
    assert time.monotonic() - started < 2


def test_nobody_listening_is_an_error(refusal, waits) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert "Connection refused" in refusal(f"http://127.0.0.1:{port}/customers.json")
    assert waits == [1, 2, 4]


def test_an_answer_whose_end_is_missing_is_an_error(serve, refusal) -> None:
    assert "the answer is cut off" in refusal(serve(Answer(missing_bytes=10)).url)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html><body>Sign in</body></html>", "did not answer with JSON"),
        (ANSWER[:-7], "did not answer with JSON"),
        (b"", "did not answer with JSON (0 bytes"),
        (ANSWER + b"]", "did not answer with JSON"),
        (ANSWER + b"\xff", "did not answer with JSON"),
        (b"[" * 100_000, "did not answer with JSON"),
        (b'{"error": "quota"}', "a JSON dict"),
        (b'"text"', "a JSON str"),
        (b"null", "a JSON NoneType"),
        (b"[]", "an empty array"),
        (b" [ \n ] ", "an empty array"),
    ],
    ids=lambda value: value[:20].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_an_answer_that_is_no_array_of_records_is_an_error(serve, refusal, body: bytes, reason: str) -> None:
    assert reason in refusal(serve(Answer(body)).url)


def test_a_body_that_is_not_compressed_as_promised_is_an_error(serve, refusal) -> None:
    assert "can't be read" in refusal(serve(Answer(ANSWER, headers={"Content-Encoding": "gzip"})).url)


@pytest.mark.parametrize("url", ["customers.json", "ftp://example.com/customers.json", "http://", "http://a b/", "//"])
def test_what_is_no_web_address_is_an_error(refusal, url: str) -> None:
    assert "can't be read" in refusal(url)


def test_a_landing_location_that_cannot_be_written_is_an_error(serve, extraction, tmp_path) -> None:
    (tmp_path / "landing").write_text("a file where a folder is wanted")
    with pytest.raises(CdpError, match="Landing location .* can't be written"):
        land_json_array(extraction, "customers", serve(Answer()).url, token=None, timeout_seconds=2)


def test_split_json_array_keeps_each_record_as_it_was_written() -> None:
    records = split_json_array(b'[ {"a":1.0} ,\n[1 , 2],"x" ]', "http://example.com")
    assert list(records) == [('{"a":1.0}', {"a": 1.0}), ("[1 , 2]", [1, 2]), ('"x"', "x")]


def test_an_answer_with_the_same_records_makes_no_new_batch(serve, landing: Landing, extraction, waits) -> None:
    url = serve(Answer()).url
    [first] = land_json_array(extraction, "customers", url, token=None, timeout_seconds=2)
    next_run = Extraction(landing, "source", "b2", extraction.extracted_at)
    assert land_json_array(next_run, "customers", url, token=None, timeout_seconds=2) == [first]
