"""HTTP client of the sources.

It limits the number of retries, of redirects and of bytes, and sends the token only to the configured server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self
from urllib.parse import unquote, urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError, ReadTimeoutError
from urllib3.util import Retry, parse_url

from cdp_lib.errors import CdpError
from cdp_lib.limits import Limits, Meter
from cdp_lib.redaction import Redactor, redact_logs
from cdp_lib.source_address import SourceAddress

MAX_RETRIES = 4
"""Maximum number of retries after a refused connection, or after a response with status 429, 500, 502, 503 or 504. The
waits are 0, 1, 2 and 4 seconds."""

MAX_WAIT_SECONDS = 60
"""Maximum wait before a retry, even if `Retry-After` is longer."""

MAX_BODY_ATTEMPTS = 3
"""Maximum number of attempts to get a complete response body. A request is sent again if the body is cut off."""

MAX_REDIRECTS = 10
"""Maximum number of redirects of one request."""

_IN_MEMORY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_MAX_QUOTE_LENGTH = 200
_PORTS = {"http": 80, "https": 443}
_BODY_ERRORS = (ProtocolError, ReadTimeoutError)
_REDIRECTS = (301, 302, 303, 307, 308)
_ACCEPT_ENCODING = "gzip, deflate"
_ENCODINGS = {"gzip", "x-gzip", "deflate", "identity", ""}
"""Encodings that are decompressed in bounded memory, whichever packages are installed."""


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


class _Session(requests.Session):
    """Session that leaves redirects to its caller."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find no redirect. Otherwise, `requests` would parse the header `Location`, and fail if it is invalid."""


