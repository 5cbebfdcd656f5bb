"""Dataverse tables, read through the Web API (OData v4).

The first run reads all records, and later runs read only changes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cdp_lib.contracts.table import BronzeContract
from cdp_lib.errors import CdpError
from cdp_lib.json_text import parse_json
from cdp_lib.landing import BatchWriter, ChecksummedFile, Extraction, Manifest, Watermark, storage_errors
from cdp_lib.limits import Limits
from cdp_lib.sources.http import HttpClient, address_of_link, host_of, is_confidential, is_loopback
from cdp_lib.sources.pages import Page, columns_of, read_pages

RECORDS_PER_PAGE = 5000
"""Page size: the maximum number of records per page that Dataverse allows."""

OVERLAP_TIME = timedelta(minutes=5)
"""Length of the period that is read again when changes are found by `modifiedon`.

Some changes would be missed without the overlap: changes that become visible late, changes with the same time as a
landed change, and changes from a server whose clock is behind.
"""

MAX_DELTA_LINK_AGE = timedelta(days=1)
"""Age at which a delta link is replaced even if no record has changed. By default, Dataverse lets a link expire after
7 days."""

ENTRA_ID = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "login.windows.net",
)
"""Hosts of Entra ID. The client secret is sent only to these hosts, even if a CRM gives another sign-in address."""

_SECRETS = "the secrets 'crm_client_id' and 'crm_client_secret'"
_ODATA = {"OData-MaxVersion": "4.0", "OData-Version": "4.0"}
_PAGED = {**_ODATA, "Prefer": f"odata.maxpagesize={RECORDS_PER_PAGE}"}
_TRACKED = {**_ODATA, "Prefer": f"odata.track-changes,odata.maxpagesize={RECORDS_PER_PAGE}"}
_TRACKED_ONE = {**_ODATA, "Prefer": "odata.track-changes,odata.maxpagesize=1"}

_SIGN_IN_LIMITS = Limits(megabytes=1, hours=0.1)
"""Limits of a sign-in. Its response is read into memory."""

_REMOVED = b"removed"
"""Value that stands for a deleted record where other records have a digest."""


class _NoChanges(Exception):
    """The source has not changed."""


class _NotTracked(Exception):
    """The source does not track the changes of the table."""


class _DeltaLinkRefused(Exception):
    """The source no longer knows the delta link."""


def land_entity(
    extraction: Extraction,
    contract: BronzeContract,
    crm_url: str,
    *,
    client_id: str,
    client_secret: str,
    timeout_seconds: float,
    from_scratch: bool = False,
    columns: Collection[str] = (),
    limits: Limits | None = None,
    redirect_hosts: Collection[str] = (),
) -> list[Manifest]:
    """Land the changes of a table. The first run lands all records, later runs land changed and deleted records.

    If the source tracks changes, they are read with the delta link of the latest batch. An increment holds the new
    version of each changed record, and a tombstone for each deleted record. If a record was changed and then deleted,
    an increment may hold its new version and its tombstone. All records are landed again in three cases:

    - the source refuses the link;
    - the response of the source has no new link;
    - the address or the columns have changed.

    If the source does not track changes, changed records are found by `modifiedon`. A run reads from `OVERLAP_TIME`
    before the latest landed change. The run misses deleted records, and changed records whose `modifiedon` is earlier.
    To land these changes too, land all records (`from_scratch`). Each run checks whether the source now tracks changes.
    If it does, all records are landed again, together with a delta link.

    If a record changes while all records are read, the batch may hold the old and the new version of the record. The
    two versions differ in `modifiedon`.

    Args:
        extraction: Extraction that lands the records.
        contract: Contract of the bronze table. The entity of the contract is the name of the entity set, and the record
            key is the key of the Dataverse table.
        crm_url: Address of the CRM organisation.
        client_id: Id of an application that may read the table.
        client_secret: Secret of the application.
        timeout_seconds: Maximum time in seconds to wait for a connection, and between two bytes of a response.
        from_scratch: Whether to land all records instead of the changes.
        columns: Columns to request. If empty, the columns of the contract are requested.
        limits: Limits of the extraction. None for the default limits.
        redirect_hosts: Other hosts to which the CRM may redirect requests (see `HttpClient`).

    Returns:
        A list with the landed batch. The list is empty if no record has changed.

    Raises:
        CdpError: The CRM can't be reached, refuses access, responds too slowly, does not respond with records, or
            exceeds a limit.
    """
    if earlier := extraction.find_batch(contract.entity):
        return [earlier]
    if not is_confidential(crm_url):
        raise CdpError(f"CRM address '{crm_url}' does not begin with https://: the client secret was not sent.")
    with HttpClient(
        "CRM",
        crm_url,
        secrets=_SECRETS,
        timeout_seconds=timeout_seconds,
        renew=_new_sign_in(crm_url, client_id, client_secret, timeout_seconds),
        limits=limits,
        redirect_hosts=redirect_hosts,
    ) as client:
        names = ",".join(columns or [column.name for column in contract.received_columns if not column.on_request])
        address = f"{crm_url.rstrip('/')}/api/data/v9.2/{contract.entity}?$select={names}"
        table = _Table(extraction, client, contract.entity, contract.record_key[0], address)
        try:
            return [table.land_changes(from_scratch=from_scratch) or table.land_all()]
        except _NoChanges:
            return []


@dataclass(frozen=True)
class _Table:
    """A table of the CRM, the client that reads the table, and the extraction that lands it.

    Attributes:
        extraction: Extraction that lands the table.
        client: Client of the CRM.
        entity: Name of the table's entity set.
        key: Column that identifies a record.
        address: Address of the table's records, with the names of the columns to read (`$select`).
    """

    extraction: Extraction
    client: HttpClient
    entity: str
    key: str
    address: str

    def land_changes(self, *, from_scratch: bool) -> Manifest | None:
        """Land the changes since the latest batch. Return None if the changes can't be determined."""
        latest = None if from_scratch else self.extraction.find_latest_batch(self.entity)
        watermark = (latest and latest.watermark) or {}
        if latest and watermark.get("address") == self._address_digest:
            if link := watermark.get("delta_link"):
                try:
                    return self._land_delta(latest, link)
                except (_DeltaLinkRefused, _NotTracked):
                    return None
            since = _parse_time(watermark.get("modifiedon"))
            if since and not self._is_tracked():
                return self._land_modified(latest, since)
        return None

    def land_all(self) -> Manifest:
        """Land all records of the table."""
        try:
            return self._land_snapshot(is_tracked=True)
        except _NotTracked:
            return self._land_snapshot(is_tracked=False)

    def _is_tracked(self) -> bool:
        """Return whether the source tracks the changes of the table."""
        address = f"{self.address.split('?')[0]}?$select={self.key}"
        try:
            with self.client.get(address, _TRACKED_ONE, {400: _NotTracked}) as answer:
                return "track-changes" in answer.headers.get("Preference-Applied", "").lower()
        except _NotTracked:
            return False

    def _land_snapshot(self, *, is_tracked: bool) -> Manifest:
        newest: datetime | None = None
        with self.extraction.new_batch(self.entity) as batch:
            if is_tracked:
                pages = self._pages(batch, self.address, _TRACKED, {400: _NotTracked})
            else:
                pages = self._pages(batch, self._ordered(self.address), _PAGED)
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                for page in pages:
                    for line, record in page.records:
                        if _find_removed_key(record):
                            # A cache on the network may have sent an old response, which holds only changes.
                            raise CdpError(
                                f"{self.client.label_of(self.address)} returned a deleted record in response to a full"
                                " read: nothing was landed; run the task again."
                            )
                        file.write(line)
                        newest = _max_time(newest, _modified_at(record))
                    batch.add(page.rows, page.columns)
            if not batch.rows:
                # An empty snapshot would empty the downstream tables.
                raise CdpError(
                    f"{self.client.label_of(self.address)} returned no records: nothing was landed; check the CRM."
                )
            batch.watermark = self._delta_watermark(page) if is_tracked else self._time_watermark(newest)
        if self.extraction.has_landed(batch.manifest):
            return batch.manifest
        if not is_tracked or "delta_link" in (batch.manifest.watermark or {}):
            raise _NoChanges
        # The records equal the records of the latest batch, but the latest batch has no delta link. Land only the link.
        with self.extraction.new_batch(self.entity, "increment", batch.manifest) as link_batch:
            link_batch.watermark = batch.watermark
        return link_batch.manifest

    def _land_delta(self, latest: Manifest, link: str) -> Manifest:
        removed: dict[str, None] = {}
        # A delta link returns all changes since the start of the previous read. Some of these changes may already be
        # landed by the previous read.
        began_at = _parse_time(latest.extracted_at)
        landed = self._landed_digests([latest], began_at - OVERLAP_TIME) if began_at else {}
        with self.extraction.new_batch(self.entity, "increment", latest) as batch:
            with ExitStack() as files:
                changed: ChecksummedFile | None = None
                for page in self._pages(batch, link, _TRACKED, {400: _DeltaLinkRefused, 410: _DeltaLinkRefused}):
                    for line, record in page.records:
                        # Changes arrive in the order of time. If a record was deleted and then created again, drop its
                        # tombstone.
                        if key := _find_removed_key(record):
                            if landed.get(key) != _REMOVED:
                                removed[key] = None
                            continue
                        removed.pop(self._key_of(record), None)
                        if landed.get(self._key_of(record)) == _digest(line):
                            continue
                        changed = changed or files.enter_context(batch.open_data("part-00000.jsonl", "jsonl"))
                        changed.write(line)
                        batch.add(1, columns_of(record))
            if removed:
                with batch.open_data("removed-00000.jsonl", "jsonl", deletions=True) as file:
                    for key in removed:
                        file.write(json.dumps({self.key: key}).encode() + b"\n")
                batch.add(len(removed))
            if not batch.rows and not self._is_delta_link_old(latest):
                raise _NoChanges
            batch.watermark = self._delta_watermark(page)
        return batch.manifest

    def _land_modified(self, latest: Manifest, since: datetime) -> Manifest:
        start = since - OVERLAP_TIME
        landed = self._landed_digests(self._batches_modified_since(start), start)
        newest: datetime | None = None
        with self.extraction.new_batch(self.entity, "increment", latest) as batch:
            address = self._ordered(f"{self.address}&$filter=modifiedon ge {_odata_time(start)}")
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                for page in self._pages(batch, address, _PAGED):
                    for line, record in page.records:
                        if landed.get(self._key_of(record)) == _digest(line):
                            continue
                        file.write(line)
                        batch.add(1, columns_of(record))
                        newest = _max_time(newest, _modified_at(record))
            if not batch.rows:
                raise _NoChanges
            batch.watermark = self._time_watermark(newest or since, latest)
        return batch.manifest

    def _batches_modified_since(self, start: datetime) -> list[Manifest]:
        """Return the landed batches that may contain records modified since `start`, oldest first."""
        landing, source, batches = self.extraction.landing, self.extraction.source, list[Manifest]()
        for name in landing.batch_ids_newest_first(source, self.entity):
            batch = landing.find_batch(source, self.entity, name)
            newest = _parse_time((batch and batch.watermark or {}).get("newest"))
            if batch is None or (newest and newest < start):
                break
            batches.insert(0, batch)
            if batch.load == "snapshot":
                break
        return batches

    def _pages(
        self,
        batch: BatchWriter,
        address: str,
        headers: Mapping[str, str],
        first_status_errors: Mapping[int, type[Exception]] | None = None,
    ) -> Iterator[Page]:
        """Yield the pages of records, and store each page in the batch as received."""
        pages = read_pages(
            self.client,
            address,
            lambda answer, page: _find_link(answer.url, page, "@odata.nextLink"),
            headers=headers,
            first_status_errors=first_status_errors,
        )
        for number, (answer, page) in enumerate(pages):
            batch.write_received(f"answer-{number:05}.json", answer.body)
            answer.body.seek(0)
            yield page

    def _landed_digests(self, batches: Sequence[Manifest], since: datetime) -> dict[str, bytes]:
        """Return the digest of each landed record that was modified at or after `since`, by key.

        The value of a deleted record is `_REMOVED`.
        """
        landed: dict[str, bytes] = {}
        for batch in batches:
            if batch.format != "jsonl":
                continue
            for file in batch.files:
                for line in self._lines_of(self.extraction.landing.path_of(batch, file.name)):
                    record = parse_json(line)
                    modified = _modified_at(record)
                    if file.deletions or (modified and modified >= since):
                        landed[self._key_of(record)] = _REMOVED if file.deletions else _digest(line)
        return landed

    def _lines_of(self, path: str) -> Iterator[bytes]:
        with (
            storage_errors(f"{path} can't be read"),
            self.extraction.landing.fs.open(path, "rb") as file,
            io.BufferedReader(file) as lines,  # reading single lines from an object store is slow
        ):
            yield from lines

    def _delta_watermark(self, last: Page) -> Watermark:
        link = _find_link(self.address, last, "@odata.deltaLink")
        if not link:
            raise _NotTracked
        return {"delta_link": link, "address": self._address_digest}

    def _time_watermark(self, newest: datetime | None, latest: Manifest | None = None) -> Watermark | None:
        """Return a watermark with the times `modifiedon` and `newest`, or None if no record has a time.

        `newest` is the latest `modifiedon` of all landed records. The watermark's `modifiedon` is computed in the same
        way, but if a record has a time after the start of its run, the start of the run is used. The next run reads
        from `OVERLAP_TIME` before the watermark's `modifiedon`.
        """
        started_at = _parse_time(self.extraction.extracted_at)
        if not newest or not started_at:
            return None
        previous = (latest and latest.watermark) or {}
        # Limit `modifiedon` to the start of the run. Otherwise, a record with a future time would hide all changes
        # before that time.
        reached = min(newest, started_at)
        return {
            "modifiedon": _odata_time(max(reached, _parse_time(previous.get("modifiedon")) or reached)),
            "newest": _odata_time(max(newest, _parse_time(previous.get("newest")) or newest)),
            "address": self._address_digest,
        }

    def _ordered(self, address: str) -> str:
        """Return the address with `$orderby=modifiedon`.

        In this order, a record that changes during the read moves to the end, so the read does not miss it.
        """
        return f"{address}&$orderby=modifiedon,{self.key}"

    def _is_delta_link_old(self, batch: Manifest) -> bool:
        now, then = _parse_time(self.extraction.extracted_at), _parse_time(batch.extracted_at)
        return not now or not then or now - then > MAX_DELTA_LINK_AGE

    def _key_of(self, record: Any) -> str:
        return str(record.get(self.key)) if isinstance(record, dict) else ""

    @property
    def _address_digest(self) -> str:
        """Digest of the organisation, the table and the columns.

        A delta link is valid only while the digest stays the same.
        """
        return _digest(self.address.encode()).hex()


