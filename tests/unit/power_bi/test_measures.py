"""Tests that every KPI has a measure, every measure is documented, and DAX refers only to existing objects."""

from __future__ import annotations

import re

import pytest
from PyDAX import DAXExpression

from cdp_lib.contracts.kpis import KPIS, Kpi
from cdp_local.kpi_page import kpi_page

from .conftest import MODEL
from .semantic_model import SemanticModel, read_model

pytestmark = pytest.mark.first_engine

READ = list(read_model(MODEL).dax())
EXPRESSIONS = {location: dax for location, _, dax in READ}
TABLES = {location: table for location, table, _ in READ}
FUNCTIONS = {
    "ABS", "AVERAGE", "CALCULATE", "CALCULATETABLE", "COUNT", "COUNTROWS", "DISTINCT", "DIVIDE", "EDATE",
    "FALSE", "FILTER", "HASONEVALUE", "IF", "INT", "ISBLANK", "ISEMPTY", "ISFILTERED", "LOG10", "MAX", "MAXX", "POWER",
    "RELATED", "REMOVEFILTERS", "SELECTCOLUMNS", "SELECTEDMEASURE", "SUM", "SUMMARIZE", "SUMX", "SWITCH", "TRUE",
    "USERPRINCIPALNAME",
}  # fmt: skip
KEYWORDS = {"VAR", "RETURN", "NOT", "IN"}


@pytest.mark.parametrize("kpi", KPIS, ids=lambda kpi: kpi.name)
def test_each_kpi_has_exactly_one_measure(model: SemanticModel, kpi: Kpi) -> None:
    measures = [
        name for name, measure in model.measures.items() if f"'KPI values'[kpi] = \"{kpi.name}\"" in measure.dax
    ]
    assert measures == [kpi.title]
    measure = model.measures[kpi.title]
    assert kpi.definition in measure.description
    assert measure.properties["displayFolder"] == f"{kpi.owner}\\{kpi.unit}"
    assert ("%" in measure.properties["formatString"]) == (kpi.unit == "share")
    assert ("[denominator]" in measure.dax) == (kpi.denominator != "1")
    assert ("Latest" in measure.dax) != kpi.adds_over_months


def test_every_measure_is_documented(model: SemanticModel) -> None:
    page = kpi_page()
    for name in model.measures:
        assert f"measure `{name}`" in page or f"\n| `{name}` | " in page, name


def test_measure_names_are_unique_and_differ_from_column_names(model: SemanticModel) -> None:
    names = [name.lower() for table in model.tables.values() for name in table.measures]
    assert len(names) == len(set(names))
    for name, table in model.tables.items():
        columns = {column.lower() for column in table.columns}
        assert not columns & {measure.lower() for measure in table.measures}, name


def test_every_visible_measure_has_a_format(model: SemanticModel) -> None:
    assert [
        name
        for name, measure in model.measures.items()
        if "formatString" not in measure.properties and "isHidden" not in measure.properties
    ] == []


@pytest.mark.parametrize("location", EXPRESSIONS)
def test_dax_refers_only_to_existing_tables_columns_and_measures(model: SemanticModel, location: str) -> None:
    read = DAXExpression(EXPRESSIONS[location], verify_best_practices=False)
    for reference in read.table_column_references:
        if reference.table_name:
            assert reference.artifact_name in model.tables[reference.table_name].columns, reference.artifact_name
        else:
            known = model.measures.keys() | model.tables[TABLES[location]].columns.keys()
            assert reference.artifact_name in known, reference.artifact_name
    tables = set(re.findall(r"'((?:[^']|'')+)'", re.sub(r'"(?:[^"]|"")*"', "", EXPRESSIONS[location])))
    assert tables <= set(model.tables)


@pytest.mark.parametrize("location", EXPRESSIONS)
def test_dax_is_well_formed(location: str) -> None:
    dax = EXPRESSIONS[location]
    bare = re.sub(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|\[[^\]]*\]', "x", dax)
    opened: list[str] = []
    for sign in re.findall(r"[(){}]", bare):
        if sign in "({":
            opened.append(sign)
        else:
            assert opened and opened.pop() == {")": "(", "}": "{"}[sign]
    assert opened == []
    assert not re.search(r",\s*[,)}]|\(\s*,", bare)
    assert set(re.findall(r"\b(\w+)\(", bare)) - KEYWORDS <= FUNCTIONS
    declared = re.findall(r"\bVAR (\w+) =", bare)
    assert ("RETURN" in bare) == bool(declared)
    assert len(declared) == len(set(declared))
    for position, name in enumerate(declared):
        later = bare.split(f"VAR {name} =")[1]
        assert re.search(rf"\b{name}\b", later), f"{name} is unused"
        assert not re.search(rf"\b{name}\b", bare.split(f"VAR {name} =")[0]), f"{name} is used before its definition"
        assert name.upper() not in FUNCTIONS | KEYWORDS, position


@pytest.mark.parametrize("location", EXPRESSIONS)
def test_dax_follows_the_best_practice_rules(location: str) -> None:
    read = DAXExpression(EXPRESSIONS[location])
    assert [rule.name for rule in read.best_practice_rules if rule.violators_tokens] == []


def test_time_calculations_compare_complete_months(model: SemanticModel) -> None:
    items = model.tables["Time calculation"].calculation_items
    assert len(items) == 5
    for dax in items.values():
        assert "SELECTEDMEASURE()" in dax
        assert "FILTER(Months, 'KPI values'[is_complete])" in dax
