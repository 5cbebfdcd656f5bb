"""The report keeps the format, shows what the model has, and can be used without seeing it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pbir_utils.rule_engine import ValidationResult, validate_report

from .conftest import REPORT
from .semantic_model import SemanticModel

pytestmark = pytest.mark.first_engine

Visuals = dict[str, dict[str, Any]]
PAGES = ["Overview", "Customers", "Sales", "Marketing", "Data health"]
TEXT_BOX = "textbox"
# What a visual calls the places of its fields; in a place it does not know, a field is not shown.
PLACES = {
    "barChart": {"Category", "Series", "Y"},
    "cardVisual": {"Data"},
    "clusteredBarChart": {"Category", "Series", "Y"},
    "clusteredColumnChart": {"Category", "Series", "Y"},
    "lineChart": {"Category", "Series", "Y"},
    "pivotTable": {"Rows", "Columns", "Values"},
    "slicer": {"Values"},
    "tableEx": {"Values"},
    TEXT_BOX: set(),
}


def validate(report: Path) -> ValidationResult:
    return validate_report(str(report), strict=False)


def fields(value: Any, aliases: dict[str, str] | None = None) -> Iterator[tuple[str, str, str]]:
    """Every field that is named under a value: kind, table and name."""
    if isinstance(value, list):
        for entry in value:
            yield from fields(entry, aliases)
    elif isinstance(value, dict):
        if "From" in value:
            aliases = {source["Name"]: source["Entity"] for source in value["From"]}
        for kind in ("Column", "Measure"):
            if kind in value and "Property" in value[kind]:
                source = value[kind]["Expression"]["SourceRef"]
                yield kind, source.get("Entity") or (aliases or {})[source["Source"]], value[kind]["Property"]
        for entry in value.values():
            yield from fields(entry, aliases)


def literal(visual: dict[str, Any], thing: str, name: str) -> str:
    """A text of a visual's container."""
    (entry,) = visual["visual"]["visualContainerObjects"][thing]
    return str(entry["properties"][name]["expr"]["Literal"]["Value"]).strip("'")


def test_pbir_utils_finds_nothing_wrong() -> None:
    result = validate(REPORT)
    assert (result.error_count, result.warning_count) == (0, 0)
    assert result.passed >= 15


@pytest.mark.parametrize("fault", ["empty page", "page without a name of its own", "lost bookmark"])
def test_pbir_utils_refuses_a_broken_report(tmp_path: Path, fault: str) -> None:
    report = tmp_path / REPORT.name
    shutil.copytree(REPORT, report)
    pages = report / "definition" / "pages"
    match fault:
        case "empty page":
            shutil.rmtree(pages / "sales" / "visuals")
        case "page without a name of its own":
            page = json.loads((pages / "sales" / "page.json").read_text(encoding="utf-8"))
            (pages / "sales" / "page.json").write_text(json.dumps(page | {"displayName": "Page 1"}), encoding="utf-8")
        case "lost bookmark":
            bookmarks = report / "definition" / "bookmarks"
            bookmarks.mkdir()
            state = {"name": "b", "displayName": "b", "explorationState": {"activeSection": "nowhere", "sections": {}}}
            (bookmarks / "b.bookmark.json").write_text(json.dumps(state), encoding="utf-8")
            (bookmarks / "bookmarks.json").write_text(json.dumps({"items": [{"name": "b"}]}), encoding="utf-8")
    result = validate(report)
    assert result.error_count + result.warning_count > 0


def test_pages_are_those_of_the_dashboard_in_order() -> None:
    pages = REPORT / "definition" / "pages"
    order = json.loads((pages / "pages.json").read_text(encoding="utf-8"))["pageOrder"]
    content = [json.loads((pages / name / "page.json").read_text(encoding="utf-8")) for name in order]
    assert [page["displayName"] for page in content] == PAGES
    assert [page["name"] for page in content] == order
    assert {path.name for path in pages.iterdir() if path.is_dir()} == set(order)


