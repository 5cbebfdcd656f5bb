"""The sample sources: a loopback server that plays the customers API, and a database made from the SQL script."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _QuietHandler(SimpleHTTPRequestHandler):
    """Answers from a folder and keeps its log to itself."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def customers_api(fixtures: Path) -> Iterator[str]:
    """A server that answers with the sample customers, on a free loopback port; its address.

    Args:
        fixtures: Folder of the sample sources.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(fixtures))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/customers.json"
        finally:
            server.shutdown()
            thread.join()


def sample_database(fixtures: Path, home: Path) -> str:
    """Make the sample database anew; its SQLAlchemy URL.

    Args:
        fixtures: Folder of the sample sources.
        home: Folder of the local workspace, which gets the database.
    """
    path = home / "sources" / "database.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(".part")
    building.unlink(missing_ok=True)
    with closing(sqlite3.connect(building)) as connection:
        connection.executescript((fixtures / "database.sql").read_text(encoding="utf-8"))
    building.replace(path)
    return f"sqlite:///{path}"
