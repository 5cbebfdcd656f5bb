"""Generates docs/lineage.md and the lineage picture of the report from the graph of tables."""

from __future__ import annotations

import html

from cdp_lib.pipeline.graph import LAYERS, Graph, platform_graph
from cdp_local.markdown import table

_COLUMN_DISTANCE, _ROW_DISTANCE, _BOX_WIDTH, _BOX_HEIGHT = 284, 26, 236, 20
"""Distances between boxes and size of a box in the picture, in pixels."""


def lineage_page() -> str:
    """Return the lineage page as Markdown: the inputs of each table."""
    graph = platform_graph()
    lines = [
        "# Lineage",
        "",
        "The inputs of each table. `make docs` generates this page from the declarations beside the builders; a test",
        "keeps it up to date. `cdp plan` lists the tables that are due and why. `cdp run --select +kpi_monthly_gold`",
        "refreshes a table and its upstream tables.",
        "",
        "```mermaid",
        "flowchart LR",
    ]
    for layer in LAYERS:
        names = [name for name in graph.tables if graph.tables[name].contract.layer == layer]
        lines += [f"  subgraph {layer}", *(f"    {name}" for name in names), "  end"]
    lines += [f"  {each} --> {name}" for name in graph.tables for each in graph.waits_for(name)]
    rows = [
        (
            f"`{name}`",
            type(declared.materialization).__name__,
            ", ".join(f"`{each}`" for each in graph.waits_for(name)) or "landed batches",
            ", ".join(f"`{each}`" for each in (*declared.settings, *declared.files)),
        )
        for name, declared in graph.tables.items()
    ]
    return (
        "\n".join([*lines, "```", "", *table(("table", "materialization", "reads", "settings and files"), rows)]) + "\n"
    )


def lineage_picture() -> str:
    """Return the graph of tables as an SVG picture.

    The tables are in columns. Each arrow leads from an input table to a table on the right that reads it.
    """
    graph = platform_graph()
    corners = _box_corners(graph)
    width = max(x for x, _ in corners.values()) + _BOX_WIDTH + 2
    height = max(y for _, y in corners.values()) + _BOX_HEIGHT + 2
    arrows = [
        _arrow(corners[source], corners[name], f"{source} → {name}")
        for name in graph.tables
        for source in graph.waits_for(name)
    ]
    boxes = [_box(graph, name, *corners[name]) for name in graph.tables]
    return (
        f'<svg class="lineage" role="img" aria-label="Inputs of each table" width="{width}" height="{height}"'
        f' viewBox="-1 -1 {width} {height}">{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def _box_corners(graph: Graph) -> dict[str, tuple[int, int]]:
    """Return the upper left corner of the box of each table, by table name.

    The box of a table is one column to the right of its rightmost input.
    """
    steps: dict[str, int] = {}
    for name in graph.tables:
        steps[name] = 1 + max((steps[each] for each in graph.waits_for(name)), default=-1)
    columns: dict[int, list[str]] = {}
    for name, step in steps.items():
        columns.setdefault(step, []).append(name)
    rows: dict[str, float] = {}
    for step in sorted(columns):
        # Place the box of a table near the boxes of its inputs, so that fewer arrows cross.
        columns[step].sort(key=lambda name: (_mean_or_zero([rows[each] for each in graph.waits_for(name)]), name))
        rows |= {name: row for row, name in enumerate(columns[step])}
    return {name: (steps[name] * _COLUMN_DISTANCE, int(rows[name] * _ROW_DISTANCE)) for name in graph.tables}


def _mean_or_zero(values: list[float]) -> float:
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
