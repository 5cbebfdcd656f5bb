"""Tests of the output about quarantined rows and warnings, at the end of a run and of `cdp quarantine`."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdp_lib.contracts import TABLES
from cdp_local.samples import customers_api

PROJECT = Path(__file__).resolve().parents[2]
CUSTOMERS = json.loads((PROJECT / "fixtures" / "customers.json").read_text(encoding="utf-8"))
DATABASE = (PROJECT / "fixtures" / "database.sql").read_text(encoding="utf-8")

Cdp = Callable[..., subprocess.CompletedProcess[str]]

NO_COUNTRY = {"customer_id": 901, "full_name": "Nour Marbach", "email": "nour", "registration_date": "2025-01-20"}
NO_NUMBER = {"full_name": "Lara Spaeth", "email": "l@example.com", "country": "UAE", "registration_date": "2025-01-20"}
WRONG_EMAIL = {**NO_NUMBER, "customer_id": 902, "email": "[/red] no address"}
BAD_ROWS = """
    UPDATE products SET price = -1 WHERE product_id = 3;
    INSERT INTO transactions VALUES
        (90, 999, 1, 1, 2, '2025-07-10'), (91, 101, 1, 1, 0, '2025-07-10'), (92, 101, 1, 1, 'two', '2025-07-10'),
        (93, 101, 99, 1, 2, '2025-07-10'), (94, 101, 99, 1, 2, '2025-07-10'), (95, 101, 99, 1, 2, '2025-07-10');
