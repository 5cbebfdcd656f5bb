"""Generated pages are fresh, and what they tell people to type works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.tables import Tables
from cdp_local.bundle import Bundle
from cdp_local.catalogue import PAGES, data_quality_page, table_catalogue
from cdp_local.workspace import PROJECT

STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", data_quality_page(), flags=re.DOTALL)
    for statement in block.split(";")
    if statement.strip()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_contracts_say(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


@pytest.mark.parametrize(
    "contract", [c for c in TABLES.values() if not c.name.endswith("_quarantine")], ids=lambda contract: contract.name
)
def test_every_table_has_a_section_with_its_columns(contract: TableContract) -> None:
    assert f"\n### {contract.name}\n" in table_catalogue()


def test_a_table_says_how_its_files_are_laid_out() -> None:
    _, *sections = table_catalogue().split("\n### ")
    told = {section.split("\n")[0]: re.findall(r"^Files: (.*)\.$", section, re.MULTILINE) for section in sections}

    assert told["retails_silver"] == [
        "clustered by `transaction_date`, `customer_id`, `product_id`, with deletion vectors"
    ]
    assert told["events_bronze"] == ["partitioned by `_batch_id`"]
    assert told["sales_by_country_gold"] == []


def test_every_rule_of_every_table_is_explained() -> None:
    _, *sections = data_quality_page().split("\n### ")
    rules = {
        section.split("\n")[0]: re.findall(r"^\| `(\w+)` \| (reject|warn) \| (\S.*) \| `.*` \|$", section, re.MULTILINE)
        for section in sections
    }

    assert rules == {
        name: [(rule.name, rule.severity, rule.meaning.replace("|", "\\|")) for rule in contract.rules]
        for name, contract in TABLES.items()
        if contract.rules
    }


def test_links_between_the_pages_lead_to_sections() -> None:
    anchors = re.findall(r"\(data-quality\.md#(\w+)\)", table_catalogue())

    assert anchors
    assert all(f"\n### {anchor}\n" in data_quality_page() for anchor in anchors)


def test_parameters_that_the_page_names_are_the_jobs() -> None:
    given = re.findall(r"--params? (\S+)", data_quality_page())
    names = {pair.split("=")[0] for pairs in given for pair in pairs.split(",")}

    assert names == {"replay_from", "full_refresh", "ingest"}
    assert names <= set(Bundle(PROJECT, {}).job("cdp_refresh").parameters)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.split("\n")[0])
def test_queries_of_the_page_run(
    spark: SparkSession, tables: Tables, catalog: str, schema: str, statement: str
) -> None:
    for name in {word.rstrip(".") for word in re.findall(r"cat1\.sales\.(\w+)", statement)}:
        tables.create_table(TABLES[name])

    assert spark.sql(statement.replace("cat1.sales", f"{catalog}.{schema}")).collect() == []
