"""Search of a home folder for the traces of a person, and the certificate of the search."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cdp_lib.erasure.certificate import Certificate, certify
from cdp_lib.erasure.scan import Hit, search_folders
from cdp_lib.erasure.traces import Traces
from cdp_local.job_settings import new_run_start
from cdp_local.printing import print_table
from cdp_local.terminal import console

_SHOWN = 20
"""Number of places that are printed."""


@dataclass(frozen=True)
class SearchedHome:
    """Result of a search in a home folder.

    Attributes:
        certificate: The result in numbers, without personal data.
        places: Traces and their numbers, sorted by file.
        unreadable: Files that could not be decoded.
    """

    certificate: Certificate
    places: Collection[tuple[Hit, int]]
    unreadable: Collection[str]


def search_home(home: Path, copies: str, traces: Traces, request_id: str = "") -> SearchedHome:
    """Search every file of a home folder, and of the folder with the published copies.

    Args:
        home: Folder of the local workspace.
        copies: Location of the published copies. A location that is no folder of this machine is not searched.
        traces: What to look for.
        request_id: Request to erase the person. Empty if the search belongs to no request.
    """
    begin, at = time.monotonic(), new_run_start()
    folders = [home, *([Path(copies)] if copies and Path(copies).is_dir() else [])]
    searched = search_folders(folders, traces)
    versions = sum(1 for _ in (home / "warehouse").glob("*/*/_delta_log/*.json"))
    certificate = certify(request_id, traces, len(folders), versions, searched, at, time.monotonic() - begin)
    return SearchedHome(certificate, sorted(searched.hits.items()), sorted(searched.unreadable))


def write_certificate(home: Path, certificate: Certificate, key: str) -> Path:
    """Write a signed certificate into the home folder, and return its path.

    Args:
        home: Folder of the local workspace.
        certificate: The certificate. It belongs to a request.
        key: Key of the home folder.
    """
    path = home / "certificates" / f"{certificate.request_id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(certificate.signed(key) + "\n", encoding="utf-8")
    return path


def print_search(searched: SearchedHome) -> None:
    """Print what was searched, and the places of the traces."""
    certificate = searched.certificate
    found = f"{certificate.hits:,} traces" if certificate.hits else "no trace"
    console.print(
        f"{certificate.files:,} files ({certificate.bytes / 1e6:,.1f} MB) searched for {certificate.spellings:,}"
        f" spellings in {certificate.seconds} s: {found}.",
        soft_wrap=True,
    )
    if searched.places:
        # The name of a file may be the trace.
        rows = [
            ("(its name)" if hit.place == "name" else hit.file, hit.place, hit.kind, hit.way, number)
            for hit, number in searched.places
        ]
        columns = ("file", "place", "value", "written as", "traces")
        some = f"{_SHOWN} of {len(rows):,}" if len(rows) > _SHOWN else f"{len(rows):,}"
        print_table(console, f"{some} places", columns, rows[:_SHOWN])
    for file in searched.unreadable:
        console.print(f"{file} can't be decoded, so nobody knows what it has.", soft_wrap=True)