"""
SALES_OF_UNKNOWN_PRODUCT = 3

# Expected quarantine. For each (table, rule) pair: the number of rows and the smallest key.
QUARANTINED = {
    ("customers_silver", "customer_id_is_present"): (1, "(no key)"),
    ("products_silver", "price_is_not_negative"): (1, "3"),
    ("transactions_silver", "values_fit_their_columns"): (1, "92"),
    ("transactions_silver", "quantity_is_not_zero"): (2, "91"),
    ("retails_silver", "customer_is_known"): (1, "90"),
    ("retails_silver", "product_is_known"): (SALES_OF_UNKNOWN_PRODUCT, "93"),
}
QUARANTINED_ROWS = 1 + 1 + 2 + 1 + SALES_OF_UNKNOWN_PRODUCT


@dataclass(frozen=True)
class Runs:
    """A run on valid data, and a second run after bad rows have been added to the same sources.

    Attributes:
        good: Home folder after the first run.
        bad: Home folder after the second run.
        outputs: Outputs of both runs, 80 columns wide.
    """

    good: Path
    bad: Path
    outputs: tuple[str, str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cdp: Cdp) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    shop, home = folder / "shop.sqlite", folder / "home"
    outputs = []
    with customers_api(folder) as url, closing(sqlite3.connect(shop)) as connection:
        bad_customers = [NO_COUNTRY, NO_NUMBER, WRONG_EMAIL]
        for script, added_customers, copy in ((DATABASE, [], "good"), (BAD_ROWS, bad_customers, "bad")):
            connection.executescript(script)
            (folder / "customers.json").write_text(json.dumps([*CUSTOMERS, *added_customers]), encoding="utf-8")
            run = cdp(
                "run",
                "--home",
                home,
                "--var",
                f"customers_api_url={url}",
                COLUMNS="80",
                CDP_SECRET_CDP_DATABASE_URL=f"sqlite:///{shop}",
            )
            assert run.returncode == 0, run.stderr
            outputs.append(run.stdout)
            shutil.copytree(home, folder / copy)
    return Runs(folder / "good", folder / "bad", (outputs[0], outputs[1]))


@pytest.fixture
def quarantine(cdp: Cdp) -> Callable[..., str]:
    """Return a function that runs `cdp quarantine` and returns its output."""

    def show(home: Path, *arguments: object, **environment: str) -> str:
        shown = cdp("quarantine", *arguments, "--home", home, **environment)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    return show


def line_of(output: str, beginning: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(beginning))


def table_of(output: str, title: str) -> list[list[str]]:
    """Find the printed table with this title, and return its rows as lists of cells."""
    lines = output.splitlines()[output.splitlines().index(title) + 4 :]
    body = lines[: next(number for number, line in enumerate(lines) if line.startswith("└"))]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in body]


# The end of a run


def test_each_table_line_has_its_row_counts(runs: Runs) -> None:
    good, bad = runs.outputs

    assert line_of(good, "retails_silver ").endswith("50 rows, 50 warned")
    assert line_of(good, "events_silver ").endswith("nothing new")
    assert line_of(bad, "products_silver ").endswith("1 row, 1 quarantined")
    assert line_of(bad, "customers_silver ").endswith("2 rows, 1 quarantined, 2 warned")
    assert line_of(bad, "retails_silver ").endswith("4 quarantined")


def test_run_prints_quarantined_rows_with_an_example_key_per_rule(runs: Runs) -> None:
    _, bad = runs.outputs

    rows = table_of(bad, f"{QUARANTINED_ROWS} rows in quarantine")

    assert {(table, rule): (int(count), key) for table, rule, count, key in rows} == QUARANTINED
    assert "`cdp quarantine` shows the records and the meaning of the rules." in bad.splitlines()


def test_run_prints_no_records(runs: Runs) -> None:
    assert not re.search("Nour|Lara|example.com", runs.outputs[1])


def test_run_prints_warnings_with_the_meaning_of_the_rule(runs: Runs) -> None:
    good, bad = (re.sub(r"\s+", " ", output) for output in runs.outputs)
    meaning = next(r.meaning for r in TABLES["retails_silver"].rules if r.severity == "warn")

    assert f"Warning: 50 rows of retails_silver break sale_is_not_before_registration – {meaning}" in good
    assert "Warning: 50 rows of retails_silver break sale_is_not_before" in bad
    assert "Warning: 1 row of customers_silver breaks country_is_present – " in bad
    assert "Warning: 2 rows of customers_silver break email_looks_like_one – " in bad


def test_run_without_quarantined_rows_mentions_only_the_command(runs: Runs) -> None:
    assert [line for line in runs.outputs[0].splitlines() if "quarantine" in line] == [
        "`cdp quarantine` shows the records and the meaning of the rules."
    ]


def test_run_of_one_table_reports_only_that_table(runs: Runs, tmp_path: Path, cdp: Cdp) -> None:
    shutil.copytree(runs.bad, tmp_path / "home")

    run = cdp("run", "--home", tmp_path / "home", "--select", "products_silver")

    assert table_of(run.stdout, "1 row in quarantine") == [["products_silver", "price_is_not_negative", "1", "3"]]
    assert "retails_silver" not in run.stdout


def test_run_of_one_stage_reports_only_its_tables(runs: Runs, tmp_path: Path, cdp: Cdp) -> None:
    shutil.copytree(runs.bad, tmp_path / "home")

    silver, bronze = (cdp("run", "--home", tmp_path / "home", "--only", task).stdout for task in ("silver", "bronze"))

    assert {table for table, *_ in table_of(silver, f"{QUARANTINED_ROWS} rows in quarantine")} == {
        t for t, _ in QUARANTINED
    }
    assert "quarantine" not in bronze


# cdp quarantine


def test_broken_rules_are_listed_with_meaning_rows_and_batch(runs: Runs, quarantine: Callable[..., str]) -> None:
    rows = table_of(quarantine(runs.bad), f"{QUARANTINED_ROWS} rows in quarantine, by rule")

    assert {(table, rule): int(count) for table, rule, _, count, _ in rows} == {
        table_and_rule: count for table_and_rule, (count, _) in QUARANTINED.items()
    }
    for table, rule, meaning, _, batch in rows:
        assert meaning == next(each.meaning for each in TABLES[table].rules if each.name == rule)
        assert re.fullmatch(r"\d{8}T\d{6}Z-\d+", batch)
    assert [table for table, *_ in rows] == sorted((table for table, *_ in rows), key=list(TABLES).index)


def test_each_broken_rule_has_example_records_as_received(runs: Runs, quarantine: Callable[..., str]) -> None:
    output = quarantine(runs.bad).splitlines()

    def records(table: str, rule: str) -> list[str]:
        following = output[output.index(f"{table}: {rule}") + 1 :]
        return following[: next(number for number, line in enumerate(following) if not line.startswith("  "))]

    assert all(records(table, rule) for table, rule in QUARANTINED)
    [negative_price] = records("products_silver", "price_is_not_negative")
    assert negative_price.startswith('  3  {"product_id":3,"product_name":')
    [no_number] = records("customers_silver", "customer_id_is_present")
    assert no_number.startswith('  (no key)  {"full_name":"Lara Spaeth",')
    [wrong_quantity] = records("transactions_silver", "values_fit_their_columns")
    assert '"transaction_id":92,' in wrong_quantity
    assert '{\\"quantity\\":\\"two\\"}' in wrong_quantity
    waiting = records("retails_silver", "product_is_known")
    assert [line.split()[0] for line in waiting] == ["93", "94", "95"]


def test_examples_option_limits_the_records(runs: Runs, quarantine: Callable[..., str]) -> None:
    assert quarantine(runs.bad, "--examples", 99).count('"product_id":99,') == SALES_OF_UNKNOWN_PRODUCT
    assert quarantine(runs.bad, "--examples", 0).count('"product_id"') == 0


def test_warnings_are_listed_with_keys(runs: Runs, quarantine: Callable[..., str]) -> None:
    rows = table_of(quarantine(runs.bad), "52 rows kept with a warning, by rule")

    assert [(table, rule, count, keys) for table, rule, _, count, keys in rows] == [
        ("customers_silver", "country_is_present", "1", "901"),
        ("customers_silver", "email_looks_like_one", "2", "901, 902"),
        ("retails_silver", "sale_is_not_before_registration", "50", "31, 32, 33"),
    ]


@pytest.mark.parametrize("name", ["retails_silver", "retails_silver_quarantine"])
def test_quarantined_rows_of_one_table_are_listed_with_reasons(
    runs: Runs, quarantine: Callable[..., str], name: str
) -> None:
    output = quarantine(runs.bad, name)

    rows = table_of(output, f"retails_silver_quarantine: {SALES_OF_UNKNOWN_PRODUCT + 1} rows")
    assert [(key, reasons) for key, reasons, _, _ in rows] == [
        ("90", "customer_is_known"),
        *((key, "product_is_known") for key in ("93", "94", "95")),
    ]
    assert all(json.loads(record)["transaction_id"] == int(key) for key, _, _, record in rows)
    assert "sale_is_not_before_registration" in output
    assert "customers_silver" not in [cells[0] for cells in table_of(output, "4 rows in quarantine, by rule")]


def test_title_says_how_many_of_the_rows_are_shown(runs: Runs, quarantine: Callable[..., str]) -> None:
    output = quarantine(runs.bad, "transactions_silver", "--examples", 1)

    [[key, reasons, _, _]] = table_of(output, "transactions_silver_quarantine: 1 of 2 rows")
    assert (key, reasons) == ("91", "quantity_is_not_zero")


def test_no_line_exceeds_a_narrow_terminal(runs: Runs, quarantine: Callable[..., str]) -> None:
    for arguments in ([], ["customers_silver"]):
        output = quarantine(runs.bad, *arguments, COLUMNS="80")
        assert max(map(len, output.splitlines())) <= 80
        assert "customer_id_is_present" in output
    shortened = line_of(quarantine(runs.bad, COLUMNS="80"), "  (no key)  ")
    assert shortened.endswith("…")


def test_empty_quarantine_is_one_line(runs: Runs, quarantine: Callable[..., str]) -> None:
    assert quarantine(runs.good, "products_silver") == "No rows of products_silver are in quarantine.\n"
    assert quarantine(runs.good).splitlines()[:2] == [
        "No rows are in quarantine.",
        "50 rows kept with a warning, by rule",
    ]


@pytest.mark.parametrize("name", ["nope", "sales_by_country_gold", "product_prices_silver"])
def test_table_without_rules_is_rejected_with_the_tables_that_have_rules(runs: Runs, cdp: Cdp, name: str) -> None:
    ended = cdp("quarantine", name, "--home", runs.good)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"error: Table '{name}' has no rules, and so no quarantine: tables with rules are "
        f"{', '.join(name for name, contract in TABLES.items() if contract.rules)}.\n"
    )


@pytest.mark.parametrize(("arguments", "what"), [([], ""), (["stores_silver"], " of stores_silver")])
def test_error_of_a_home_without_tables_says_how_to_make_them(
    cdp: Cdp, tmp_path: Path, arguments: list[str], what: str
) -> None:
    ended = cdp("quarantine", *arguments, "--home", tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"error: {tmp_path} holds no quarantine{what} yet: `cdp run` creates it.\n"
