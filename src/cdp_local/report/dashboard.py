"""Reads a dashboard as the bundle deploys it, a `.lvdash.json` file, as far as the report can show it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdp_lib.errors import CdpError

CHARTS = ("bar", "line", "heatmap")
KINDS = ("counter", "table", *CHARTS)
_FILTER = "filter-single-select"
_FIELD = re.compile(r"(?:(?P<aggregate>SUM|AVG|MIN|MAX|COUNT)\()?`(?P<column>[^`]+)`\)?")


@dataclass(frozen=True)
class Dataset:
    """Rows that widgets show.

    Attributes:
        name: Name that widgets refer to.
        title: What it holds, for people.
        sql: Query in Databricks SQL, over the serving views.
    """

    name: str
    title: str
    sql: str


@dataclass(frozen=True)
class Field:
    """What a widget takes from its dataset.

    Attributes:
        column: Column of the dataset.
        aggregate: SUM, AVG, MIN, MAX or COUNT of its values by the widget's other fields; None for each row's own.
    """

    column: str
    aggregate: str | None


@dataclass(frozen=True)
class Widget:
    """One tile, table or chart, or a text.

    Attributes:
        name: Name in the dashboard.
        kind: One of `KINDS`, or `text`.
        title: Heading.
        description: What it shows, where the title does not say it; the words of a text.
        dataset: Name of the dataset; empty for a text.
        fields: Fields by the names that encodings refer to them by.
        encodings: Which field is shown how, as the file has it.
        layout: `group` for bars side by side, else empty.
        width: Columns of twelve.
        height: Rows of the dashboard's grid.
    """

    name: str
    kind: str
    title: str
    description: str
    dataset: str
    fields: Mapping[str, Field]
    encodings: Mapping[str, Any]
    layout: str
    width: int
    height: int


@dataclass(frozen=True)
class Page:
    """A page of widgets, in reading order."""

    name: str
    title: str
    widgets: tuple[Widget, ...]


@dataclass(frozen=True)
class Filter:
    """A choice of one value for a column of several datasets.

    Attributes:
        name: Name in the dashboard.
        title: What is chosen.
        column: Column.
        default: Value chosen at first.
        datasets: Names of the datasets of which only rows with the chosen value are shown.
    """

    name: str
    title: str
    column: str
    default: str
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard.

    Attributes:
        datasets: Datasets by name.
        pages: Pages in order.
        filters: Filters of all pages.
    """

    datasets: Mapping[str, Dataset]
    pages: tuple[Page, ...]
    filters: tuple[Filter, ...]


def read_dashboard(path: Path) -> Dashboard:
    """Read a dashboard's file.

    Args:
        path: The `.lvdash.json` file.

    Raises:
        CdpError: It is not there, or not JSON, or has something that the report can't show: what.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        datasets = {
            dataset["name"]: Dataset(dataset["name"], dataset["displayName"], "".join(dataset["queryLines"]))
            for dataset in content["datasets"]
        }
        pages, filters = [], []
        for page in content["pages"]:
            if page["pageType"] == "PAGE_TYPE_GLOBAL_FILTERS":
                filters += [_filter(placed["widget"], datasets) for placed in page["layout"]]
            else:
                in_order = sorted(page["layout"], key=lambda placed: (placed["position"]["y"], placed["position"]["x"]))
                widgets = tuple(_widget(placed["widget"], placed["position"], datasets) for placed in in_order)
                pages.append(Page(page["name"], page["displayName"], widgets))
    except FileNotFoundError:
        raise CdpError(f"{path} is not there: it is the dashboard that the report shows.") from None
    except (json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        raise CdpError(f"{path.name} is no dashboard that can be read: {type(error).__name__} {error}.") from None
    return Dashboard(datasets, tuple(pages), tuple(filters))


def check_columns(dashboard: Dashboard, columns: Mapping[str, Collection[str]]) -> None:
    """Check that datasets have the columns which widgets and filters ask of them.

    Args:
        dashboard: The dashboard.
        columns: Columns of each dataset, by its name.

    Raises:
        CdpError: A column is missing: whose.
    """
    for widget in (widget for page in dashboard.pages for widget in page.widgets):
        for field in widget.fields.values():
            if field.column not in columns[widget.dataset]:
                raise CdpError(f"Widget '{widget.name}' shows '{field.column}', which {widget.dataset} does not have.")
    for choice in dashboard.filters:
        for dataset in choice.datasets:
            if choice.column not in columns[dataset]:
                raise CdpError(f"Filter '{choice.name}' asks {dataset} for '{choice.column}', which it does not have.")


def shown_fields(encodings: Mapping[str, Any]) -> Iterator[str]:
    """Names of the fields that encodings refer to, however deep."""
    for key, value in encodings.items():
        if key == "fieldName":
            yield value
        elif isinstance(value, Mapping):
            yield from shown_fields(value)
        elif isinstance(value, list):
            for each in value:
                yield from shown_fields(each if isinstance(each, Mapping) else {})


def _widget(widget: dict[str, Any], position: dict[str, int], datasets: Mapping[str, Dataset]) -> Widget:
    size = {"width": position["width"], "height": position["height"]}
    name = widget["name"]
    if text := widget.get("multilineTextboxSpec"):
        return Widget(name, "text", "", "".join(text["lines"]), "", {}, {}, "", **size)
    spec, query = widget["spec"], widget["queries"][0]["query"]
    kind, encodings, frame = spec["widgetType"], spec["encodings"], spec["frame"]
    if kind not in KINDS:
        raise CdpError(f"Widget '{name}' is a {kind}, which the report can't show: it can {', '.join(KINDS)}.")
    if query["datasetName"] not in datasets:
        raise CdpError(f"Widget '{name}' shows dataset '{query['datasetName']}', which the dashboard does not have.")
    fields = {field["name"]: _field(name, field["expression"]) for field in query["fields"]}
    if unknown := [field for field in shown_fields(encodings) if field not in fields]:
        raise CdpError(f"Widget '{name}' shows field '{unknown[0]}', which its query does not have.")
    layout = spec.get("mark", {}).get("layout", "")
    description = frame.get("description", "")
    return Widget(name, kind, frame["title"], description, query["datasetName"], fields, encodings, layout, **size)


def _field(widget: str, expression: str) -> Field:
    match = _FIELD.fullmatch(expression)
    if not match:
        raise CdpError(
            f"Widget '{widget}' has the expression {expression}: the report knows a column, and SUM, AVG, MIN, MAX and"
            " COUNT of one; anything else belongs into the dataset's query."
        )
    return Field(match["column"], match["aggregate"])


def _filter(widget: dict[str, Any], datasets: Mapping[str, Dataset]) -> Filter:
    spec, name = widget["spec"], widget["name"]
    if spec["widgetType"] != _FILTER:
        raise CdpError(f"Filter '{name}' is a {spec['widgetType']}, which the report can't show: it can {_FILTER}.")
    columns = {field["fieldName"] for field in spec["encodings"]["fields"]}
    bound = tuple(query["query"]["datasetName"] for query in widget["queries"])
    if len(columns) != 1 or not set(bound) <= set(datasets):
        raise CdpError(f"Filter '{name}' needs one column, of datasets that the dashboard has.")
    default = spec["selection"]["defaultSelection"]["values"]["values"][0]["value"]
    return Filter(name, spec["frame"]["title"], columns.pop(), default, bound)
