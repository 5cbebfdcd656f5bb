"""A PostgreSQL server of the test run's own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

_DATABASE_SQL = Path(__file__).resolve().parents[1] / "fixtures" / "database.sql"
_SECONDS_TO_START = 20

_database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Address of a running PostgreSQL, as `user@host:port`; anyone on this machine may log in."""
    binaries = _folder_of_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no initdb on PATH or under /usr/lib/postgresql)")
    with tempfile.TemporaryDirectory(prefix="cdp-postgresql-") as folder:
        other_user = _user_other_than_root(folder)
        subprocess.run(
            [binaries / "initdb", "-D", f"{folder}/data", "-U", "cdp", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=True,
            capture_output=True,
            cwd=folder,
            **other_user,
        )
        port = _free_port()
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        with Path(folder, "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", f"{folder}/data", "-p", str(port), *options],
                stdout=log,
                stderr=log,
                cwd=folder,
                **other_user,
            )
        try:
            _wait_until_it_answers(server, port, Path(folder, "log"))
            yield f"cdp@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=20)


@pytest.fixture
def new_postgresql_database(postgresql_server: str) -> Callable[[str], str]:
    """Make an empty database, run a script in it, and give its SQLAlchemy URL."""

    def create(script: str) -> str:
        name = f"test_{os.getpid()}_{next(_database_numbers)}"
        with psycopg.connect(f"postgresql://{postgresql_server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(f"postgresql://{postgresql_server}/{name}") as connection:
            connection.execute(script)
        return f"postgresql+psycopg://{postgresql_server}/{name}"

    return create


@pytest.fixture
def retail_postgresql(new_postgresql_database: Callable[[str], str]) -> str:
    """SQLAlchemy URL of a PostgreSQL database with the samples in it."""
    return new_postgresql_database(_DATABASE_SQL.read_text(encoding="utf-8"))


def _folder_of_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    # What is on PATH may be a link: `postgres` stands beside the real one.
    return Path(on_path).resolve().parent if on_path else installed[-1].parent if installed else None


def _user_other_than_root(folder: str) -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
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


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < give_up_at and server.poll() is None:
        try:
            psycopg.connect(f"postgresql://cdp@127.0.0.1:{port}/postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    pytest.fail(f"PostgreSQL did not start: {log.read_text()}")
