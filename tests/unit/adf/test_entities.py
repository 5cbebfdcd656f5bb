"""Tests that the data factory's list of entities agrees with the bronze contracts."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from cdp_lib.contracts.bronze import BRONZE_TABLES, CRM_CONTACTS_BRONZE
from cdp_lib.landing import BatchFormat, Load

Json = dict[str, Any]
Entities = dict[str, Json]

# Required fields of an entity by kind, in addition to the fields that are required for every kind.
REQUIRED_BY_KIND = {
    "rest": {"path"},
    "sql": {"schema", "table"},
    "dynamics": {"table", "columns", "mapping"},
    "files": {"path", "suffix"},
}
ALWAYS_REQUIRED = {"source", "entity", "enabled", "kind", "load", "format"}


def test_the_factory_lands_all_entities_of_the_bronze_contracts(entities: Entities) -> None:
    assert set(entities) == {f"{contract.source}/{contract.entity}" for contract in BRONZE_TABLES}


def test_every_entity_has_the_same_fields_and_fills_those_of_its_kind(entities: Entities) -> None:
    fields = {*ALWAYS_REQUIRED, *set().union(*REQUIRED_BY_KIND.values()), "watermark_column"}
    for name, entity in entities.items():
        assert set(entity) == fields, f"{name}: a lookup returns only the fields that all entities have"
        required = (
            ALWAYS_REQUIRED
            | REQUIRED_BY_KIND[entity["kind"]]
            | ({"watermark_column"} if entity["load"] != "snapshot" else set())
        )
        assert {field for field, value in entity.items() if value} == required, name
        assert entity["load"] in get_args(Load) and entity["format"] in get_args(BatchFormat), name


def test_every_kind_of_entity_has_a_copy_activity(entities: Entities, resources: Json) -> None:
    (switch,) = (
        activity
        for activity in resources["pipeline"]["land_entity"]["properties"]["activities"]
        if activity["name"] == "Copy entity"
    )
    cases = {case["value"] for case in switch["typeProperties"]["cases"]}
    assert cases == {"landed", *REQUIRED_BY_KIND}
    assert {entity["kind"] for entity in entities.values()} == set(REQUIRED_BY_KIND)


def test_a_contact_has_the_columns_of_its_contract(entities: Entities) -> None:
    contacts = entities["crm/contacts"]
    columns = [column.name for column in CRM_CONTACTS_BRONZE.received_columns if not column.on_request]
    assert contacts["columns"] == columns
    assert [(one["source"], one["sink"]) for one in contacts["mapping"]["mappings"]] == [
        ({"name": column}, {"name": column}) for column in columns
    ]


@pytest.mark.parametrize("name", ["database/transactions", "crm/contacts"])
def test_the_watermark_column_is_a_column_of_the_contract(entities: Entities, name: str) -> None:
    (contract,) = (one for one in BRONZE_TABLES if f"{one.source}/{one.entity}" == name)
    assert entities[name]["watermark_column"] in {column.name for column in contract.received_columns}
