import gzip
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.sources.http import MAX_BODY_ATTEMPTS, MAX_REDIRECTS, MAX_RETRIES, HttpClient, is_confidential

BODY = b'{"records": 2}'


@pytest.fixture
def client(waits: list[float]) -> Iterator[Callable[..., HttpClient]]:
    with ExitStack() as clients:

        def open_client(url: str, **options: object) -> HttpClient:
            options = {"secrets": "the secret 'api_token'", "timeout_seconds": 2.0, **options}
            return clients.enter_context(HttpClient("API", url, **options))

        yield open_client


@pytest.fixture
def read(client: Callable[..., HttpClient]) -> Callable[..., bytes]:
    """Return a function that requests an address and returns the body of the response."""

    def read(url: str, **options: object) -> bytes:
        with client(url, **options).get(url) as answer:
            return answer.body.read()

    return read


@pytest.fixture
def refusal(read: Callable[..., bytes]) -> Callable[..., str]:
    """Return a function that makes a failing request and returns the error message."""

    def refusal(url: str, **options: object) -> str:
        with pytest.raises(CdpError) as refused:
            read(url, **options)
        message = str(refused.value)
        assert len(message.splitlines()) == 1
        assert len(message) < 500
        assert not [word for word in ("Traceback", "object at 0x", "HTTPConnectionPool") if word in message]
        return message

    return refusal


def test_an_answer_has_status_headers_and_body(serve, client) -> None:
    url = serve(BODY, headers={"ETag": '"1"'}).url
    with client(url).get(url, {"X-Asked": "yes"}) as answer:
        assert (answer.status, answer.headers["etag"], answer.url) == (200, '"1"', url)
        assert answer.body.read() == BODY
    assert answer.body.closed


def test_headers_are_sent(serve, client) -> None:
    api = serve(BODY)
    with client(api.url).get(api.url, {"Prefer": "odata.track-changes"}):
        assert api.requests[0]["Prefer"] == "odata.track-changes"
        assert api.requests[0]["Accept"] == "application/json"


def test_a_compressed_body_is_decompressed(serve, read) -> None:
    assert read(serve(gzip.compress(BODY), headers={"Content-Encoding": "gzip"}).url) == BODY


def test_a_body_that_is_not_compressed_as_its_header_says_is_an_error(serve, refusal) -> None:
    assert "can't be read" in refusal(serve(BODY, headers={"Content-Encoding": "gzip"}).url)


@pytest.mark.parametrize("fault", [{"missing_bytes": 10}, {"is_reset": True}], ids=["cut off", "reset"])
def test_a_body_that_is_cut_off_is_requested_again(serve, read, fault) -> None:
    large = BODY * 100_000
    api = serve(large, **fault).then(large, **fault).then(large)
    assert read(api.url) == large
    assert len(api.requests) == MAX_BODY_ATTEMPTS


@pytest.mark.parametrize("fault", [{"missing_bytes": 10}, {"is_reset": True}], ids=["cut off", "reset"])
def test_a_body_that_is_always_cut_off_is_an_error(serve, refusal, fault) -> None:
    api = serve(BODY, **fault)
    assert f"API {api.url} can't be read: the response is incomplete." in refusal(api.url)
    assert len(api.requests) == MAX_BODY_ATTEMPTS


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_server_is_followed_with_the_authorization(serve, read, status: int) -> None:
    api = serve(b"", status, {"Location": "/v2/customers.json?a=b"}).at("/v2/customers.json?a=b", BODY)
    authorization = f"Bearer {uuid4().hex}"
    assert read(api.url, authorization=authorization) == BODY
    assert [headers["Authorization"] for headers in api.requests] == [authorization] * 2


def test_a_redirect_to_a_named_host_is_followed(serve, read) -> None:
    target = serve(BODY)
    host = target.root.removeprefix("http://")
    assert read(serve(b"", 302, {"Location": target.url}).url, redirect_hosts=[host.upper()]) == BODY


def test_redirects_in_a_circle_are_an_error(serve, refusal) -> None:
    api = serve(b"", 301, {"Location": "/customers.json"})
    assert f"it redirects more than {MAX_REDIRECTS} times" in refusal(api.url)
    assert len(api.requests) == 1 + MAX_REDIRECTS


def test_the_authorization_is_sent(serve, read) -> None:
    authorization = f"Bearer {uuid4().hex}"
    api = serve(BODY)
    read(api.url, authorization=authorization)
    assert api.requests[0]["Authorization"] == authorization


