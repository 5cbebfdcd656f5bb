from types import SimpleNamespace

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.secrets import find_secret, read_secret


class Secrets:
    """`dbutils.secrets` over one scope."""

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


def test_both_readers_give_the_secret() -> None:
    dbutils = dbutils_of("cdp", api_token="t0ken")
    assert find_secret(dbutils, "cdp", "api_token") == "t0ken"
    assert read_secret(dbutils, "cdp", "api_token") == "t0ken"


def test_find_secret_is_none_where_the_scope_has_no_such_key() -> None:
    assert find_secret(dbutils_of("cdp"), "cdp", "api_token") is None


@pytest.mark.parametrize("secrets", [{}, {"database_url": ""}])
def test_read_secret_of_a_missing_or_empty_key_says_how_to_put_it_there(secrets: dict[str, str]) -> None:
    with pytest.raises(CdpError) as missing:
        read_secret(dbutils_of("cdp-prod", **secrets), "cdp-prod", "database_url")
    assert "databricks secrets put-secret cdp-prod database_url" in str(missing.value)
    assert "CDP_SECRET_CDP_PROD_DATABASE_URL" in str(missing.value)


@pytest.mark.parametrize("read", [find_secret, read_secret])
def test_a_scope_that_cannot_be_read_is_named_in_one_line(read) -> None:
    with pytest.raises(CdpError) as refused:
        read(dbutils_of("other"), "cdp", "api_token")
    assert str(refused.value).startswith("Secret scope 'cdp' can't be read")
    assert "\n" not in str(refused.value)
