"""Tests of the notebooks of people: one person's story, and the explanation of a pair."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path

import pytest

from cdp_lib.contracts.identity import (
    IDENTITY_EDGES_SILVER,
    IDENTITY_OVERRIDES_SILVER,
    IDENTITY_RECORDS_SILVER,
    PERSON_HISTORY_SILVER,
    PERSON_LINKS_SILVER,
    PERSONS_SILVER,
)
from cdp_lib.contracts.profile import CUSTOMER_PROFILE_GOLD, PERSON_LOOKUP_GOLD
from cdp_lib.contracts.silver import EVENTS_SILVER, ID_KEYS_SILVER, RETAILS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.frames import read_csv
from cdp_lib.gold.profile import build_person_lookup_gold
from cdp_lib.identity.story import find_persons
from cdp_local.dbutils import SecretStore
from cdp_local.notebooks import Workspace, run_notebook

from .resolved import resolved_tables

PROJECT = Path(__file__).resolve().parents[3]
PEOPLE = {
    "customer:1": ("nour", "email:n@x.com"),
    "contact:a": ("nour", "email:n@x.com", "phone:+436641234567"),
    "contact:b": ("maximilian", "email:n@x.com"),
}


@pytest.fixture
def shop(spark, store, frame_of):
    """Return the store with the tables of a few records."""
    tables = resolved_tables(frame_of, PEOPLE)
    written = {
        IDENTITY_RECORDS_SILVER: tables.records,
        IDENTITY_EDGES_SILVER: tables.edges,
        IDENTITY_OVERRIDES_SILVER: tables.decisions,
        PERSON_LINKS_SILVER: tables.links,
    }
    for contract, rows in written.items():
        store.replace(contract, rows)
    persons = frame_of(PERSONS_SILVER.columns)
    references = [read_csv(spark, files("cdp_lib.reference") / name) for name in ("countries.csv", "phone_plans.csv")]
    links, records = store.read(PERSON_LINKS_SILVER), store.read(IDENTITY_RECORDS_SILVER)
    lookup = build_person_lookup_gold(persons, links, records, frame_of(ID_KEYS_SILVER.columns), *references)
    store.replace(PERSON_LOOKUP_GOLD, lookup)
    for contract in (CUSTOMER_PROFILE_GOLD, PERSON_HISTORY_SILVER, RETAILS_SILVER, EVENTS_SILVER):
        store.create(contract)
    return store


@pytest.fixture
def run(spark, shop, catalog, schema, tmp_path):
    """Return a function that runs a notebook and returns what it printed."""

    def run(name: str, **parameters: str) -> str:
        output = io.StringIO()
        workspace = Workspace(spark, SecretStore(tmp_path / "no-secrets", {}), {})
        names = {"catalog": catalog, "schema": schema}
        run_notebook(PROJECT / "notebooks" / "explore" / name, names | parameters, workspace, output)
        return output.getvalue()

    return run


def test_persons_are_found_by_what_a_person_types(shop) -> None:
    links = {row["record_key"]: row["person_id"] for row in shop.read(PERSON_LINKS_SILVER).collect()}
    nour, maximilian = links["customer:1"], links["contact:b"]
    assert find_persons(shop, "email", " N@X.com ") == sorted([nour, maximilian])
    assert find_persons(shop, "phone", "0664 123 45 67", "AT") == [nour]
    assert find_persons(shop, "customer_id", "1") == [nour]
    assert find_persons(shop, "customer_id", "9") == find_persons(shop, "email", "nobody") == []
    with pytest.raises(CdpError, match="Unknown kind"):
        find_persons(shop, "name", "nour")


def test_notebook_of_a_person_shows_the_records(run) -> None:
    printed = run("customer_story.py", customer_id="1")
    assert "Persons: 1" in printed and "Records, and why they belong to the person" in printed
    assert "contact:a" in printed and "contact:b" not in printed


@pytest.mark.first_engine
def test_notebook_of_identity_explains_a_pair(run) -> None:
    rules = str(PROJECT / "identity.yml")
    printed = run("identity.py", a="customer:1", b="contact:b", identity_rules=rules)
    assert "was cut: their names or birth dates clearly differ." in printed
    assert "maximilian" in printed
