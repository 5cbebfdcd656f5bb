"""A REST API that answers with JSON records: an array, or pages of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import quote, urljoin

from requests.utils import parse_header_links

from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Manifest
from cdp_lib.sources.http import Answer, HttpClient
from cdp_lib.sources.pages import Page, read_pages

PAGE = "{page}"
"""Stands in an address for the number of a page."""

READS_UNTIL_AGREED = 3
"""How often numbered pages are read before the source is said to change too fast."""

_NEXT_LINKS = ("next", "nextLink", "@odata.nextLink")
_NEXT_CURSORS = ("next_cursor", "nextCursor", "cursor")
_THERE_IS_MORE = ("has_more", "hasMore")
_TOTALS = ("total", "total_count", "totalCount", "count", "@odata.count")


class _NotModified(Exception):
    """The source is as it was."""


class _PagesDiffer(Exception):
    """Two reads of the same pages had different records."""

    def __init__(self, checksums: list[bytes]) -> None:
        super().__init__()
        self.checksums = checksums


def land_records(
    extraction: Extraction,
    entity: str,
    url: str,
    *,
    token: str | None,
    timeout_seconds: float,
    from_scratch: bool = False,
) -> list[Manifest]:
    """Land all records an API has: its answers as received, and one record a line.

    An answer is an array, or an object with one array in it. The next page is found by a link (`next`, `nextLink`,
    `@odata.nextLink`, `links.next`, header `Link`), by a cursor (`next_cursor`, `nextCursor`, `cursor`; sent as
    `cursor`), or by its number, where the address has `{page}`: from 1 until a page has no records.

    With numbered pages, a record that comes or goes meanwhile moves others from page to page: they are read until two
    reads agree. Links and cursors keep their place; a record they give twice is landed twice.

    An answer with a strong ETag is asked for again only if it has changed.

    Args:
        extraction: Where to land them.
        entity: What the records are.
        url: Address of the records.
        token: Bearer token, None where the API asks for none.
        timeout_seconds: Seconds to wait for a connection and between two bytes of an answer.
        from_scratch: Whether to ask for an answer that has not changed, too.

    Returns:
        The landed batch; none where nothing has changed.

    Raises:
        CdpError: The API can't be reached, answers with an error or too slowly, answers with anything but records, or
            changes while it is read.
    """
    if earlier := extraction.find_batch(entity):
        return [earlier]
    with HttpClient(
        "API",
        url,
        secrets="the secret 'api_token'",
        timeout_seconds=timeout_seconds,
        authorization=f"Bearer {token}" if token else None,
    ) as client:
        if PAGE in url:
            return _land_numbered_pages(extraction, entity, client, url)
        etag = None if from_scratch else _known_etag(extraction.find_latest_batch(entity), url)
        pages = read_pages(
            client,
            url,
            lambda answer, page: _next_address(answer, page, url, client.name_of(url)),
            first_headers={"If-None-Match": etag} if etag else {},
            first_raising={304: _NotModified} if etag else {},
        )
        try:
            return _land(extraction, entity, client, url, pages)
        except _NotModified:
            return []


def _land_numbered_pages(extraction: Extraction, entity: str, client: HttpClient, url: str) -> list[Manifest]:
    checksums: list[bytes] = []
    for _, page in _numbered_pages(client, url):
        for _ in page.records:
            pass
        checksums.append(page.checksum)
    for _ in range(READS_UNTIL_AGREED - 1):
        try:
            return _land(extraction, entity, client, url, _numbered_pages(client, url), checksums)
        except _PagesDiffer as difference:
            checksums = difference.checksums
    raise CdpError(
        f"{client.name_of(url)} changes while it is read: {READS_UNTIL_AGREED} reads of its pages differ; nothing was"
        " landed, run it again."
    )


def _numbered_pages(client: HttpClient, url: str) -> Iterator[tuple[Answer, Page]]:
    numbers = count(2)
    return read_pages(
        client,
        url.replace(PAGE, "1"),
        lambda _, page: url.replace(PAGE, str(next(numbers))) if page.rows else None,
    )


def _land(
    extraction: Extraction,
    entity: str,
    client: HttpClient,
    url: str,
    pages: Iterator[tuple[Answer, Page]],
    agreed: list[bytes] | None = None,
) -> list[Manifest]:
    """Land pages, if their records are those agreed upon."""
    checksums: list[bytes] = []
    with extraction.new_batch(entity) as batch:
        with batch.open_data("part-00000.jsonl", "jsonl") as file:
            for answer, page in pages:
                batch.write_received(f"answer-{len(checksums):05}.json", answer.body)
                answer.body.seek(0)
                for line, _ in page.records:
                    file.write(line)
                batch.add(page.rows, page.columns)
                checksums.append(page.checksum)
        if agreed not in (None, checksums):
            raise _PagesDiffer(checksums)
        if not batch.rows:
            # Taken at its word, it would empty the tables built from it.
            raise CdpError(f"{client.name_of(url)} answered with an empty array: check the source; nothing was landed.")
        _check_complete(page.members, batch.rows, client.name_of(url))
        etag = answer.headers.get("ETag", "W/")
        # That of one of several pages says nothing of the others.
        if len(checksums) == 1 and not etag.startswith("W/"):
            batch.watermark = {"etag": etag, "address": _digest(url)}
    return [batch.manifest] if batch.manifest.batch_id == extraction.batch_id else []


def _next_address(answer: Answer, page: Page, url: str, name: str) -> str | None:
    members = page.members
    links = members.get("links")
    found = [members.get(name) for name in _NEXT_LINKS]
    found.append(links.get("next") if isinstance(links, dict) else None)
    for link in parse_header_links(answer.headers.get("Link", "")):
        found.append(link.get("url") if "next" in link.get("rel", "").split() else None)
    for link in filter(None, found):
        if not isinstance(link, str):
            raise CdpError(f"{name} answered with a link to the next page that is no text: {str(link)[:50]}.")
        return urljoin(answer.url, link)
    if cursor := next(filter(None, map(members.get, _NEXT_CURSORS)), None):
        return f"{url}{'&' if '?' in url else '?'}cursor={quote(str(cursor), safe='')}"
    return None


def _check_complete(members: dict[str, Any], rows: int, name: str) -> None:
    """Refuse a part of the records where the last page says that there are more: they would be missed in silence."""
    total = max((value for value in map(members.get, _TOTALS) if isinstance(value, int)), default=0)
    if total > rows or any(members.get(member) is True for member in _THERE_IS_MORE):
        found = f"has {total} records and gave {rows}" if total > rows else "has more records than it gave"
        raise CdpError(
            f"{name} says that it {found}, and no link to the next page: put {PAGE} into the address where it takes"
            " the number of a page; nothing was landed."
        )


def _known_etag(latest: Manifest | None, url: str) -> str | None:
    """The ETag of what is landed already, if it was landed from the same address."""
    watermark = (latest and latest.watermark) or {}
    etag = watermark.get("etag")
    return etag if isinstance(etag, str) and watermark.get("address") == _digest(url) else None


def _digest(url: str) -> str:
    """Tells addresses apart without giving them away: they may hold a key."""
    return hashlib.sha256(url.encode()).hexdigest()
