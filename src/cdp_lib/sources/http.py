"""HTTP client of the sources. It limits the number of retries, and sends the token only to the configured server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self
from urllib.parse import unquote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry, parse_url

from cdp_lib.errors import CdpError
from cdp_lib.source_address import SourceAddress

MAX_RETRIES = 4
"""Maximum number of retries after a refused connection, or after a response with status 429, 500, 502, 503 or 504. The
waits are 0, 1, 2 and 4 seconds."""

MAX_WAIT_SECONDS = 60
"""Maximum wait before a retry, even if `Retry-After` is longer."""

MAX_BODY_ATTEMPTS = 3
"""Maximum number of attempts to get a complete response body. A request is sent again if the body is cut off."""

_IN_MEMORY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_MAX_QUOTE_LENGTH = 200
_PORTS = {"http": 80, "https": 443}
_BODY_ERRORS = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)


@dataclass(frozen=True)
class Answer:
    """A complete response.

    Attributes:
        url: Address after redirects. Links in the response are relative to this address.
        status: HTTP status code.
        reason: Text of the status, such as `Not Found`.
        headers: Headers, case-insensitive.
        body: Body of the response, decompressed. A large body is on disk.
    """

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: IO[bytes]


class HttpClient:
    """HTTP client of one server. Use it in a `with` statement, which closes its connections."""

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
            name: Name of the server in messages.
            address: An address on the server. `get` sends requests and the authorization only to this server.
            secrets: Names of secrets. If access is refused, the error message asks the user to check these secrets.
            timeout_seconds: Maximum time in seconds to wait for a connection, and between two bytes of a response.
            authorization: Value of the header `Authorization`. None to send the first request without the header.
            renew: Function that is called after a response with status 401. Its argument is the value of the header
                `WWW-Authenticate`, and its result is the new value of the header `Authorization`. None if the
                authorization can't be renewed.
        """
        self._name = name
        self._origin = _origin(address)
        self._secrets = secrets
        self._timeout_seconds = timeout_seconds
        self._authorization = authorization
        self._renew = renew
        self._session = requests.Session()
        retry = Retry(
            total=MAX_RETRIES,
            read=1,  # one retry after a read timeout, instead of four
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "POST"),  # POST is used only for sign-ins, which may be repeated
            raise_on_status=False,
            retry_after_max=MAX_WAIT_SECONDS,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connections."""
        self._session.close()

    def label_of(self, url: str) -> str:
        """Return a text for messages: the name of the server, and an address.

        The query string and the user name of the address may be secret, so they are left out.
        """
        return f"{self._name} {re.sub(r'//[^/]*@', '//', url.split('?')[0])}"

    @contextmanager
    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        status_errors: Mapping[int, type[Exception]] | None = None,
    ) -> Iterator[Answer]:
        """Send a GET request, and return the response. The body of the response is closed when the `with` ends.

        Args:
            url: Address to read.
            headers: Headers in addition to `Authorization`.
            status_errors: Exceptions to raise instead of a `CdpError`, by HTTP status code.

        Raises:
            CdpError: The address is on another server, no response arrives, the response is cut off in each attempt, or
                the status is not 200. Other successful statuses are errors too: the content is missing (204), partial
                (206), not ready yet (202), or changed by a proxy (203).
        """
        if _origin(url) != self._origin:
            raise CdpError(
                f"{self.label_of(url)} is on another server than the configured address: no request was sent."
            )
        answer = self._ask("GET", url, headers)
        # After a redirect, the response may come from another server. That server must not choose where to sign in.
        if answer.status == 401 and self._renew and _origin(answer.url) == self._origin:
            answer.body.close()
            self._authorization = self._renew(answer.headers.get("WWW-Authenticate", ""))
            answer = self._ask("GET", url, headers)
        with answer.body:
            if status_errors and answer.status in status_errors:
                raise status_errors[answer.status]
            self._check(answer, url, refusals=(401, 403))
            yield answer

    @contextmanager
    def post(self, url: str, form: Mapping[str, str]) -> Iterator[Answer]:
        """Send a form to an address. Do not follow redirects.

        Args:
            url: Address to send the form to.
            form: Values of the form by field name.

        Raises:
            CdpError: No response arrives, or the status is not 200.
        """
        answer = self._ask("POST", url, None, form)
        with answer.body:
            self._check(answer, url, refusals=(400, 401, 403), hidden=tuple(form.values()))
            yield answer

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None, form: Mapping[str, str] | None = None
    ) -> Answer:
        if self._authorization and not (self._authorization.isascii() and self._authorization.isprintable()):
            # The library `requests` would quote the token in its error.
            raise CdpError(
                f"{self.label_of(url)} can't be requested: the token has a character that is not allowed in a header,"
                f" such as a line break; check {self._secrets}."
            )
        attempts = MAX_BODY_ATTEMPTS
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
                    allow_redirects=form is None,  # a redirect would send the secrets in the form to another address
                ) as response:
                    try:
                        return _read_body(response)
                    except _BODY_ERRORS:
                        attempts -= 1
                        if not attempts:
                            raise
        except OSError as error:  # the base class of all errors of `requests`
            reason = _connection_error_reason(error, self._timeout_seconds)
            raise CdpError(f"{self.label_of(url)} can't be read: {reason}.") from error

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization or ""
        return request

    def _check(self, answer: Answer, url: str, refusals: tuple[int, ...], hidden: tuple[str, ...] = ()) -> None:
        if answer.status == requests.codes.ok:
            return
        detail = _error_message_in(answer.body, (*hidden, *(self._authorization or "").split()[-1:]))
        if answer.status in refusals:
            raise CdpError(f"{self.label_of(url)} refused access ({answer.status}{detail}): check {self._secrets}.")
        expected = ", but only 200 means a complete response" if 200 < answer.status < 400 else ""
        raise CdpError(
            f"{self.label_of(url)} returned {answer.status} {answer.reason}{detail}{expected}: check the address and"
            " the server."
        )


def is_confidential(url: str) -> bool:
    """Return whether requests to an address are encrypted, or stay on this machine."""
    origin = _origin(url)
    return origin is not None and (origin[0] == "https" or is_loopback(url))


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine."""
    return host_of(url) in ("localhost", "127.0.0.1", "[::1]")


