"""Tests that the model is a star schema of the platform's tables, with their types and without personal data."""

from __future__ import annotations

import re

import pytest

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD, KPI_WEEKLY_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.kpis import DIMENSIONS, KPIS
from cdp_lib.contracts.segments import SEGMENTS

from .semantic_model import End, ReadTable, SemanticModel

pytestmark = pytest.mark.first_engine

TYPES = {
    "STRING": "string",
    "INT": "int64",
    "BIGINT": "int64",
    "DOUBLE": "double",
    "DECIMAL(38,3)": "decimal",
    "DECIMAL(38,4)": "decimal",
    "BOOLEAN": "boolean",
    "DATE": "dateTime",
    "TIMESTAMP": "dateTime",
}
# Tables that are not copies of a table of the platform: generated lists, and tables maintained by hand.
LISTS = {"Segment", "KPI"}
BY_HAND = {"Date", "Time calculation", "Country access"}


def sources_of(table: ReadTable) -> list[str]:
    """Return the tables of the platform that a table of the model reads, without consent."""
    names = re.findall(r'Warehouse\{\[Name = "(\w+)", Kind = "Table"\]\}', table.source)
    return [name for name in names if name != CONSENT_CURRENT_SILVER.name]


def selected(table: ReadTable) -> list[str]:
    """Return the columns that a table of the model reads."""
    (columns,) = re.findall(r"Table\.SelectColumns\(\w+, \{(.*?)\}\)", table.source)
    return re.findall(r'"(\w+)"', columns)


def test_every_table_is_read_from_one_table_of_the_platform(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        sources = sources_of(table)
        assert len(sources) == (0 if name in LISTS | {"Time calculation", "Country access"} else 1), name
        assert set(sources) <= set(TABLES)


def test_every_column_has_the_name_and_type_of_its_contract(model: SemanticModel) -> None:
    checked = 0
    for name, table in model.tables.items():
        if name in LISTS | BY_HAND:
            continue
        (source,) = sources_of(table)
        contract = {column.name: column for column in TABLES[source].columns}
        for column, read in table.columns.items():
            if read.dax:
                continue
            assert column == read.properties["sourceColumn"]
            if column in DIMENSIONS and source in (KPI_MONTHLY_GOLD.name, KPI_WEEKLY_GOLD.name):
                assert read.properties["dataType"] == "string"
                assert f'[dimension] = "{column}"' in table.source
            else:
                assert read.properties["dataType"] == TYPES[contract[column].type], f"{name}[{column}]"
                assert column in selected(table)
            checked += 1
    assert checked > 90


def test_only_columns_of_the_model_are_read(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        if name not in LISTS | {"Date", "Time calculation"} and selected(table) != ["dimension_value"]:
            assert set(selected(table)) <= set(table.columns), name


def test_no_column_contains_personal_data(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        for source in sources_of(table):
            personal = {column.name for column in TABLES[source].columns if column.pii}
            assert not personal & set(table.columns), name
            # Queries select single columns, never whole rows.
            if name != "Date":
                assert not personal & set(selected(table)), name


def test_every_object_has_a_description(model: SemanticModel) -> None:
    for table in model.tables.values():
        assert table.description
        assert all(part.description for part in (*table.columns.values(), *table.measures.values()))


def test_no_column_is_summarized_by_default(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        assert {column.properties["summarizeBy"] for column in table.columns.values()} == {"none"}, name


def test_both_ends_of_a_relationship_exist_and_have_one_type(model: SemanticModel) -> None:
    assert len(model.relationships) > 15
    for ends in model.relationships:
        types = [model.tables[end.table].columns[end.column].properties["dataType"] for end in ends]
        assert types[0] == types[1], ends


def test_one_side_of_a_relationship_has_one_row_per_value(model: SemanticModel) -> None:
    for _, one in model.relationships:
        table = model.tables[one.table]
        if one.table in LISTS | {"Date"} or f'Table.Distinct(Named, {{"{one.column}"' in table.source:
            assert "isKey" in table.columns[one.column].properties
        else:
            (source,) = sources_of(table)
            assert TABLES[source].key == (one.column,), one


def test_list_tables_have_a_row_per_segment_and_kpi(model: SemanticModel) -> None:
    for table, names in (("Segment", [s.name for s in SEGMENTS]), ("KPI", [kpi.name for kpi in KPIS])):
        rows = re.findall(r'^\s+\{"([^"]+)"', model.tables[table].source, re.MULTILINE)
        assert rows == names
        assert len(set(rows)) == len(rows)


def test_filters_flow_in_one_direction_and_reach_each_table_by_one_path(model: SemanticModel) -> None:
    # Without further properties, TMDL means cardinality many-to-one and a single filter direction.
    assert model.relationship_properties == {"fromColumn", "toColumn"}
    pairs = [(many.table, one.table) for many, one in model.relationships]
    assert len(set(pairs)) == len(pairs)
    one_sides: dict[str, set[str]] = {}
    for many, one in pairs:
        one_sides.setdefault(many, set()).add(one)

    def path_count(start: str, end: str) -> int:
        return (start == end) + sum(path_count(next_table, end) for next_table in one_sides.get(start, ()))

    for start in model.tables:
        for end in model.tables:
            assert path_count(start, end) <= 1, f"{end} filters {start} by two paths"


def test_every_fact_table_is_joined_to_all_its_dimensions(model: SemanticModel) -> None:
    joined = {many for many, _ in model.relationships} | {one for _, one in model.relationships}
    keys = {"country", "segment", "category", "person_id", "product_id", "store_id", "kpi", "channel"}
    unjoined = {
        (name, column)
        for name, table in model.tables.items()
        for column in table.columns
        if column in keys and End(name, column) not in joined
    }
    assert unjoined == {("Country access", "country")}


def test_date_table_is_marked_as_date_table(model: SemanticModel) -> None:
    date = model.tables["Date"]
    assert date.properties["dataCategory"] == "Time"
    assert date.columns["date"].properties.keys() >= {"isKey"}
    assert "List.Dates(First, Duration.Days(Last - First) + 1" in date.source
    assert "Date.StartOfYear" in date.source and "Date.EndOfYear" in date.source
