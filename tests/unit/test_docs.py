"""Generated pages are fresh, and what they tell people to type works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pyspark.sql import SparkSession

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.maintenance import FEWEST_DAYS, MOST_DAYS
from cdp_lib.storage import DeltaStore
from cdp_local.bundle import Bundle
from cdp_local.catalogue import PAGES, data_quality_page, table_catalogue
from cdp_local.cli import app
from cdp_local.workspace import PROJECT

RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", data_quality_page() + RUNBOOK, flags=re.DOTALL)
    for statement in block.split(";")
    if statement.strip()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_contracts_say(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


@pytest.mark.parametrize(
    "contract",
    [c for c in TABLES.values() if not c.name.endswith(("_quarantine", "_changes"))],
    ids=lambda contract: contract.name,
)
def test_every_table_has_a_section_with_its_columns(contract: TableContract) -> None:
    assert f"\n### {contract.name}\n" in table_catalogue()


def test_a_table_says_how_its_files_are_laid_out() -> None:
    _, *sections = table_catalogue().split("\n### ")
    told = {section.split("\n")[0]: re.findall(r"^Files: (.*)\.$", section, re.MULTILINE) for section in sections}

    assert told["retails_silver"] == [
        "partitioned by `sale_month`, clustered by `transaction_date`, `customer_id`, `product_id`, with deletion"
        " vectors"
    ]
    assert told["events_bronze"] == ["clustered by `_version`"]
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


@pytest.mark.every_case
@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.split("\n")[0])
def test_queries_of_the_page_run(
    spark: SparkSession, store: DeltaStore, catalog: str, schema: str, statement: str
) -> None:
    for name in {word.rstrip(".") for word in re.findall(r"cat1\.sales\.(\w+)", statement)}:
        store.create(TABLES[name])

    assert spark.sql(statement.replace("cat1.sales", f"{catalog}.{schema}")).collect() == []


# The runbook


def _lines(language: str) -> list[str]:
    """Lines of the runbook's blocks in a language."""
    return [
        line for block in re.findall(rf"```{language}\n(.*?)```", RUNBOOK, re.DOTALL) for line in block.splitlines()
    ]


def _table(section: str) -> list[list[str]]:
    """Cells of the first table of a section of the runbook, without its head."""
    rows = re.findall(r"^\| (.*) \|$", RUNBOOK.split(f"\n## {section}\n")[1].split("\n\n## ")[0], re.MULTILINE)
    return [row.split(" | ") for row in rows[1:]]


def _resources(kind: str) -> dict[str, Any]:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (PROJECT / "resources").rglob("*.yml")]
    return {key: each for file in files for key, each in file.get("resources", {}).get(kind, {}).items()}


VARIABLES = {
    name
    for path in (PROJECT / "databricks.yml", PROJECT / "resources" / "optional" / "cdp_power_bi.job.yml")
    for name in yaml.safe_load(path.read_text(encoding="utf-8"))["variables"]
}


def test_the_runbook_says_of_every_job_when_it_starts_and_what_pauses_it() -> None:
    told = {row[0].strip("`"): (row[1].split("`")[1], row[2].split("`")[1]) for row in _table("What runs when")}
    starts = {}
    for key, job in _resources("jobs").items():
        # A job has a schedule, or a trigger, or a person who starts it.
        start = job.get("schedule") or job.get("trigger")
        if not start:
            assert f"databricks bundle run {key}" in RUNBOOK
            continue
        [trigger] = start.keys() - {"pause_status", "timezone_id"}
        way = start[trigger] if "schedule" in job else trigger
        starts[key] = (way, start["pause_status"].removeprefix("${var.").removesuffix("}"))
    assert told == starts


def test_schedules_in_words_are_those_of_the_expressions() -> None:
    words = {row[0].strip("`"): row[1] for row in _table("What runs when")}
    for job, expected in {
        "cdp_refresh": "`0 0 3 * * ?`: every night at 03:00",
        "cdp_maintenance": "`0 0 12 ? * SUN`: on Sundays at 12:00",
        "cdp_events": "`0 7/15 * * * ?`: every quarter of an hour, from minute 7 on",
    }.items():
        assert words[job] == expected
    assert {job["schedule"]["timezone_id"] for job in _resources("jobs").values() if "schedule" in job} == {"UTC"}


def test_commands_of_the_runbook_are_there() -> None:
    for line in _lines("sh"):
        words = line.split()
        if words[:3] == ["databricks", "bundle", "run"]:
            parameters = Bundle(PROJECT, {}).job(words[3]).parameters
            given = words[5].split(",") if words[4:5] == ["--params"] else []
            assert len(words) == (6 if given else 4)
            assert {pair.split("=")[0] for pair in given} <= set(parameters)
        else:
            assert words[0] == "cdp"
            command = typer.main.get_command(app).commands[words[1]]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {name for name in re.findall(r"`cdp (\w+)", RUNBOOK)} <= commands


def test_variables_parameters_and_rules_of_the_runbook_are_there() -> None:
    parameters = set(Bundle(PROJECT, {}).job("cdp_refresh").parameters)
    assert set(re.findall(r"--var (\w+)=", RUNBOOK)) <= VARIABLES
    assert set(re.findall(r"`(\w+)=[^`]*`", RUNBOOK)) <= VARIABLES | parameters
    rules = {rule.name for contract in TABLES.values() for rule in contract.rules}
    assert set(re.findall(r"`(\w+_is_\w+)`", RUNBOOK)) <= rules
    days = re.search(r"`retention_days`\*\*, (\d+) to (\d+)", RUNBOOK)
    assert days and tuple(map(int, days.groups())) == (FEWEST_DAYS, MOST_DAYS)


def test_the_runbook_says_what_to_do_about_every_alert() -> None:
    assert [row[0].strip("`") for row in _table("Alerts")] == [
        alert["display_name"] for alert in _resources("alerts").values()
    ]


def test_links_of_the_runbook_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", RUNBOOK)
    assert links
    for file, anchor in links:
        page = PROJECT / "docs" / (file or "runbook.md")
        titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{file}#{anchor}"
