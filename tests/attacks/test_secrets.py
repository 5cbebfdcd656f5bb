"""Attacks on secrets: whatever a source answers, no message, log or traceback shows a secret in any form."""

from __future__ import annotations

import base64
import html
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, quote_plus
from uuid import uuid4

import pytest
import sqlalchemy as sa

from cdp_lib import redaction
from cdp_lib.errors import CdpError
from cdp_lib.redaction import REDACTED, Redactor, redact, register
from cdp_lib.secrets import find_secret
from cdp_lib.sources.http import HttpClient
from cdp_lib.sources.sql_database import open_snapshot, source_address
from cdp_local.dbutils import SecretStore

from ..unit.sources.conftest import serve, waits

__all__ = ["serve", "waits"]

pytestmark = pytest.mark.first_engine


def new_secret() -> str:
    """Return a secret with characters that encodings change."""
    return f"{uuid4().hex}+/ü&<\"'={uuid4().hex}"


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "lower case": str.lower,
    "upper case": str.upper,
    "swapped case": str.swapcase,
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 after 1 byte": lambda secret: base64.b64encode(b":" + secret.encode()).decode(),
    "base64 after 2 bytes": lambda secret: base64.b64encode(b"a:" + secret.encode() + b"!").decode(),
    "base64 in basic login": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "base64 for web addresses": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "base64 without padding": lambda secret: base64.b64encode(secret.encode()).decode().rstrip("="),
    "base64 in lines": lambda secret: base64.encodebytes(secret.encode() * 2).decode(),
    "base64 with percent-encoding": lambda secret: quote(base64.b64encode(secret.encode()).decode(), safe=""),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "hexadecimal, upper case": lambda secret: secret.encode().hex().upper(),
    "percent-encoding": lambda secret: quote(secret, safe=""),
    "percent-encoding, lower case": lambda secret: quote(secret, safe="").lower(),
    "percent-encoding twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "percent-encoding three times": lambda secret: quote(quote(quote(secret, safe=""), safe=""), safe=""),
    "percent-encoding of a form": quote_plus,
    "percent-encoding in part": lambda secret: quote(secret, safe="+=&<"),
    "JSON": json.dumps,
    "JSON without ASCII": lambda secret: json.dumps(secret, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "JSON for web pages": lambda secret: json.dumps(secret).replace("<", "\\u003c").replace("&", "\\u0026"),
    "Python": repr,
    "HTML": html.escape,
    "two lines": lambda secret: f"{secret[:20]}\n{secret[20:]}",
    "a blank": lambda secret: f"{secret[:30]} {secret[30:]}",
    "spaced": " ".join,
    "first half": lambda secret: secret[: len(secret) // 2 + 1],
    "second half": lambda secret: secret[len(secret) // 2 - 1 :],
    "middle": lambda secret: secret[10:-10],
    "halves": lambda secret: f"{secret[: len(secret) // 2 + 1]}, then {secret[len(secret) // 2 - 1 :]}",
    "bearer": lambda secret: f"Bearer {secret}",
    "parameter": lambda secret: f"https://example.com/?token={secret}&page=2",
}
"""Functions that write a secret in another form."""


def shows(text: str, secret: str) -> bool:
    """Return whether a text shows eight characters of a secret, in any form that this module can undo."""
    squeezed = "".join(text.split()).lower()
    parts = {secret[start : start + 8].lower() for start in range(len(secret) - 7)}
    encoded = {base64.b64encode((" " * shift + secret).encode()).decode()[6:16].lower() for shift in range(3)}
    return any(part in squeezed for part in (*parts, *encoded, secret.encode().hex()[:16]))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_secret_is_removed_in_every_form(form: Callable[[str], str]) -> None:
    secret = new_secret()
    cleaned = Redactor(secret).redact(f"before {form(secret)} after")
    assert cleaned.startswith("before ") and cleaned.endswith(" after")
    assert REDACTED in cleaned
    assert not shows(cleaned, secret)


@pytest.mark.parametrize(
    ("secret", "parts"),
    [
        ("Bearer {}", ["{}"]),
        ("DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={};EndpointSuffix=core.windows.net", ["{}"]),
        ("Endpoint=sb://shop.example.com/;SharedAccessKeyName=read;SharedAccessKey={}", ["{}"]),
        ("sv=2025&sr=c&sig={}&se=2026", ["{}"]),
        ("Server=tcp:shop;Uid=cdp;Pwd={{{};;x}};Encrypt=yes", ["{};;x"]),
        ("postgresql+psycopg://cdp:{}@db.example.com:5432/shop", ["{}"]),
        ("https://u:{}/ss@h", ["{}/ss"]),
        ("postgresql://cdp:a@{}@db.example.com/shop", ["a@{}"]),  # pragma: allowlist secret
        ("postgresql://cdp:{}%40x@db.example.com/shop", ["{}%40x", "{}@x"]),  # pragma: allowlist secret
        ("postgresql://cdp@db.example.com/shop?password={}", ["{}"]),
    ],
    ids=["bearer", "storage", "event hub", "signature", "braces", "URL", "slash", "@", "escaped @", "parameter"],
)
def test_a_part_of_a_secret_is_removed_without_the_rest(secret: str, parts: list[str]) -> None:
    key = uuid4().hex
    redactor = Redactor(secret.format(key))
    for part in parts:
        assert redactor.redact(f"wrong key {part.format(key)}!") == f"wrong key {REDACTED}!"


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example.com/customers?api_key={}",
        "https://api.example.com/customers?page=2&access_token={}&x=1",
        "https://api.example.com/customers?X-Api-Key={}",
        "https://lake.blob.core.windows.net/retail?sv=2025&sig={}",
        "https://user:{}@api.example.com/customers",
        "https://u:{}/ss@h",
        "https://{}@api.example.com/customers",
        "postgresql+psycopg://cdp:{}@db.example.com/shop",
        "postgresql+psycopg://cdp:a@{}@db.example.com/shop",  # pragma: allowlist secret
        "AccountName=shop;AccountKey={};EndpointSuffix=core.windows.net",
        "Endpoint=sb://shop/;SharedAccessKeyName=read;SharedAccessKey={}",
        'PlainLoginModule required username="cdp" password="{}";',
        '{{"client_id": "cdp", "client_secret": "{}"}}',
        "{{'client_secret': '{}'}}",
        "Authorization: Bearer {}",
        "Authorization: Basic {}",
    ],
    ids=lambda text: text.partition("{")[0][-24:] or text[:24],
)
def test_a_secret_that_nobody_has_registered_is_removed_because_of_its_place(text: str) -> None:
    secret = uuid4().hex
    assert secret not in redact(text.format(secret))
    assert secret not in str(CdpError(text.format(secret)))


