"""What the platform should hold after some batches: silver row by row in Python, gold in DuckDB.

Nothing of the library is used but the names of tables and columns: another hand, and from scratch each time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from cdp_lib.contracts.table import TableContract

from .sources import Batch, Row, Sources

PROJECT = Path(__file__).resolve().parents[2]
COUNTRIES = PROJECT / "src" / "cdp_lib" / "reference" / "countries.csv"
# The mission's marts, as the test of the whole job has them, over this model's sales.
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
"""Where a source says when a row has changed; of two versions the later one counts, and where it does not say, batches
decide."""

NEEDED = {
    "customers": ("country", "registration_date"),
    "products": ("product_name", "category", "price"),
    "stores": ("store_name", "location"),
    "sales": ("quantity", "transaction_date"),
    "contacts": (),
    "events": ("event_type", "occurred_at"),
    "spend": ("amount", "currency"),
    "rates": ("rate",),
}
"""What a row is refused without, besides its key."""

DAYS = {"customers": "registration_date", "sales": "transaction_date", "events": "occurred_at"}
"""Days that can't be after the day a row was read, give or take a time zone."""


@dataclass(frozen=True)
class Version:
    """A row of a batch, or that it is gone."""

    key: tuple[str, ...]
    changed_at: str
    batch: Batch
    row: Row | None
    is_good: bool

    @property
    def order(self) -> tuple[str, int]:
        return self.changed_at, self.batch.number


def current_rows(of: str, batches: Sequence[Batch]) -> list[Row]:
    """The rows that the batches leave: of each key the latest version that keeps the rules.

    A snapshot is all there is, and so is the newest version of a file. A row that is gone comes back only with a later
    batch. Two versions that contradict each other, of the same time and batch, are no good.
    """
    versions: dict[tuple[str, ...], list[Version]] = {}
    for version in _versions(of, batches):
        versions.setdefault(version.key, []).append(version)
    rows = []
    for of_key in versions.values():
        gone_in = max((v.batch.number for v in of_key if v.row is None), default=-1)
        alive = [v for v in of_key if v.batch.number > gone_in]
        good = [v for v in alive if v.is_good and all(v.row == o.row for o in alive if o.order == v.order)]
        if good:
            rows.append(max(good, key=lambda v: v.order).row)
    return rows


def _versions(of: str, batches: Sequence[Batch]) -> Iterable[Version]:
    first = max((n for n, batch in enumerate(batches) if batch.load == "snapshot"), default=0)
    newest = {batch.file: batch for batch in batches}
    for batch in batches[first:]:
        if batch.file and newest[batch.file] is not batch:
            continue
        for row in batch.rows:
            key = tuple(_text(row.get(name)) or "" for name in KEYS[of])
            if all(key):
                yield Version(key, row.get(VERSIONS.get(of)) or "", batch, row, is_good(of, row, batch))
        for key in batch.gone:
            yield Version((str(key),), "", batch, None, True)


def is_good(of: str, row: Row, batch: Batch) -> bool:
    """Whether a row keeps the rules, as far as the rows of these tests break any."""
    day = row.get(DAYS.get(of))
    return (
        all(row[name] is not None for name in NEEDED[of])
        and (day is None or date.fromisoformat(day[:10]) <= batch.extracted_at.date() + timedelta(days=1))
        and row.get("quantity") not in (0, "five")
        and row.get("rate") != "-1"
        and row.get("price") != "-1.00"
    )


def price_periods(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Prices of products and the days they hold: a batch that has another price than the one before begins a period."""
    seen: dict[int, str] = {}
    periods: dict[int, list[tuple[str, str]]] = {}
    for batch in batches:
        for row in batch.rows:
            product, price = row["product_id"], row["price"]
            if is_good("products", row, batch) and seen.get(product) != price:
                since = (row["updated_at"] or str(batch.extracted_at))[:10] if product in seen else ""
                # It knows better than the batches before it: what they said of the time since then is gone.
                earlier = [period for period in periods.get(product, []) if not period[0] or period[0] < since]
                periods[product] = [*earlier, (since, price)]
                seen[product] = price
    return [
        {"product_id": product, "price": price, "valid_from": since or None, "valid_to": until or None}
        for product, of_product in periods.items()
        for (since, price), (until, _) in zip(of_product, [*of_product[1:], ("", "")], strict=True)
    ]


COLUMNS = {
    "customers": "customer_id full_name email country registration_date",
    "products": "product_id product_name category",
    "prices": "product_id price valid_from valid_to",
    "stores": "store_id store_name location",
    "sales": "transaction_id customer_id product_id store_id quantity transaction_date",
    "contacts": "contactid emailaddress1 birthdate gendercode address1_city address1_country cdp_customerid"
    " cdp_acquisitionchannel cdp_acquisitiondate cdp_emailconsent cdp_smsconsent cdp_phoneconsent modifiedon",
    "events": "event_id event_type occurred_at customer_id anonymous_id email session_id campaign",
    "spend": "month channel campaign amount currency",
    "rates": "month currency rate",
    "predictions": "customer_id predictive_clv",
    "run": "as_of gross_margin",
}
"""What is needed of the rows of each source."""


class Model:
    """The tables of the platform as DuckDB works them out."""

    def __init__(self, sources: Sources, as_of: str, gross_margin: str, predictions: Sequence[Row]) -> None:
        """Work out what the batches so far make of the tables.

        Args:
            sources: The sources and their batches.
            as_of: Last day that counts, empty for the latest on which anything happened.
            gross_margin: Share of revenue left after the cost of what was sold.
            predictions: The platform's own predictions of customers, which come out of a fitted model.
        """
        rows = {of: current_rows(of, batches) for of, batches in sources.batches.items()}
        rows |= {"prices": price_periods(sources.batches["products"]), "predictions": predictions}
        rows |= {"run": [{"as_of": as_of or None, "gross_margin": gross_margin}]}
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for name, columns in COLUMNS.items():
            # As text: the statements type it.
            texts = [{column: _text(row.get(column)) for column in columns.split()} for row in rows[name]]
            schema = pa.schema([(column, pa.string()) for column in columns.split()])
            self._connection.register(f"{name}_received", pa.Table.from_pylist(texts, schema))
        self._connection.execute(STATEMENTS)

    def rows(self, contract: TableContract, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of a table."""
        return self._connection.sql(f"SELECT {', '.join(columns)} FROM {contract.name}").to_arrow_table().to_pylist()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def difference(
    contract: TableContract, columns: Sequence[str], held: Sequence[Row], expected: Sequence[Row]
) -> list[str]:
    """What a table holds besides what is expected of it (+), and what it lacks (-); figures that are almost equal are.

    Args:
        contract: Contract of the table.
        columns: Columns to compare.
        held: Its rows.
        expected: The rows it should hold.
    """
    key = contract.key if contract.key and {*contract.key} <= {*columns} else columns
    ours, theirs = (_by_key(rows, key, columns) for rows in (held, expected))
    lines = []
    for key in sorted({*ours, *theirs}):
        of_key, expected_of_key = ours.get(key, []), theirs.get(key, [])
        if len(of_key) != len(expected_of_key) or not all(map(_are_equal, of_key, expected_of_key)):
            lines += [f"+ {row}" for row in of_key] + [f"- {row}" for row in expected_of_key]
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
