from types import SimpleNamespace

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.secrets import find_secret, read_secret


class Secrets:
    """Fake of `dbutils.secrets` with one scope."""

    def __init__(self, scope: str, **secrets: str) -> None:
        self._scope = scope
        self._secrets = secrets

    def list(self, scope: str) -> list[SimpleNamespace]:
        if scope != self._scope:
            raise RuntimeError(f"Scope {scope} does not exist!\n\tat com.example.Secrets")
        return [SimpleNamespace(key=key) for key in self._secrets]

    def get(self, scope: str, key: str) -> str:
        return self._secrets[key]


def dbutils_of(scope: str, **secrets: str) -> SimpleNamespace:
    return SimpleNamespace(secrets=Secrets(scope, **secrets))


def test_find_secret_and_read_secret_return_the_secret() -> None:
    dbutils = dbutils_of("cdp", api_token="t0ken-of-api")
    assert find_secret(dbutils, "cdp", "api_token") == "t0ken-of-api"
    assert read_secret(dbutils, "cdp", "api_token") == "t0ken-of-api"


def test_messages_do_not_show_a_secret_that_was_read() -> None:
    find_secret(dbutils_of("cdp", api_token="t0ken-of-api"), "cdp", "api_token")
    assert str(CdpError("The server knows no t0ken-of-api.")) == "The server knows no [REDACTED]."


@pytest.mark.parametrize("read", [find_secret, read_secret])
def test_a_short_secret_is_refused_and_not_shown(read) -> None:
    with pytest.raises(CdpError, match="^Secret 'api_token' in scope 'cdp' has fewer than 6 characters") as refused:
        read(dbutils_of("cdp", api_token="xq7#z"), "cdp", "api_token")
    assert "xq7#z" not in str(refused.value)


@pytest.mark.parametrize("key", ["crm_client_id", "kafka_username"])
def test_a_name_may_be_short_and_is_shown(key: str) -> None:
    assert read_secret(dbutils_of("cdp", **{key: "cdp"}), "cdp", key) == "cdp"
    assert str(CdpError("cdp")) == "cdp"


def test_find_secret_returns_none_for_a_missing_key() -> None:
    assert find_secret(dbutils_of("cdp"), "cdp", "api_token") is None


@pytest.mark.parametrize("secrets", [{}, {"database_url": ""}])
def test_read_secret_of_a_missing_or_empty_secret_says_how_to_put_it(secrets: dict[str, str]) -> None:
    with pytest.raises(CdpError) as missing:
        read_secret(dbutils_of("cdp-prod", **secrets), "cdp-prod", "database_url")
    assert "databricks secrets put-secret cdp-prod database_url" in str(missing.value)
    assert "CDP_SECRET_CDP_PROD_DATABASE_URL" in str(missing.value)


@pytest.mark.parametrize("read", [find_secret, read_secret])
def test_unreadable_scope_is_named_in_one_line(read) -> None:
    with pytest.raises(CdpError) as error:
        read(dbutils_of("other"), "cdp", "api_token")
    assert str(error.value).startswith("Secret scope 'cdp' can't be read")
    assert "\n" not in str(error.value)
