"""Tests of the role By country: a user sees only rows of the user's countries, and no totals of all countries."""

from __future__ import annotations

import pytest

from .semantic_model import SemanticModel

pytestmark = pytest.mark.first_engine

ROLE = "By country"
OWN = "'Country access'[user_principal_name] = USERPRINCIPALNAME()"
OWN_COUNTRIES = f"FILTER('Country access', {OWN} && 'Country access'[country] <> \"\")"
# Tables that contain only names, no figures.
OPEN = {"Date", "Segment", "KPI", "Category", "Channel", "Consent channel", "Product", "Time calculation"}


def test_tables_with_figures_or_people_are_filtered_by_country_or_hidden(model: SemanticModel) -> None:
    conditions = model.roles[ROLE]
    assert set(model.tables) - set(conditions) == OPEN
    for table, condition in conditions.items():
        if table == "Country access":
            assert condition == "[user_principal_name] = USERPRINCIPALNAME()"
        else:
            assert condition == "FALSE()" or f" IN SELECTCOLUMNS({OWN_COUNTRIES}, " in condition, table


def test_open_tables_have_no_measures_and_no_numbers_except_keys_and_calendar(model: SemanticModel) -> None:
    for name in OPEN - {"Time calculation"}:
        table = model.tables[name]
        numbers = [
            c for c, read in table.columns.items() if read.properties["dataType"] in ("double", "decimal", "int64")
        ]
        assert table.measures == {}
        assert set(numbers) <= {"product_id", "order", "year"}, name


def test_tables_without_country_are_hidden(model: SemanticModel) -> None:
    conditions = model.roles[ROLE]
    tables_with_country = {
        many.table for many, one in model.relationships if one.table in ("Country", "Customer", "Store")
    }
    visible = {table for table, condition in conditions.items() if condition != "FALSE()"}
    assert visible == tables_with_country | {"Country", "Store", "Country access"}


def test_kpi_totals_have_no_country(model: SemanticModel) -> None:
    # In rows of other dimensions, `country` is null. No user has access to an empty country.
    for table in ("KPI values", "Weekly KPI values"):
        assert (
            'Table.AddColumn(Columns, "country", each if [dimension] = "country" then [dimension_value] else null)'
            in model.tables[table].source
        )
        assert model.roles[ROLE][table].startswith("[country] IN ")
    access = model.tables["Country access"].source
    assert 'each [country] <> null and [country] <> ""' in access


def test_without_an_access_table_no_user_sees_any_country(model: SemanticModel) -> None:
    access = model.tables["Country access"].source
    assert "Nobody = #table(type table [user_principal_name = text, country = text], {})" in access
    assert 'if CountryAccessTable = "" then Nobody' in access
    assert "isHidden" in model.tables["Country access"].properties


def test_all_countries_role_has_no_conditions(model: SemanticModel) -> None:
    assert model.roles == {ROLE: model.roles[ROLE], "All countries": {}}
