"""The part “Identity” of the report: how many persons there are, and the evidence that joins their records."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from cdp_local.identity_summary import IdentitySummary, Pattern

SECTION = "identity"
"""Name of the section of the page."""

_WIDTH, _BAR, _GAP, _LABEL = 420, 18, 8, 120
"""Size of a picture: width, height of a bar, distance between bars, and width of the labels, in pixels."""

_SOURCES = {
    "customers": "customers",
    "crm_contacts": "contacts of the CRM",
    "events": "identities in events",
    "consents": "persons in files of decisions",
}


def identity_html(summary: IdentitySummary) -> str:
    """Return the section as HTML."""
    records = sum(summary.records.values())
    mean = records / summary.persons if summary.persons else 0
    sources = ", ".join(f"{count:,} {_SOURCES.get(source, source)}" for source, count in summary.records.items())
    figures = [
        _counter("Persons", f"{summary.persons:,}", "All records that belong together are one person."),
        _counter("Records", f"{records:,}", sources),
        _counter("Records per person", f"{mean:.2f}", "Mean of all persons."),
        _figure(
            6,
            "Records per person",
            "Number of persons with so many records.",
            _bars([(name, count) for name, count in summary.sizes.items()]),
        ),
        _figure(
            6,
            "Edges that were cut",
            "Pairs of records with evidence that join nothing, by reason. docs/identity.md explains the reasons.",
            _bars(list(summary.cuts.items())) if summary.cuts else '<p class="none">No edge was cut.</p>',
        ),
        _figure(
            12,
            "Largest persons",
            "Persons with the most records, and the evidence that ties their records. `cdp identity explain` shows a"
            " pair.",
            _table(
                ("person", "records", "evidence of the records"),
                [(each.person_id, each.records, _reasons(each.reasons)) for each in summary.largest],
            ),
        ),
        *(_waterfall_figure(pattern, summary.link_weight) for pattern in summary.patterns),
    ]
    return (
        f'<section id="{SECTION}" aria-labelledby="{SECTION}-title"><h2 id="{SECTION}-title">Identity</h2>'
        f'<div class="grid">{"".join(figures)}</div></section>'
    )


def _counter(title: str, value: str, meaning: str) -> str:
    return (
        f'<figure class="counter" style="--width:4"><figcaption><h3>{html.escape(title)}</h3></figcaption>'
        f'<div class="body"><div class="value">{html.escape(value)}</div>'
        f'<div class="change">{html.escape(meaning)}</div></div></figure>'
    )


def _figure(width: int, title: str, description: str, body: str) -> str:
    return (
        f'<figure class="table" style="--width:{width};--height:34rem"><figcaption><h3>{html.escape(title)}</h3>'
        f'<p>{html.escape(description)}</p></figcaption><div class="body">{body}</div></figure>'
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    cells = ("".join(f"<td>{html.escape(str(value))}</td>" for value in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} ({count:,})" for reason, count in reasons.items())


def _bars(rows: Sequence[tuple[str, int]]) -> str:
    """Return horizontal bars as an SVG picture."""
    most = max((count for _, count in rows), default=0) or 1
    label = max(_LABEL, 7 * max((len(name) for name, _ in rows), default=0))
    room = _WIDTH - 60
    parts = []
    for place, (name, count) in enumerate(rows):
        y = place * (_BAR + _GAP)
        width = max(1, round(room * count / most)) if count else 0
        parts.append(
            f'<text x="0" y="{y + 13}">{html.escape(name)}</text>'
            f'<rect class="for" x="{label}" y="{y}" width="{width}" height="{_BAR}"/>'
            f'<text x="{label + width + 6}" y="{y + 13}">{count:,}</text>'
        )
    return _svg(label + _WIDTH, len(rows) * (_BAR + _GAP), "".join(parts))


def _waterfall_figure(pattern: Pattern, link_weight: float) -> str:
    """Return the evidence of a kind of pairs as a figure."""
    title = " + ".join(pattern.bits) or "no evidence"
    apart = pattern.pairs - pattern.joined
    joined = f"{pattern.joined:,} {'pair' if pattern.joined == 1 else 'pairs'} in one person"
    return _figure(6, title, f"{joined}, {apart:,} apart. Mean bits.", waterfall(pattern.bits, link_weight))


def waterfall(bits: Mapping[str, float], link_weight: float) -> str:
    """Return evidence as an SVG waterfall: each bar begins where the bar above ends. The line is the needed evidence.

    Args:
        bits: Evidence in bits, by name, in the order of the bars.
        link_weight: Least evidence that joins two records, in bits.
    """
    sums, total = [], 0.0
    for value in bits.values():
        sums.append((total, total + value))
        total += value
    ends = [0.0, link_weight, *(end for pair in sums for end in pair)]
    low, high = min(ends), max(ends)
    scale = (_WIDTH - 60) / ((high - low) or 1)

    def x(value: float) -> float:
        return round(_LABEL + (value - low) * scale, 1)

    parts = []
    for place, (name, value) in enumerate([*bits.items(), ("sum", total)]):
        begin, end = (0.0, total) if place == len(sums) else sums[place]
        y = place * (_BAR + _GAP)
        kind = "sum" if place == len(sums) else "for" if value >= 0 else "against"
        parts.append(
            f'<text x="0" y="{y + 13}">{html.escape(name)}</text>'
            f'<rect class="{kind}" x="{x(min(begin, end))}" y="{y}" width="{max(1, abs(x(end) - x(begin))):.1f}"'
            f' height="{_BAR}"/><text x="{x(max(begin, end)) + 6}" y="{y + 13}">{value:+.1f}</text>'
        )
    height = (len(sums) + 1) * (_BAR + _GAP)
    parts.append(
        f'<line x1="{x(link_weight)}" x2="{x(link_weight)}" y1="0" y2="{height}"/>'
        f'<text x="{x(link_weight) + 4}" y="{height + 12}">needed: {link_weight:g}</text>'
    )
    return _svg(_LABEL + _WIDTH + 40, height + 18, "".join(parts))


def _svg(width: float, height: float, content: str) -> str:
    return (
        f'<svg class="evidence" role="img" viewBox="0 0 {width:g} {max(height, 1):g}" width="{width:g}"'
        f' style="max-width:100%">{content}</svg>'
    )
