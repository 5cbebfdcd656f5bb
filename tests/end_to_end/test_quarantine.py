"""What a person is told of refused rows and of warnings: at the end of a run, and by `cdp quarantine`."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cdp_lib.contracts import TABLES

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
        (90, 999, 1, 1, 2, '2025-07-10'), (91, 101, 1, 1, 0, '2025-07-10'), (92, 101, 1, 1, 'two', '2025-07-10');
"""
SALES_OF_PRODUCT_3 = 5

# What stands in quarantine, by table and rule: rows, and the smallest key.
REFUSED = {
    ("customers_silver", "customer_id_is_present"): (1, "(no key)"),
    ("customers_silver", "country_is_present"): (1, "901"),
    ("products_silver", "price_is_not_negative"): (1, "3"),
    ("transactions_silver", "values_fit_their_columns"): (1, "92"),
    ("transactions_silver", "quantity_is_positive"): (2, "91"),
    ("retails_silver", "customer_is_known"): (1, "90"),
    ("retails_silver", "product_is_known"): (SALES_OF_PRODUCT_3, "33"),
}
REFUSED_ROWS = 2 + 1 + 2 + 1 + SALES_OF_PRODUCT_3


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def api(folder: Path) -> Iterator[str]:
    """Variable of an API that answers with the file `customers.json` of a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"customers_api_url=http://127.0.0.1:{server.server_port}/customers.json"
        server.shutdown()


@dataclass(frozen=True)
class Runs:
    """A run over good sources, and one over the same with bad rows among them.

    Attributes:
        good: Home after the first.
        bad: Home after the second.
        outputs: What both printed, at 80 columns.
    """

    good: Path
    bad: Path
    outputs: tuple[str, str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cdp: Cdp) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    shop, home = folder / "shop.sqlite", folder / "home"
    outputs = []
    with api(folder) as variable, closing(sqlite3.connect(shop)) as connection:
        for script, others, kept in ((DATABASE, [], "good"), (BAD_ROWS, [NO_COUNTRY, NO_NUMBER, WRONG_EMAIL], "bad")):
            connection.executescript(script)
            (folder / "customers.json").write_text(json.dumps([*CUSTOMERS, *others]), encoding="utf-8")
            run = cdp(
                "run", "--home", home, "--var", variable, COLUMNS="80", CDP_SECRET_CDP_DATABASE_URL=f"sqlite:///{shop}"
            )
            assert run.returncode == 0, run.stderr
            outputs.append(run.stdout)
            shutil.copytree(home, folder / kept)
    return Runs(folder / "good", folder / "bad", (outputs[0], outputs[1]))


@pytest.fixture
def quarantine(cdp: Cdp) -> Callable[..., str]:
    """What `cdp quarantine` prints."""

    def show(home: Path, *arguments: object, **environment: str) -> str:
        shown = cdp("quarantine", *arguments, "--home", home, **environment)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    return show


def line_of(output: str, beginning: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(beginning))


def table_of(output: str, title: str) -> list[list[str]]:
    """Cells of the rows of a table, as they stand under its title."""
    lines = output.splitlines()[output.splitlines().index(title) + 4 :]
    body = lines[: next(number for number, line in enumerate(lines) if line.startswith("└"))]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in body]


# The end of a run


def test_a_table_says_what_became_of_its_rows(runs: Runs) -> None:
    good, bad = runs.outputs

    assert line_of(good, "retails_silver ").endswith("50 rows, 50 warned")
    assert line_of(good, "events_silver ").endswith("nothing new")
    assert line_of(bad, "products_silver ").endswith("1 removed, 1 quarantined")
    assert line_of(bad, "customers_silver ").endswith("1 row, 2 quarantined, 1 warned")
    assert line_of(bad, "retails_silver ").endswith("5 removed, 6 quarantined")


def test_a_run_says_what_stands_in_quarantine_with_a_key_of_each_kind(runs: Runs) -> None:
    _, bad = runs.outputs

    rows = table_of(bad, f"{REFUSED_ROWS} rows in quarantine")

    assert {(table, rule): (int(count), key) for table, rule, count, key in rows} == REFUSED
    assert "`cdp quarantine` shows records, and what the rules mean." in bad.splitlines()


def test_a_run_prints_no_record(runs: Runs) -> None:
    assert not re.search("Nour|Lara|example.com", runs.outputs[1])


def test_a_run_says_which_rows_are_kept_with_a_warning_and_what_the_rule_means(runs: Runs) -> None:
    good, bad = (re.sub(r"\s+", " ", output) for output in runs.outputs)
    meaning = next(r.meaning for r in TABLES["retails_silver"].rules if r.severity == "warn")

    assert f"Warning: 50 rows of retails_silver break sale_is_not_before_registration – {meaning}" in good
    assert f"Warning: {50 - SALES_OF_PRODUCT_3} rows of retails_silver break sale_is_not_before" in bad
    assert "Warning: 1 row of customers_silver breaks email_looks_like_one – The e-mail address, where" in bad


def test_a_run_without_refused_rows_has_no_word_of_quarantine_but_where_to_look(runs: Runs) -> None:
    assert [line for line in runs.outputs[0].splitlines() if "quarantine" in line] == [
        "`cdp quarantine` shows records, and what the rules mean."
    ]


def test_a_run_of_one_table_speaks_of_it_alone(runs: Runs, tmp_path: Path, cdp: Cdp) -> None:
    shutil.copytree(runs.bad, tmp_path / "home")

    run = cdp("run", "--home", tmp_path / "home", "--select", "products_silver")

    assert table_of(run.stdout, "1 row in quarantine") == [["products_silver", "price_is_not_negative", "1", "3"]]
    assert "retails_silver" not in run.stdout


def test_a_run_of_one_stage_speaks_of_its_tables_alone(runs: Runs, tmp_path: Path, cdp: Cdp) -> None:
    shutil.copytree(runs.bad, tmp_path / "home")

    silver, bronze = (cdp("run", "--home", tmp_path / "home", "--only", task).stdout for task in ("silver", "bronze"))

    assert {table for table, *_ in table_of(silver, f"{REFUSED_ROWS} rows in quarantine")} == {t for t, _ in REFUSED}
    assert "quarantine" not in bronze


def test_identities_of_an_address_that_several_people_have_are_counted(tmp_path: Path, cdp: Cdp) -> None:
    """The sample contacts have such addresses."""
    run = cdp("run", "--home", tmp_path / "home")

    assert run.returncode == 0, run.stderr
    assert line_of(run.stdout, "Not linked: ") == (
        "Not linked: 2 identities in customer_links_silver, of an e-mail address that several people have"
        " (ambiguous_email)."
    )


# cdp quarantine


def test_every_rule_is_shown_with_its_meaning_its_rows_and_its_batch(
    runs: Runs, quarantine: Callable[..., str]
) -> None:
    rows = table_of(quarantine(runs.bad), f"{REFUSED_ROWS} rows in quarantine, by rule")

    assert {(table, rule): int(count) for table, rule, _, count, _ in rows} == {
        where: count for where, (count, _) in REFUSED.items()
    }
    for table, rule, meaning, _, batch in rows:
        assert meaning == next(each.meaning for each in TABLES[table].rules if each.name == rule)
        assert re.fullmatch(r"\d{8}T\d{6}Z-\d+", batch)
    assert [table for table, *_ in rows] == sorted((table for table, *_ in rows), key=list(TABLES).index)


def test_of_every_rule_some_records_are_shown_as_received(runs: Runs, quarantine: Callable[..., str]) -> None:
    output = quarantine(runs.bad).splitlines()

    def records(table: str, rule: str) -> list[str]:
        after = output[output.index(f"{table}: {rule}") + 1 :]
        return after[: next(number for number, line in enumerate(after) if not line.startswith("  "))]

    assert all(records(*where) for where in REFUSED)
    [no_country] = records("customers_silver", "country_is_present")
    assert no_country.startswith('  901  {"customer_id":"901","full_name":"Nour Marbach","email":"nour",')
    [no_number] = records("customers_silver", "customer_id_is_present")
    assert no_number.startswith('  (no key)  {"full_name":"Lara Spaeth",')
    [wrong_quantity] = records("transactions_silver", "values_fit_their_columns")
    assert '"transaction_id":92,' in wrong_quantity
    assert '{\\"quantity\\":\\"two\\"}' in wrong_quantity
    waiting = records("retails_silver", "product_is_known")
    assert [line.split()[0] for line in waiting] == ["33", "43", "53"]


def test_as_many_records_are_shown_as_are_asked_for(runs: Runs, quarantine: Callable[..., str]) -> None:
    assert quarantine(runs.bad, "--examples", 99).count('"product_id":3,') == 1 + SALES_OF_PRODUCT_3
    assert quarantine(runs.bad, "--examples", 0).count('"product_id"') == 0


def test_warnings_are_shown_with_keys(runs: Runs, quarantine: Callable[..., str]) -> None:
    rows = table_of(quarantine(runs.bad), f"{50 - SALES_OF_PRODUCT_3 + 1} rows kept with a warning, by rule")

    assert [(table, rule, count, keys) for table, rule, _, count, keys in rows] == [
        ("customers_silver", "email_looks_like_one", "1", "902"),
        ("retails_silver", "sale_is_not_before_registration", str(50 - SALES_OF_PRODUCT_3), "31, 32, 34"),
    ]


@pytest.mark.parametrize("name", ["retails_silver", "retails_silver_quarantine"])
def test_the_rows_of_one_table_are_shown_with_their_reasons(
    runs: Runs, quarantine: Callable[..., str], name: str
) -> None:
    output = quarantine(runs.bad, name)

    rows = table_of(output, f"retails_silver_quarantine: {SALES_OF_PRODUCT_3 + 1} rows")
    assert [(key, reasons) for key, reasons, _, _ in rows] == [
        *((key, "product_is_known") for key in ("33", "43", "53", "63", "73")),
        ("90", "customer_is_known"),
    ]
    assert all(json.loads(record)["transaction_id"] == int(key) for key, _, _, record in rows)
    assert "sale_is_not_before_registration" in output
    assert "customers_silver" not in [cells[0] for cells in table_of(output, "6 rows in quarantine, by rule")]


def test_of_one_table_a_part_is_said_to_be_a_part(runs: Runs, quarantine: Callable[..., str]) -> None:
    output = quarantine(runs.bad, "transactions_silver", "--examples", 1)

    [[key, reasons, _, _]] = table_of(output, "transactions_silver_quarantine: 1 of 2 rows")
    assert (key, reasons) == ("91", "quantity_is_positive")


def test_on_a_narrow_terminal_no_line_is_longer_than_it(runs: Runs, quarantine: Callable[..., str]) -> None:
    for arguments in ([], ["customers_silver"]):
        output = quarantine(runs.bad, *arguments, COLUMNS="80")
        assert max(map(len, output.splitlines())) <= 80
        assert "country_is_present" in output
    shortened = line_of(quarantine(runs.bad, COLUMNS="80"), "  901  ")
    assert shortened.endswith("…")


def test_nothing_in_quarantine_is_said_in_one_line(runs: Runs, quarantine: Callable[..., str]) -> None:
    assert quarantine(runs.good, "products_silver") == "Nothing of products_silver is in quarantine.\n"
    assert quarantine(runs.good).splitlines()[:2] == [
        "Nothing is in quarantine.",
        "50 rows kept with a warning, by rule",
    ]


@pytest.mark.parametrize("name", ["nope", "sales_by_country_gold", "product_prices_silver"])
def test_a_table_without_rules_is_refused_with_those_that_have_some(runs: Runs, cdp: Cdp, name: str) -> None:
    ended = cdp("quarantine", name, "--home", runs.good)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"error: Table '{name}' has no rules, and so no quarantine: those that have are "
        f"{', '.join(name for name, contract in TABLES.items() if contract.rules)}.\n"
    )


@pytest.mark.parametrize(("arguments", "what"), [([], ""), (["stores_silver"], " of stores_silver")])
def test_a_home_without_tables_says_how_to_make_them(cdp: Cdp, tmp_path: Path, arguments: list[str], what: str) -> None:
    ended = cdp("quarantine", *arguments, "--home", tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"error: {tmp_path} holds no quarantine{what} yet: `cdp run` makes it.\n"