def host_of(url: str) -> str | None:
    """Return the host of an address in lower case, or None if the address has no host."""
    origin = _origin(url)
    return origin[1] if origin else None


def address_of(kind: str, url: str) -> SourceAddress:
    """Return the source address of a web service.

    Args:
        kind: Kind of the source.
        url: Address of the service. Its scheme, user name, password and query string are left out.

    >>> str(address_of("api", "https://user@Shop.example.com:443/customers/{page}?key=secret"))
    'api shop.example.com/customers/{page}'
    """
    try:
        parts = parse_url(url)
    except ValueError:
        return SourceAddress(kind)
    is_default_port = parts.port == _PORTS.get(parts.scheme or "")
    port = f":{parts.port}" if parts.port and not is_default_port else ""
    return SourceAddress(kind, host=f"{parts.host or ''}{port}", path=unquote(parts.path or "").rstrip("/"))


def _origin(url: str) -> tuple[str, str | None, int] | None:
    """Return the scheme, host and port of an address, or None if the address is not a web address.

    Scheme, host and port identify the server of the address.
    """
    try:
        parts = parse_url(url)  # parse as `requests` does: other parsers find another host in `//one\@other`
    except ValueError:
        return None
    if parts.scheme not in _PORTS:
        return None
    return parts.scheme, parts.host, parts.port or _PORTS[parts.scheme]


def _read_body(response: requests.Response) -> Answer:
    """Read the whole body of a response, so that the caller never processes an incomplete body."""
    body = SpooledTemporaryFile(_IN_MEMORY_BYTES)
    try:
        for chunk in response.iter_content(_CHUNK_BYTES):
            body.write(chunk)
        body.seek(0)
    except BaseException:
        body.close()
        raise
    return Answer(response.url, response.status_code, response.reason, response.headers, body)


def _error_message_in(body: IO[bytes], hidden: tuple[str, ...]) -> str:
    """Return the message of an OData or OAuth error, or an empty string if the message contains a secret."""
    try:
        content = json.loads(body.read(_IN_MEMORY_BYTES))
    except (ValueError, RecursionError):
        return ""
    content = content if isinstance(content, dict) else {}
    error = content.get("error")
    message = error.get("message") if isinstance(error, dict) else content.get("error_description")
    if not isinstance(message, str) or any(secret and secret in message for secret in hidden):
        return ""
    return f": {message.strip()[:_MAX_QUOTE_LENGTH].splitlines()[0].rstrip('.')}" if message.strip() else ""


def _connection_error_reason(error: OSError, timeout_seconds: float) -> str:
    """Return in a few words why no response arrived. Exceptions that only wrap the reason are left out."""
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return f"no response within {timeout_seconds:g} seconds"
    if isinstance(
        error,
        requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | requests.exceptions.InvalidSchema,
    ):
        return "this is not a web address"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the response is incomplete"
    if isinstance(error, requests.exceptions.InvalidHeader):
        return str(error)
    cause: Any = getattr(error.args[0], "reason", error) if error.args else error
    return str(cause).rsplit(": ", 1)[-1].rstrip(".")