def may_sign_in(crm_url: str, address: str) -> bool:
    """Return whether the client secret may be sent to a sign-in address.

    It may be sent if the address belongs to Entra ID, or if both the CRM and the address are on this machine.

    Args:
        crm_url: Address of the CRM.
        address: Sign-in address that the CRM gives.
    """
    if is_loopback(address):
        return is_loopback(crm_url)
    return is_confidential(address) and host_of(address) in ENTRA_ID


def _new_sign_in(crm_url: str, client_id: str, client_secret: str, timeout_seconds: float) -> Callable[[str], str]:
    """Return a function that signs in the application.

    The function gets the header `WWW-Authenticate` of a response, which contains the sign-in address. It returns the
    value of the header `Authorization`.
    """

    def sign_in(challenge: str) -> str:
        found = re.search(r'authorization_uri="?([^",\s]+)/oauth2(?:/v2\.0)?/authorize', challenge)
        if not found or not may_sign_in(crm_url, found[1]):
            raise CdpError(
                f"CRM {crm_url} does not name Entra ID ({ENTRA_ID[0]}) as its sign-in server: the client secret was not"
                " sent; check 'crm_url'."
            )
        address = f"{found[1]}/oauth2/v2.0/token"
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "scope": f"{crm_url.rstrip('/')}/.default",
        }
        with (
            HttpClient(
                "Sign-in", address, secrets=_SECRETS, timeout_seconds=timeout_seconds, limits=_SIGN_IN_LIMITS
            ) as client,
            client.post(address, form) as answer,
        ):
            content = parse_json(answer.body.read())
        token = content.get("access_token") if isinstance(content, dict) else None
        if not token:
            raise CdpError(f"{client.label_of(address)} returned no token: check {_SECRETS}.")
        return f"Bearer {token}"

    return sign_in


def _find_link(base: str, page: Page, name: str) -> str | None:
    link = page.members.get(name)
    return address_of_link(base, str(link)) if link else None


def _find_removed_key(record: Any) -> str | None:
    """Return the key of a deleted record, or None if the record is not deleted."""
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        return None
    is_removed = "@removed" in record or str(record.get("@odata.context")).endswith("/$deletedEntity")
    return str(record["id"]) if is_removed else None


def _modified_at(record: Any) -> datetime | None:
    return _parse_time(record.get("modifiedon")) if isinstance(record, dict) else None


def _max_time(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _parse_time(text: Any) -> datetime | None:
    """Return the time of an ISO 8601 string in UTC, or None if the string is not a time."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _odata_time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
