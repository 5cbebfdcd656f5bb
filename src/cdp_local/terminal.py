"""Output on the terminal. Data never controls the terminal: it may come from a source that nobody trusts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that control a terminal: escape sequences begin with one of them, and some change the order of the text.
Line feeds and tabs are not included."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Characters that can't be encoded. JSON can contain them as escapes."""


def printable(text: str) -> str:
    r"""Return a text without characters that control a terminal. Line feeds and tabs are kept.

    >>> printable("\x1b[31mred\x1b[0m \ud800")
    '[31mred[0m �'
    """
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", text))


class Terminal(Console):
    """A console that prints texts as they are: without markup, emoji codes and control characters of data."""

    def __init__(self, **options: Any) -> None:
        """Open a console.

        Args:
            options: Arguments of `rich.console.Console`.
        """
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of an object. Everything that is printed goes through this method."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


# If the output is a pipe or a file, use a very wide console: programs that read it expect one line per table row.
console = Terminal(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000)
"""Standard output of the `cdp` command."""

errors = Terminal(stderr=True, soft_wrap=True)
"""Standard error of the `cdp` command."""