def test_no_authorization_is_sent_by_default(serve, read) -> None:
    api = serve(BODY)
    read(api.url)
    assert "Authorization" not in api.requests[0]


def test_the_authorization_is_not_sent_to_another_host_that_is_redirected_to(serve, read) -> None:
    target = serve(BODY)
    elsewhere = target.url.replace("127.0.0.1", "localhost")
    host = elsewhere.removeprefix("http://").split("/")[0]
    read(serve(b"", 302, {"Location": elsewhere}).url, authorization=f"Bearer {uuid4().hex}", redirect_hosts=[host])
    assert "Authorization" not in target.requests[0]


@pytest.mark.parametrize(
    "other",
    [
        "http://localhost:{port}/",
        "https://127.0.0.1:{port}/",
        "http://127.0.0.1:1/",
        "http://localhost:{port}\\@127.0.0.1:{port}/",  # pragma: allowlist secret
        "http://[broken/",
        "customers",
    ],
)
def test_a_server_other_than_the_configured_one_gets_no_request(serve, client, other: str) -> None:
    api = serve(BODY)
    with pytest.raises(CdpError, match="on another server"):
        with client(api.url).get(other.format(port=api.root.rsplit(":")[-1])):
            pass
    assert api.requests == []


def test_the_default_port_belongs_to_the_same_server(client) -> None:
    with pytest.raises(CdpError, match="can't be read"):
        with client("https://nowhere.invalid/a").get("https://nowhere.invalid:443/b"):
            pass


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_secret_to_check_and_never_shows_it(serve, refusal, status: int) -> None:
    token = uuid4().hex
    api = serve(json.dumps({"error": {"message": f"wrong token {token}"}}).encode(), status)
    message = refusal(api.url, authorization=f"Bearer {token}")
    assert message == f"API {api.url} refused access ({status}): check the secret 'api_token'."
    assert len(api.requests) == 1


@pytest.mark.parametrize("ending", ["\n", "\r\nX-Other: 1", "\u2026", "\x00"])
def test_a_token_with_invalid_characters_is_an_error_that_does_not_show_it(serve, refusal, ending: str) -> None:
    token = uuid4().hex
    message = refusal(serve(BODY).url, authorization=f"Bearer {token}{ending}")
    assert "not allowed in a header, such as a line break; check the secret 'api_token'" in message
    assert token not in message


def test_a_token_that_has_expired_is_renewed_once(serve, read) -> None:
    challenges: list[str] = []
    renewed = f"Bearer {uuid4().hex}"

    def renew(challenge: str) -> str:
        challenges.append(challenge)
        return renewed

    api = serve(b"", 401, {"WWW-Authenticate": "Bearer realm=x"}).then(BODY)
    assert read(api.url, authorization=f"Bearer {uuid4().hex}", renew=renew) == BODY
    assert challenges == ["Bearer realm=x"]
    assert api.requests[1]["Authorization"] == renewed


def test_a_new_token_that_is_refused_is_an_error(serve, refusal) -> None:
    api = serve(b"", 401)
    assert "refused access (401)" in refusal(api.url, renew=lambda _: f"Bearer {uuid4().hex}")
    assert len(api.requests) == 2


def test_a_challenge_after_a_redirect_to_another_server_is_ignored(serve, refusal) -> None:
    other = serve(b"", 401, {"WWW-Authenticate": "Bearer authorization_uri=https://evil.example.com"})
    challenges: list[str] = []
    api = serve(b"", 302, {"Location": other.url})
    hosts = [other.root.removeprefix("http://")]
    assert "refused access (401)" in refusal(api.url, renew=challenges.append, redirect_hosts=hosts)
    assert challenges == []


def test_the_error_message_of_the_server_is_shown(serve, refusal) -> None:
    error = json.dumps({"error": {"code": "0x1", "message": "Could not find a property\nnamed 'x'."}}).encode()
    assert "returned 400 Bad Request: Could not find a property: check" in refusal(serve(error, 400).url)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[1]", b'{"error": "x"}', b'{"error": {"message": 1}}', b'{"error": {"message": " "}}', b"\xff"],
)
def test_an_error_without_a_message_shows_its_status(serve, refusal, body: bytes) -> None:
    api = serve(body, 404)
    assert refusal(api.url) == f"API {api.url} returned 404 Not Found: check the address and the server."
    assert len(api.requests) == 1


def test_a_long_error_message_is_shortened(serve, refusal) -> None:
    assert len(refusal(serve(json.dumps({"error": {"message": "x" * 100_000}}).encode(), 400).url)) < 400


