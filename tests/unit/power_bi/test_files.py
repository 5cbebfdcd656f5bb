"""Tests that the Power BI project is complete, and that its TMDL files have valid syntax."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cdp_local.power_bi import model_files

from .conftest import MODEL, POWER_BI, REPORT

pytestmark = pytest.mark.first_engine

TMDL = sorted(MODEL.glob("definition/**/*.tmdl"))
BY_HAND = {
    "database.tmdl",
    "model.tmdl",
    "expressions.tmdl",
    "roles/All countries.tmdl",
    "tables/Country access.tmdl",
    "tables/Date.tmdl",
    "tables/Time calculation.tmdl",
}
# For each kind of enclosing object: the keywords that may begin a line in it.
OBJECTS = {
    "": {"database", "model", "table", "expression", "relationship", "role", "annotation"},
    "database": {"compatibilityLevel"},
    "model": {
        "culture",
        "defaultPowerBIDataSourceVersion",
        "discourageImplicitMeasures",
        "sourceQueryCulture",
        "dataAccessOptions",
    },
    "dataAccessOptions": {"legacyRedirects", "returnErrorValuesAsNull"},
    "expression": {"lineageTag"},
    "relationship": {"fromColumn", "toColumn"},
    "role": {"modelPermission", "tablePermission"},
    "table": {"lineageTag", "isHidden", "dataCategory", "measure", "column", "partition", "calculationGroup"},
    "measure": {"formatString", "isHidden", "displayFolder", "lineageTag"},
    "column": {
        "dataType",
        "isHidden",
        "isKey",
        "formatString",
        "lineageTag",
        "summarizeBy",
        "sourceColumn",
        "sortByColumn",
    },
    "partition": {"mode", "source"},
    "calculationGroup": {"precedence", "calculationItem"},
    "calculationItem": {"ordinal", "formatStringDefinition"},
}
HAS_EXPRESSION = re.compile(r"^(measure|column|expression|calculationItem|source)\b.* ?=$")


def outline(path: Path) -> list[tuple[str, str]]:
    """Return two words for each line: the first word of the enclosing line, and its own first word.

    A column in a table gives `("table", "column")`. Expressions and comments are left out.
    """
    lines, enclosing = [], [""]
    expression_from: int | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        text = line.lstrip("\t")
        depth = len(line) - len(text)
        assert text == text.strip(), f"{path.name}:{number} has spaces at an end"
        if expression_from is not None and (depth > expression_from or not text):
            continue
        expression_from = None
        if text and not text.startswith("///"):
            word = re.split(r"[ :]", text)[0]
            assert depth < len(enclosing), f"{path.name}:{number} is indented too far"
            lines.append((enclosing[depth], word))
            enclosing = [*enclosing[: depth + 1], word]
            if HAS_EXPRESSION.match(text):
                expression_from = depth + 1
    return lines


@pytest.mark.parametrize("path", TMDL, ids=lambda path: path.stem)
def test_model_files_have_only_objects_and_properties_of_tmdl(path: Path) -> None:
    assert [line for line in outline(path) if line[1] not in OBJECTS.get(line[0], ())] == []


def test_model_has_only_generated_files_and_known_manual_files() -> None:
    generated = {path.relative_to(MODEL / "definition").as_posix() for path in model_files(MODEL)}
    existing = {path.relative_to(MODEL / "definition").as_posix() for path in TMDL}
    assert existing == generated | BY_HAND
    assert not generated & BY_HAND


@pytest.mark.parametrize("path", model_files(MODEL), ids=lambda path: path.stem)
def test_generated_model_files_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == model_files(MODEL)[path](), "run `make docs`"


def test_lineage_tags_are_unique() -> None:
    tags = [tag for path in TMDL for tag in re.findall(r"lineageTag: (\S+)", path.read_text(encoding="utf-8"))]
    assert len(tags) == len(set(tags)) > 100


def test_project_refers_to_the_report_and_the_report_to_the_model() -> None:
    project = json.loads((POWER_BI / "retail-cdp.pbip").read_text(encoding="utf-8"))
    assert [POWER_BI / artifact["report"]["path"] for artifact in project["artifacts"]] == [REPORT]
    report = json.loads((REPORT / "definition.pbir").read_text(encoding="utf-8"))
    assert (REPORT / report["datasetReference"]["byPath"]["path"]).resolve() == MODEL
    platforms = [json.loads((item / ".platform").read_text(encoding="utf-8")) for item in (MODEL, REPORT)]
    assert [platform["metadata"]["type"] for platform in platforms] == ["SemanticModel", "Report"]
    assert len({platform["config"]["logicalId"] for platform in platforms}) == 2


def test_files_name_no_real_workspace() -> None:
    expressions = (MODEL / "definition" / "expressions.tmdl").read_text(encoding="utf-8")
    parameters = dict(
        re.findall(r'^expression (\w+) = "(.*?)" meta \[IsParameterQuery=true', expressions, re.MULTILINE)
    )
    assert parameters == {
        "Server": "adb-0000000000000000.0.azuredatabricks.net",
        "HttpPath": "/sql/1.0/warehouses/0000000000000000",
        "Catalog": "cat1",
        "Schema": "sales",
        "CountryAccessTable": "",
    }
    assert "Databricks.Catalogs(Server, HttpPath, [" in expressions
    for path in POWER_BI.rglob("*"):
        if path.is_file() and path.name != "README.md":
            hosts = set(re.findall(r"[\w.-]+\.azuredatabricks\.net", path.read_text(encoding="utf-8")))
            assert hosts <= {parameters["Server"]}, path.name
