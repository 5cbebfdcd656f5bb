"""Terminal output of a run: one line per task during the run, and tables of results after the run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cdp_lib.task_values import ROW_COUNTS
from cdp_local.runner import State, TaskRun

_STYLES = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "bold red",
    State.SKIPPED: "yellow",
    State.EXCLUDED: "dim",
}

_WITHOUT_SEPARATORS = ("id", "year")
"""Suffixes of column names. Numbers in these columns are identifiers, and are printed without thousands separators."""


class Progress:
    """Live display of a run on a terminal, with one line per task and one line per table.

    If the output is not a terminal, a line is printed after a task or table has finished.
    """

    def __init__(self, console: Console, task_keys: Iterable[str], tables: Iterable[str] = ()) -> None:
        """Prepare the display. All tasks are waiting.

        Args:
            console: Console to print to.
            task_keys: Keys of the tasks of the run, in display order.
            tables: Names of the tables that stages may report. A table gets a line once its refresh has begun.
        """
        self._console = console
        self._runs = {key: TaskRun(key) for key in task_keys}
        self._width = max(map(len, [*self._runs, *tables]), default=0)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=True)

    def __enter__(self) -> Progress:
        """Start the live display."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop the live display, if any. Replace it with the final states, unless the `with` block raised an error."""
        if self._console.is_terminal:
            self._live.stop()
            if kind is None:
                self._console.print(self._render())

    def show(self, run: TaskRun) -> None:
        """Show the new state of a task or table."""
        self._runs[run.key] = run
        if not self._console.is_terminal and run.state not in (State.WAITING, State.RUNNING):
            line = f"{run.key:<{self._width}}  {run.state:<9}  {_seconds(run):>7}  {_counts(run)}"
            self._console.print(line.rstrip(), soft_wrap=True)

    def _render(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in ("task", "state", "seconds", "rows"):
            table.add_column(header, justify="right" if header == "seconds" else "left")
        for run in self._runs.values():
            table.add_row(run.key, Text(run.state, style=_STYLES[run.state]), _seconds(run), _counts(run))
        return table


def _seconds(run: TaskRun) -> str:
    if run.started is None:
        return ""
    seconds = run.seconds if run.seconds is not None else time.monotonic() - run.started
    return f"{seconds:.1f} s"


def _counts(run: TaskRun) -> str:
    if not run.counts:
        return ""
    words = [f"{count:,} {_noun(key, count)}" for key in ROW_COUNTS if (count := run.counts.get(key, 0))]
    return ", ".join(words) or "nothing new"


def _noun(key: str, count: int) -> str:
    return "row" if key == "rows" and count == 1 else key


def rows_in_words(count: int) -> str:
    """Return a number of rows in words: `1 row`, `2,000 rows`."""
    return f"{count:,} {_noun('rows', count)}"


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
