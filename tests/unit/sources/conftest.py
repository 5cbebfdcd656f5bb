"""Fixtures: a landing for the source under test, and a web server for sources that are read over HTTP."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Self

import pytest
from urllib3.util import retry

from cdp_lib.landing import Extraction, Landing


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    """An empty landing."""
    return Landing(str(tmp_path / "landing"))


@pytest.fixture
def extraction(landing: Landing) -> Extraction:
    """The extraction of one run."""
    return landing.extraction("source", "20260131T000001Z-1", datetime(2026, 1, 31, tzinfo=UTC))


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """Folder with the landed batches of the source, by entity."""
    return tmp_path / "landing" / "source"


@dataclass
class Answer:
    """A response of the web server.

    Attributes:
        body: Body of the response.
        status: HTTP status code.
        headers: Headers in addition to Content-Length.
        missing_bytes: Number of bytes by which the body is shorter than Content-Length.
        is_reset: Whether the connection is reset after half of the body.
        after_seconds: Time in seconds until the response begins.
        meanwhile: Function called before the response begins.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing_bytes: int = 0
    is_reset: bool = False
    after_seconds: float = 0.0
    meanwhile: Callable[[], object] = lambda: None


class Api:
    """A web server that sends its responses one after the other. After the last response, it sends this response again.

    Attributes:
        url: Address of the records.
        requests: Headers of each received request.
        paths: Path and query of each received request.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.url = f"{root}/customers.json"
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.closing = Event()
        self._answers: list[Answer] = []
        self._answers_by_path: dict[str, list[Answer]] = {}

    def then(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None, **options: object) -> Self:
        """Add a response after the others."""
        self._answers.append(Answer(body, status, headers or {}, **options))
        return self

    def at(
        self, path: str, body: bytes, status: int = 200, headers: dict[str, str] | None = None, **options: object
    ) -> Self:
        """Add a response for requests to one path with query."""
        self._answers_by_path.setdefault(path, []).append(Answer(body, status, headers or {}, **options))
        return self

    def take(self, path: str, headers: dict[str, str]) -> Answer:
        """Record a request, and return the response."""
        self.requests.append(headers)
        self.paths.append(path)
        answers = self._answers_by_path.get(path, self._answers) or [Answer(b"no such page", 404)]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def serve() -> Iterator[Callable[..., Api]]:
    """Return a function that starts a web server. The arguments of the function describe the first response."""
    running: list[tuple[ThreadingHTTPServer, Api]] = []

    def start(*answer: object, **options: object) -> Api:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = api.take(self.path, dict(self.headers))
                answer.meanwhile()
                api.closing.wait(answer.after_seconds)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 304:
                    self.send_header("Content-Length", str(len(answer.body) + answer.missing_bytes))
                self.end_headers()
                if answer.is_reset:
                    self.wfile.write(answer.body[: len(answer.body) // 2])
                    # SO_LINGER of 0 seconds resets the connection at close. An open `rfile` would prevent the close.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.rfile.close()
                    self.connection.close()
                else:
                    with suppress(ConnectionError):  # a client may hang up after its timeout
                        self.wfile.write(answer.body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        api = Api(f"http://127.0.0.1:{server.server_port}")
        if answer or options:
            api.then(*answer, **options)
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
    """Durations in seconds of the waits between attempts. The tests do not actually wait."""
    seconds: list[float] = []
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=seconds.append, time=time.time))
    return seconds
