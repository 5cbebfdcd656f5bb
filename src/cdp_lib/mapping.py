"""Mapping of a source's columns to the columns of a bronze contract.

The file of sources declares the mapping of each entity. Bronze tables keep the columns of the source. The mapping is
applied when a silver table reads bronze (`mapped_rows`), so a changed mapping needs no new extraction.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

ATTRIBUTES = "attributes"
"""Column of the retailer's own attributes in mapped rows and in silver tables."""

AS_RECEIVED = "_as_received"
"""Suffix of the bronze column that keeps a value as received: a time if the column of the contract is a date, or a text
identifier if the column is a number."""


@dataclass(frozen=True)
class Mapping:
    """How the rows of an entity's source become rows of its contract. An empty mapping leaves rows as they are.

    Attributes:
        columns: Pairs of a column of the contract and its value. The value is a column of the source, or an SQL
            expression over the columns of the source.
        attributes: Columns of the source to keep as the retailer's own attributes.
        time_zone: IANA name of the retailer's time zone. Days are days of this zone. Times without a time zone are
            times of this zone. Empty for UTC.
        date_format: Pattern of dates and times, as in Spark (`dd.MM.yyyy`). Empty for ISO 8601.
        decimal_separator: Character before the decimals of a number. Empty for a full stop.
        text_ids: Pairs of a contract column and the entity it refers to, for entities whose identifiers are text. The
            numbers of these identifiers are in `id_keys_silver`.
        ids_since: Token of the creation of `id_keys_silver`. If the table is lost, all identifiers get new numbers.
    """

    columns: tuple[tuple[str, str], ...] = ()
    attributes: tuple[str, ...] = ()
    time_zone: str = ""
    date_format: str = ""
    decimal_separator: str = ""
    text_ids: tuple[tuple[str, str], ...] = ()
    ids_since: str = ""

    def __bool__(self) -> bool:
        """Return whether the mapping changes rows."""
        return self != Mapping()

    def __str__(self) -> str:
        """Return the mapping as JSON, or an empty string for an empty mapping."""
        return json.dumps(asdict(self), ensure_ascii=False) if self else ""

    @classmethod
    def from_text(cls, text: str) -> Mapping:
        """Return the mapping whose `str` is the given text."""
        values: dict[str, Any] = json.loads(text) if text else {}
        columns, text_ids = (
            tuple((first, second) for first, second in values.pop(name, ())) for name in ("columns", "text_ids")
        )
        return cls(columns, tuple(values.pop("attributes", ())), text_ids=text_ids, **values)


NO_MAPPING = Mapping()
