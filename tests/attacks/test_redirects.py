"""Attacks by redirects and links: a source must not lead an extraction, or its token, to another server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cdp_lib.contracts.bronze import CUSTOMERS_BRONZE
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction
from cdp_lib.sources.dataverse import may_sign_in
from cdp_lib.sources.http import HttpClient
from cdp_lib.sources.rest_api import land_records

from ..unit.sources.conftest import extraction, landed, landing, serve, waits

__all__ = ["extraction", "landed", "landing", "serve", "waits"]

pytestmark = pytest.mark.first_engine

RECORDS = b'[{"customer_id": 101}]'


@pytest.fixture
def refusal(extraction: Extraction, landed: Path, waits: list[float]) -> Callable[..., str]:
    """Return a function that makes a failing extraction, checks that it lands nothing, and returns the error."""

    def refusal(url: str, redirect_hosts: tuple[str, ...] = ()) -> str:
        token = uuid4().hex
        with pytest.raises(CdpError) as refused:
            land_records(
                extraction,
                CUSTOMERS_BRONZE,
                url,
                token=token,
                timeout_seconds=2.0,
                redirect_hosts=redirect_hosts,
            )
        message = str(refused.value)
        assert "\n" not in message and len(message) < 500 and token not in message
        assert message.isprintable()
        assert not [path for path in landed.rglob("*") if path.is_file()]
        return message

    return refusal


ELSEWHERE = {
    "another host": "http://localhost:{other}/customers.json",
    "another port": "http://127.0.0.1:{other}/customers.json",
    "no scheme": "//127.0.0.1:{other}/customers.json",
    "user that looks like the host": "http://127.0.0.1:{own}@localhost:{other}/customers.json",
    "backslash": "http://localhost:{other}\\@127.0.0.1:{own}/customers.json",  # pragma: allowlist secret
    "backslashes": "http:\\\\localhost:{other}/customers.json",
    "number as host": "http://2130706433:{other}/customers.json",
    "short host": "http://127.1:{other}/customers.json",
    "octal host": "http://0177.0.0.1:{other}/customers.json",
    "IPv6": "http://[::ffff:127.0.0.1]:{other}/customers.json",
    "any address": "http://0.0.0.0:{other}/customers.json",
    "dot at the end": "http://localhost.:{other}/customers.json",
    "upper case": "HTTP://LOCALHOST:{other}/customers.json",
    "white space": " http://localhost:{other}/customers.json",
    "tab": "ht\ttp://localhost:{other}/customers.json",
    "https": "https://127.0.0.1:{other}/customers.json",
}
"""Addresses of another server, by the trick they use."""

NO_ADDRESS = {
    "open bracket": "http://[::1",
    "invalid IPv6": "http://[x]/",
    "file": "file:///etc/passwd",
    "ftp": "ftp://127.0.0.1/customers.json",
    "script": "javascript:alert(1)",
    "data": 'data:application/json,[{"customer_id":1}]',
    "letters as port": "http://127.0.0.1:port/",
    "large port": "http://127.0.0.1:99999/",
    "scheme only": "http://",
}
"""Links that are no web addresses."""


@pytest.mark.parametrize("address", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_redirect_to_another_server_is_not_followed(serve, refusal, address: str) -> None:
    other = serve(RECORDS)
    api = serve(b"", 302)
    location = address.format(own=api.root.rsplit(":", 1)[1], other=other.root.rsplit(":", 1)[1])
    api._answers[0].headers["Location"] = location
    message = refusal(api.url)
    assert other.requests == []
    assert "redirect" in message or "404" in message or "can't be read" in message


@pytest.mark.parametrize("address", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_a_link_to_another_server_is_not_followed(serve, refusal, address: str) -> None:
    other = serve(RECORDS)
    api = serve(b"")
    link = address.format(own=api.root.rsplit(":", 1)[1], other=other.root.rsplit(":", 1)[1])
    api._answers[0].body = json.dumps({"value": [{"customer_id": 1}], "next": link}).encode()
    refusal(api.url)
    assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_the_other_server_and_the_setting(serve, refusal, status: int) -> None:
    other = serve(RECORDS)
    message = refusal(serve(b"", status, {"Location": f"{other.url}?key=hidden"}).url)
    host = other.root.removeprefix("http://")
    assert f"redirects to another server, {other.root}: nothing was read" in message
    assert f"add {host} to the variable 'redirect_hosts'" in message
    assert "hidden" not in message


@pytest.mark.parametrize("location", NO_ADDRESS.values(), ids=NO_ADDRESS.keys())
def test_a_redirect_to_something_else_is_one_line(serve, refusal, location: str) -> None:
    assert "redirects" in refusal(serve(b"", 302, {"Location": location}).url)


@pytest.mark.parametrize(
    "link", [*NO_ADDRESS.values(), "\ud800", "http://\ud800/"], ids=[*NO_ADDRESS, "surrogate", "host"]
)
def test_a_link_to_something_else_is_one_line(serve, refusal, link: str) -> None:
    refusal(serve(json.dumps({"value": [{"customer_id": 1}], "next": link}).encode()).url)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Location": "/\xff\xfe"}, "it redirects to something that is not a web address"),
        ({"Location": "http://\xff/"}, "it redirects to something that is not a web address"),
        ({"Location": ""}, "it redirects more than 10 times"),
        ({}, "returned 302 Found, but only 200 means a complete response"),
    ],
    ids=["invalid UTF-8", "invalid UTF-8 in host", "empty", "missing"],
)
def test_a_redirect_without_a_usable_location_is_one_line(serve, refusal, headers: dict[str, str], reason: str) -> None:
    assert reason in refusal(serve(b"", 302, headers).url)


def test_a_redirect_in_utf_8_is_followed_on_the_same_server(serve, extraction) -> None:
    location = "/Zürich.json".encode().decode("latin-1")
    api = serve(b"", 302, {"Location": location}).at("/Z%C3%BCrich.json", RECORDS)
    assert land_records(extraction, CUSTOMERS_BRONZE, api.url, token=None, timeout_seconds=2.0)


@pytest.mark.parametrize(
    "hosts",
    [
        ("localhost",),
        ("127.0.0.1",),
        ("127.0.0.1.example.com",),
        ("example.com:{other}",),
        ("27.0.0.1:{other}",),
        ("xlocalhost:{other}",),
        ("ocalhost:{other}",),
        ("localhost.:{other}",),
        ("localhost:{other}0",),
        ("*",),
        ("*:{other}",),
        ("http://localhost:{other}",),
    ],
    ids=lambda hosts: hosts[0],
)
def test_a_named_host_that_only_looks_like_the_target_does_not_match(serve, refusal, hosts: tuple[str, ...]) -> None:
    other = serve(RECORDS)
    port = other.root.rsplit(":", 1)[1]
    api = serve(b"", 302, {"Location": f"http://localhost:{port}/customers.json"})
    assert "redirects to another server" in refusal(api.url, tuple(host.format(other=port) for host in hosts))
    assert other.requests == []


def test_a_named_host_gets_neither_the_token_nor_a_login_of_the_address(serve, refusal, monkeypatch, tmp_path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login user password hidden\n", encoding="utf-8")  # pragma: allowlist secret
    monkeypatch.setenv("NETRC", str(netrc))
    other = serve(b"[]")
    port = other.root.rsplit(":", 1)[1]
    address = f"http://a:b@localhost:{port}/"  # pragma: allowlist secret
    refusal(serve(b"", 302, {"Location": address}).url, (f"localhost:{port}",))
    assert [headers.get("Authorization") for headers in other.requests] == [None]


def test_a_named_host_may_not_redirect_to_a_third_server(serve, refusal) -> None:
    third = serve(RECORDS)
    second = serve(b"", 302, {"Location": third.url})
    first = serve(b"", 302, {"Location": second.url})
    assert "redirects to another server" in refusal(first.url, (second.root.removeprefix("http://"),))
    assert third.requests == []


def test_links_of_a_named_host_are_not_followed(serve, refusal) -> None:
    other = serve(json.dumps({"value": [{"customer_id": 1}], "next": "/2"}).encode()).at("/2", RECORDS)
    api = serve(b"", 302, {"Location": other.url})
    assert "is on another server" in refusal(api.url, (other.root.removeprefix("http://"),))
    assert other.paths == ["/customers.json"]


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("https://api.example.com/a", "http://api.example.com/a"),
        ("https://api.example.com/a", "http://files.example.com/a"),
        ("https://files.example.com/a", "http://api.example.com/a"),
        ("HTTPS://api.example.com/a", "HTTP://files.example.com/a"),
    ],
    ids=["same host", "named host", "back from a named host", "upper case"],
)
def test_https_never_becomes_http(address: str, location: str) -> None:
    options: dict[str, Any] = {"secrets": "the secret", "timeout_seconds": 1}
    hosts = ["api.example.com", "files.example.com", "api.example.com:80"]
    with HttpClient("API", "http://api.example.com", redirect_hosts=hosts, **options) as client:
        with pytest.raises(CdpError, match="redirects from https to http"):
            client._redirect_target("https://api.example.com/a", address, location)


SIGN_IN_LOOK_ALIKES = [
    "http://login.microsoftonline.com/t",
    "https://login.microsoftonline.com.example.com/t",
    "https://login.microsoftonline.com@example.com/t",
    "https://example.com\\@login.microsoftonline.com/t",
    "https://example.com/login.microsoftonline.com",
    "https://example.com?login.microsoftonline.com",
    "https://example.com#login.microsoftonline.com",
    "https://xlogin.microsoftonline.com/t",
    "https://login-microsoftonline.com/t",
    "https://login.microsoftonIine.com/t",
    "https://login.microsoftonline.com./t",
    "https://microsoftonline.com/t",
    "https://login.microsoftonline.co/t",
    "https://login\u3002microsoftonline.com.example.com/t",
    "https://login.microsоftonline.com/t",
    "//login.microsoftonline.com/t",
    "https:login.microsoftonline.com/t",
    "https://[login.microsoftonline.com/t",
    "",
]


@pytest.mark.parametrize("address", SIGN_IN_LOOK_ALIKES)
def test_the_client_secret_is_not_sent_to_a_look_alike(address: str) -> None:
    assert not may_sign_in("https://contoso.crm.dynamics.com", address)
