"""Tests that the report is valid, refers only to objects of the model, and is accessible."""

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
# For each type of visual: the roles of its fields. Power BI does not show a field in an unknown role.
ROLES = {
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
    """Yield every field that a value refers to, as (kind, table, name)."""
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
    """Return the text of a property of a visual, such as the text of its title."""
    (entry,) = visual["visual"]["visualContainerObjects"][thing]
    return str(entry["properties"][name]["expr"]["Literal"]["Value"]).strip("'")


def test_pbir_utils_finds_no_errors() -> None:
    result = validate(REPORT)
    assert (result.error_count, result.warning_count) == (0, 0)
    assert result.passed >= 15


@pytest.mark.parametrize("fault", ["empty page", "page with default name", "lost bookmark"])
def test_pbir_utils_rejects_a_broken_report(tmp_path: Path, fault: str) -> None:
    report = tmp_path / REPORT.name
    shutil.copytree(REPORT, report)
    pages = report / "definition" / "pages"
    match fault:
        case "empty page":
            shutil.rmtree(pages / "sales" / "visuals")
        case "page with default name":
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


def test_pages_match_the_dashboard_in_order() -> None:
    pages = REPORT / "definition" / "pages"
    order = json.loads((pages / "pages.json").read_text(encoding="utf-8"))["pageOrder"]
    content = [json.loads((pages / name / "page.json").read_text(encoding="utf-8")) for name in order]
    assert [page["displayName"] for page in content] == PAGES
    assert [page["name"] for page in content] == order
    assert {path.name for path in pages.iterdir() if path.is_dir()} == set(order)


def test_every_field_exists_and_is_visible_in_the_model(visuals: Visuals, model: SemanticModel) -> None:
    found = {field for visual in visuals.values() for field in fields(visual)}
    assert len(found) > 60
    for kind, table, name in found:
        known = model.tables[table].columns if kind == "Column" else model.tables[table].measures
        assert name in known, f"{table}[{name}]"
        assert "isHidden" not in known[name].properties, f"{table}[{name}] is hidden"


def test_helper_finds_renamed_fields(visuals: Visuals) -> None:
    visual = json.loads(json.dumps(visuals["overview/overview_revenue"]).replace("Revenue", "Revenu"))
    assert ("Measure", "KPI values", "Revenu") in set(fields(visual))


def test_query_references_have_the_form_of_power_bi(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        for role in visual["visual"].get("query", {}).get("queryState", {}).values():
            for projection in role["projections"]:
                ((_, table, name),) = fields(projection["field"])
                assert (projection["queryRef"], projection["nativeQueryRef"]) == (f"{table}.{name}", name), key


def test_visuals_use_only_roles_of_their_type(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        roles = visual["visual"].get("query", {}).get("queryState", {})
        assert set(roles) <= ROLES[visual["visual"]["visualType"]], key


def test_values_selected_by_filters_exist(visuals: Visuals, model: SemanticModel) -> None:
    selected = [
        condition["Condition"]["In"]["Values"][0][0]["Literal"]["Value"].strip("'")
        for visual in visuals.values()
        for each in visual.get("filterConfig", {}).get("filters", ())
        for condition in each["filter"]["Where"]
        if "In" in condition["Condition"] and each["field"]["Column"]["Property"] == "calculation"
    ]
    assert selected
    assert set(selected) <= set(model.tables["Time calculation"].calculation_items)


def test_every_visual_has_alt_text_and_a_title(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        assert len(literal(visual, "general", "altText")) >= 5, key
        if visual["visual"]["visualType"] != TEXT_BOX:
            assert literal(visual, "title", "text"), key


def test_pages_have_their_slicers_in_sync_groups(visuals: Visuals) -> None:
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


def test_slicers_exclude_blank_dimension_values(visuals: Visuals) -> None:
    # KPI rows of other dimensions have null in this column. Power BI would list null as (Blank).
    for key, visual in visuals.items():
        if visual["visual"]["visualType"] == "slicer":
            assert '"Value": "null"' in json.dumps(visual.get("filterConfig")), key


def test_visuals_are_inside_their_page_and_do_not_overlap(visuals: Visuals) -> None:
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


def test_visuals_have_the_name_of_their_folder(visuals: Visuals) -> None:
    for key, visual in visuals.items():
        assert visual["name"] == key.split("/")[1]
        assert len(visual["name"]) <= 50
