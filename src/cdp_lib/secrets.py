"""Secrets from a secret scope. The library reads secrets only through `dbutils.secrets`."""

from typing import Any

from cdp_lib.errors import CdpError
from cdp_lib.redaction import MIN_SECRET_LENGTH, register

PUBLIC_KEYS = ("crm_client_id", "kafka_username")
"""Keys of a scope whose values are names, not secrets. They may be short, and messages may show them."""


def find_secret(dbutils: Any, scope: str, key: str) -> str | None:
    """Return a secret, or None if the scope does not have the key. From now on, messages and logs do not show it.

    Args:
        dbutils: The notebook's `dbutils`.
        scope: Secret scope.
        key: Key within the scope.

    Raises:
        CdpError: The scope does not exist, the caller may not read the scope, or the secret is too short.
    """
    try:
        keys = {secret.key for secret in dbutils.secrets.list(scope)}
    except Exception as error:  # exception types differ by runtime
        raise CdpError(f"Secret scope '{scope}' can't be read: create it or grant READ on it ({error}).") from error
    secret = str(dbutils.secrets.get(scope, key)) if key in keys else None
    if secret and key not in PUBLIC_KEYS:
        if len(secret) < MIN_SECRET_LENGTH:
            raise CdpError(
                f"Secret '{key}' in scope '{scope}' has fewer than {MIN_SECRET_LENGTH} characters, so it can't be"
                " removed from logs without parts of other words: use a longer secret."
            )
        register(secret)
    return secret


def read_secret(dbutils: Any, scope: str, key: str) -> str:
    """Return a secret. From now on, messages and logs do not show it.

    Args:
        dbutils: The notebook's `dbutils`.
        scope: Secret scope.
        key: Key within the scope.

    Raises:
        CdpError: The secret is missing, empty or too short, the scope does not exist, or the caller may not read the
            scope.
    """
    secret = find_secret(dbutils, scope, key)
    if not secret:
        raise CdpError(
            f"Secret '{key}' is missing in scope '{scope}': put it there with"
            f" `databricks secrets put-secret {scope} {key}`"
            f" (locally: environment variable CDP_SECRET_{scope.upper().replace('-', '_')}_{key.upper()})."
        )
    return secret