@pytest.mark.parametrize(
    "text",
    [
        "abfss://retail@lake.dfs.core.windows.net/landing can't be read: check the path.",
        "API http://127.0.0.1:8080/customers.json returned 404 Not Found: check the address and the server.",
        "Secret 'api_token' is missing in scope 'cdp': put it there with `databricks secrets put-secret cdp api_token`",
        "customers_silver: 812 of 1,000 rows break rules: for example key 50, quantity = '0'.",
        "Parameter 'as_of' is 'token': write a date such as 2026-01-31.",
        "Write an @ in the user name or password as %40; the token comes from the secret 'api_token'.",
        "sqlite:////home/me/.cdp-samples/sources/database.sqlite",
        "The basic understanding of customers needs keys.",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_a_short_secret_does_not_cut_words() -> None:
    assert Redactor("me", "omer", "").redact("customers") == "customers"


def test_a_path_that_is_part_of_a_database_url_stays() -> None:
    redactor = Redactor("sqlite:////home/me/.cdp-samples/sources/database.sqlite")
    assert redactor.redact("Tables: /home/me/.cdp-samples/warehouse") == "Tables: /home/me/.cdp-samples/warehouse"


@pytest.mark.parametrize(
    "secret",
    ["a" * 40, " a  b" * 20, "\\" * 30 + "x" * 10, "%25" * 20, "+ " * 40 + "!"],
    ids=["letters", "blanks", "backslashes", "percents", "plus signs"],
)
def test_a_search_takes_linear_time(secret: str) -> None:
    begin = time.monotonic()
    Redactor(secret).redact(secret[:-1] * 1000)
    assert time.monotonic() - begin < 5


def test_secrets_do_not_go_to_other_processes() -> None:
    import pickle

    redactor = Redactor(secret := uuid4().hex)
    assert secret.encode() not in pickle.dumps(redactor)


# Answers of a server


@pytest.fixture
def read(waits: list[float]) -> Callable[..., str]:
    """Return a function that makes a failing request with a token, and returns the error and its traceback."""

    def read(url: str, token: str) -> str:
        with HttpClient(
            "API", url, secrets="the secret 'api_token'", timeout_seconds=2.0, authorization=f"Bearer {token}"
        ) as client:
            with pytest.raises(CdpError) as refused, client.get(url):
                pass
        return f"{refused.value}\n{logging.Formatter().formatException(refused._excinfo)}"

    return read


ECHOED = [
    "as it is",
    "lower case",
    "base64",
    "base64 in basic login",
    "percent-encoding twice",
    "a blank",
    "first half",
]


@pytest.mark.parametrize("form", [FORMS[name] for name in ECHOED], ids=ECHOED)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 206])
def test_a_token_that_the_server_repeats_is_not_shown(serve, read, status: int, form: Callable[[str], str]) -> None:
    token = f"{uuid4().hex}+{uuid4().hex}"
    body = json.dumps({"error": {"message": f"Wrong token {form(token)}"}}).encode()
    assert not shows(read(serve(body, status).url, token), token)


