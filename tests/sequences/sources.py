"""The sources of a small shop, and the batches that are landed from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cdp_lib.contracts.bronze import (
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    EXCHANGE_RATES_BRONZE,
    MARKETING_SPEND_BRONZE,
    PRODUCTS_BRONZE,
    STORE_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import FILE_FOLDER, Landing

Row = Mapping[str, Any]

ENTITIES: dict[str, BronzeContract] = {
    "customers": CUSTOMERS_BRONZE,
    "products": PRODUCTS_BRONZE,
    "stores": STORE_BRONZE,
    "sales": TRANSACTIONS_BRONZE,
    "contacts": CRM_CONTACTS_BRONZE,
    "events": EVENTS_BRONZE,
    "spend": MARKETING_SPEND_BRONZE,
    "rates": EXCHANGE_RATES_BRONZE,
}

OPENED_AT = datetime(2026, 1, 10, 5, tzinfo=UTC)
TIME_BETWEEN_BATCHES = timedelta(days=3)


@dataclass(frozen=True)
class Change:
    """A change in a source.

    Attributes:
        of: The changed entity; a key of `ENTITIES`.
        rows: New rows and new versions of rows. For a file, all lines of the file.
        gone: Keys of removed rows.
        file: Name of the file; empty for a source of records.
        is_all_sent: Whether all current rows are landed, as a snapshot. If not, an increment with the change is landed.
        is_shrunken: Whether the snapshot has only the first three of the current rows, as after a faulty extract.
        purged_before: The source deletes its sales before this day, without tombstones. Empty for no deletion.
    """

    of: str
    rows: tuple[Row, ...]
    gone: tuple[Any, ...] = ()
    file: str = ""
    is_all_sent: bool = False
    is_shrunken: bool = False
    purged_before: str = ""


@dataclass(frozen=True)
class Again:
    """An earlier batch of records that is sent again as a new batch.

    Attributes:
        of: Entity of the batch.
        back: Position of the batch among the entity's batches, newest first; 0 is the latest batch.
    """

    of: str
    back: int


@dataclass(frozen=True)
class Batch:
    """A landed batch.

    Attributes:
        number: Position in the order of all batches of all sources.
        load: Kind of batch: snapshot, increment or files.
        rows: Rows of the batch, without tombstones.
        gone: Keys of the rows that the batch marks as removed.
        file: Name of the landed file; empty for a batch of records.
    """

    number: int
    load: Literal["snapshot", "increment", "files"]
    rows: Sequence[Row]
    gone: Sequence[Any] = ()
    file: str = ""

    @property
    def extracted_at(self) -> datetime:
        return OPENED_AT + self.number * TIME_BETWEEN_BATCHES

    @property
    def batch_id(self) -> str:
        return f"{self.extracted_at:%Y%m%dT%H%M%SZ}-{self.number}"


class Sources:
    """The current rows of the sources, and the batches that were landed from them.

    Attributes:
        batches: The landed batches of each entity, oldest first.
    """

    def __init__(self) -> None:
        self.batches: dict[str, list[Batch]] = {name: [] for name in ENTITIES}
        self._current_rows: dict[str, dict[Any, Row]] = {name: {} for name in ENTITIES}
        self._landed = 0

    def copy(self) -> Sources:
        """Return an independent copy of the sources."""
        copied = Sources()
        copied.batches = {name: [*batches] for name, batches in self.batches.items()}
        copied._current_rows = {name: dict(rows) for name, rows in self._current_rows.items()}
        copied._landed = self._landed
        return copied

    def land(self, landing: Landing, change: Change | Again) -> None:
        """Land a change as a batch. Land nothing if the batch would have neither rows nor tombstones."""
        if isinstance(change, Again):
            earlier = self.batches[change.of][::-1][change.back : change.back + 1]
            self._land(landing, change.of, [Batch(self._landed, "increment", b.rows, b.gone) for b in earlier])
        elif change.file:
            self._land(landing, change.of, [Batch(self._landed, "files", change.rows, file=change.file)])
        else:
            [key] = ENTITIES[change.of].record_key
            current = self._current_rows[change.of]
            current |= {row[key]: row for row in change.rows}
            for gone in change.gone:
                current.pop(gone, None)
            days = {number: row.get("transaction_date") or "9" for number, row in current.items()}
            for purged in (number for number, day in days.items() if day < change.purged_before):
                del current[purged]
            sent = [*current.values()]
            snapshot = Batch(self._landed, "snapshot", sent[:3] if change.is_shrunken else sent)
            increment = Batch(self._landed, "increment", change.rows, change.gone)
            self._land(landing, change.of, [snapshot if change.is_all_sent else increment])

    def forget(self, of: str) -> None:
        """Remove the latest batch of an entity from `batches`, for example a refused batch. It stays in the landing."""
        self.batches[of].pop()

    def _land(self, landing: Landing, of: str, batches: Sequence[Batch]) -> None:
        for batch in batches:
            if batch.rows or batch.gone:
                write_batch(landing, ENTITIES[of], batch)
                self.batches[of].append(batch)
                self._landed += 1


def write_batch(landing: Landing, contract: BronzeContract, batch: Batch) -> None:
    """Write a landed batch in the same way as an ingest task."""
    extraction = landing.extraction(contract.source, batch.batch_id, batch.extracted_at)
    latest = extraction.find_latest_batch(contract.entity) if batch.load != "snapshot" else None
    folder = f"{FILE_FOLDER}{batch.file}/" if batch.file else ""
    gone = [dict(zip(contract.record_key, [key], strict=True)) for key in batch.gone]
    with extraction.new_batch(contract.entity, batch.load, latest) as writer:
        for name, rows, are_gone in ((f"{folder}part-00000", batch.rows, False), ("removed-00000", gone, True)):
            if rows:
                with writer.open_data(f"{name}.jsonl", "jsonl", deletions=are_gone) as file:
                    file.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())
                writer.add(len(rows), [column.name for column in contract.received_columns])
