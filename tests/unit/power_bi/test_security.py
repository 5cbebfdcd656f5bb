"""Who may see single countries sees their rows, and no figure of all countries together."""

from __future__ import annotations

import pytest

from .semantic_model import SemanticModel

pytestmark = pytest.mark.first_engine

ROLE = "By country"
OWN = "'Country access'[user_principal_name] = USERPRINCIPALNAME()"
OF_OWN_COUNTRIES = f"FILTER('Country access', {OWN} && 'Country access'[country] <> \"\")"
# Names alone: no figure stands in them.
OPEN = {"Date", "Segment", "KPI", "Category", "Channel", "Consent channel", "Product", "Time calculation"}


def test_every_table_with_figures_or_people_is_cut_to_countries_or_hidden(model: SemanticModel) -> None:
    conditions = model.roles[ROLE]
    assert set(model.tables) - set(conditions) == OPEN
    for table, condition in conditions.items():
        if table == "Country access":
            assert condition == "[user_principal_name] = USERPRINCIPALNAME()"
        else:
            assert condition == "FALSE()" or f" IN SELECTCOLUMNS({OF_OWN_COUNTRIES}, " in condition, table


def test_an_open_table_has_no_measure_and_no_number_but_keys_and_calendar(model: SemanticModel) -> None:
    for name in OPEN - {"Time calculation"}:
        table = model.tables[name]
        numbers = [
            c for c, read in table.columns.items() if read.properties["dataType"] in ("double", "decimal", "int64")
        ]
        assert table.measures == {}
        assert set(numbers) <= {"product_id", "order", "year"}, name


def test_a_table_of_no_country_is_hidden(model: SemanticModel) -> None:
    conditions = model.roles[ROLE]
    of_a_country = {many.table for many, one in model.relationships if one.table in ("Country", "Customer", "Store")}
    shown = {table for table, condition in conditions.items() if condition != "FALSE()"}
    assert shown == of_a_country | {"Country", "Store", "Country access"}


def test_kpis_of_everything_are_of_no_country(model: SemanticModel) -> None:
    # `country` is null in a row by any other dimension, and nobody is allowed an empty country.
    source = model.tables["KPI values"].source
    assert (
        'Table.AddColumn(Columns, "country", each if [dimension] = "country" then [dimension_value] else null)'
        in source
    )
    assert model.roles[ROLE]["KPI values"].startswith("[country] IN ")
    access = model.tables["Country access"].source
    assert 'each [country] <> null and [country] <> ""' in access


def test_without_a_table_of_access_nobody_is_allowed_anything(model: SemanticModel) -> None:
    access = model.tables["Country access"].source
    assert "Nobody = #table(type table [user_principal_name = text, country = text], {})" in access
    assert 'if CountryAccessTable = "" then Nobody' in access
    assert "isHidden" in model.tables["Country access"].properties


def test_the_other_role_sees_everything(model: SemanticModel) -> None:
    assert model.roles == {ROLE: model.roles[ROLE], "All countries": {}}
