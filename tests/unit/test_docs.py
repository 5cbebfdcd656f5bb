"""Check that the generated pages are up to date, and that the names, links and commands on all pages exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.maintenance import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS
from cdp_lib.storage import DeltaStore
from cdp_local.bundle import Bundle
from cdp_local.catalogue import PAGES, data_quality_page, table_catalogue
from cdp_local.cli import COMMANDS, imported
from cdp_local.settings_page import settings_page
from cdp_local.workspace import PROJECT

PAGE_TEXTS = {
    path: path.read_text(encoding="utf-8")
    for path in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
}
RUNBOOK = PAGE_TEXTS[PROJECT / "docs" / "runbook.md"]
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", data_quality_page() + RUNBOOK, flags=re.DOTALL)
    for statement in block.split(";")
    if statement.strip()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_page_is_fresh(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


@pytest.mark.parametrize(
    "contract",
    [c for c in TABLES.values() if not c.name.endswith(("_quarantine", "_changes"))],
    ids=lambda contract: contract.name,
)
def test_every_table_has_a_section_with_its_columns(contract: TableContract) -> None:
    assert f"\n### {contract.name}\n" in table_catalogue()


def test_table_section_describes_the_layout_of_its_files() -> None:
    _, *sections = table_catalogue().split("\n### ")
    told = {section.split("\n")[0]: re.findall(r"^Files: (.*)\.$", section, re.MULTILINE) for section in sections}

    assert told["retails_silver"] == [
        "partitioned by `sale_month`, clustered by `transaction_date`, `customer_id`, `product_id`, with deletion"
        " vectors"
    ]
    assert told["events_bronze"] == ["clustered by `_version`"]
    assert told["sales_by_country_gold"] == []


def test_data_quality_page_explains_every_rule() -> None:
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


def test_tables_page_links_to_sections_with_rules() -> None:
    anchors = re.findall(r"\(data-quality\.md#(\w+)\)", table_catalogue())

    assert anchors
    assert all(f"\n### {anchor}\n" in data_quality_page() for anchor in anchors)


def test_parameters_on_data_quality_page_are_job_parameters() -> None:
    given = re.findall(r"--params? (\S+)", data_quality_page())
    names = {pair.split("=")[0] for pairs in given for pair in pairs.split(",")}

    assert names == {"replay_from", "full_refresh", "ingest", "from_scratch"}
    assert names <= set(Bundle(PROJECT, {}).job("cdp_refresh").parameters)


@pytest.mark.every_case
@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.split("\n")[0])
def test_queries_on_pages_run(
    spark: SparkSession, store: DeltaStore, catalog: str, schema: str, statement: str
) -> None:
    for name in {word.rstrip(".") for word in re.findall(r"cat1\.sales\.(\w+)", statement)}:
        store.create(TABLES[name])

    assert spark.sql(statement.replace("cat1.sales", f"{catalog}.{schema}")).collect() == []


# All pages

_TEXT_FILES = [
    *(
        path
        for folder in (
            ".github",
            "src",
            "notebooks",
            "resources",
            "adf",
            "tests",
            "benchmarks",
            "powerbi",
            "synapse",
            "fixtures",
            "tools",
        )
        for path in sorted((PROJECT / folder).rglob("*"))
        if path.is_file() and path.suffix not in (".png", ".pyc") and path != Path(__file__)
    ),
    *(
        PROJECT / name
        for name in ("databricks.yml", "Makefile", "pyproject.toml", "constraints.txt", "requirements.txt")
    ),
]
_NAMES_ELSEWHERE = {
    "SAIL_RUNTIME__MEMORY_POOL__TYPE",
    "SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE",
    "percentile_approx",
}
"""Names of other products on the pages."""

_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*(\(\))?")


def _names(text: str) -> set[str]:
    """Return the names in back-ticks on a page that have an underscore, a dot or camel case."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    quoted = {name for name in re.findall(r"`([^`\n]+)`", text) if _IDENTIFIER.fullmatch(name)}
    return {name for name in quoted if re.search(r"[_.]|[a-z][A-Z]", name)}


def _is_replaced(text: str) -> bool:
    """Return whether a page is a decision record that a later decision replaces."""
    return text.split("\n")[2].startswith("**Replaced by")


def test_names_in_backticks_exist() -> None:
    words = {word for path in _TEXT_FILES for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    words |= {word for path in _TEXT_FILES for word in re.findall(r"\w+", str(path.relative_to(PROJECT)))}
    # Some contracts build the names of columns, or of their rules from the names of columns.
    rules = [rule for contract in TABLES.values() for rule in contract.rules]
    words |= {name for contract in TABLES.values() for name in contract.column_names}
    words |= {word for rule in rules for word in re.findall(r"\w+", f"{rule.name} {rule.holds}")}
    stale = {
        f"{path.relative_to(PROJECT)}: {name}"
        for path, text in PAGE_TEXTS.items()
        if not _is_replaced(text)
        for name in _names(text) - _NAMES_ELSEWHERE
        if not set(re.findall(r"\w+", name)) <= words
    }

    assert stale == set()


def test_links_lead_to_files_and_sections() -> None:
    broken = set()
    for page, text in PAGE_TEXTS.items():
        for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
            target = (page.parent / file).resolve() if file else page
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                broken.add(f"{page.relative_to(PROJECT)}: {file}#{anchor}")

    assert broken == set()


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_page_is_in_the_index() -> None:
    docs = PROJECT / "docs"
    linked = set(re.findall(r"\]\(([^)#]*)", PAGE_TEXTS[docs / "README.md"]))

    assert {path.name for path in docs.glob("*.md")} - {"README.md"} <= linked
    decisions = set(re.findall(r"\]\(([^)#]*)", PAGE_TEXTS[docs / "adr" / "README.md"]))
    assert {path.name for path in (docs / "adr").glob("*.md")} - {"README.md"} == decisions


def test_commands_on_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in _lines("sh"):
        words = line.split(" #")[0].split()
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        elif words[:1] == ["cdp"]:
            command = imported(words[1])
            command = command.commands[words[2]] if hasattr(command, "commands") else command
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, line
        elif words[:3] == ["databricks", "bundle", "run"]:
            parameters = Bundle(PROJECT, {}).job(words[3]).parameters
            given = words[5].split(",") if words[4:5] == ["--params"] else []
            assert len(words) == (6 if given else 4), line
            assert {pair.split("=")[0] for pair in given} <= set(parameters), line
    text = "\n".join(PAGE_TEXTS.values())
    assert set(re.findall(r"`cdp ([a-z-]+)", text)) <= set(COMMANDS)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_variables_on_pages_exist() -> None:
    assert set(re.findall(r"--var ([a-z]\w*)=", "\n".join(PAGE_TEXTS.values()))) <= VARIABLES


