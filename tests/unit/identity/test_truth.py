"""Tests of identity resolution on the invented shop: the platform's tables against the true persons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pyspark.sql import SparkSession

from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import CONSENTS_SILVER, CRM_CONTACTS_SILVER, CUSTOMERS_SILVER, EVENTS_SILVER
from cdp_local.workspace import PROJECT
from identity_metrics import Measures, measure, torn_persons, worst_persons
from identity_shop import IdentityShop, make_shop

from ..warehouse import Warehouse

TABLES = ("identity_records_silver", "identity_edges_silver", "identity_overrides_silver", "person_links_silver")
CARD = {
    "weight": 30,
    "values_per_person": 3,
    "persons_per_value": 2,
    "attributes": {"customers": "loyalty_card", "crm_contacts": "loyalty_card"},
}
pytestmark = pytest.mark.first_engine


@dataclass(frozen=True)
class Resolved:
    """Persons that the platform found."""

    shop: IdentityShop
    person: pd.Series
    reason: pd.Series

    def measures(self, *prefixes: str) -> Measures:
        """Return the measures of all records, or of the records whose keys start with a prefix."""
        truth = self.shop.truth
        keys = truth.index[truth.index.str.startswith(prefixes)] if prefixes else truth.index
        return measure(self.person.reindex(keys), truth[keys])


@pytest.fixture(scope="module")
def shop() -> IdentityShop:
    return make_shop(3_000, seed=1)


def rules_file(folder: Path, model: str) -> str:
    """Write the rules of the repository with loyalty cards and with a model. Return the path."""
    rules = yaml.safe_load((PROJECT / "identity.yml").read_text(encoding="utf-8"))
    rules["kinds"]["loyalty_card"] = CARD
    rules["model"] = model or None
    path = folder / "identity.yml"
    path.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return str(path)


def fill(warehouse: Warehouse, spark: SparkSession, shop: IdentityShop) -> None:
    """Write the silver tables of the shop."""
    tables = ((CUSTOMERS_SILVER, shop.customers), (CRM_CONTACTS_SILVER, shop.contacts), (EVENTS_SILVER, shop.events))
    for contract, rows in tables:
        warehouse.store.replace(contract, spark.createDataFrame(rows).selectExpr(*contract.select_list))
    warehouse.store.create(CONSENTS_SILVER)


def resolve(warehouse: Warehouse, shop: IdentityShop, rules: str) -> Resolved:
    warehouse.run(*TABLES, identity_rules=rules)
    links = warehouse.store.read(PERSON_LINKS_SILVER).select("record_key", "person_id", "reason").toPandas()
    links = links.set_index("record_key")
    return Resolved(shop, links["person_id"], links["reason"])


@pytest.mark.parametrize("model", ["", "retail"])
def test_persons_agree_with_the_truth(
    warehouse: Warehouse, spark: SparkSession, shop: IdentityShop, tmp_path: Path, model: str
) -> None:
    fill(warehouse, spark, shop)
    found = resolve(warehouse, shop, rules_file(tmp_path, model))
    measured = found.measures()
    print(model or "no model", measured)
    print(worst_persons(found.person, shop.truth), torn_persons(found.person, shop.truth), sep="\n")
    assert measured.precision >= 0.995
    assert measured.recall >= (0.97 if model else 0.95)
    assert measured.largest_ratio <= 1.5
    assert found.measures("customer:", "contact:").precision >= 0.995


def test_values_of_the_shop_itself_join_nobody(
    warehouse: Warehouse, spark: SparkSession, shop: IdentityShop, tmp_path: Path
) -> None:
    """The number of the shop and `noreply@` are on dozens of records."""
    fill(warehouse, spark, shop)
    found = resolve(warehouse, shop, rules_file(tmp_path, ""))
    for column in ("email", "phone_e164"):
        counts = shop.rows.groupby(column)["record_key"].count()
        [(value, count)] = counts.nlargest(1).items()
        keys = shop.rows.loc[shop.rows[column] == value, "record_key"]
        assert count >= 12
        assert found.person[keys].nunique() >= 0.9 * shop.truth[keys].nunique(), value
    terminals = [key for key in shop.truth.index if key.startswith("device:terminal")]
    assert terminals
    assert (found.reason[terminals] == "shared_value").all() or found.person[terminals].is_unique
