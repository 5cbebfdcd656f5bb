"""Model of the platform: compute the expected silver tables row by row in Python, and gold tables in DuckDB.

The model computes all tables from the list of landed batches. From the library, it uses only table and column names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from cdp_lib.contracts.table import TableContract

from .sources import Batch, Row, Sources

PROJECT = Path(__file__).resolve().parents[2]
COUNTRIES = PROJECT / "src" / "cdp_lib" / "reference" / "countries.csv"
# The end-to-end test also uses these queries of the sales marts. Here they run on the sales of the model.
MARTS = "".join(
    (PROJECT / "tests" / "end_to_end" / "expected.sql")
    .read_text(encoding="utf-8")
    .partition("CREATE VIEW sales_by")[1:]
)
STATEMENTS = (
    Path(__file__)
    .with_name("expected.sql")
    .read_text(encoding="utf-8")
    .replace("countries.csv", str(COUNTRIES))
    .replace("-- MARTS", MARTS)
)

KEYS = {
    "customers": ("customer_id",),
    "products": ("product_id",),
    "stores": ("store_id",),
    "sales": ("transaction_id",),
    "contacts": ("contactid",),
    "events": ("event_id",),
    "spend": ("month", "channel", "campaign"),
    "rates": ("month", "currency"),
}
VERSIONS = {
    **dict.fromkeys(("customers", "products", "stores", "sales"), "updated_at"),
    "contacts": "modifiedon",
}
"""Column with the time of change, by source. The version of a row with the latest time is its current version.