def test_settings_page_has_every_secret() -> None:
    readers = [*(PROJECT / "notebooks").rglob("*.py"), PROJECT / "src" / "cdp_lib" / "ingest.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in readers)
    sources = (PROJECT / "sources.yml").read_text(encoding="utf-8")
    declared = re.findall(r"^  (?:token|database): (\w+)$", sources, re.MULTILINE)
    page = settings_page().split("## Secrets")[1]

    secrets = {*re.findall(r'_secret\(.*"(\w+)"\)', code), *declared}
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == secrets


def _lines(language: str) -> list[str]:
    """Return the lines of all code blocks in one language, from every page."""
    return [
        line
        for text in PAGE_TEXTS.values()
        for block in re.findall(rf"^ *```{language}\n(.*?)```", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]


# The runbook


def _table(section: str) -> list[list[str]]:
    """Find the first table in a section of the runbook. Return its rows as lists of cells, without the header row."""
    rows = re.findall(r"^\| (.*) \|$", RUNBOOK.split(f"\n## {section}\n")[1].split("\n\n## ")[0], re.MULTILINE)
    return [row.split(" | ") for row in rows[1:]]


def _resources(kind: str) -> dict[str, Any]:
    files = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((PROJECT / "resources").rglob("*.yml"))
    ]
    return {key: each for file in files for key, each in file.get("resources", {}).get(kind, {}).items()}


VARIABLES = {
    name
    for path in (PROJECT / "databricks.yml", *(PROJECT / "resources" / "optional").glob("*.yml"))
    for name in yaml.safe_load(path.read_text(encoding="utf-8"))["variables"]
}


def test_runbook_has_the_start_and_the_pause_variable_of_every_job() -> None:
    told = {row[0].strip("`"): (row[1].split("`")[1], row[2].split("`")[1]) for row in _table("Schedules")}
    starts = {}
    for key, job in _resources("jobs").items():
        # Each job has a schedule or a trigger, or a person starts it.
        start = job.get("schedule") or job.get("trigger")
        if not start:
            assert f"databricks bundle run {key}" in RUNBOOK
            continue
        [trigger] = start.keys() - {"pause_status", "timezone_id"}
        way = start[trigger] if "schedule" in job else trigger
        starts[key] = (way, start["pause_status"].removeprefix("${var.").removesuffix("}"))
    assert told == starts


def test_schedules_in_words_match_their_expressions() -> None:
    words = {row[0].strip("`"): row[1] for row in _table("Schedules")}
    for job, expected in {
        "cdp_refresh": "`0 0 3 * * ?`: every night at 03:00",
        "cdp_maintenance": "`0 0 12 ? * SUN`: on Sundays at 12:00",
        "cdp_verify": "`0 0 16 ? * SUN`: on Sundays at 16:00",
        "cdp_events": "`0 7/15 * * * ?`: every quarter of an hour, from minute 7 on",
    }.items():
        assert words[job] == expected
    assert {job["schedule"]["timezone_id"] for job in _resources("jobs").values() if "schedule" in job} == {"UTC"}


def test_settings_and_rules_of_the_runbook_exist() -> None:
    parameters = {name for key in ("cdp_refresh", "cdp_verify") for name in Bundle(PROJECT, {}).job(key).parameters}
    assert set(re.findall(r"`(\w+)=[^`]*`", RUNBOOK)) <= VARIABLES | parameters
    rules = {rule.name for contract in TABLES.values() for rule in contract.rules}
    assert set(re.findall(r"`(\w+_is_\w+)`", RUNBOOK)) <= rules
    days = re.search(r"`retention_days`\*\*, (\d+) to (\d+)", RUNBOOK)
    assert days and tuple(map(int, days.groups())) == (MIN_RETENTION_DAYS, MAX_RETENTION_DAYS)


def test_runbook_has_every_alert() -> None:
    assert [row[0].strip("`") for row in _table("Alerts")] == [
        alert["display_name"] for alert in _resources("alerts").values()
    ]
