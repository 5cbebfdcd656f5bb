"""The story of one person, read from the Delta tables of a home folder without an engine.

The queries run in delta-rs, which reads only the partitions and row groups that a condition allows. It needs neither
pyarrow nor pandas, whose import would take longer than all queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError

from cdp_lib.contracts.consent import CONSENT_EVENTS_SILVER, GIVEN, MARKETING_CHANNELS
from cdp_lib.contracts.identity import PERSON_GROUPS, PERSON_HISTORY_SILVER, PERSON_LINKS_SILVER
from cdp_lib.contracts.profile import BUCKETS, CUSTOMER_PROFILE_GOLD, PERSON_LOOKUP_GOLD
from cdp_lib.contracts.silver import EVENTS_SILVER, ID_KEYS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_local.identifiers import bucket_of

_LATEST = 10
"""Number of purchases, and of events, that a story has at most."""

_MONTHS = 3
"""Number of months in which purchases are looked up, counted back from the last purchase."""

_EVENT_DAYS = 30
"""Number of days in which events are looked up, counted back from the last activity."""

_PROVENANCE = ("source", "record", "at", "rule")
_PURCHASE = ("transaction_date", "transaction_id", "product_name", "category", "quantity", "revenue", "store_name")
_EVENT = ("occurred_at", "event_type", "channel", "campaign", "product_id", "identity")

Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Attributes of a person that come from one record.

    Attributes:
        name: Name of the group, such as `address`.
        values: Value of each attribute.
        origin: source, record, time (`at`) and rule of the values.
    """

    name: str
    values: Mapping[str, Any]
    origin: Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """Everything that the platform knows about one person.

    Attributes:
        person_id: Number of the person.
        groups: Groups of attributes that have a value.
        consent: Whether marketing is allowed, by channel. None if the person was never asked.
        figures: All other values of the profile, such as segment and value.
        records: Records of the person, and why they are linked, from person_links_silver.
        history: Changes of the person, the latest change first.
        purchases: Latest purchases.
        events: Latest events.
    """

    person_id: int
    groups: tuple[Group, ...]
    consent: Mapping[str, bool | None]
    figures: Mapping[str, Any]
    records: Sequence[Row]
    history: Sequence[Row]
    purchases: Sequence[Row]
    events: Sequence[Row]


@dataclass(frozen=True)
class Decision:
    """What a person allowed for a purpose and channel.

    Attributes:
        purpose: Name of the purpose.
        channel: Channel of the purpose.
        counts: Row of the ledger that counts.
        others: Rows of the person's other records: each record's latest decision.
    """

    purpose: str
    channel: str
    counts: Row
    others: Sequence[Row]