@pytest.mark.parametrize("form", [FORMS[name] for name in ECHOED], ids=ECHOED)
def test_a_token_in_the_reason_is_not_shown(serve, read, monkeypatch, form: Callable[[str], str]) -> None:
    token = f"{uuid4().hex}+{uuid4().hex}"
    answer_of = HttpClient._answer_of

    def with_reason(client: HttpClient, *arguments: object) -> object:
        answer = answer_of(client, *arguments)
        object.__setattr__(answer, "reason", f"No, {form(token)}")
        return answer

    monkeypatch.setattr(HttpClient, "_answer_of", with_reason)
    assert not shows(read(serve(b"", 404).url, token), token)


def test_a_key_in_the_address_is_in_no_traceback(read) -> None:
    key = uuid4().hex
    assert key not in read(f"http://127.0.0.1:1/customers.json?api_key={key}", uuid4().hex)


def test_a_key_in_the_address_is_in_no_log(serve, read, caplog) -> None:
    key = uuid4().hex
    with caplog.at_level(logging.DEBUG):
        read(f"{serve(b'', 503).url}?api_key={key}", uuid4().hex)
        read(f"http://127.0.0.1:1/customers.json?api_key={key}", uuid4().hex)
    assert "Retrying" in caplog.text
    assert key not in caplog.text


# Logs


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    def logged(message: object, *arguments: object, **options: object) -> str:
        logging.getLogger("azure.core.pipeline").error(message, *arguments, **options)
        return "\n".join(caplog.handler.format(record) for record in caplog.records)

    return logged


def test_a_registered_secret_is_in_no_log(logged) -> None:
    register(secret := uuid4().hex)
    assert secret not in logged("Failed with %s", secret.upper())


def test_a_registered_secret_is_in_no_logged_traceback(logged) -> None:
    register(secret := uuid4().hex)
    try:
        raise ValueError(f"wrong {secret}")
    except ValueError:
        text = logged("Failed", exc_info=sys.exc_info())
    assert secret not in text and f"ValueError: wrong {REDACTED}" in text


def test_a_log_message_that_does_not_fit_its_arguments_raises_nothing(logged) -> None:
    register(uuid4().hex)
    assert "Failed %s %s" in logged("Failed %s %s", "once")


def test_a_secret_that_a_notebook_reads_is_in_no_message() -> None:
    secret = uuid4().hex
    scope = SimpleNamespace(list=lambda scope: [SimpleNamespace(key="api_token")], get=lambda scope, key: secret)
    find_secret(SimpleNamespace(secrets=scope), "cdp", "api_token")
    assert str(CdpError(f"no {secret.upper()}")) == f"no {REDACTED}"