A version without a time counts as older than any version with a time. Among versions with equal times, the version from
the latest batch is the current version.
"""

REQUIRED = {
    "customers": (),
    "products": ("price",),
    "stores": (),
    "sales": ("quantity", "transaction_date"),
    "contacts": (),
    "events": ("event_type", "occurred_at"),
    "spend": ("amount", "currency"),
    "rates": ("rate",),
}
"""Columns other than the key that must not be null in a valid row."""

DAYS = {"sales": "transaction_date", "events": "occurred_at"}
"""Date columns of valid rows. Their values may be at most one day after the extraction, because of time zones."""


@dataclass(frozen=True)
class Version:
    """A version of a row, from one batch. A version without a row is a tombstone."""

    key: tuple[str, ...]
    changed_at: str
    batch: Batch
    row: Row | None
    is_valid: bool

    @property
    def order(self) -> tuple[str, int]:
        return self.changed_at, self.batch.number


KEEPS_ABSENT = ("customers", "products", "stores")
"""Sources whose missing records stay in their table."""

COVERS_FROM = {"sales": "transaction_date"}
"""Date column of sources whose snapshots cover only the days from their smallest day on."""


def rows_with_past(of: str, batches: Sequence[Batch]) -> list[Row]:
    """Return the rows of a table that can keep a row after its source has lost the record.

    Only valid versions count. A version ends with the first of two batches:

    - the first snapshot after the version's batch,
    - the first batch with a tombstone of the key. This batch can be the version's own batch or a later batch.

    The row of a key is the version with the latest end. If several versions have this end, the row is the latest of
    them. What happens after the end depends on the source:

    - In `KEEPS_ABSENT`: the row stays, and is inactive from its end on.
    - In `COVERS_FROM`: a tombstone in the row's own batch or in a later batch removes the row. A later snapshot also
      removes the row if the snapshot covers the row's day.
    """
    snapshots = [batch for batch in batches if batch.load == "snapshot"]
    versions: dict[tuple[str, ...], list[Version]] = {}
    for batch in batches:
        for version in _versions_of(of, batch):
            versions.setdefault(version.key, []).append(version)
    extracted_at = {batch.number: batch.extracted_at for batch in batches}
    rows = []
    for versions_of_key in versions.values():
        received = [v for v in versions_of_key if v.row is not None]
        tombstones = [v.batch.number for v in versions_of_key if v.row is None]
        valid = [v for v in received if v.is_valid and all(v.row == o.row for o in received if o.order == v.order)]
        by_end: dict[float, list[Version]] = {}
        for v in valid:
            ends = [b.number for b in snapshots if b.number > v.batch.number]
            ends += [number for number in tombstones if number >= v.batch.number]
            by_end.setdefault(min(ends, default=math.inf), []).append(v)
        if not by_end:
            continue
        end = max(by_end)
        best = max(by_end[end], key=lambda v: v.order)
        if of in KEEPS_ABSENT:
            since = None if end == math.inf else extracted_at[int(end)]
            row = without_unusable_values(of, best) or {}
            rows.append({**row, "is_active": since is None, "inactive_since": since})
        elif not (_is_covered(of, best, snapshots) or any(number >= best.batch.number for number in tombstones)):
            rows.append(best.row or {})
    return rows


def _is_covered(of: str, version: Version, snapshots: Sequence[Batch]) -> bool:
    """Return whether a later snapshot covers the day of the version.

    A snapshot covers all days from the earliest day of its valid rows on.
    """
    column = COVERS_FROM[of]
    return any(
        day is not None and (version.row or {})[column] >= day
        for snapshot in snapshots
        if snapshot.number > version.batch.number
        for day in [min((v.row[column] for v in _versions_of(of, snapshot) if v.row and v.is_valid), default=None)]
    )


def current_rows(of: str, batches: Sequence[Batch]) -> list[Row]:
    """Return the current rows after all batches: for each key, the latest version that breaks no rule.

    - A snapshot replaces all earlier batches. A new version of a file replaces earlier versions of the file.
    - A tombstone removes the versions of its key in its own batch and in all earlier batches.
    - If a batch has different rows with the same key and the same time of change, these rows are invalid.
    """
    versions: dict[tuple[str, ...], list[Version]] = {}
    for version in _versions(of, batches):
        versions.setdefault(version.key, []).append(version)
    rows = []
    for versions_of_key in versions.values():
        removed_in = max((v.batch.number for v in versions_of_key if v.row is None), default=-1)
        present = [v for v in versions_of_key if v.batch.number > removed_in]
        valid = [v for v in present if v.is_valid and all(v.row == o.row for o in present if o.order == v.order)]
        if valid:
            rows.append(without_unusable_values(of, max(valid, key=lambda v: v.order)))
    return rows


def without_unusable_values(of: str, version: Version) -> Row | None:
    """Return the row of a version. A day of registration that is not a plausible date is null."""
    row = version.row
    if of != "customers" or not row or row["registration_date"] is None:
        return row
    try:
        is_usable = is_in_time(date.fromisoformat(row["registration_date"]), version.batch)
    except ValueError:
        is_usable = False
    return row if is_usable else {**row, "registration_date": None}


def is_in_time(day: date, batch: Batch) -> bool:
    """Return whether a day is at most one day after the extraction of a batch."""
    return day <= batch.extracted_at.date() + timedelta(days=1)


def _versions(of: str, batches: Sequence[Batch]) -> Iterable[Version]:
    first = max((n for n, batch in enumerate(batches) if batch.load == "snapshot"), default=0)
    newest = {batch.file: batch for batch in batches}
    for batch in batches[first:]:
        if not batch.file or newest[batch.file] is batch:
            yield from _versions_of(of, batch)


def _versions_of(of: str, batch: Batch) -> Iterable[Version]:
    for row in batch.rows:
        key = tuple(_text(row.get(name)) or "" for name in KEYS[of])
        if all(key):
            yield Version(key, row.get(VERSIONS.get(of)) or "", batch, row, is_valid(of, row, batch))
    for key in batch.gone:
        yield Version((str(key),), "", batch, None, True)


def is_valid(of: str, row: Row, batch: Batch) -> bool:
    """Return whether a row is valid. Only rules that generated rows can break are checked."""
    day = row.get(DAYS.get(of))
    return (
        all(row[name] is not None for name in REQUIRED[of])
        and (day is None or is_in_time(date.fromisoformat(day[:10]), batch))
        and row.get("quantity") not in (0, "five")
        and row.get("rate") != "-1"
        and row.get("price") != "-1.00"
        and row.get("line_amount") != "free"
    )


def price_periods(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Return the price periods of all products. A batch with a new price starts a new period."""
    latest_price: dict[int, tuple[str, str | None]] = {}
    periods: dict[int, list[tuple[str, tuple[str, str | None]]]] = {}
    for batch in batches:
        for row in batch.rows:
            product, price = row["product_id"], (row["price"], row.get("unit_cost"))
            if is_valid("products", row, batch) and latest_price.get(product) != price:
                since = (row["updated_at"] or str(batch.extracted_at))[:10] if product in latest_price else ""
                # A price from a newer batch replaces earlier periods that start on the same day or later.
                earlier = [period for period in periods.get(product, []) if not period[0] or period[0] < since]
                periods[product] = [*earlier, (since, price)]
                latest_price[product] = price
    return [
        {
            "product_id": product,
            "price": price,
            "unit_cost": cost,
            "valid_from": since or None,
            "valid_to": until or None,
        }
        for product, of_product in periods.items()
        for (since, (price, cost)), (until, _) in zip(of_product, [*of_product[1:], ("", ("", ""))], strict=True)
    ]


