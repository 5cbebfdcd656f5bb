"""A client for sources on the web: patient within bounds, and careful with whom it tells a token."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry, parse_url

from cdp_lib.errors import CdpError

RETRIES = 4
"""Attempts after the first, on a refused connection, on 429 and on 5xx; waits 0, 1, 2 and 4 seconds."""

LONGEST_WAIT_SECONDS = 60
"""Bound of one wait between attempts, whatever `Retry-After` asks for."""

BODY_ATTEMPTS = 3
"""How often an answer is asked for whose body breaks off."""

_IN_MEMORY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_LONGEST_QUOTE = 200
_PORTS = {"http": 80, "https": 443}
_BROKE_OFF = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)


@dataclass(frozen=True)
class Answer:
    """An answer that has arrived whole.

    Attributes:
        url: Where it came from in the end: what its links are relative to.
        status: HTTP status.
        reason: The status in words.
        headers: Headers, whatever their case.
        body: The body, decompressed; beyond a size it is on disk.
    """

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: IO[bytes]


class HttpClient:
    """Reads from one server. Close it, or use `with`."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        secrets: str,
        timeout_seconds: float,
        authorization: str | None = None,
        renew: Callable[[str], str] | None = None,
    ) -> None:
        """Open a client.

        Args:
            name: What messages call the server.
            address: An address on the server: the only one that is asked, and that gets the authorization.
            secrets: The secrets to check when access is refused, as messages put it.
            timeout_seconds: Seconds to wait for a connection and between two bytes of an answer.
            authorization: Header `Authorization`, None to begin without.
            renew: Makes a new one from the challenge (`WWW-Authenticate`) of an answer 401; None where there is no
                other to be had.
        """
        self._name = name
        self._origin = _origin(address)
        self._secrets = secrets
        self._timeout_seconds = timeout_seconds
        self._authorization = authorization
        self._renew = renew
        self._session = requests.Session()
        retry = Retry(
            total=RETRIES,
            read=1,  # a slow source is asked twice, not five times
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "POST"),  # all that is posted is a sign-in, which may be repeated
            raise_on_status=False,
            retry_after_max=LONGEST_WAIT_SECONDS,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def __enter__(self) -> Self:
        """Use the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close its connections."""
        self._session.close()

    def name_of(self, url: str) -> str:
        """The server and an address as messages show them: a query or a user may be a secret."""
        return f"{self._name} {re.sub(r'//[^/]*@', '//', url.split('?')[0])}"

    @contextmanager
    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        raising: Mapping[int, type[Exception]] | None = None,
    ) -> Iterator[Answer]:
        """Read an answer; its body is gone when the `with` ends.

        Args:
            url: Address to read.
            headers: Headers besides `Authorization`.
            raising: What a status raises instead of a `CdpError`.

        Raises:
            CdpError: The address is on another server, there is no answer, one that is cut off time and again, or
                one that is not 2xx.
        """
        if _origin(url) != self._origin:
            raise CdpError(f"{self.name_of(url)} is on another server than the one configured: it is not asked.")
        answer = self._ask("GET", url, headers)
        # Whoever an answer was redirected to may not say where to sign in.
        if answer.status == 401 and self._renew and _origin(answer.url) == self._origin:
            answer.body.close()
            self._authorization = self._renew(answer.headers.get("WWW-Authenticate", ""))
            answer = self._ask("GET", url, headers)
        with answer.body:
            if raising and answer.status in raising:
                raise raising[answer.status]
            self._check(answer, url, refusals=(401, 403))
            yield answer

    @contextmanager
    def post(self, url: str, form: Mapping[str, str]) -> Iterator[Answer]:
        """Send a form, nowhere but to the address.

        Args:
            url: Address to send it to.
            form: Values by field.

        Raises:
            CdpError: There is no answer, or one that is not 2xx.
        """
        answer = self._ask("POST", url, None, form)
        with answer.body:
            self._check(answer, url, refusals=(400, 401, 403), hidden=tuple(form.values()))
            yield answer

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None, form: Mapping[str, str] | None = None
    ) -> Answer:
        if self._authorization and not (self._authorization.isascii() and self._authorization.isprintable()):
            # The library below would quote it in its error.
            raise CdpError(
                f"{self.name_of(url)} can't be asked: the token has a character, maybe a line break, that no header"
                f" may have; check {self._secrets}."
            )
        attempts = BODY_ATTEMPTS
        try:
            while True:
                with self._session.request(
                    method,
                    url,
                    headers={"Accept": "application/json", **(headers or {})},
                    data=form,
                    auth=self._authorize if self._authorization else None,
                    stream=True,
                    timeout=self._timeout_seconds,
                    allow_redirects=form is None,  # a form would be sent on
                ) as response:
                    try:
                        return _received(response)
                    except _BROKE_OFF:
                        attempts -= 1
                        if not attempts:
                            raise
        except OSError as error:  # all errors of requests are
            raise CdpError(f"{self.name_of(url)} can't be read: {_reason(error, self._timeout_seconds)}.") from error

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization or ""
        return request

    def _check(self, answer: Answer, url: str, refusals: tuple[int, ...], hidden: tuple[str, ...] = ()) -> None:
        if 200 <= answer.status < 300:
            return
        said = _said(answer.body, (*hidden, *(self._authorization or "").split()[-1:]))
        if answer.status in refusals:
            raise CdpError(f"{self.name_of(url)} refused access ({answer.status}{said}): check {self._secrets}.")
        raise CdpError(
            f"{self.name_of(url)} answered {answer.status} {answer.reason}{said}: check the address and the server."
        )