def test_no_secret_of_the_secrets_file_is_in_a_message(tmp_path: Path) -> None:
    secret = uuid4().hex
    (tmp_path / "secrets.yml").write_text(f"cdp:\n  api_token: {secret}\n", encoding="utf-8")
    SecretStore(tmp_path / "secrets.yml", {})
    assert not shows(redaction.redact(base64.b64encode(secret.encode()).decode()), secret)


# Database URLs


URLS = {
    "no URL": "{}",
    "JDBC": "jdbc:sqlserver://127.0.0.1:1;user=cdp;password={}",
    "ODBC": "Driver={{ODBC Driver 18}};Server=127.0.0.1,1;Uid=cdp;Pwd={}",
    "unknown database": "nosuch://cdp:{}@127.0.0.1:1/retail",
    "no driver": "mysql://cdp:{}@127.0.0.1:1/retail",
    "letters as port": "postgresql+psycopg://cdp:{}@127.0.0.1:port/retail",
    "large port": "postgresql+psycopg://cdp:{}@127.0.0.1:99999/retail",
    "@ in password": "postgresql+psycopg://cdp:{}@{}@127.0.0.1:1/retail",
    "slash in password": "postgresql+psycopg://cdp:pa/{}@127.0.0.1:1/retail?connect_timeout=1",
    "question mark": "postgresql+psycopg://cdp:pa?{}@127.0.0.1:1/retail?connect_timeout=1",
    "hash": "postgresql+psycopg://cdp:pa#{}@127.0.0.1:1/retail?connect_timeout=1",
    "colon": "postgresql+psycopg://cdp:pa:{}@127.0.0.1:1/retail?connect_timeout=1",
    "blank": "postgresql+psycopg://cdp:pa {}@127.0.0.1:1/retail?connect_timeout=1",
    "bracket": "postgresql+psycopg://cdp:{}@[::1/retail",
    "percent": "postgresql+psycopg://cdp:%{}@127.0.0.1:1/retail?connect_timeout=1",  # pragma: allowlist secret
    "null": "postgresql+psycopg://cdp:{}%00@127.0.0.1:1/retail?connect_timeout=1",  # pragma: allowlist secret
    "parameter": "postgresql+psycopg://cdp@127.0.0.1:1/retail?password={}&connect_timeout=1",
    "unknown parameter": "postgresql+psycopg://cdp:{}@127.0.0.1:1/retail?nosuch={}",
    "password as user": "postgresql+psycopg://{}@127.0.0.1:1/retail?connect_timeout=1",
    "password as database": "postgresql+psycopg://127.0.0.1:1/?password={}&connect_timeout=1",
    "SQL Server parameter": "mssql+mssqlpython://cdp:{}@127.0.0.1:1/retail?nosuch=1",
    "SQL Server semicolon": "mssql+mssqlpython://cdp:pa%3B{}@127.0.0.1:1/retail",  # pragma: allowlist secret
    "SQL Server brace": "mssql+mssqlpython://cdp:%7B{}@127.0.0.1:1/retail",  # pragma: allowlist secret
}
"""Database URLs with a password. None can be used."""


@pytest.mark.parametrize("url", URLS.values(), ids=URLS.keys())
def test_a_database_url_that_cannot_be_used_is_not_shown(url: str) -> None:
    secret = uuid4().hex
    with pytest.raises(CdpError) as refused:
        source_address(url.replace("{}", secret), "", "stores")
        with open_snapshot(url.replace("{}", secret)):
            pass
    message = str(refused.value)
    assert secret not in message and secret.upper() not in message
    assert "\n" not in message and len(message) < 500


def test_a_driver_that_raises_its_own_error_ends_in_one_line(monkeypatch) -> None:
    secret = uuid4().hex

    class ConnectionStringParseError(Exception):
        pass

    def connect(engine: sa.Engine) -> None:
        raise ConnectionStringParseError(f"Connection string parsing failed:\n  keyword '{secret}' has no value")

    monkeypatch.setattr(sa.Engine, "connect", connect)
    with pytest.raises(
        CdpError, match=r"can't use the secret 'database_url' \(ConnectionStringParseError\)"
    ) as refused:
        with open_snapshot("sqlite://"):
            pass
    assert secret not in str(refused.value)
    assert refused.value.__suppress_context__
