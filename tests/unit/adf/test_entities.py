"""The list of entities says what the bronze contracts say."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from cdp_lib.contracts.bronze import BRONZE_TABLES, CRM_CONTACTS_BRONZE
from cdp_lib.landing import BatchFormat, Load

Json = dict[str, Any]
Entities = dict[str, Json]

# What an entity of a kind has to say, besides what each says.
FILLED = {
    "rest": {"path"},
    "sql": {"schema", "table"},
    "dynamics": {"table", "columns", "mapping"},
    "files": {"path", "suffix"},
}
EVERYWHERE = {"source", "entity", "enabled", "kind", "load", "format"}


def test_the_factory_lands_the_entities_the_bronze_contracts_name(entities: Entities) -> None:
    assert set(entities) == {f"{contract.source}/{contract.entity}" for contract in BRONZE_TABLES}


def test_every_entity_has_the_same_fields_and_fills_those_of_its_kind(entities: Entities) -> None:
    fields = {*EVERYWHERE, *set().union(*FILLED.values()), "watermark_column"}
    for name, entity in entities.items():
        assert set(entity) == fields, f"{name}: a lookup gives only the fields that all have"
        wanted = EVERYWHERE | FILLED[entity["kind"]] | ({"watermark_column"} if entity["load"] != "snapshot" else set())
        assert {field for field, value in entity.items() if value} == wanted, name
        assert entity["load"] in get_args(Load) and entity["format"] in get_args(BatchFormat), name


def test_every_kind_of_entity_has_a_way_to_be_copied(entities: Entities, resources: Json) -> None:
    (switch,) = (
        activity
        for activity in resources["pipeline"]["land_entity"]["properties"]["activities"]
        if activity["name"] == "Copy entity"
    )
    cases = {case["value"] for case in switch["typeProperties"]["cases"]}
    assert cases == {"landed", *FILLED}
    assert {entity["kind"] for entity in entities.values()} == set(FILLED)


def test_a_contact_has_the_columns_of_its_contract(entities: Entities) -> None:
    contacts = entities["crm/contacts"]
    columns = [column.name for column in CRM_CONTACTS_BRONZE.received_columns]
    assert contacts["columns"] == columns
    assert [(one["source"], one["sink"]) for one in contacts["mapping"]["mappings"]] == [
        ({"name": column}, {"name": column}) for column in columns
    ]


@pytest.mark.parametrize("name", ["database/transactions", "crm/contacts"])
def test_what_an_increment_goes_by_is_a_column_of_the_contract(entities: Entities, name: str) -> None:
    (contract,) = (one for one in BRONZE_TABLES if f"{one.source}/{one.entity}" == name)
    assert entities[name]["watermark_column"] in {column.name for column in contract.received_columns}
