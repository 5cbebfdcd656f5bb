"""The sources of a small shop, and the batches they land."""

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
    """What changes in a source.

    Attributes:
        of: What it is a change of, one of `ENTITIES`.
        rows: New rows, and new versions of rows; of a file all its lines.
        gone: Keys of the rows that are no longer there.
        file: Name of the file; empty for a source that has records and no files.
        is_all_sent: Whether a snapshot of everything is landed instead of the change alone.
    """

    of: str
    rows: tuple[Row, ...]
    gone: tuple[Any, ...] = ()
    file: str = ""
    is_all_sent: bool = False


@dataclass(frozen=True)
class Again:
    """A batch of records is sent once more, as a new one.

    Attributes:
        of: What it is a batch of.
        back: Which: 0 is the latest.
    """

    of: str
    back: int


@dataclass(frozen=True)
class Batch:
    """A landed batch.

    Attributes:
        number: Its place among all batches.
        load: What part of the source it holds.
        rows: Its rows.
        gone: Keys of the rows that it says are gone.
        file: Name of the file it is, empty where it is none.
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
    """What the sources hold, and what they have landed.

    Attributes:
        batches: The landed batches of each entity, oldest first.
    """

    def __init__(self) -> None:
        self.batches: dict[str, list[Batch]] = {name: [] for name in ENTITIES}
        self._now: dict[str, dict[Any, Row]] = {name: {} for name in ENTITIES}
        self._landed = 0

    def copy(self) -> Sources:
        """The same sources, which go their own way from here."""
        other = Sources()
        other.batches = {name: [*batches] for name, batches in self.batches.items()}
        other._now = {name: dict(rows) for name, rows in self._now.items()}
        other._landed = self._landed
        return other

    def land(self, landing: Landing, change: Change | Again) -> None:
        """Land a change as a batch; nothing where it is of no rows."""
        if isinstance(change, Again):
            earlier = self.batches[change.of][::-1][change.back : change.back + 1]
            self._land(landing, change.of, [Batch(self._landed, "increment", b.rows, b.gone) for b in earlier])
        elif change.file:
            self._land(landing, change.of, [Batch(self._landed, "files", change.rows, file=change.file)])
        else:
            [key] = ENTITIES[change.of].record_key
            now = self._now[change.of]
            now |= {row[key]: row for row in change.rows}
            for gone in change.gone:
                now.pop(gone, None)
            batch = Batch(self._landed, "increment", change.rows, change.gone)
            self._land(
                landing, change.of, [Batch(self._landed, "snapshot", [*now.values()]) if change.is_all_sent else batch]
            )

    def _land(self, landing: Landing, of: str, batches: Sequence[Batch]) -> None:
        for batch in batches:
            if batch.rows or batch.gone:
                write_batch(landing, ENTITIES[of], batch)
                self.batches[of].append(batch)
                self._landed += 1


def write_batch(landing: Landing, contract: BronzeContract, batch: Batch) -> None:
    """Land a batch as an ingest task would."""
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