def is_confidential(url: str) -> bool:
    """Whether what is sent to an address can be read by nobody on the way."""
    origin = _origin(url)
    return origin is not None and (origin[0] == "https" or is_loopback(url))


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    return host_of(url) in ("localhost", "127.0.0.1", "[::1]")


def host_of(url: str) -> str | None:
    """The host that is asked for an address, in small letters; None where there is none."""
    origin = _origin(url)
    return origin[1] if origin else None


def _origin(url: str) -> tuple[str, str | None, int] | None:
    """Scheme, host and port of an address: what makes two addresses the same server's; None of what is none."""
    try:
        parts = parse_url(url)  # as the client itself does it: others find another host in `//one\@other`
    except ValueError:
        return None
    if parts.scheme not in _PORTS:
        return None
    return parts.scheme, parts.host, parts.port or _PORTS[parts.scheme]


def _received(response: requests.Response) -> Answer:
    """Wait for the whole body: whoever reads it then can't be left with half of it."""
    body = SpooledTemporaryFile(_IN_MEMORY_BYTES)
    try:
        for chunk in response.iter_content(_CHUNK_BYTES):
            body.write(chunk)
        body.seek(0)
    except BaseException:
        body.close()
        raise
    return Answer(response.url, response.status_code, response.reason, response.headers, body)


def _said(body: IO[bytes], hidden: tuple[str, ...]) -> str:
    """The message in an error's body, as OData and OAuth give it, unless it repeats a secret."""
    try:
        content = json.loads(body.read(_IN_MEMORY_BYTES))
    except (ValueError, RecursionError):
        return ""
    content = content if isinstance(content, dict) else {}
    error = content.get("error")
    message = error.get("message") if isinstance(error, dict) else content.get("error_description")
    if not isinstance(message, str) or any(secret and secret in message for secret in hidden):
        return ""
    return f": {message.strip()[:_LONGEST_QUOTE].splitlines()[0].rstrip('.')}" if message.strip() else ""


def _reason(error: OSError, timeout_seconds: float) -> str:
    """Why there was no answer, without the layers of exceptions around it."""
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"no answer within {timeout_seconds:g} seconds"
    if isinstance(
        error,
        requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | requests.exceptions.InvalidSchema,
    ):
        return "this is no web address"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer is cut off"
    if isinstance(error, requests.exceptions.InvalidHeader):
        return str(error)
    cause: Any = getattr(error.args[0], "reason", error) if error.args else error
    return str(cause).rsplit(": ", 1)[-1].rstrip(".")
