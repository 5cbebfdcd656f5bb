"""Tests that the scripts are valid T-SQL, can run repeatedly, use the same names and contain no secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .serverless import SCRIPTS, SYNAPSE, VARIABLES, batches, parsed, script

[SQLCMD] = re.findall(r"```sh\n *(sqlcmd .*?)```", (SYNAPSE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
"""The documented command that runs the scripts."""

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)


@each_script
def test_a_script_is_tsql(path: Path) -> None:
    assert list(parsed(path).recursive_crawl("unparsable")) == []


def test_scripts_are_numbered_in_the_order_they_are_run_in() -> None:
    names = ["01_database.sql", "02_storage.sql", "03_views.sql", "04_roles.sql"]

    # The last script is optional.
    assert [path.name for path in SCRIPTS] == [*names, "05_customers.sql"]
    assert re.findall(r"\b0\d_\w+\.sql\b", SQLCMD) == names


@each_script
def test_a_script_makes_only_what_is_not_there(path: Path) -> None:
    statements = [statement.segments[0] for statement in parsed(path).recursive_crawl("statement", recurse_into=False)]

    assert {statement.type for statement in statements} <= {
        "create_view_statement",
        "drop_view_statement",
        "grant_statement",
        "deny_statement",
        "if_then_statement",
        "use_statement",
    }
    views = [statement.raw for statement in statements if statement.type == "create_view_statement"]
    assert all(view.startswith("CREATE OR ALTER VIEW ") for view in views)


@each_script
def test_a_view_is_alone_in_its_batch(path: Path) -> None:
    for batch in batches(path):
        statements = [s.segments[0].type for s in batch.recursive_crawl("statement", recurse_into=False)]
        assert "create_view_statement" not in statements or len(statements) == 1


@each_script
def test_a_script_is_of_the_database_whatever_has_run_before_it(path: Path) -> None:
    used = [number for number, batch in enumerate(batches(path)) if batch.raw.startswith("USE [cdp];")]

    # Only the batch that creates the database comes before USE.
    assert used == [1 if "CREATE DATABASE [cdp]" in script(path) else 0]


@each_script
def test_a_scripts_variables_are_those_that_are_passed(path: Path) -> None:
    used = set(re.findall(r"\$\((\w+)\)", path.read_text(encoding="utf-8")))

    assert used <= set(VARIABLES)
    assert ":setvar" not in path.read_text(encoding="utf-8")


def test_the_readme_passes_every_variable() -> None:
    assert set(re.findall(r"(\w+)=", SQLCMD)) == set(VARIABLES)


def test_the_readme_has_views_read_where_the_job_publishes() -> None:
    location = re.search(
        r"synapse_location=abfss://(\w+)@(\w+)\.dfs\.core\.windows\.net(/\w+)\n",
        (SYNAPSE / "README.md").read_text(encoding="utf-8"),
    )
    assert location
    container, account, folder = location.groups()

    assert f"storage_account={account} gold_path={container}{folder} " in SQLCMD


@each_script
def test_a_script_holds_no_secret(path: Path) -> None:
    assert not re.search(r"password\s*=|secret\s*=|\bsig=|accountkey|shared access", script(path), re.IGNORECASE)


def test_scripts_agree_on_names() -> None:
    text = {path.name: script(path) for path in SCRIPTS}

    assert set(re.findall(r"DATA SOURCE \[(\w+)\]|DATA_SOURCE = '(\w+)'", "".join(text.values()))) == {
        ("gold", ""),
        ("", "gold"),
    }
    assert set(re.findall(r"CREDENTIAL(?:::| = | )\[(\w+)\]", "".join(text.values()))) == {"workspace_identity"}
    schemas = {name: {*re.findall(r"(?:SCHEMA(?:::| )|VIEW )\[(\w+)\]", part)} for name, part in text.items()}
    assert schemas.pop("05_customers.sql") == {"customers"}
    assert set().union(*schemas.values()) == {"sales"}


@pytest.mark.parametrize(
    ("name", "role", "schema"),
    [("04_roles.sql", "cdp_readers", "sales"), ("05_customers.sql", "cdp_customer_readers", "customers")],
)
def test_readers_see_views_and_can_name_no_file(name: str, role: str, schema: str) -> None:
    statements = re.findall(rf"^(GRANT|DENY) (.+) TO \[{role}\];$", script(SYNAPSE / name), re.MULTILINE)

    assert statements == [
        ("GRANT", f"SELECT ON SCHEMA::[{schema}]"),
        ("GRANT", "REFERENCES ON DATABASE SCOPED CREDENTIAL::[workspace_identity]"),
        ("DENY", "ADMINISTER DATABASE BULK OPERATIONS"),
    ]
