"""The part “What to do” of the report: each segment with its meaning, its movement, an action and its customers."""

from __future__ import annotations

import html
import shlex
from collections.abc import Mapping

from cdp_lib.contracts.segments import SEGMENTS, Segment
from cdp_local.report.charts import Rows

PAGE = "customers"
"""Name of the dashboard page to which the report adds the part."""


def segments_html(datasets: Mapping[str, Rows]) -> str:
    """Return a table of the segments that have customers, as HTML. Empty without such segments.

    Args:
        datasets: Rows of each dataset. The part reads `segments`, with a row per country and segment and a total of all
            countries, `movements`, with a row per pair of segments, and `promises`, with a row per checked segment.
    """
    customers = {
        row["segment"]: row["customers"] for row in datasets.get("segments", ()) if row["country"] == "All countries"
    }
    rows = "".join(
        f"<tr><td>{html.escape(segment.name)}</td><td class='number'>{customers[segment.name]:,}</td>"
        f"<td>{_movement(segment.name, datasets.get('movements', ()))}</td><td>{html.escape(segment.meaning)}</td>"
        f"<td>{html.escape(_promise(segment, datasets.get('promises', ())))}</td>"
        f"<td>{html.escape(segment.action)}</td><td><code>{_command(segment.name)}</code></td></tr>"
        for segment in SEGMENTS
        if segment.name in customers
    )
    if not rows:
        return ""
    names = ("segment", "customers", "within a month", "who", "promise", "what to do", "how to get the customers")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        '<figure class="table sentences" style="--width:12;--height:40rem">'
        "<figcaption><h3>What to do with each segment</h3>"
        "<p>Customers of all countries. The command writes a file of identifiers, without names and addresses, of the"
        " customers who agreed to marketing by e-mail.</p>"
        '</figcaption><div class="body" tabindex="0" role="region" aria-label="What to do with each segment">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></figure>"
    )


def _movement(segment: str, movements: Rows) -> str:
    """Return how many customers came into a segment and left it, in words. Withheld movements are not counted."""
    moved = [row for row in movements if row["from_segment"] != row["to_segment"]]
    came = sum(row["customers"] for row in moved if row["to_segment"] == segment)
    left = sum(row["customers"] for row in moved if row["from_segment"] == segment)
    return f"{came:,} came, {left:,} left" if movements else "not known yet"


def _promise(segment: Segment, promises: Rows) -> str:
    """Return what a segment promises about purchases, and whether the latest check found that it is kept."""
    if not segment.promise:
        return ""
    results = [row["result"] for row in promises if row["segment"] == segment.name]
    text = segment.promise.text
    return f"{text[0].upper()}{text[1:]}: {results[0] if results else 'not checked yet'}"


def _command(segment: str) -> str:
    """Return the command that writes the customers of a segment to a file."""
    file = f"{segment.lower().replace(' ', '-')}.csv"
    return html.escape(f"cdp export segment {shlex.quote(segment)} --channel email --to {file}", quote=False)
