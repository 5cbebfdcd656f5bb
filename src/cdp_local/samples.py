"""Sample sources: files, a database, and loopback servers that simulate the customers API and the CRM."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cdp_local.crm_server import CrmServer

DATABASE_SECRET = "database_url"
"""Name of the secret with the URL of the sample database."""

_FILES = {
    "events_path": "events",
    "marketing_spend_path": "marketing_spend",
    "exchange_rates_path": "exchange_rates.csv",
    "consents_path": "consents",
}
"""Paths of the sample files in the fixtures folder, by the bundle variable that configures the source. If a path does
not exist, the samples have no such files."""


@dataclass
class Samples:
    """Running sample sources and the values that connect a job to them.

    Attributes:
        variables: Bundle variables that refer to the sample sources: value by name of the variable.
        secrets: Secrets of the sample sources, by key.
    """

    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


@contextmanager
def serve_samples(fixtures: Path, home: Path) -> Iterator[Samples]:
    """Serve a sample of every source.

    Args:
        fixtures: Folder with the data of the sample sources.
        home: Folder of the local workspace.
    """
    client_id, client_secret = "cdp", secrets.token_hex(16)
    with customers_api(fixtures) as customers_url, crm(fixtures, client_id, client_secret) as crm_url:
        yield Samples(
            variables={
                "customers_api_url": customers_url,
                "crm_url": crm_url,
                **{
                    variable: str(fixtures / sample)
                    for variable, sample in _FILES.items()
                    if (fixtures / sample).exists()
                },
            },
            secrets={
                DATABASE_SECRET: sample_database(fixtures, home),
                "crm_client_id": client_id,
                "crm_client_secret": client_secret,
            },
        )


class _QuietHandler(SimpleHTTPRequestHandler):
    """HTTP handler that serves the files of a folder and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Write no log line."""


@contextmanager
def customers_api(fixtures: Path) -> Iterator[str]:
    """Serve the sample customers on a free loopback port; yield the URL of the customers.

    Args:
        fixtures: Folder with the data of the sample sources.
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
    """Return the SQLAlchemy URL of the sample database. Create or replace the database, if the data is an SQL script.

    Args:
        fixtures: Folder with the data of the sample sources.
        home: Folder of the local workspace. The database is created in its subfolder `sources`.
    """
    if (finished := fixtures / "database.sqlite").exists():
        return f"sqlite:///{finished}"
    path = home / "sources" / "database.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(".part")
    building.unlink(missing_ok=True)
    with closing(sqlite3.connect(building)) as connection:
        connection.executescript((fixtures / "database.sql").read_text(encoding="utf-8"))
    building.replace(path)
    return f"sqlite:///{path}"


@contextmanager
def crm(fixtures: Path, client_id: str, client_secret: str) -> Iterator[str]:
    """Serve a CRM with the sample contacts on a free loopback port; yield the URL of the CRM.

    Args:
        fixtures: Folder with the data of the sample sources.
        client_id: Id of the only application that may read the CRM.
        client_secret: Secret of this application.
    """
    contacts = json.loads((fixtures / "crm_contacts.json").read_text(encoding="utf-8"))
    # Several pages, but not so many that the requests take longer than the rest of an extraction.
    page_size = max(20, len(contacts) // 5)
    with CrmServer(contacts, client_id=client_id, client_secret=client_secret, page_size=page_size) as server:
        yield server.url
