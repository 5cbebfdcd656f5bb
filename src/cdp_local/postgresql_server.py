"""Temporary PostgreSQL server for tests and benchmarks. The user root can start it, too."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from cdp_lib.errors import CdpError

_SECONDS_TO_START = 20


class PostgresqlServer:
    """Running PostgreSQL server.

    Attributes:
        address: Address as `user@host:port`. Every user of this machine may log in without a password.
    """

    def __init__(self, folder: Path) -> None:
        """Create an empty PostgreSQL server in a folder, and start the server.

        Raises:
            CdpError: PostgreSQL is not installed, or does not start.
        """
        self._binaries = binaries_folder()
        self._folder = folder
        self._user = _non_root_user(folder)
        self._port = _free_port()
        self.address = f"cdp@127.0.0.1:{self._port}"
        arguments = ["-D", f"{folder}/data", "-U", "cdp", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(
            [self._binaries / "initdb", *arguments], check=True, capture_output=True, cwd=folder, **self._user
        )
        self.start()

    def start(self) -> None:
        """Start the server after a stop, at the same address.

        Raises:
            CdpError: The server does not start.
        """
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}", "fsync=off"]
        command = [f"{self._binaries}/postgres", "-D", f"{self._folder}/data", "-p", str(self._port)]
        for option in options:
            command += ["-c", option]
        log = self._folder / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=self._folder, **self._user)
        give_up_at = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < give_up_at and self._process.poll() is None:
            try:
                psycopg.connect(f"postgresql://{self.address}/postgres", connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        self._process.kill()
        raise CdpError(f"PostgreSQL did not start: {log.read_text()}")

    def stop(self) -> None:
        """Stop the server and close all connections to the server."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=20)


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Start a server in a temporary folder. Stop the server and delete the folder at the end of the `with` block.

    Raises:
        CdpError: PostgreSQL is not installed, or does not start.
    """
    with tempfile.TemporaryDirectory(prefix="cdp-postgresql-") as folder:
        server = PostgresqlServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


def binaries_folder() -> Path:
    """Return the folder that contains the programs `initdb` and `postgres`.

    Raises:
        CdpError: PostgreSQL is not installed.
    """
    on_path = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not on_path and not installed:
        raise CdpError("PostgreSQL is not installed: there is no initdb on PATH or under /usr/lib/postgresql.")
    # `initdb` on PATH may be a symbolic link. `postgres` is in the folder of the file that the link points to.
    return Path(on_path).resolve().parent if on_path else installed[-1].parent


def _non_root_user(folder: Path) -> dict[str, Any]:
    """Return arguments of `subprocess` that start a program as a user other than root.

    PostgreSQL refuses to run as root. If the current user is root, the other user becomes the owner of the folder. If
    not, no arguments are needed: return an empty dict.
    """
    if os.geteuid() != 0:
        return {}
    names = {user.pw_name for user in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
