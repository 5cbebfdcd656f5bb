"""Write docs/benchmarks.md and its plots from the stored results and the hand-written `notes.md`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from results import (
    BenchmarkResult,
    Results,
    figure_table,
    goal_table,
    latest,
    millions,
    peak_gigabytes,
    task_seconds,
    title_of,
)

FOLDER = Path(__file__).resolve().parent
_VEGA_LITE = "6.4"
_WIDTH = 560
_SHORTEST_TASK = 0.01
"""A task is not plotted if its duration is less than this fraction of the longest task's duration."""


def write_page(project: Path, results: Results) -> None:
    """Write the page and its plots.

    Args:
        project: Folder of the project.
        results: All results.
    """
    images = project / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    links = []
    for name, (specification, text) in plots(results).items():
        (images / f"{name}.svg").write_text(to_svg(specification), encoding="utf-8")
        links.append(f"![{text}](images/{name}.svg)")
    (project / "docs" / "benchmarks.md").write_text(page(results, links), encoding="utf-8")


def page(results: Results, links: Sequence[str]) -> str:
    """Return the page as Markdown.

    Args:
        results: All results.
        links: For each plot, the Markdown image that shows it.
    """
    notes = FOLDER / "notes.md"
    machines = dict.fromkeys(", ".join(f"{k} {v}" for k, v in result.machine.items()) for result in results.values())
    return Template((FOLDER / "page.md").read_text(encoding="utf-8")).substitute(
        goals=goal_table(results),
        plots="\n\n".join(links),
        notes=f"{notes.read_text(encoding='utf-8').strip()}\n\n" if notes.exists() else "",
        figures=figure_table(results),
        machine="; ".join(machines),
        commands="\n".join(dict.fromkeys(result.command for result in results.values())),
    )


def plots(results: Results) -> dict[str, tuple[dict[str, Any], str]]:
    """Return the Vega-Lite specification and the alternative text of each plot, by name of the plot.

    A plot without data is left out.
    """
    found: dict[str, tuple[dict[str, Any], str]] = {}
    seconds = _by_size(results, "seconds")
    if seconds:
        text = f"Seconds of a full refresh by sales of the history: {_in_words(seconds, 's')}"
        found["benchmark-seconds"] = (_lines(seconds, "seconds of a full refresh", "log"), text)
    memory = _by_size(results, "gigabytes")
    if memory:
        text = f"Peak memory of a full refresh by sales of the history: {_in_words(memory, 'GB')}"
        found["benchmark-memory"] = (_lines(memory, "peak memory, GB", "linear"), text)
    full = latest(results, "full", "product")
    if full:
        result = full[max(full)]
        tasks = task_seconds(result, "product")
        longest = ", ".join(f"{task} {value:.1f} s" for task, value in list(tasks.items())[:3])
        found["benchmark-tasks"] = (
            _bars(tasks, f"seconds of each task, full refresh of {millions(result.sales)} sales, Sail"),
            f"Seconds of each task of the product's full refresh at {millions(result.sales)} sales, the longest first:"
            f" {longest}",
        )
    return found


def _by_size(results: Results, figure: str) -> list[dict[str, Any]]:
    """Return one point per (contestant, number of sales) pair of full refreshes.

    The value of a point is a median over the rounds of the newest result. If `figure` is `gigabytes`, it is the median
    peak memory. Otherwise it is the median duration.
    """
    newest: dict[tuple[str, int], BenchmarkResult] = {}
    for result in results.values():
        if result.measure == "full":
            newest |= {(name, result.sales): result for name in result.contestants}
    points = []
    for (name, sales), result in sorted(newest.items(), key=lambda item: item[0]):
        value = peak_gigabytes if figure == "gigabytes" else lambda one: one.seconds
        if result.values(name, value):
            point = {"who": title_of(name), "sales": sales / 1e6, "value": round(result.median(name, value), 3)}
            points.append(point)
    return points


def _in_words(points: Sequence[dict[str, Any]], unit: str) -> str:
    return "; ".join(f"{p['who']} at {millions(round(p['sales'] * 1e6))} {p['value']:.1f} {unit}" for p in points)


def _lines(points: Sequence[dict[str, Any]], title: str, scale: str) -> dict[str, Any]:
    """Return the specification of a line plot with one line per contestant. `scale` is `linear` or `log`."""
    sizes = sorted({point["sales"] for point in points})
    return {
        "width": _WIDTH,
        "height": 320,
        "background": "white",
        "data": {"values": points},
        "mark": {"type": "line", "point": {"size": 60}},
        "encoding": {
            "x": {
                "field": "sales",
                "type": "quantitative",
                "title": "sales, millions",
                "scale": {"type": scale, "nice": False, "zero": scale == "linear"},
                "axis": {"values": sizes},
            },
            "y": {"field": "value", "type": "quantitative", "title": title, "scale": {"type": scale}},
            "color": {"field": "who", "type": "nominal", "title": None, "legend": {"labelLimit": 300}},
        },
    }


def _bars(tasks: dict[str, float], title: str) -> dict[str, Any]:
    """Return the specification of a bar plot that shows the duration of each task in seconds."""
    longest = max(tasks.values())
    values = [
        {"task": task, "seconds": round(seconds, 3)}
        for task, seconds in tasks.items()
        if seconds >= _SHORTEST_TASK * longest
    ]
    return {
        "width": _WIDTH,
        "background": "white",
        "data": {"values": values},
        "mark": "bar",
        "encoding": {
            "y": {"field": "task", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 300}},
            "x": {"field": "seconds", "type": "quantitative", "title": title},
        },
    }


def to_svg(specification: dict[str, Any]) -> str:
    """Return a plot as SVG."""
    import vl_convert  # imported here, because the package is large

    svg: str = vl_convert.vegalite_to_svg(json.dumps(specification), vl_version=_VEGA_LITE)
    return svg
