"""Loopback server that simulates the part of the Dataverse Web API (OData v4) that the extraction of contacts uses."""

from __future__ import annotations

import json
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from cdp_lib.contracts.bronze import CRM_CONTACTS_BRONZE

CONTACTS = "/api/data/v9.2/contacts"
TENANT = "00000000-0000-4000-8000-0000000000cd"

_TOKEN_PATH = re.compile(r"/[^/]+/oauth2/v2\.0/token")
_ORDER = ["modifiedon asc", "contactid asc"]
_FILTER = re.compile(r"modifiedon (gt|ge) (\S+)")
_OPTIONS = {"$select", "$filter", "$orderby", "$skiptoken", "$deltatoken"}
_TOO_MANY = ("0x80072322", "Number of requests exceeded the limit of 6000 over time window of 300 seconds.")
_JSON = "application/json; odata.metadata=minimal"

Body = Literal["whole", "reset", "cut", "html", "not_utf8", "previous_page"]


@dataclass(frozen=True)
class Fault:
    """A faulty response.

    Attributes:
        status: HTTP status. If the status is 400 or higher, the server sends an error of Dataverse in JSON, or an HTML
            page if `body` is `html`.
        retry_after: Value of the Retry-After header, in seconds or as an HTTP date; None for no header.
        body: Fault in the body:

            - `whole`: no fault;
            - `reset`: the server sends half of the body, then resets the connection;
            - `cut`: the body has only half of the bytes that Content-Length declares;
            - `html`: the body is an HTML page;
            - `not_utf8`: the body is JSON with a byte that is not UTF-8;
            - `previous_page`: the server sends the last successful page again.
    """

    status: int = 200
    retry_after: int | str | None = None
    body: Body = "whole"


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]


