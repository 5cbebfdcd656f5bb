"""Writes the report: one self-contained HTML page that needs no network."""

from __future__ import annotations

import html
import importlib.resources
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.identity.explain import IdentityTables
from cdp_lib.identity.rules_file import read_identity_rules
from cdp_lib.storage import open_store
from cdp_local.engines import use_schema
from cdp_local.identity_summary import summarize
from cdp_local.lineage import lineage_picture
from cdp_local.report.alarm import alarm_html
from cdp_local.report.charts import ROW_HEIGHT, Rows, chart
from cdp_local.report.dashboard import CHARTS, Dashboard, Widget, check_columns, read_dashboard
from cdp_local.report.identity import SECTION, identity_html
from cdp_local.report.segments import PAGE as SEGMENTS_PAGE
from cdp_local.report.segments import segments_html
from cdp_local.workspace import LocalWorkspace

DASHBOARD = Path("resources/dashboards/cdp.lvdash.json")
REPORT = "report.html"
"""File name of the report in the home folder."""

LINEAGE_PAGE = "data-health"
"""Name of the dashboard page to which the report adds the lineage picture."""

_VEGA_LITE = "6.4"
_LARGEST_EXACT_INTEGER = 2**53
"""JavaScript stores every number as a double. Doubles hold whole numbers up to this size exactly."""

_FILES = importlib.resources.files("cdp_local.report")


def write_report(workspace: LocalWorkspace) -> Path:
    """Write the dashboard with the data of a workspace to `<home>/report.html`; return the path of the page.

    Raises:
        CdpError: The report can't show an element of the dashboard, the views that the dashboard reads do not exist
            yet, or the page can't be written.
    """
    dashboard = read_dashboard(workspace.bundle.root / DASHBOARD)
    tables = _read_datasets(workspace, dashboard)
    check_columns(dashboard, {name: table.column_names for name, table in tables.items()})
    rows = {
        name: [{key: _to_json_value(value) for key, value in row.items()} for row in table.to_pylist()]
        for name, table in tables.items()
    }
    path = workspace.home / REPORT
    write_page(path, dashboard, rows, workspace.home / "cache", _identity(workspace))
    return path


def write_page(path: Path, dashboard: Dashboard, rows: Mapping[str, Rows], cache: Path, identity: str = "") -> None:
    """Write an HTML page that shows a dashboard with the given rows.

    Args:
        path: HTML file to write.
        dashboard: The dashboard.
        rows: Rows of each dataset, by name of the dataset. All values are JSON values; dates are strings such as
            2026-01-31.
        cache: Folder in which the JavaScript file of the charting library is cached.
        identity: HTML of the part about identity resolution. Empty if it is off.

    Raises:
        CdpError: The page can't be written.
    """
    page, building = _page(dashboard, rows, _vega(cache), identity), path.with_suffix(".part")
    try:
        building.write_text(page, encoding="utf-8")
        building.replace(path)
    except OSError as error:
        raise CdpError(f"{path} can't be written ({error.strerror}).") from error


def _identity(workspace: LocalWorkspace) -> str:
    """Return the part about identity resolution as HTML. Empty if it is off, or its tables do not exist yet."""
    rules = read_identity_rules(workspace.bundle.variable("identity_rules"))
    store = open_store(workspace.session, workspace.bundle.variable("catalog"), workspace.bundle.variable("schema"))
    if not rules.is_on or not store.exists(PERSON_LINKS_SILVER):
        return ""
    return identity_html(summarize(IdentityTables.read(store), rules))


def _read_datasets(workspace: LocalWorkspace, dashboard: Dashboard) -> dict[str, pa.Table]:
    catalog, schema = (workspace.bundle.variable(name) for name in ("catalog", "serving_schema"))
    use_schema(workspace.spark, catalog, schema)
    try:
        return {name: workspace.spark.sql(dataset.sql).toArrow() for name, dataset in dashboard.datasets.items()}
    except AnalysisException as error:
        first_line = str(error).strip().splitlines()[0]
        raise CdpError(f"The dashboard's views can't be read ({first_line}): `cdp run` creates them.") from None


