"""The model is a star of the platform's tables: their columns and types, no personal data, sound relationships."""

from __future__ import annotations

import re

import pytest

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.analytics import KPI_MONTHLY_GOLD
from cdp_lib.contracts.kpis import DIMENSIONS, KPIS
from cdp_lib.contracts.segments import SEGMENTS

from .semantic_model import End, ReadTable, SemanticModel

pytestmark = pytest.mark.first_engine

TYPES = {
    "STRING": "string",
    "INT": "int64",
    "BIGINT": "int64",
    "DOUBLE": "double",
    "DECIMAL(38,2)": "decimal",
    "BOOLEAN": "boolean",
    "DATE": "dateTime",
    "TIMESTAMP": "dateTime",
}
# Tables that are not read row by row from one of the platform's, and what stands in them.
LISTS = {"Segment", "KPI"}
BY_HAND = {"Date", "Time calculation", "Country access"}


def read_from(table: ReadTable) -> list[str]:
    """Tables of the platform that a table of the model is read from."""
    return re.findall(r'Warehouse\{\[Name = "(\w+)", Kind = "Table"\]\}', table.source)


def selected(table: ReadTable) -> list[str]:
    """Columns that it reads."""
    (columns,) = re.findall(r"Table\.SelectColumns\(\w+, \{(.*?)\}\)", table.source)
    return re.findall(r'"(\w+)"', columns)


def test_every_table_is_read_from_a_table_of_the_platform(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        sources = read_from(table)
        assert len(sources) == (0 if name in LISTS | {"Time calculation", "Country access"} else 1), name
        assert set(sources) <= set(TABLES)


def test_every_column_is_the_contract_s_and_of_its_type(model: SemanticModel) -> None:
    checked = 0
    for name, table in model.tables.items():
        if name in LISTS | BY_HAND:
            continue
        (source,) = read_from(table)
        contract = {column.name: column for column in TABLES[source].columns}
        for column, read in table.columns.items():
            if read.dax:
                continue
            assert column == read.properties["sourceColumn"]
            if column in DIMENSIONS and source == KPI_MONTHLY_GOLD.name:
                assert read.properties["dataType"] == "string"
                assert f'[dimension] = "{column}"' in table.source
            else:
                assert read.properties["dataType"] == TYPES[contract[column].type], f"{name}[{column}]"
                assert column in selected(table)
            checked += 1
    assert checked > 90


def test_nothing_is_read_that_is_no_column_of_the_model(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        if name not in LISTS | {"Date", "Time calculation"} and selected(table) != ["dimension_value"]:
            assert set(selected(table)) <= set(table.columns), name


def test_no_column_holds_personal_data(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        for source in read_from(table):
            personal = {column.name for column in TABLES[source].columns if column.pii}
            assert not personal & set(table.columns), name
            # The warehouse is asked for single columns, never for whole rows.
            if name != "Date":
                assert not personal & set(selected(table)), name


def test_every_object_says_what_it_is(model: SemanticModel) -> None:
    for table in model.tables.values():
        assert table.description
        assert all(part.description for part in (*table.columns.values(), *table.measures.values()))


def test_no_column_adds_itself_up(model: SemanticModel) -> None:
    for name, table in model.tables.items():
        assert {column.properties["summarizeBy"] for column in table.columns.values()} == {"none"}, name


def test_every_end_of_a_relationship_is_there_and_of_one_type(model: SemanticModel) -> None:
    assert len(model.relationships) > 15
    for ends in model.relationships:
        types = [model.tables[end.table].columns[end.column].properties["dataType"] for end in ends]
        assert types[0] == types[1], ends


def test_the_one_side_of_a_relationship_has_one_row_per_value(model: SemanticModel) -> None:
    for _, one in model.relationships:
        table = model.tables[one.table]
        if one.table in LISTS | {"Date"} or f'Table.Distinct(Named, {{"{one.column}"' in table.source:
            assert "isKey" in table.columns[one.column].properties
        else:
            (source,) = read_from(table)
            assert TABLES[source].key == (one.column,), one


def test_lists_have_a_row_for_each_segment_and_kpi(model: SemanticModel) -> None:
    for table, names in (("Segment", [s.name for s in SEGMENTS]), ("KPI", [kpi.name for kpi in KPIS])):
        rows = re.findall(r'^\s+\{"([^"]+)"', model.tables[table].source, re.MULTILINE)
        assert rows == names
        assert len(set(rows)) == len(rows)


def test_filters_flow_one_way_and_never_in_two_ways_to_one_table(model: SemanticModel) -> None:
    # Cardinality many to one and a single direction are what TMDL means where it says nothing.
    assert model.relationship_properties == {"fromColumn", "toColumn"}
    pairs = [(many.table, one.table) for many, one in model.relationships]
    assert len(set(pairs)) == len(pairs)
    towards: dict[str, set[str]] = {}
    for many, one in pairs:
        towards.setdefault(many, set()).add(one)

    def ways(start: str, end: str) -> int:
        return (start == end) + sum(ways(next_table, end) for next_table in towards.get(start, ()))

    for start in model.tables:
        for end in model.tables:
            assert ways(start, end) <= 1, f"{end} filters {start} in two ways"


def test_every_fact_has_the_dimensions_it_can_have(model: SemanticModel) -> None:
    joined = {many for many, _ in model.relationships} | {one for _, one in model.relationships}
    keys = {"country", "segment", "category", "customer_id", "product_id", "store_id", "kpi", "channel"}
    lonely = {
        (name, column)
        for name, table in model.tables.items()
        for column in table.columns
        if column in keys and End(name, column) not in joined
    }
    assert lonely == {("Country access", "country")}


def test_the_date_table_is_marked_as_one(model: SemanticModel) -> None:
    date = model.tables["Date"]
    assert date.properties["dataCategory"] == "Time"
    assert date.columns["date"].properties.keys() >= {"isKey"}
    assert "List.Dates(First, Duration.Days(Last - First) + 1" in date.source
    assert "Date.StartOfYear" in date.source and "Date.EndOfYear" in date.source