def test_every_field_is_the_model_s(visuals: Visuals, model: SemanticModel) -> None:
    found = {field for visual in visuals.values() for field in fields(visual)}
    assert len(found) > 60
    for kind, table, name in found:
        known = model.tables[table].columns if kind == "Column" else model.tables[table].measures
        assert name in known, f"{table}[{name}]"
        assert "isHidden" not in known[name].properties, f"{table}[{name}] is hidden"


def test_a_field_that_is_not_there_would_be_seen(visuals: Visuals) -> None:
    visual = json.loads(json.dumps(visuals["overview/overview_revenue"]).replace("Revenue", "Revenu"))
    assert ("Measure", "KPI values", "Revenu") in set(fields(visual))


def test_a_query_names_its_fields_as_power_bi_does(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        for role in visual["visual"].get("query", {}).get("queryState", {}).values():
            for projection in role["projections"]:
                ((_, table, name),) = fields(projection["field"])
                assert (projection["queryRef"], projection["nativeQueryRef"]) == (f"{table}.{name}", name), key


def test_a_visual_has_its_fields_in_places_it_knows(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        places = visual["visual"].get("query", {}).get("queryState", {})
        assert set(places) <= PLACES[visual["visual"]["visualType"]], key


def test_values_that_filters_choose_are_there(visuals: Visuals, model: SemanticModel) -> None:
    chosen = [
        condition["Condition"]["In"]["Values"][0][0]["Literal"]["Value"].strip("'")
        for visual in visuals.values()
        for each in visual.get("filterConfig", {}).get("filters", ())
        for condition in each["filter"]["Where"]
        if "In" in condition["Condition"] and each["field"]["Column"]["Property"] == "calculation"
    ]
    assert chosen
    assert set(chosen) <= set(model.tables["Time calculation"].calculation_items)


def test_every_visual_can_be_heard_and_has_a_title(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        assert len(literal(visual, "general", "altText")) >= 5, key
        if visual["visual"]["visualType"] != TEXT_BOX:
            assert literal(visual, "title", "text"), key


def test_every_page_has_its_slicers_and_they_go_together(visuals: Visuals) -> None:
    slicers: dict[str, list[str]] = {}
    for key, visual in visuals.items():
        if visual["visual"]["visualType"] == "slicer":
            page = key.split("/")[0]
            slicers.setdefault(page, []).append(visual["visual"]["syncGroup"]["groupName"])
    assert slicers == {
        "overview": ["country", "period", "segment"],
        "customers": ["country", "period", "segment"],
        "sales": ["country", "period"],
        "marketing": ["channel", "period"],
    }


def test_a_visual_by_a_dimension_of_kpis_leaves_out_rows_of_none(visuals: Visuals) -> None:
    # Rows of KPIs by another dimension have none of this: Power BI would list them as (Blank).
    for key, visual in visuals.items():
        if visual["visual"]["visualType"] == "slicer":
            assert '"Value": "null"' in json.dumps(visual.get("filterConfig")), key


def test_visuals_are_on_their_page_and_not_on_each_other(visuals: Visuals) -> None:
    by_page: dict[str, list[dict[str, float]]] = {}
    for key, visual in visuals.items():
        position = visual["position"]
        assert position["x"] >= 0 and position["x"] + position["width"] <= 1280, key
        assert position["y"] >= 0 and position["y"] + position["height"] <= 720, key
        by_page.setdefault(key.split("/")[0], []).append(position)
    for page, positions in by_page.items():
        assert len({position["tabOrder"] for position in positions}) == len(positions)
        for a, b in combinations(positions, 2):
            beside = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
            above = a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]
            assert beside or above, page


def test_a_visual_has_its_folder_s_name(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        assert visual["name"] == key.split("/")[1]
        assert len(visual["name"]) <= 50