class _ApiError(Exception):
    """Error that the API returns for a request."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = _answer(status, {"error": {"code": code, "message": message}})


def _answer(status: int, content: Mapping[str, Any], **headers: str) -> _Answer:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return _Answer(status, body, {"Content-Type": _JSON, "OData-Version": "4.0"} | headers)


class CrmServer:
    """Simulated CRM with contacts. Its server runs inside a `with` block.

    Attributes:
        url: Address, `http://127.0.0.1:<port>`; the contacts are at `<url>/api/data/v9.2/contacts`.
        columns: Names of the columns of contacts. Any other column in `$select` is an error.
        change_tracking: Whether the table of contacts tracks changes.
        requests: Path and query of each data request that had a valid token, in the order of the requests.
    """

    def __init__(
        self,
        contacts: Iterable[Mapping[str, Any]],
        *,
        client_id: str,
        client_secret: str,
        page_size: int = 20,
        change_tracking: bool = True,
        token_seconds: float = 3600,
    ) -> None:
        """Create the CRM with the given contacts.

        Args:
            contacts: Records, each as values by column name. A record without `modifiedon` gets the current time.
            client_id: Id of the only application that gets an access token.
            client_secret: Secret of this application.
            page_size: Number of records per page. A client may request smaller pages, but not larger pages.
            change_tracking: Whether the table of contacts tracks changes.
            token_seconds: Lifetime of an access token in seconds.
        """
        self.url = ""
        self.columns = {column.name for column in CRM_CONTACTS_BRONZE.received_columns}
        self.requests: list[str] = []
        self._client = (client_id, client_secret)
        self._page_size = page_size
        self.change_tracking = change_tracking
        self._token_seconds = token_seconds
        self._lock = threading.RLock()
        self._tokens: dict[str, float] = {}
        # One digest per version: a hash of all changes up to this version. A delta token contains a version and its
        # digest. If the digest in a token differs from the digest in this list, another CRM has issued the token.
        self._history = [""]
        self._oldest_version = 0
        self._contacts: dict[str, dict[str, Any]] = {}
        # Version of the last change of each contact, by contactid. Removed contacts are included.
        self._versions: dict[str, int] = {}
        self._hook: Callable[[str], Fault | None] = lambda _: None
        self._previous_page = b""
        for contact in contacts:
            self.upsert(contact, modifiedon=contact.get("modifiedon"))

    def __enter__(self) -> Self:
        """Listen on a free port."""
        handler = type("_BoundHandler", (_Handler,), {"crm": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def upsert(self, contact: Mapping[str, Any], *, modifiedon: str | None = None) -> None:
        """Create a contact, or update the given columns of the contact with the same `contactid`.

        Args:
            contact: Values by column name.
            modifiedon: Modification time, to simulate a wrong clock. None for the current time of the server.
        """
        with self._lock:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            contactid = contact["contactid"]
            known = self._contacts.get(contactid, {"createdon": now})
            self._contacts[contactid] = {**known, **contact, "modifiedon": modifiedon or now}
            self.columns |= contact.keys()
            self._touch(contactid, self._contacts[contactid])

    def remove(self, contactid: str) -> None:
        """Delete a contact."""
        with self._lock:
            del self._contacts[contactid]
            self._touch(contactid, None)

    def expire_tokens(self) -> None:
        """Expire all access tokens issued so far."""
        with self._lock:
            self._tokens.clear()

    def expire_delta_tokens(self) -> None:
        """Expire all delta links issued so far.

        If a client is reading the changes page by page, the link to the next page expires, too.
        """
        with self._lock:
            self._oldest_version = len(self._history)
            self._history.append(self._history[-1])

    def before_request(self, hook: Callable[[str], Fault | None]) -> None:
        """Set the function that the server calls before each data request. It replaces any earlier function.

        Args:
            hook: Function that receives the path and the query of a request. The function may change contacts. If it
                returns a fault, the response has this fault.
        """
        self._hook = hook

    def _touch(self, contactid: str, contact: Mapping[str, Any] | None) -> None:
        change = json.dumps([self._history[-1], contactid, contact])
        self._versions[contactid] = len(self._history)
        self._history.append(sha256(change.encode()).hexdigest()[:16])

    def _token(self, form: Mapping[str, str]) -> _Answer:
        """Return the response of the token endpoint, which simulates Microsoft Entra ID."""
        if form.get("grant_type") != "client_credentials":
            return _token_error(400, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant.")
        # The scope is `<address>/.default`. If the client's address ends with a slash, the scope has two slashes.
        if form.get("scope") not in (f"{self.url}/.default", f"{self.url}//.default"):
            return _token_error(400, "invalid_scope", "AADSTS70011: The provided value for 'scope' is not valid.")
        if form.get("client_id") != self._client[0]:
            return _token_error(400, "unauthorized_client", "AADSTS700016: Application was not found.")
        if form.get("client_secret") != self._client[1]:
            return _token_error(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._tokens[token] = time.monotonic() + self._token_seconds
        return _answer(200, {"token_type": "Bearer", "expires_in": int(self._token_seconds), "access_token": token})

    def _data(self, target: str, authorization: str, preferences: list[str]) -> tuple[_Answer, Fault]:
        """Return the response to a data request, and the fault to apply when the response is sent."""
        with self._lock:
            if time.monotonic() >= self._tokens.get(authorization.removeprefix("Bearer "), 0):
                challenge = f"authorization_uri={self.url}/{TENANT}/oauth2/authorize, resource_id={self.url}/"
                return _Answer(401, b"", {"WWW-Authenticate": f"Bearer {challenge}"}), Fault()
            self.requests.append(target)
        # Call the hook without the lock, because the hook may wait for other requests.
        fault = self._hook(target) or Fault()
        if fault.status >= 400:
            error = _TOO_MANY if fault.status == 429 else ("0x80040216", "An unexpected error occurred.")
            return _ApiError(fault.status, *error).answer, fault
        if fault.body == "previous_page":
            return _Answer(200, self._previous_page, {"Content-Type": _JSON}), fault
        with self._lock:
            try:
                answer = self._contacts_page(target, preferences)
            except _ApiError as error:
                return error.answer, fault
            self._previous_page = answer.body
        return answer, fault

    def _contacts_page(self, target: str, preferences: list[str]) -> _Answer:
        address = urlsplit(target)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        if address.path != CONTACTS:
            raise _ApiError(404, "0x8006088a", f"Resource not found for the segment '{address.path.split('/')[-1]}'.")
        if unknown := query.keys() - _OPTIONS:
            raise _ApiError(501, "0x80060888", f"Not simulated: {', '.join(sorted(unknown))}")
        select = query["$select"].split(",") if "$select" in query else sorted(self.columns)
        if unknown := set(select) - self.columns:
            name = min(unknown)
            text = f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.contact'."
            raise _ApiError(400, "0x80060888", text)
        cookie = self._cookie(query, "odata.track-changes" in preferences)
        applied = ["odata.track-changes"] if cookie["at"] is not None else []
        size = self._page_size
        for preference in preferences:
            if requested := re.fullmatch(r"odata\.maxpagesize=([1-9]\d*)", preference):
                size = min(size, int(requested[1]))
                applied.append(f"odata.maxpagesize={size}")

        matching = sorted(self._matching(query, cookie))
        found = [entry for entry in matching if cookie["after"] is None or entry > tuple(cookie["after"])]
        repeated_query = "&".join(
            f"{name}={quote(query[name], safe=',:')}" for name in ("$select", "$filter", "$orderby") if name in query
        )
        link = f"{self.url}{CONTACTS}?{repeated_query}{'&' if repeated_query else ''}"
        context = f"{self.url}/api/data/v9.2/$metadata#contacts"
        delta = "" if cookie["at"] is None else "/$delta"
        page: dict[str, Any] = {"@odata.context": f"{context}({','.join(select)}){delta}"}
        page["value"] = [self._record(contactid, select, context) for *_, contactid in found[:size]]
        if len(found) > size:
            cookie["after"] = found[size - 1]
            page["@odata.nextLink"] = f"{link}$skiptoken={quote(json.dumps(cookie), safe='')}"
        elif cookie["at"] is not None:
            page["@odata.deltaLink"] = f"{link}$deltatoken={cookie['at']}%21{self._history[cookie['at']]}"
        return _answer(200, page, **({"Preference-Applied": ",".join(applied)} if applied else {}))

    def _cookie(self, query: Mapping[str, str], track_changes: bool) -> dict[str, Any]:
        """Return the position of the requested page, from the token in the query.

        A query without a token requests the first page. The position has three parts:

        - `after`: sort key of the last contact of the previous page; None for the first page;
        - `since`: version that the client already has. Only later changes are read. None to read all contacts;
        - `at`: latest version when the client requested the first page; None without change tracking.
        """
        cookie: dict[str, Any] = {"after": None, "since": None, "at": None}
        try:
            if "$skiptoken" in query:
                cookie |= json.loads(query["$skiptoken"])
            elif "$deltatoken" in query:
                since, _, digest = query["$deltatoken"].partition("!")
                known = int(since) < len(self._history) and self._history[int(since)] == digest
                cookie |= {"since": int(since) if known else -1, "at": len(self._history) - 1}
            elif track_changes and self.change_tracking:
                cookie["at"] = len(self._history) - 1
        except (TypeError, ValueError):
            raise _ApiError(400, "0x80060888", "Malformed token.") from None
        if cookie["at"] is not None and query.keys() & {"$filter", "$orderby"}:
            raise _ApiError(400, "0x80060888", "Change tracking does not support $filter and $orderby.")
        if cookie["since"] is not None and cookie["since"] < self._oldest_version:
            text = "Version stamp associated with the client has expired. Please perform a full sync."
            raise _ApiError(410, "0x80044352", text)
        return cookie

    def _matching(self, query: Mapping[str, str], cookie: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
        """Return the sort keys of all contacts that match the query now. The caller divides them into pages.

        The last part of each sort key is the contactid.
        """
        if cookie["since"] is not None:
            return [(contactid,) for contactid, version in self._versions.items() if version > cookie["since"]]
        if not query.keys() & {"$filter", "$orderby"}:
            return [(contactid,) for contactid in self._contacts]
        if "$orderby" in query and [_with_direction(term) for term in query["$orderby"].split(",")] != _ORDER:
            raise _ApiError(501, "0x80060888", f"Not simulated: $orderby={query['$orderby']}")
        wanted = _FILTER.fullmatch(query.get("$filter", "modifiedon ge 0001-01-01T00:00:00Z"))
        if wanted is None:
            raise _ApiError(501, "0x80060888", f"Not simulated: $filter={query['$filter']}")
        since = _instant(wanted[2])
        return [
            (contact["modifiedon"], contactid)
            for contactid, contact in self._contacts.items()
            if (at := _instant(contact["modifiedon"])) > since or (at == since and wanted[1] == "ge")
        ]

    def _record(self, contactid: str, select: list[str], context: str) -> dict[str, Any]:
        contact = self._contacts.get(contactid)
        if contact is None:
            return {"@odata.context": f"{context}/$deletedEntity", "id": contactid, "reason": "deleted"}
        etag = {"@odata.etag": f'W/"{self._versions[contactid]}"'}
        # Dataverse always returns the key, even if $select does not list it.
        return etag | {name: contact.get(name) for name in select} | {"contactid": contactid}


def _token_error(status: int, error: str, description: str) -> _Answer:
    return _answer(status, {"error": error, "error_description": description})


def _with_direction(term: str) -> str:
    return term.strip() if " " in term.strip() else f"{term.strip()} asc"


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise _ApiError(400, "0x80060888", f"'{text}' is not an Edm.DateTimeOffset.") from None


class _Handler(BaseHTTPRequestHandler):
    crm: CrmServer

    def do_GET(self) -> None:
        preferences = [part.strip() for header in self.headers.get_all("Prefer", []) for part in header.split(",")]
        answer, fault = self.crm._data(self.path, self.headers.get("Authorization", ""), preferences)
        self._send(answer, fault)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if _TOKEN_PATH.fullmatch(self.path):
            self._send(self.crm._token({name: values[0] for name, values in form.items()}), Fault())
        else:
            self._send(_answer(404, {"error": "not_found"}), Fault())

    def _send(self, answer: _Answer, fault: Fault) -> None:
        body, headers = answer.body, dict(answer.headers)
        if fault.body == "html":
            body = b"<!DOCTYPE html><html><body>Down for maintenance</body></html>"
            headers["Content-Type"] = "text/html"
        elif fault.body == "not_utf8":
            body = body.replace(b'":"', b'":"\xff', 1)
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        self.send_response(answer.status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault.body in ("cut", "reset") else body)
        if fault.body == "reset":
            # Closing a socket that has a linger time of zero resets the connection.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Write no log line."""
