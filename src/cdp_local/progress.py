"""What a person sees of a run: a line per task while it runs, tables of results after it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from cdp_local.runner import State, TaskRun

_STYLES = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "bold red",
    State.SKIPPED: "yellow",
}


class Progress:
    """A live line per task; where the output is no terminal, a line per task that has ended."""

    def __init__(self, console: Console, task_keys: Iterable[str]) -> None:
        """Show the tasks as waiting.

        Args:
            console: Where to show them.
            task_keys: Tasks of the run, in order.
        """
        self._console = console
        self._runs = {key: TaskRun(key) for key in task_keys}
        self._width = max(map(len, self._runs), default=0)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=True)

    def __enter__(self) -> Progress:
        """Start to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the final state standing."""
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self._render())

    def show(self, run: TaskRun) -> None:
        """Show a task that has changed."""
        self._runs[run.key] = run
        if not self._console.is_terminal and run.state not in (State.WAITING, State.RUNNING):
            self._console.print(
                f"{run.key:<{self._width}}  {run.state:<9}  {_seconds(run):>7}  {_counts(run)}", highlight=False
            )

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
    words = [f"{run.counts.get('rows', 0):,} rows"] if run.counts else []
    words += [f"{run.counts[key]:,} {key}" for key in ("quarantined", "superseded") if run.counts.get(key)]
    return ", ".join(words)


def result_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A small table for the terminal; numbers to the right.

    Args:
        title: Its title.
        columns: Headers.
        rows: Values, a sequence a row.
    """
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    body = [list(row) for row in rows]
    for index, name in enumerate(columns):
        is_number = bool(body) and all(
            isinstance(row[index], int | float) or hasattr(row[index], "as_tuple") for row in body
        )
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in body:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) or hasattr(value, "as_tuple") else str(value)