def _vega(cache: Path) -> str:
    """Return the charting library as one JavaScript text. Its file is created once and then read from the cache."""
    bundle = cache / f"vega-lite-{_VEGA_LITE}-{metadata.version('vl-convert-python')}.js"
    if not bundle.exists():
        import vl_convert  # a large package, needed only if the cache has no file

        bundle.parent.mkdir(parents=True, exist_ok=True)
        building = bundle.with_suffix(".part")
        library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE)
        # A browser ends a script element at the first `</script`, even inside a string.
        building.write_text(re.sub(r"</(?=script)", r"<\\/", library, flags=re.IGNORECASE), encoding="utf-8")
        building.replace(bundle)
    return bundle.read_text(encoding="utf-8")


def _page(dashboard: Dashboard, rows: Mapping[str, Rows], vega: str, identity: str) -> str:
    content = {
        "datasets": rows,
        "filters": [
            {"name": each.name, "column": each.column, "default": each.default, "datasets": each.datasets}
            for each in dashboard.filters
        ],
        "widgets": [
            _content(widget, rows[widget.dataset])
            for page in dashboard.pages
            for widget in page.widgets
            if widget.kind != "text"
        ],
    }
    return Template(_file("report.html")).substitute(
        navigation="".join(f'<a href="#{page.name}">{html.escape(page.title)}</a>' for page in dashboard.pages)
        + (f'<a href="#{SECTION}">Identity</a>' if identity else ""),
        filters="".join(
            f'<label>{html.escape(each.title)} <select id="{html.escape(each.name)}"></select></label>'
            for each in dashboard.filters
        ),
        alarm=alarm_html(rows),
        sections="".join(
            f'<section id="{page.name}" aria-labelledby="{page.name}-title"><h2 id="{page.name}-title">'
            f'{html.escape(page.title)}</h2><div class="grid">{"".join(map(_widget_html, page.widgets))}'
            f"{segments_html(rows) if page.name == SEGMENTS_PAGE else ''}"
            f"{_lineage_html() if page.name == LINEAGE_PAGE else ''}</div></section>"
            for page in dashboard.pages
        )
        + identity,
        made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        style=_file("report.css"),
        vega=vega,
        script=_file("report.js"),
        # Escape `<`, because names from the data could otherwise end the script element.
        content=json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _lineage_html() -> str:
    """Return the HTML element with the lineage picture."""
    return (
        '<figure class="table" style="--width:12;--height:34rem"><figcaption><h3>Lineage</h3>'
        "<p>Inputs of each table, from landed batches on the left to KPIs on the right. Hover over a box to read the"
        " grain of the table, over an arrow to read which tables it connects.</p>"
        f'</figcaption><div class="body">{lineage_picture()}</div></figure>'
    )


def _widget_html(widget: Widget) -> str:
    style = f"--width:{widget.width};--height:{widget.height * ROW_HEIGHT}px"
    if widget.kind == "text":
        return f'<p class="text" style="{style}">{html.escape(widget.description)}</p>'
    description = f"<p>{html.escape(widget.description)}</p>" if widget.description else ""
    return (
        f'<figure id="{widget.name}" class="{widget.kind}" style="{style}"><figcaption><h3>{html.escape(widget.title)}'
        f'</h3>{description}</figcaption><div class="body"></div></figure>'
    )


def _content(widget: Widget, rows: Rows) -> dict[str, Any]:
    content = {
        "name": widget.name,
        "kind": widget.kind,
        "title": widget.title,
        "dataset": widget.dataset,
        "fields": {name: [field.column, field.aggregate] for name, field in widget.fields.items()},
        "encodings": widget.encodings,
    }
    return content | ({"chart": chart(widget, rows)} if widget.kind in CHARTS else {})


def _to_json_value(value: Any) -> Any:
    """Return a JSON value. A whole number above 2^53 becomes text, because JavaScript would change it.

    >>> _to_json_value(9007199254740993), _to_json_value(Decimal("2.5")), _to_json_value(date(2026, 1, 31))
    ('9007199254740993', 2.5, '2026-01-31')
    """
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, int) and abs(value) > _LARGEST_EXACT_INTEGER:
        return str(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return value.isoformat() if isinstance(value, date) else value


def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")
