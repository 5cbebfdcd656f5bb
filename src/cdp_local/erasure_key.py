"""The key of a home folder that turns identifiers of erased persons into digests."""

from __future__ import annotations

import secrets
from pathlib import Path

from cdp_lib.erasure.suppressions import ERASURE_KEY
from cdp_lib.errors import CdpError

_FILE = "erasure.key"


def read_erasure_key(home: Path) -> dict[str, str]:
    """Return the key of a home folder as a secret by its key. It is empty if nobody was erased in the home."""
    file = home / _FILE
    return {ERASURE_KEY: file.read_text(encoding="ascii").strip()} if file.is_file() else {}


def create_erasure_key(home: Path) -> str:
    """Return the key of a home folder. If there is none, write a new one.

    Raises:
        CdpError: There is no such home folder.
    """
    if not home.is_dir():
        raise CdpError(f"There is no home folder {home}: `cdp run` creates it.")
    if not (home / _FILE).exists():
        (home / _FILE).write_text(secrets.token_hex(32), encoding="ascii")
    return read_erasure_key(home)[ERASURE_KEY]
