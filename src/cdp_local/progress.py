"""What a person sees of a run: a line per task while it runs, tables of results after it."""

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

_NOT_COUNTED = ("id", "year")
"""Ends of names of columns whose numbers are names: no separators of thousands in them."""


class Progress:
    """A live line per task and table; where the output is no terminal, a line per task that has ended."""

    def __init__(self, console: Console, task_keys: Iterable[str], tables: Iterable[str] = ()) -> None:
        """Show the tasks as waiting.

        Args:
            console: Where to show them.
            task_keys: Tasks of the run, in order.
            tables: Names of the tables that stages may tell of; each has a line once it has begun.
        """
        self._console = console
        self._runs = {key: TaskRun(key) for key in task_keys}
        self._width = max(map(len, [*self._runs, *tables]), default=0)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=True)

    def __enter__(self) -> Progress:
        """Start to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave the final state standing; a run that was refused has none."""
        if self._console.is_terminal:
            self._live.stop()
            if kind is None:
                self._console.print(self._render())

    def show(self, run: TaskRun) -> None:
        """Show a task that has changed."""
        self._runs[run.key] = run
        if not self._console.is_terminal and run.state not in (State.WAITING, State.RUNNING):
            line = f"{run.key:<{self._width}}  {run.state:<9}  {_seconds(run):>7}  {_counts(run)}"
            self._console.print(line.rstrip(), highlight=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in ("task", "state", "seconds", "rows"):
            table.add_column(header, justify="right" if header == "seconds" else "left")
        for run in self._runs.values():
            table.add_row(run.key, f"[{_STYLES[run.state]}]{run.state}", _seconds(run), _counts(run))
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
    """How many rows, as people say it."""
    return f"{count:,} {_noun('rows', count)}"


def print_table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a small table; where it does not fit into the terminal, with a line for each value.

    Args:
        console: Where to print it.
        title: Its title.
        columns: Headers.
        rows: Values, a sequence a row.
    """
    body = [list(row) for row in rows]
    table = _side_by_side(columns, body)
    if console.measure(table).minimum >= console.width:
        table = _one_below_the_other(columns, body)
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table if body else "(no rows)")


def print_shortened(console: Console, text: str) -> None:
    """Print text on one line, cut where the terminal ends.

    Args:
        console: Where to print it.
        text: The text.
    """
    console.print(Text(text), no_wrap=True, overflow="ellipsis")


def _side_by_side(columns: Sequence[str], body: Sequence[Sequence[Any]]) -> Table:
    """A line for each row, numbers to the right."""
    table = Table(header_style="bold")
    for index, name in enumerate(columns):
        values = [row[index] for row in body if row[index] is not None]
        is_number = bool(values) and all(isinstance(value, int | float | Decimal) for value in values)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in body:
        table.add_row(*(_cell(name, value) for name, value in zip(columns, row, strict=True)))
    return table


def _one_below_the_other(columns: Sequence[str], body: Sequence[Sequence[Any]]) -> Table:
    """A line for each value of each row."""
    table = Table(show_header=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for row in body:
        for name, value in zip(columns, row, strict=True):
            table.add_row(name, _cell(name, value))
        table.add_section()
    return table


def _cell(name: str, value: Any) -> Text:
    """A value as Text: square brackets in it are no markup."""
    if value is None:
        return Text("")
    if isinstance(value, list):
        return Text(", ".join(map(str, value)))
    if isinstance(value, float):
        return Text(f"{value:,.2f}" if abs(value) >= 10 else f"{value:.4g}")
    is_amount = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return Text(f"{value:,}" if is_amount and not name.endswith(_NOT_COUNTED) else str(value))