COLUMNS = {
    "customers": "customer_id full_name email country registration_date household_id is_active inactive_since",
    "products": "product_id product_name category department subcategory brand is_active inactive_since",
    "prices": "product_id price unit_cost valid_from valid_to",
    "stores": "store_id store_name location is_active inactive_since",
    "sales": "transaction_id customer_id product_id store_id quantity transaction_date order_id unit_price line_amount"
    " discount_amount tax_amount currency channel sold_at promotion_code",
    "contacts": "contactid emailaddress1 cdp_householdid birthdate gendercode address1_city address1_country"
    " cdp_customerid cdp_acquisitionchannel cdp_acquisitiondate cdp_emailconsent cdp_smsconsent cdp_phoneconsent"
    " modifiedon",
    "answers": "contactid cdp_emailconsent cdp_smsconsent cdp_phoneconsent modifiedon",
    "events": "event_id event_type occurred_at customer_id anonymous_id email session_id campaign consent",
    "spend": "month channel campaign amount currency",
    "rates": "month currency rate",
    "predictions": "person_id predictive_clv",
    "run": "as_of gross_margin reporting_currency amounts_include_tax last_day",
}
"""Columns of each source that the model reads."""


class Model:
    """The expected tables of the platform, computed in DuckDB."""

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Compute the expected tables from the valid rows of each source.

        Args:
            rows: Rows by name of the source, with the columns in `COLUMNS`. A missing column is null.
        """
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for name, columns in COLUMNS.items():
            # Values are text. The SQL statements cast them.
            texts = [{column: _text(row.get(column)) for column in columns.split()} for row in rows[name]]
            schema = pa.schema([(column, pa.string()) for column in columns.split()])
            self._connection.register(f"{name}_received", pa.Table.from_pylist(texts, schema))
        self._connection.execute(STATEMENTS)

    @classmethod
    def of_batches(cls, sources: Sources, as_of: str, gross_margin: str, predictions: Sequence[Row]) -> Self:
        """Compute the expected tables from all landed batches.

        Args:
            sources: Sources with their batches.
            as_of: Day that figures refer to; empty for the latest business date in the data.
            gross_margin: Share of revenue left after the cost of goods sold.
            predictions: Predictions for customers, read from the platform, because this class does not compute them.
        """
        has_past = (*KEEPS_ABSENT, *COVERS_FROM)
        rows = {
            of: rows_with_past(of, batches) if of in has_past else current_rows(of, batches)
            for of, batches in sources.batches.items()
        }
        # No answer is forgotten: the versions of all batches count.
        rows["answers"] = [row for batch in sources.batches["contacts"] for row in batch.rows]
        rows |= {"prices": price_periods(sources.batches["products"]), "predictions": predictions}
        run = {
            "as_of": as_of or None,
            "gross_margin": gross_margin,
            "reporting_currency": "USD",
            "last_day": "2026-06-01",
        }
        return cls(rows | {"run": [run]})

    def rows(self, contract: TableContract, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return the expected rows of a table."""
        return self._connection.sql(f"SELECT {', '.join(columns)} FROM {contract.name}").to_arrow_table().to_pylist()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def difference(
    contract: TableContract, columns: Sequence[str], actual: Sequence[Row], expected: Sequence[Row]
) -> list[str]:
    """Return the surplus rows (+) and missing rows (-) of a table. Floats may differ by a relative error of 1e-9.

    Args:
        contract: Contract of the table.
        columns: Columns to compare.
        actual: Rows of the table.
        expected: Expected rows.
    """
    key = contract.key if contract.key and {*contract.key} <= {*columns} else columns
    actual_by_key, expected_by_key = (_by_key(rows, key, columns) for rows in (actual, expected))
    lines = []
    for key in sorted({*actual_by_key, *expected_by_key}):
        found, wanted = actual_by_key.get(key, []), expected_by_key.get(key, [])
        if len(found) != len(wanted) or not all(map(_are_equal, found, wanted)):
            lines += [f"+ {row}" for row in found] + [f"- {row}" for row in wanted]
    return lines


def _by_key(rows: Sequence[Row], key: Sequence[str], columns: Sequence[str]) -> dict[str, list[list[Any]]]:
    keyed: dict[str, list[list[Any]]] = {}
    for row in rows:
        keyed.setdefault(repr([row[name] for name in key]), []).append([row[name] for name in columns])
    return keyed


def _are_equal(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(map(_is_equal, one, other))


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
