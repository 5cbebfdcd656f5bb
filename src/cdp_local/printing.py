"""Tables and texts that commands print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WITHOUT_SEPARATORS = ("id", "year")
"""Suffixes of column names. Numbers in these columns are identifiers, and are printed without thousands separators."""


def noun(key: str, count: int) -> str:
    """Return the name of a count, `row` for one row."""
    return "row" if key == "rows" and count == 1 else key


def rows_in_words(count: int) -> str:
    """Return a number of rows in words: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun('rows', count)}"


def print_table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a small table. If the table is too wide for the terminal, print one line per value instead.

    Args:
        console: Console to print to.
        title: Title of the table.
        columns: Column headers.
        rows: Rows as sequences of values.
    """
    body = [list(row) for row in rows]
    table = _row_per_line(columns, body)
    if console.measure(table).minimum >= console.width:
        table = _value_per_line(columns, body)
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table if body else "(no rows)")


def print_shortened(console: Console, text: str) -> None:
    """Print text on one line, cut at the width of the terminal.

    Args:
        console: Console to print to.
        text: The text.
    """
    console.print(Text(text), no_wrap=True, overflow="ellipsis")


def _row_per_line(columns: Sequence[str], body: Sequence[Sequence[Any]]) -> Table:
    """Return a table with one line per row and right-aligned numbers."""
    table = Table(header_style="bold")
    for index, name in enumerate(columns):
        values = [row[index] for row in body if row[index] is not None]
        is_number = bool(values) and all(isinstance(value, int | float | Decimal) for value in values)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in body:
        table.add_row(*(_cell(name, value) for name, value in zip(columns, row, strict=True)))
    return table


def _value_per_line(columns: Sequence[str], body: Sequence[Sequence[Any]]) -> Table:
    """Return a table with one line per value and a separator between rows."""
    table = Table(show_header=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for row in body:
        for name, value in zip(columns, row, strict=True):
            table.add_row(name, _cell(name, value))
        table.add_section()
    return table


def _decimal_text(value: Decimal) -> str:
    """Return a decimal for people: money with two decimals, or four if it is below 1, and quantities without zeros.

    >>> [_decimal_text(Decimal(text)) for text in ("34721.5000", "0.0315", "39.000", "0.250")]
    ['34,721.50', '0.0315', '39', '0.25']
    """
    decimals = -int(value.as_tuple().exponent)
    if decimals >= 4 and (abs(value) >= 1 or not value):
        return f"{value:,.2f}"
    text = f"{value:,}"
    return text.rstrip("0").rstrip(".") if decimals > 2 else text


def _cell(name: str, value: Any) -> Text:
    """Return a value as text for people."""
    if value is None:
        return Text("")
    if isinstance(value, list):
        return Text(", ".join(map(str, value)))
    if isinstance(value, float):
        return Text(f"{value:,.2f}" if abs(value) >= 10 else f"{value:.4g}")
    if isinstance(value, Decimal):
        return Text(_decimal_text(value))
    is_amount = isinstance(value, int) and not isinstance(value, bool)
    return Text(f"{value:,}" if is_amount and not name.endswith(_WITHOUT_SEPARATORS) else str(value))
