"""Tests of reading the file of a dashboard, and checks of the deployed dashboard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from cdp_lib.contracts.kpis import KPIS
from cdp_lib.contracts.segments import SEGMENTS
from cdp_lib.errors import CdpError
from cdp_lib.serving import serving_views
from cdp_local.report.charts import number_format
from cdp_local.report.dashboard import KINDS, Dashboard, check_columns, read_dashboard
from cdp_local.report.page import DASHBOARD

PROJECT = Path(__file__).resolve().parents[4]

Content = dict[str, Any]
Read = Callable[[Content], Dashboard]


@pytest.fixture(scope="module")
def deployed() -> Dashboard:
    return read_dashboard(PROJECT / DASHBOARD)


@pytest.fixture
def content() -> Content:
    """Return the content of the deployed dashboard. A test may change this copy."""
    return json.loads((PROJECT / DASHBOARD).read_text(encoding="utf-8"))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_back(content: Content) -> Dashboard:
        path = tmp_path / "cdp.lvdash.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return read_dashboard(path)

    return read_back


def widget_named(content: Content, name: str) -> Content:
    return next(w["widget"] for page in content["pages"] for w in page["layout"] if w["widget"]["name"] == name)


def test_dashboard_has_a_page_per_audience_and_three_filters(deployed: Dashboard) -> None:
    assert [page.title for page in deployed.pages] == ["Overview", "Customers", "Sales", "Marketing", "Data health"]
    assert [each.title for each in deployed.filters] == ["Period", "Country", "Segment"]


def test_every_dataset_is_databricks_sql_over_serving_views(deployed: Dashboard) -> None:
    views = set(serving_views())
    assert len(views) > 15
    for dataset in deployed.datasets.values():
        query = sqlglot.parse_one(dataset.sql, read="databricks")
        assert isinstance(query, exp.Query)
        ctes = {cte.alias for cte in query.find_all(exp.CTE)}
        tables = {table.name for table in query.find_all(exp.Table)} - ctes
        assert tables and tables <= views, dataset.name
        # The deployment sets catalog and schema.
        assert not any(table.db or table.catalog for table in query.find_all(exp.Table))


def test_query_lines_end_with_a_line_break(content: Content) -> None:
    for dataset in content["datasets"]:
        *lines, _ = dataset["queryLines"]
        assert all(line.endswith("\n") for line in lines), dataset["name"]


def test_names_are_unique_and_widgets_do_not_overlap(content: Content) -> None:
    positions = [
        (page["name"], each["position"], each["widget"]["name"]) for page in content["pages"] for each in page["layout"]
    ]
    names = Counter([name for *_, name in positions] + [page["name"] for page in content["pages"]])
    assert names.most_common(1)[0][1] == 1
    taken: set[tuple[str, int, int]] = set()
    for page, box, name in positions:
        cells = {(page, box["x"] + x, box["y"] + y) for x in range(box["width"]) for y in range(box["height"])}
        assert not cells & taken and box["x"] + box["width"] <= 12, name
        taken |= cells


def test_every_dataset_is_used_by_a_widget(deployed: Dashboard) -> None:
    shown = {widget.dataset for page in deployed.pages for widget in page.widgets} - {""}
    assert shown == set(deployed.datasets)


def test_widgets_have_the_versions_that_a_workspace_expects(content: Content) -> None:
    versions = {"counter": 2, "table": 2, "bar": 3, "line": 3, "heatmap": 3, "filter-single-select": 2}
    specs = [each["widget"].get("spec") for page in content["pages"] for each in page["layout"]]
    assert {spec["widgetType"] for spec in specs if spec} == {*KINDS, "filter-single-select"}
    for spec in filter(None, specs):
        assert spec["version"] == versions[spec["widgetType"]]


def test_filters_can_not_be_cleared_because_totals_would_count_twice(content: Content) -> None:
    [filters] = [page for page in content["pages"] if page["pageType"] == "PAGE_TYPE_GLOBAL_FILTERS"]
    for each in filters["layout"]:
        assert each["widget"]["spec"]["disallowAll"] is True


def test_kpi_tile_has_the_title_of_the_kpi_and_the_format_of_its_unit(deployed: Dashboard) -> None:
    kpis = {kpi.name: kpi for kpi in KPIS}
    percent = {"share"}
    seen = set()
    for widget in (widget for page in deployed.pages for widget in page.widgets):
        if widget.kind == "counter" and widget.encodings["value"]["fieldName"] in kpis:
            kpi = kpis[widget.encodings["value"]["fieldName"]]
            seen.add(kpi.name)
            if "KPI" in deployed.datasets[widget.dataset].title:
                assert widget.title == kpi.title
            assert number_format(widget.encodings["value"]).endswith("%") == (kpi.unit in percent)
    assert {"revenue", "retention_rate", "arpu", "cac", "clv_historic", "mau", "engagement_score"} <= seen


def test_segments_are_in_the_order_of_their_definitions(deployed: Dashboard) -> None:
    movements = next(w for page in deployed.pages for w in page.widgets if w.name == "segment-movements")
    names = [segment.name for segment in SEGMENTS]
    assert movements.encodings["x"]["scale"]["sort"]["orderedValues"] == names
    assert movements.encodings["y"]["scale"]["sort"]["orderedValues"] == [*names, "Not a customer yet"]


def test_error_names_a_widget_kind_that_the_report_can_not_show(content: Content, read: Read) -> None:
    widget_named(content, "revenue-by-month")["spec"]["widgetType"] = "sankey"
    with pytest.raises(CdpError, match="Widget 'revenue-by-month' is a sankey"):
        read(content)


def test_error_names_a_field_that_the_query_lacks(content: Content, read: Read) -> None:
    widget_named(content, "revenue-by-month")["spec"]["encodings"]["y"]["fieldName"] = "revenu"
    with pytest.raises(CdpError, match="Widget 'revenue-by-month' shows field 'revenu'"):
        read(content)


def test_error_names_a_missing_dataset(content: Content, read: Read) -> None:
    widget_named(content, "revenue-by-month")["queries"][0]["query"]["datasetName"] = "sale"
    with pytest.raises(CdpError, match="dataset 'sale', which the dashboard does not have"):
        read(content)


@pytest.mark.parametrize("expression", ["SUM(`a`) / SUM(`b`)", "`a` + 1", "MEDIAN(`a`)"])
def test_error_names_an_unsupported_expression(content: Content, read: Read, expression: str) -> None:
    widget_named(content, "overview-revenue")["queries"][0]["query"]["fields"][0]["expression"] = expression
    with pytest.raises(CdpError, match="Widget 'overview-revenue' has the expression"):
        read(content)


def test_error_names_an_unsupported_filter_kind(content: Content, read: Read) -> None:
    widget_named(content, "period-filter")["spec"]["widgetType"] = "filter-date-range-picker"
    with pytest.raises(CdpError, match="Filter 'period-filter' is a filter-date-range-picker"):
        read(content)


def test_error_names_a_column_that_the_dataset_lacks(deployed: Dashboard) -> None:
    columns = {name: _columns_of(deployed, name) for name in deployed.datasets}
    check_columns(deployed, columns)
    with pytest.raises(CdpError, match="Widget '.*' shows 'arpu', which kpi_trend does not have"):
        check_columns(deployed, columns | {"kpi_trend": columns["kpi_trend"] - {"arpu"}})
    with pytest.raises(CdpError, match="Filter 'country-filter' uses 'country', which kpi_trend does not have"):
        check_columns(deployed, columns | {"kpi_trend": columns["kpi_trend"] - {"country"}})


def _columns_of(dashboard: Dashboard, dataset: str) -> set[str]:
    widgets = [w for page in dashboard.pages for w in page.widgets if w.dataset == dataset]
    columns = {field.column for widget in widgets for field in widget.fields.values()}
    return columns | {each.column for each in dashboard.filters if dataset in each.datasets}


def test_error_names_an_invalid_or_missing_file(tmp_path: Path) -> None:
    broken = tmp_path / "cdp.lvdash.json"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(CdpError, match="can't be read as a dashboard"):
        read_dashboard(broken)
    broken.write_text("{}", encoding="utf-8")
    with pytest.raises(CdpError, match="can't be read as a dashboard: KeyError 'datasets'"):
        read_dashboard(broken)
    with pytest.raises(CdpError, match="does not exist"):
        read_dashboard(tmp_path / "none.lvdash.json")
