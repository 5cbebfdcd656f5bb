"""Charts of the dashboard as Vega-Lite 6 specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdp_local.report.dashboard import Widget

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

ROW_HEIGHT = 44
"""Height of one grid row of the dashboard, in pixels."""

_FRAME_HEIGHT = 96
"""Total height of the title, the description and the margins of a widget, in pixels."""

_TYPES = {"quantitative": "quantitative", "categorical": "nominal", "temporal": "temporal"}


def chart(widget: Widget, rows: Rows) -> Spec:
    """Return the specification of a chart. The specification does not contain the rows.

    The chart reads its rows from the Vega data source with the name `rows`.

    Args:
        widget: A widget with a kind in `CHARTS`.
        rows: Rows of the widget's dataset. The dates in these rows determine whether a time axis shows months or days.
    """
    draw = _heatmap if widget.kind == "heatmap" else _bars_or_lines
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"name": "rows"},
        "width": "container",
        "height": max(120, widget.height * ROW_HEIGHT - _FRAME_HEIGHT),
        "autosize": {"type": "fit-x", "contains": "padding"},
    } | draw(widget, rows)


def number_format(encoding: Mapping[str, Any]) -> str:
    """Return the format for the numbers of an encoding, in the syntax of d3-format, as Vega expects."""
    form = encoding.get("format", {})
    places = form.get("decimalPlaces", {}).get("places", 2)
    if form.get("type") == "number-percent":
        return f".{places}~%"
    return ".3~s" if form.get("abbreviation") == "compact" else f",.{places}~f"


def _bars_or_lines(widget: Widget, rows: Rows) -> Spec:
    encodings = widget.encodings
    spec: Spec = {"mark": {"type": widget.kind, "tooltip": True}}
    if widget.kind == "line":
        spec["mark"]["point"] = True
    series = encodings["y"].get("fields")
    if series:
        titles = [each["displayName"] for each in series]
        # The rows have one column per measure, but Vega takes the colour of a mark from the values of one column.
        # Therefore, unpivot the measures into rows with the columns `series` (name of the measure) and `value`.
        spec["transform"] = [
            *({"calculate": f"datum['{each['fieldName']}']", "as": each["displayName"]} for each in series),
            {"fold": titles, "as": ["series", "value"]},
        ]
        axis = {"format": number_format(encodings["y"])}
        y: Spec = {"field": "value", "type": "quantitative", "title": None, "axis": axis}
        color = {"field": "series", "type": "nominal", "title": None, "sort": titles, "scale": {"domain": titles}}
    else:
        y = _channel(widget, "y", rows)
        color = _channel(widget, "color", rows) if "color" in encodings else {}
    spec["encoding"] = {"x": _channel(widget, "x", rows), "y": y} | ({"color": color} if color else {})
    if color and widget.kind == "bar" and widget.layout == "group":
        spec["encoding"]["xOffset"] = {"field": color["field"]}
    spec["encoding"]["tooltip"] = _tooltip(spec["encoding"])
    return spec


def _heatmap(widget: Widget, rows: Rows) -> Spec:
    encoding = {name: _channel(widget, name, rows) for name in ("x", "y", "color")}
    value = encoding["color"]["field"]
    pattern = number_format(widget.encodings["color"])
    label = {"field": value, "type": "quantitative", "format": pattern}
    strong = {"test": f"datum['{value}'] > 0.55 * datum.largest", "value": "white"}
    return {
        "transform": [{"joinaggregate": [{"op": "max", "field": value, "as": "largest"}]}],
        "encoding": {"x": encoding["x"], "y": encoding["y"], "tooltip": _tooltip(encoding)},
        "layer": [
            {"mark": "rect", "encoding": {"color": encoding["color"] | {"scale": {"scheme": "blues", "zero": True}}}},
            {
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {"text": label, "color": {"condition": strong, "value": "#1b2733"}},
            },
        ],
    }


def _channel(widget: Widget, name: str, rows: Rows) -> Spec:
    encoding = widget.encodings[name]
    field = widget.fields[encoding["fieldName"]]
    kind = encoding["scale"]["type"]
    channel: Spec = {
        "field": field.column,
        "type": _TYPES[kind],
        "title": encoding.get("displayName", field.column),
    }
    if field.aggregate:
        channel["aggregate"] = {"AVG": "mean"}.get(field.aggregate, field.aggregate.lower())
    if kind == "temporal":
        is_monthly = all(str(row[field.column])[8:10] in ("01", "") for row in rows)
        channel["timeUnit"] = "utcyearmonth" if is_monthly else "utcyearmonthdate"
        if widget.kind == "bar":
            channel["type"] = "ordinal"  # an ordinal axis leaves space between the bars
        channel["axis"] = {"format": "%b %Y" if is_monthly else "%d %b %Y", "labelOverlap": True}
    elif kind == "quantitative":
        channel["legend" if name == "color" else "axis"] = {"format": number_format(encoding)}
    else:
        order = encoding["scale"].get("sort", {})
        by = order.get("by", "")
        if by == "custom-order":
            channel["sort"] = order["orderedValues"]
        elif by:
            channel["sort"] = f"-{by.removesuffix('-reversed')}" if by.endswith("-reversed") else by
        channel |= (
            {"axis": {"labelLimit": 200 if name == "y" else 120, "labelAngle": 0 if name == "y" else -35}}
            if name != "color"
            else {}
        )
    return channel


def _tooltip(encoding: Mapping[str, Spec]) -> list[Spec]:
    """Return the tooltip of a mark: the title, value and format of each of the channels x, y and color."""
    shown = []
    for name in ("x", "y", "color"):
        channel = encoding.get(name)
        if channel:
            keep = {key: channel[key] for key in ("field", "type", "timeUnit", "aggregate") if key in channel}
            axis = channel.get("axis") or channel.get("legend") or {}
            pattern = {"format": axis["format"]} if "format" in axis else {}
            shown.append(keep | {"title": channel["title"] or channel["field"]} | pattern)
    return shown
