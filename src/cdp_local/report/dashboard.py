"""Reads the `.lvdash.json` file of a dashboard. Only elements that the report can show are allowed."""

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
    """Query whose result one or more widgets show.

    Attributes:
        name: Name by which widgets refer to the dataset.
        title: Display name.
        sql: Query in Databricks SQL. It reads the serving views.
    """

    name: str
    title: str
    sql: str


@dataclass(frozen=True)
class Field:
    """Column or aggregate that a widget reads from its dataset.

    Attributes:
        column: Column of the dataset.
        aggregate: SUM, AVG, MIN, MAX or COUNT of the column, grouped by the other fields of the widget. None if the
            widget reads the column without aggregation.
    """

    column: str
    aggregate: str | None


@dataclass(frozen=True)
class Widget:
    """A tile, table, chart or text of the dashboard.

    Attributes:
        name: Name of the widget in the dashboard file.
        kind: One of `KINDS`, or `text`.
        title: Heading.
        description: Explanation below the heading; may be empty. For a text widget, the text.
        dataset: Name of the dataset; empty for a text widget.
        fields: Fields by name. Encodings refer to these names.
        encodings: Assignment of fields to axes, colours and table columns, in the format of the dashboard file.
        layout: `group` for bars side by side, else empty.
        width: Width in grid columns of the dashboard, 1 to 12.
        height: Height in grid rows of the dashboard.
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
class DashboardPage:
    """A page of the dashboard. Its widgets are in reading order."""

    name: str
    title: str
    widgets: tuple[Widget, ...]


@dataclass(frozen=True)
class Filter:
    """A filter of the dashboard. It keeps the rows that have the selected value in a column.

    Attributes:
        name: Name of the filter in the dashboard file.
        title: Label.
        column: Column that the filter applies to.
        default: Value that is selected at first.
        datasets: Names of the datasets that the filter applies to.
    """

    name: str
    title: str
    column: str
    default: str
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard with its datasets, pages and filters.

    Attributes:
        datasets: Datasets by name.
        pages: Pages in display order.
        filters: Filters, which apply to all pages.
    """

    datasets: Mapping[str, Dataset]
    pages: tuple[DashboardPage, ...]
    filters: tuple[Filter, ...]


def read_dashboard(path: Path) -> Dashboard:
    """Read the file of a dashboard.

    Args:
        path: The `.lvdash.json` file.

    Raises:
        CdpError: The file does not exist, is not JSON, or contains an element that the report can't show.
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
                filters += [_filter(item["widget"], datasets) for item in page["layout"]]
            else:
                items = sorted(page["layout"], key=lambda item: (item["position"]["y"], item["position"]["x"]))
                widgets = tuple(_widget(item["widget"], item["position"], datasets) for item in items)
                pages.append(DashboardPage(page["name"], page["displayName"], widgets))
    except FileNotFoundError:
        raise CdpError(f"Dashboard {path} does not exist: the report needs this file.") from None
    except (json.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        raise CdpError(f"{path.name} can't be read as a dashboard: {type(error).__name__} {error}.") from None
    return Dashboard(datasets, tuple(pages), tuple(filters))


def check_columns(dashboard: Dashboard, columns: Mapping[str, Collection[str]]) -> None:
    """Check that the datasets have all columns that widgets and filters use.

    Args:
        dashboard: The dashboard.
        columns: Column names of each dataset, by name of the dataset.

    Raises:
        CdpError: A dataset does not have a column that a widget or filter uses.
    """
    for widget in (widget for page in dashboard.pages for widget in page.widgets):
        for field in widget.fields.values():
            if field.column not in columns[widget.dataset]:
                raise CdpError(f"Widget '{widget.name}' shows '{field.column}', which {widget.dataset} does not have.")
    for each in dashboard.filters:
        for dataset in each.datasets:
            if each.column not in columns[dataset]:
                raise CdpError(f"Filter '{each.name}' uses '{each.column}', which {dataset} does not have.")


def shown_fields(encodings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the name of each field that the encodings refer to. Nested encodings are included."""
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
        raise CdpError(f"Widget '{name}' is a {kind}, which the report can't show: use {', '.join(KINDS)}.")
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
            f"Widget '{widget}' has the expression {expression}: use a column, or SUM, AVG, MIN, MAX or COUNT of a"
            " column, and write other expressions into the query of the dataset."
        )
    return Field(match["column"], match["aggregate"])


def _filter(widget: dict[str, Any], datasets: Mapping[str, Dataset]) -> Filter:
    spec, name = widget["spec"], widget["name"]
    if spec["widgetType"] != _FILTER:
        raise CdpError(f"Filter '{name}' is a {spec['widgetType']}, which the report can't show: use {_FILTER}.")
    columns = {field["fieldName"] for field in spec["encodings"]["fields"]}
    filtered = tuple(query["query"]["datasetName"] for query in widget["queries"])
    if len(columns) != 1 or not set(filtered) <= set(datasets):
        raise CdpError(f"Filter '{name}' must have exactly one column, and use only datasets of the dashboard.")
    default = spec["selection"]["defaultSelection"]["values"]["values"][0]["value"]
    return Filter(name, spec["frame"]["title"], columns.pop(), default, filtered)
