"""Secrets from a secret scope. The library reads secrets only through `dbutils.secrets`."""

from typing import Any

from cdp_lib.errors import CdpError


def find_secret(dbutils: Any, scope: str, key: str) -> str | None:
    """Return a secret, or None if the scope does not have the key.

    Args:
        dbutils: The notebook's `dbutils`.
        scope: Secret scope.
        key: Key within the scope.

    Raises:
        CdpError: The scope does not exist, or the caller may not read the scope.
    """
    try:
        keys = {secret.key for secret in dbutils.secrets.list(scope)}
    except Exception as error:  # exception types differ by runtime
        raise CdpError(f"Secret scope '{scope}' can't be read: create it or grant READ on it ({error}).") from error
    return str(dbutils.secrets.get(scope, key)) if key in keys else None


def read_secret(dbutils: Any, scope: str, key: str) -> str:
    """Return a secret.

    Args:
        dbutils: The notebook's `dbutils`.
        scope: Secret scope.
        key: Key within the scope.

    Raises:
        CdpError: The secret is missing or empty, the scope does not exist, or the caller may not read the scope.
    """
    secret = find_secret(dbutils, scope, key)
    if not secret:
        raise CdpError(
            f"Secret '{key}' is missing in scope '{scope}': put it there with"
            f" `databricks secrets put-secret {scope} {key}`"
            f" (locally: environment variable CDP_SECRET_{scope.upper().replace('-', '_')}_{key.upper()})."
        )
    return secret
