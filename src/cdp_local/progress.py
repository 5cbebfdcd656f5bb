"""Terminal output of a run: one line per task during the run, and tables of results after the run."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cdp_lib.task_values import ROW_COUNTS
from cdp_local.printing import noun
from cdp_local.runner import State, TaskRun

_STYLES = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "bold red",
    State.SKIPPED: "yellow",
    State.EXCLUDED: "dim",
}


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
    words = [f"{count:,} {noun(key, count)}" for key in ROW_COUNTS if (count := run.counts.get(key, 0))]
    return ", ".join(words) or "nothing new"
