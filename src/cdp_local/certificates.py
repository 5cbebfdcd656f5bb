"""Search of a home folder for the traces of persons, and the certificate of the search."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdp_lib.erasure.certificate import Certificate, certify
from cdp_lib.erasure.scan import Hit, search_folders
from cdp_lib.erasure.traces import Traces
from cdp_local.job_settings import new_run_start
from cdp_local.printing import print_table
from cdp_local.terminal import console

_DEPTH = 3
"""Depth of the folders whose traces are summed: the folder of a table, or of a landed entity."""


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


def search_home(home: Path, copies: str, traces: Traces, requests: Sequence[str] = ()) -> SearchedHome:
    """Search every file of a home folder, and of the folder with the published copies.

    Args:
        home: Folder of the local workspace.
        copies: Location of the published copies. A location that is no folder of this machine is not searched.
        traces: What to look for.
        requests: Requests to erase the persons. Empty if the search belongs to no request.
    """
    begin, at = time.monotonic(), new_run_start()
    folders = [home, *([Path(copies)] if copies and Path(copies).is_dir() else [])]
    searched = search_folders(folders, traces)
    versions = sum(1 for _ in (home / "warehouse").glob("*/*/_delta_log/*.json"))
    certificate = certify(requests, traces, len(folders), versions, searched, at, time.monotonic() - begin)
    return SearchedHome(certificate, sorted(searched.hits.items()), sorted(searched.unreadable))


def write_certificate(home: Path, certificate: Certificate, key: str) -> Path:
    """Write a signed certificate into the home folder, and return its path.

    Args:
        home: Folder of the local workspace.
        certificate: The certificate.
        key: Key of the home folder.
    """
    path = home / "certificates" / f"{certificate.searched_at.replace(':', '')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(certificate.signed(key) + "\n", encoding="utf-8")
    return path


def print_search(searched: SearchedHome) -> None:
    """Print what was searched, and the places of the traces."""
    certificate = searched.certificate
    found = {0: "no trace", 1: "1 trace"}.get(certificate.hits, f"{certificate.hits:,} traces")
    console.print(
        f"{certificate.files:,} files ({certificate.bytes / 1e6:,.1f} MB) searched for {certificate.spellings:,}"
        f" spellings in {certificate.seconds} s: {found}.",
        soft_wrap=True,
    )
    by_folder: dict[str, list[tuple[Hit, int]]] = {}
    for hit, number in searched.places:
        by_folder.setdefault("/".join(hit.file.split("/")[:-1][:_DEPTH]), []).append((hit, number))
    rows = [
        (
            folder,
            ", ".join(sorted({hit.kind for hit, _ in found})),
            sum(number for _, number in found),
            _place_of(found[0][0]),
        )
        for folder, found in by_folder.items()
    ]
    if rows:
        print_table(console, "Places", ("folder", "values", "traces", "first place"), rows)
    for file in searched.unreadable:
        console.print(f"{file} can't be decoded, so nobody knows what it has.", soft_wrap=True)


def _place_of(hit: Hit) -> str:
    """Return the file of a trace and the place in the file. If the name of the file is the trace, leave it out."""
    return "name of a file" if hit.place == "name" else f"{hit.file.rpartition('/')[2]}: {hit.place}"