class Profiles:
    """Profiles of the persons in a home folder."""

    def __init__(self, folder: Path) -> None:
        """Open the tables.

        Args:
            folder: Folder of the schema: `<home>/warehouse/<schema>`.
        """
        self._folder = folder

    def persons_with(self, identifier: str) -> list[int]:
        """Return the numbers of the persons with an identifier such as `email:<address>`, ascending.

        Raises:
            CdpError: The look-up table does not exist, or can't be read.
        """
        has_identifier = f"bucket = {bucket_of(identifier)} AND identifier = {_literal(identifier)}"
        found = self._read(PERSON_LOOKUP_GOLD, has_identifier, ("person_id",))
        return sorted({row["person_id"] for row in found})

    def number_of_customer(self, customer_id: str) -> str:
        """Return the number of a customer whose identifier in the source is text. A number is returned as it is.

        Raises:
            CdpError: The table of numbers can't be read.
        """
        is_own = f"entity = 'customers' AND source_id = {_literal(customer_id)}"
        numbers = self._read(ID_KEYS_SILVER, is_own, ("id",), is_required=False)
        return str(numbers[0]["id"]) if numbers else customer_id

    def story_of(self, person_id: int) -> Story | None:
        """Return the story of a person; None if there is no such person.

        Raises:
            CdpError: A table does not exist, or can't be read.
        """
        is_person = f"person_id = {person_id}"
        profiles = self._read(CUSTOMER_PROFILE_GOLD, f"bucket = {person_id % BUCKETS} AND {is_person}")
        if not profiles:
            return None
        [profile] = profiles
        records = self._read(PERSON_LINKS_SILVER, is_person)
        history = self._read(PERSON_HISTORY_SILVER, is_person, is_required=False)
        return Story(
            person_id,
            tuple(group for name in PERSON_GROUPS if (group := _group(name, profile))),
            {channel: profile.get(f"is_{channel}_allowed") for channel in MARKETING_CHANNELS},
            _figures(profile),
            sorted(records, key=lambda row: (row["source"], row["record_key"])),
            sorted(history, key=lambda row: (row["links_version"], row["event"]), reverse=True),
            self._purchases(profile.get("last_purchase_date"), profile.get("customer_ids") or []),
            self._events(profile.get("last_activity_date"), [row["record_key"] for row in records]),
        )

    def decisions_of(self, person_id: int, until: datetime | None) -> list[Decision]:
        """Return what a person allowed at a time, by purpose and channel: the strictest record of the person.

        The records are those that belong to the person now.

        Args:
            person_id: Number of the person.
            until: Time, UTC. Later decisions are left out. None for all decisions.

        Raises:
            CdpError: A table does not exist, or can't be read.
        """
        records = [row["record_key"] for row in self._read(PERSON_LINKS_SILVER, f"person_id = {person_id}")]
        if not records:
            return []
        is_own = f"record_key IN ({', '.join(map(_literal, records))})"
        known = f"decided_at <= TIMESTAMP '{until.isoformat()}'" if until else "true"
        latest: dict[tuple[str, str, str], Row] = {}
        rows = self._read(CONSENT_EVENTS_SILVER, f"{is_own} AND {known}")
        # Of decisions at one time, the strictest counts: it is stored last.
        for row in sorted(rows, key=lambda row: (row["decided_at"], row["state"] != GIVEN, row["source"])):
            latest[row["purpose"], row["channel"], row["record_key"]] = row
        found: dict[tuple[str, str], list[Row]] = {}
        for (purpose, channel, _), row in latest.items():
            found.setdefault((purpose, channel), []).append(row)
        return [_decision(purpose, channel, rows) for (purpose, channel), rows in sorted(found.items())]

    def _purchases(self, last: date | None, customer_ids: Sequence[str]) -> list[Row]:
        """Return the latest purchases. A month is a partition, so each month costs one small read."""
        found: list[Row] = []
        month = last.replace(day=1) if last else None
        for _ in range(_MONTHS):
            if month is None or not customer_ids or len(found) >= _LATEST:
                break
            is_own = f"sale_month = DATE '{month}' AND customer_id IN ({', '.join(map(str, map(int, customer_ids)))})"
            rows = self._read(RETAILS_SILVER, is_own, _PURCHASE, is_required=False)
            found += sorted(rows, key=lambda row: (row["transaction_date"], row["transaction_id"]), reverse=True)
            month = (month - timedelta(days=1)).replace(day=1)
        return found[:_LATEST]

    def _events(self, last: date | None, record_keys: Sequence[str]) -> list[Row]:
        """Return the latest events. The times of a file in the Delta log exclude most files."""
        if last is None or not record_keys:
            return []
        since = datetime.combine(last - timedelta(days=_EVENT_DAYS), time(), UTC).isoformat()
        is_own = f"occurred_at >= TIMESTAMP '{since}' AND identity IN ({', '.join(map(_literal, record_keys))})"
        rows = self._read(EVENTS_SILVER, is_own, _EVENT, is_required=False)
        return sorted(rows, key=lambda row: row["occurred_at"], reverse=True)[:_LATEST]

    def _read(
        self, contract: TableContract, condition: str, columns: Sequence[str] = ("*",), *, is_required: bool = True
    ) -> list[Row]:
        """Return rows of a table. Without a table: no row, or an error if the table is required."""
        folder = self._folder / contract.name
        try:
            query = QueryBuilder().register("rows", DeltaTable(folder))
            found: Any = query.execute(f"SELECT {', '.join(columns)} FROM rows WHERE {condition}").read_all()
            rows: list[Row] = found.to_struct_array().to_pylist()
            return rows
        except TableNotFoundError:
            if not is_required:
                return []
            raise CdpError(f"{folder} does not exist: `cdp run` creates the profiles.") from None
        except (DeltaError, OSError) as error:
            raise CdpError(f"{folder} can't be read ({str(error).splitlines()[0]}): `cdp verify` checks it.") from None


def _decision(purpose: str, channel: str, rows: Sequence[Row]) -> Decision:
    """Return the decision of a person from the latest decision of each record, as `build_consent_current_silver`."""
    latest_first = sorted(rows, key=lambda row: row["record_key"])
    latest_first.sort(key=lambda row: row["decided_at"], reverse=True)
    latest_first.sort(key=lambda row: row["state"] == GIVEN)
    return Decision(purpose, channel, latest_first[0], latest_first[1:])


def _literal(text: str) -> str:
    """Return a text as a literal of SQL.

    >>> print(_literal("o'neill@example.com"))
    'o''neill@example.com'
    """
    return "'" + text.replace("'", "''") + "'"


def _group(name: str, profile: Row) -> Group | None:
    """Return a group of attributes; None if the person has no value of the group."""
    origin = {part: profile.get(f"{name}_{part}") for part in _PROVENANCE}
    others = {f"{name}_{part}" for part in (*_PROVENANCE, "link")}
    values = {column.name: profile.get(column.name) for column in PERSON_GROUPS[name] if column.name not in others}
    known = {key: value for key, value in values.items() if value not in (None, [], "unknown")}
    return Group(name, known, origin) if known else None


def _figures(profile: Row) -> Row:
    """Return the values of a profile that belong neither to a group, nor to consent."""
    grouped = {column.name for columns in PERSON_GROUPS.values() for column in columns}
    left_out = {*grouped, *(f"is_{channel}_allowed" for channel in MARKETING_CHANNELS), "bucket", "person_id"}
    return {name: value for name, value in profile.items() if name not in left_out and value not in (None, [])}