class HttpClient:
    """HTTP client of one server. Use it in a `with` statement, which closes its connections.

    Attributes:
        meter: Limits and clock of the extraction.
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        secrets: str,
        timeout_seconds: float,
        authorization: str | None = None,
        renew: Callable[[str], str] | None = None,
        limits: Limits | None = None,
        redirect_hosts: Collection[str] = (),
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
            limits: Limits of the extraction for which the client is opened. None for the default limits.
            redirect_hosts: Hosts other than the server to which the server may redirect a request, each with its port
                if it is not the default port. They never get the authorization.
        """
        redact_logs()  # the libraries log addresses, which may contain keys
        self.meter = Meter(limits)
        self._name = name
        self._origin = _origin(address)
        self._secrets = secrets
        self._timeout_seconds = timeout_seconds
        self._authorization = authorization
        self._renew = renew
        self._redirect_hosts = {host.lower() for host in redirect_hosts}
        self._session = _Session()
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

        The query string, and the user and password of the address, may be secret, so they are left out.
        """
        # A password with a slash or a question mark makes the address invalid. It ends at the last @.
        login = r"//[^/?#]*@" if _origin(url) else r"//\S*@"
        return f"{self._name} {re.sub(login, '//', url).split('?')[0]}"

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
            CdpError: The address is on another server, no response arrives, the response is cut off in each attempt or
                exceeds a limit, the server redirects to an address that is not allowed, or the status is not 200. Other
                successful statuses are errors too: the content is missing (204), partial (206), not ready yet (202), or
                changed by a proxy (203).
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
        address = url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._answer_of(method, address, headers, form)
            location = answer.headers.get("Location")
            # A redirect of a form would send its secrets to another address. `_check` reports the status.
            if form is not None or answer.status not in _REDIRECTS or location is None:
                return answer
            answer.body.close()
            address = self._redirect_target(url, address, location)
        raise CdpError(f"{self.label_of(url)} can't be read: it redirects more than {MAX_REDIRECTS} times.")

    def _answer_of(
        self, method: str, url: str, headers: Mapping[str, str] | None, form: Mapping[str, str] | None
    ) -> Answer:
        """Send a request and return the response. Do not follow a redirect."""
        attempts = MAX_BODY_ATTEMPTS
        is_on_server = _origin(url) == self._origin
        try:
            while True:
                self.meter.check(self.label_of(url))
                with self._session.request(
                    method,
                    url,
                    headers={"Accept": "application/json", "Accept-Encoding": _ACCEPT_ENCODING, **(headers or {})},
                    data=form,
                    # Without a function here, `requests` takes a login from the address or from the file `.netrc`.
                    auth=_send_no_login if not is_on_server else self._authorize if self._authorization else None,
                    stream=True,
                    timeout=self._timeout_seconds,
                    allow_redirects=False,
                ) as response:
                    try:
                        return self._read_body(response)
                    except _BODY_ERRORS:
                        attempts -= 1
                        if not attempts:
                            raise
        except (OSError, HTTPError) as error:  # OSError is the base class of all errors of `requests`
            reason = _connection_error_reason(error, self._timeout_seconds)
            # Do not chain the error: its text has the whole address, and a traceback would show it.
            raise CdpError(f"{self.label_of(url)} can't be read: {reason}.") from None

    def _redirect_target(self, url: str, address: str, location: str) -> str:
        """Return the address that a server redirects to.

        Args:
            url: Address of the original request, for messages.
            address: Address that was redirected.
            location: Value of the header `Location`. The HTTP library decodes all headers as Latin-1.

        Raises:
            CdpError: The address is not a web address, or requests must not be redirected to it.
        """
        try:
            target = address_of_link(address, location.encode("latin-1").decode())
        except UnicodeError:
            target = ""
        if (origin := _origin(target)) is None:
            raise CdpError(f"{self.label_of(url)} can't be read: it redirects to something that is not a web address.")
        scheme, host, port = origin
        server = f"{host}:{port}" if port != _PORTS[scheme] else f"{host}"
        if scheme == "http" and address.lower().startswith("https:"):
            raise CdpError(
                f"{self.label_of(url)} redirects from https to http, to {server}: nothing was read; ask the owner of"
                " the server to correct this."
            )
        if origin != self._origin and server not in self._redirect_hosts:
            raise CdpError(
                f"{self.label_of(url)} redirects to another server, {scheme}://{server}: nothing was read. If the"
                f" source has moved, correct its address; if it keeps its data there, add {server} to the variable"
                " 'redirect_hosts'."
            )
        return target

    def _read_body(self, response: requests.Response) -> Answer:
        """Read the whole body of a response, so that the caller never processes an incomplete body."""
        encodings = re.split(r"[\s,]+", response.headers.get("Content-Encoding", "identity").strip().lower())
        if unknown := {*encodings} - _ENCODINGS:
            raise CdpError(
                f"{self.label_of(response.url)} is compressed with {', '.join(sorted(unknown))[:_MAX_QUOTE_LENGTH]},"
                f" but only {_ACCEPT_ENCODING} was requested: check the server."
            )
        name, body = self.label_of(response.url), SpooledTemporaryFile(_IN_MEMORY_BYTES)
        try:
            # `read1` returns as soon as bytes arrive. Other methods wait for a whole chunk, and a server that sends a
            # byte at a time could keep them waiting for weeks.
            while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
                body.write(chunk)
                self.meter.check_size(name, body.tell(), response.raw.tell())
            body.seek(0)
        except BaseException:
            body.close()
            raise
        return Answer(response.url, response.status_code, response.reason or "", response.headers, body)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization or ""
        return request

    def _check(self, answer: Answer, url: str, refusals: tuple[int, ...], hidden: tuple[str, ...] = ()) -> None:
        if answer.status == requests.codes.ok:
            return
        redactor = Redactor(self._authorization, *hidden)
        detail = _error_message_in(answer.body)
        if redactor.redact(detail) != detail:
            detail = ""
        if answer.status in refusals:
            raise CdpError(f"{self.label_of(url)} refused access ({answer.status}{detail}): check {self._secrets}.")
        expected = ", but only 200 means a complete response" if 200 < answer.status < 400 else ""
        reason = redactor.redact(answer.reason)[:_MAX_QUOTE_LENGTH]
        raise CdpError(
            f"{self.label_of(url)} returned {answer.status} {reason}{detail}{expected}: check the address and the"
            " server."
        )


def _send_no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


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


def address_of_link(base: str, link: str) -> str:
    """Return the absolute address of a link.

    An invalid link stays as it is: `HttpClient.get` sends no request to it.

    Args:
        base: Address of the response that contains the link.
        link: The link, absolute or relative.
    """
    try:
        return urljoin(base, link)
    except ValueError:
        return link


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


def _error_message_in(body: IO[bytes]) -> str:
    """Return the message of an OData or OAuth error, or an empty string if the body has no message."""
    try:
        content = json.loads(body.read(_IN_MEMORY_BYTES))
    except (ValueError, RecursionError):
        return ""
    content = content if isinstance(content, dict) else {}
    error = content.get("error")
    message = error.get("message") if isinstance(error, dict) else content.get("error_description")
    if not isinstance(message, str) or not message.strip():
        return ""
    return f": {message.strip()[:_MAX_QUOTE_LENGTH].splitlines()[0].rstrip('.')}"


def _connection_error_reason(error: Exception, timeout_seconds: float) -> str:
    """Return in a few words why no response arrived. Exceptions that only wrap the reason are left out."""
    if isinstance(error, requests.exceptions.Timeout | ReadTimeoutError) or "timed out" in str(error):
        return f"no response within {timeout_seconds:g} seconds"
    if isinstance(
        error,
        requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | requests.exceptions.InvalidSchema,
    ):
        return "this is not a web address"
    if isinstance(error, ProtocolError):
        return "the response is incomplete"
    if isinstance(error, DecodeError):
        return "the response is not compressed as its header says"
    if isinstance(error, requests.exceptions.InvalidHeader):
        return str(error)
    cause: Any = getattr(error.args[0], "reason", error) if error.args else error
    return str(cause).rsplit(": ", 1)[-1].rstrip(".")
