"""The graph of tables as a page of the documentation and as a picture of the report."""

from __future__ import annotations

import html

from cdp_lib.pipeline.graph import LAYERS, Graph, platform_graph
from cdp_local.markdown import table

_COLUMN, _ROW, _BOX_WIDTH, _BOX_HEIGHT = 284, 26, 236, 20
"""Of the picture: distance of columns and rows, size of a box. (px)"""


def lineage_page() -> str:
    """The page of what each table is built from, as Markdown."""
    graph = platform_graph()
    lines = [
        "# Lineage",
        "",
        "What each table is built from. Written by `make docs` from the declarations beside the builders; a test keeps",
        "it fresh. `cdp plan` says which tables are due, and why; `cdp run --select +kpi_monthly_gold` refreshes a",
        "table with all that it is built from.",
        "",
        "```mermaid",
        "flowchart LR",
    ]
    for layer in LAYERS:
        names = [name for name in graph.tables if graph.tables[name].contract.layer == layer]
        lines += [f"  subgraph {layer}", *(f"    {name}" for name in names), "  end"]
    lines += [f"  {each} --> {name}" for name in graph.tables for each in graph.reads(name)]
    rows = [
        (
            f"`{name}`",
            type(declared.materialization).__name__,
            ", ".join(f"`{each}`" for each in graph.reads(name)) or "landed batches",
            ", ".join(f"`{each}`" for each in (*declared.settings, *declared.files)),
        )
        for name, declared in graph.tables.items()
    ]
    return (
        "\n".join([*lines, "```", "", *table(("table", "materialization", "reads", "settings and files"), rows)]) + "\n"
    )


def lineage_picture() -> str:
    """The graph as SVG: a column for each step from the landed batches on."""
    graph = platform_graph()
    places = _places(graph)
    width = max(x for x, _ in places.values()) + _BOX_WIDTH + 2
    height = max(y for _, y in places.values()) + _BOX_HEIGHT + 2
    arrows = [
        _arrow(places[each], places[name], f"{each} → {name}") for name in graph.tables for each in graph.reads(name)
    ]
    boxes = [_box(graph, name, *places[name]) for name in graph.tables]
    return (
        f'<svg class="lineage" role="img" aria-label="What each table is built from" width="{width}" height="{height}"'
        f' viewBox="-1 -1 {width} {height}">{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def _places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Left upper corner of each table: its column is one after the last of those that it reads."""
    steps: dict[str, int] = {}
    for name in graph.tables:
        steps[name] = 1 + max((steps[each] for each in graph.reads(name)), default=-1)
    columns: dict[int, list[str]] = {}
    for name, step in steps.items():
        columns.setdefault(step, []).append(name)
    rows: dict[str, float] = {}
    for step in sorted(columns):
        # Near what a table reads: fewer arrows cross.
        columns[step].sort(key=lambda name: (_mean([rows[each] for each in graph.reads(name)]), name))
        rows |= {name: row for row, name in enumerate(columns[step])}
    return {name: (steps[name] * _COLUMN, int(rows[name] * _ROW)) for name in graph.tables}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _arrow(start: tuple[int, int], end: tuple[int, int], title: str) -> str:
    x1, y1, x2, y2 = start[0] + _BOX_WIDTH, start[1] + _BOX_HEIGHT / 2, end[0], end[1] + _BOX_HEIGHT / 2
    middle = (x1 + x2) / 2
    return f'<path d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"><title>{html.escape(title)}</title></path>'


def _box(graph: Graph, name: str, x: int, y: int) -> str:
    contract = graph.tables[name].contract
    return (
        f'<g class="{contract.layer}"><title>{html.escape(contract.comment)}</title>'
        f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="5"/>'
        f'<text x="{x + 7}" y="{y + 14}">{html.escape(name)}</text></g>'
    )
