"""REST APIs that return JSON records, in one array or in pages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from requests.utils import parse_header_links

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.landing import Extraction, Manifest
from cdp_lib.limits import Limits
from cdp_lib.sources.http import Answer, HttpClient, address_of_link, is_confidential
from cdp_lib.sources.pages import Page, read_pages

PAGE = re.compile(r"\{page(?::(\d{1,9}))?\}")
"""Placeholder of the page number in an address, optionally with the number of the first page (default 1)."""

MAX_READS = 3
"""Maximum number of times that all numbered pages are read. If no two consecutive reads return the same records, no
batch is landed."""

# Names as `_metadata_fields` normalizes them.
_NEXT_LINKS = ("next", "nextlink", "nexturl", "@odata.nextlink")
_NEXT_CURSOR = "nextcursor"
_CURSOR = "cursor"
_MORE_FLAGS = ("hasmore", "hasnext", "hasnextpage", "nextpage", "nextpagetoken", "nexttoken", "nextoffset")
_PAGE_TOTALS = ("totalpages", "pagecount", "pages", "xtotalpages")
_RECORD_TOTALS = ("total", "totalcount", "totalelements", "totalitems", "count", "@odata.count", "xtotalcount")
_PAGING_METHODS = "a link (next), a cursor (next_cursor), or {page} as the page number in the address"


class _NotModified(Exception):
    """The source has not changed."""


class _PagesDiffer(Exception):
    """Two reads of the same pages had different records."""

    def __init__(self, checksums: list[bytes]) -> None:
        super().__init__()
        self.checksums = checksums


def land_records(
    extraction: Extraction,
    contract: BronzeContract,
    url: str,
    *,
    token: str | None,
    timeout_seconds: float,
    from_scratch: bool = False,
    limits: Limits | None = None,
    redirect_hosts: Collection[str] = (),
) -> list[Manifest]:
    """Land all records of an API. The responses are stored as received, and the records as JSON lines.

    A response is an array, or an object with one array in it. The next page is found in one of three ways:

    - by a link: `next`, `next_link`, `next_url`, `@odata.nextLink` or the header `Link`;
    - by a cursor: `next_cursor` or `cursor`. The request for the next page sends this value in the parameter `cursor`.
      The value of `cursor` is ignored if it only repeats the cursor of the request;
    - by the page number, if the address has `{page}`. The first page is 1, or 0 with `{page:0}`. Pages are read until a
      page is empty.

    Links, cursors and totals may be in an inner object of the response (`links`, `meta`, `paging`). Their names may be
    in upper or lower case, with or without underscores.

    If a record is added or deleted while numbered pages are read, later records move to other pages. Therefore, all
    numbered pages are read again until two consecutive reads return the same records. Pages with links or cursors are
    read once, because added or deleted records do not move them. If a record is on two of these pages, it is landed
    twice.

    If the API returns a single page with a strong ETag, the next run sends this ETag with its request. The API then
    returns the records only if they have changed.

    Args:
        extraction: Extraction that lands the records.
        contract: Bronze table of the records.
        url: Address of the records.
        token: Bearer token. None if the API does not require one.
        timeout_seconds: Maximum time in seconds to wait for a connection, and between two bytes of a response.
        from_scratch: Whether to read the records even if they have not changed.
        limits: Limits of the extraction. None for the default limits.
        redirect_hosts: Other hosts to which the API may redirect requests (see `HttpClient`).

    Returns:
        A list with the landed batch. The list is empty if the records have not changed.

    Raises:
        CdpError: The API can't be reached, responds too slowly, responds with an error, or does not respond with all
            its records. The error is also raised if the token would be sent unencrypted, if the records change during
            the read, or if a limit is exceeded.
    """
    entity = contract.entity
    if earlier := extraction.find_batch(entity):
        return [earlier]
    with HttpClient(
        "API",
        url,
        secrets="the secret 'api_token'",
        timeout_seconds=timeout_seconds,
        authorization=f"Bearer {token}" if token else None,
        limits=limits,
        redirect_hosts=redirect_hosts,
    ) as client:
        if token and not is_confidential(url):
            raise CdpError(f"{client.label_of(url)} does not begin with https://: the token was not sent.")
        if PAGE.search(url):
            return _land_numbered_pages(extraction, entity, client, url)
        etag = None if from_scratch else _known_etag(extraction.find_latest_batch(entity), url)
        pages = read_pages(
            client,
            url,
            lambda answer, page: _next_address(answer, page, url, client.label_of(url)),
            first_headers={"If-None-Match": etag} if etag else {},
            first_status_errors={304: _NotModified} if etag else {},
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
    for _ in range(MAX_READS - 1):
        try:
            return _land(extraction, entity, client, url, _numbered_pages(client, url), checksums)
        except _PagesDiffer as difference:
            checksums = difference.checksums
    raise CdpError(
        f"{client.label_of(url)} changed during the read: {MAX_READS} reads of its pages differ; nothing was"
        " landed; run the task again."
    )


def _numbered_pages(client: HttpClient, url: str) -> Iterator[tuple[Answer, Page]]:
    found = PAGE.search(url)
    numbers = count(int(found[1]) if found and found[1] else 1)

    def address() -> str:
        return PAGE.sub(str(next(numbers)), url)

    return read_pages(client, address(), lambda _, page: address() if page.rows else None)


def _land(
    extraction: Extraction,
    entity: str,
    client: HttpClient,
    url: str,
    pages: Iterator[tuple[Answer, Page]],
    expected_checksums: list[bytes] | None = None,
) -> list[Manifest]:
    """Land pages. Raise `_PagesDiffer` if the checksums of the pages are not the expected checksums."""
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
        if expected_checksums not in (None, checksums):
            raise _PagesDiffer(checksums)
        if not batch.rows:
            # An empty snapshot would empty the downstream tables.
            label = client.label_of(url)
            raise CdpError(f"{label} returned an empty array: check the source; nothing was landed.")
        _check_completeness(_metadata_fields(answer, page), batch.rows, len(checksums), client.label_of(url))
        etag = answer.headers.get("ETag", "W/")
        # If the API has several pages, the ETag of one page says nothing about the other pages.
        if len(checksums) == 1 and not etag.startswith("W/"):
            batch.watermark = {"etag": etag, "address": _digest(url)}
    return [batch.manifest] if extraction.has_landed(batch.manifest) else []


def _metadata_fields(answer: Answer, page: Page) -> list[tuple[str, Any]]:
    """Return the headers of a response, and its members other than the records, as (name, value) pairs.

    Members of inner objects are included, one level deep. Names are normalized: `totalPages` becomes `totalpages`.
    """
    inner = [item for value in page.members.values() if isinstance(value, dict) for item in value.items()]
    fields = [*page.members.items(), *inner, *answer.headers.items()]
    return [(re.sub("[_-]", "", name).lower(), value) for name, value in fields]


def _next_address(answer: Answer, page: Page, url: str, name: str) -> str | None:
    fields = _metadata_fields(answer, page)
    links = [value for member, value in fields if member in _NEXT_LINKS]
    for link in parse_header_links(answer.headers.get("Link", "")):
        links.append(link.get("url") if "next" in link.get("rel", "").split() else None)
    for link in links:
        address = link.get("href", link) if isinstance(link, dict) else link
        if not address:
            continue
        if not isinstance(address, str):
            raise CdpError(f"{name} returned a link to the next page that is not a string: {str(link)[:50]}.")
        return address_of_link(answer.url, address)
    cursors = [value for member, value in fields if member == _NEXT_CURSOR]
    if not cursors:
        # An API may return the cursor of the request itself. Ignore this cursor.
        sent_cursors = parse_qs(urlsplit(answer.url).query).get(_CURSOR, [])
        cursors = [value for member, value in fields if member == _CURSOR and str(value) not in sent_cursors]
    if cursor := next(filter(None, cursors), None):
        return f"{url}{'&' if '?' in url else '?'}{_CURSOR}={quote(str(cursor), safe='', errors='replace')}"
    return None


def _check_completeness(fields: list[tuple[str, Any]], rows: int, pages: int, name: str) -> None:
    """Raise an error if the last page says that the API has more records than were read."""
    for what, members, read in (("records", _RECORD_TOTALS, rows), ("pages", _PAGE_TOTALS, pages)):
        total = max((_number(value) for member, value in fields if member in members), default=0)
        if total > read:
            raise _incomplete_error(name, f"{total} {what} but returned {read}")
    if any(value and str(value).lower() != "false" for member, value in fields if member in _MORE_FLAGS):
        raise _incomplete_error(name, "more records than it returned")


def _incomplete_error(name: str, found: str) -> CdpError:
    return CdpError(
        f"{name} reports {found}, and the address of the next page is unknown: use {_PAGING_METHODS};"
        " nothing was landed."
    )


def _number(value: Any) -> int:
    """Return an integer, or the integer in a string. Return 0 for any other value."""
    return int(value) if re.fullmatch("[0-9]{1,18}", str(value)) else 0


def _known_etag(latest: Manifest | None, url: str) -> str | None:
    """Return the ETag of the latest batch, if the batch was landed from the same address."""
    watermark = (latest and latest.watermark) or {}
    etag = watermark.get("etag")
    return etag if isinstance(etag, str) and watermark.get("address") == _digest(url) else None


def _digest(url: str) -> str:
    """Return a digest that identifies an address without revealing it, because the address may contain a key."""
    return hashlib.sha256(url.encode()).hexdigest()