def test_a_query_and_a_user_are_not_shown(serve, refusal) -> None:
    api = serve(b"", 404)
    secret = uuid4().hex
    message = refusal(f"{api.url.replace('//', f'//user:{secret}@')}?key={secret}")
    assert message == f"API {api.url} returned 404 Not Found: check the address and the server."


def test_a_status_can_raise_its_own_exception(serve, client) -> None:
    api = serve(b"", 304)
    with pytest.raises(KeyError), client(api.url).get(api.url, status_errors={304: KeyError}):
        pass


@pytest.mark.parametrize("status", [201, 202, 203, 204, 206, 304])
def test_an_incomplete_success_is_an_error_that_shows_its_status(serve, refusal, status: int) -> None:
    api = serve(b"" if status in (204, 304) else BODY, status)
    message = refusal(api.url)
    assert message.startswith(f"API {api.url} returned {status} ")
    assert message.endswith(", but only 200 means a complete response: check the address and the server.")


def test_a_form_is_not_sent_to_a_redirect(serve, client) -> None:
    target = serve(BODY)
    api = serve(b"", 307, {"Location": target.url})
    with pytest.raises(CdpError, match="returned 307"), client(api.url).post(api.url, {"a": "b"}):
        pass
    assert target.requests == []


def test_a_form_that_is_refused_names_the_secrets_and_shows_none_of_its_values(serve, client) -> None:
    value = uuid4().hex
    api = serve(json.dumps({"error": "invalid", "error_description": f"{value} is wrong"}).encode(), 400)
    with pytest.raises(CdpError) as refused, client(api.url).post(api.url, {"a": value}):
        pass
    assert str(refused.value) == f"API {api.url} refused access (400): check the secret 'api_token'."


def test_too_many_requests_are_retried_after_the_wait_that_the_server_asks_for(serve, read, waits) -> None:
    api = serve(b"slow down", 429, {"Retry-After": "0"}).then(BODY)
    assert read(api.url) == BODY
    assert len(api.requests) == 2
    assert waits == []


def test_repeated_too_many_requests_are_an_error_after_bounded_waits(serve, refusal, waits) -> None:
    api = serve(b"", 429, {"Retry-After": "9"})
    assert "returned 429 Too Many Requests" in refusal(api.url)
    assert waits == [9] * MAX_RETRIES


def test_the_wait_that_a_server_asks_for_is_bounded(serve, read, waits) -> None:
    read(serve(b"", 429, {"Retry-After": "86400"}).then(b"", 503, {"Retry-After": "7"}).then(BODY).url)
    assert waits == [60, 7]


def test_an_invalid_retry_after_is_an_error(serve, refusal) -> None:
    assert "Retry-After" in refusal(serve(b"", 503, {"Retry-After": "soon"}).url)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_is_down_for_a_while_is_retried_with_growing_waits(serve, read, waits, status: int) -> None:
    api = serve(b"", status).then(b"", status).then(b"", status).then(BODY)
    assert read(api.url) == BODY
    assert len(api.requests) == 4
    assert waits == [1, 2]


def test_a_server_that_stays_down_is_an_error_after_bounded_retries(serve, refusal, waits) -> None:
    api = serve(b"", 503)
    assert "returned 503 Service Unavailable" in refusal(api.url)
    assert len(api.requests) == 1 + MAX_RETRIES
    assert waits == [1, 2, 4]


def test_a_slow_server_is_retried_once_and_then_an_error(serve, refusal) -> None:
    api = serve(BODY, after_seconds=5)
    assert "no response within 0.3 seconds" in refusal(api.url, timeout_seconds=0.3)
    assert len(api.requests) == 2


def test_a_refused_connection_is_an_error(refusal, waits) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert "Connection refused" in refusal(f"http://127.0.0.1:{port}/customers.json")
    assert waits == [1, 2, 4]


@pytest.mark.parametrize("url", ["customers.json", "ftp://example.com/customers.json", "http://", "http://a b/", "//"])
def test_an_invalid_web_address_is_an_error(refusal, url: str) -> None:
    assert f"API {url} can't be read" in refusal(url)


@pytest.mark.parametrize(
    "url", ["https://crm.example.com", "http://127.0.0.1:80", "http://localhost/x", "http://[::1]/"]
)
def test_https_and_this_machine_are_confidential(url: str) -> None:
    assert is_confidential(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://example.com\\@localhost",  # HTTP clients treat the backslash as a slash
        "http://[x",
        "localhost",
        "",
    ],
)
def test_unencrypted_and_invalid_addresses_are_not_confidential(url: str) -> None:
    assert not is_confidential(url)
