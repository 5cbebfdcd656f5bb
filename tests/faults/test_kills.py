"""Tests that a run that is killed (SIGKILL) and repeated gives the same tables as an uninterrupted run.

A point of a run is the time just before a task or just before a commit. Each run starts from a copy of a home folder
that the embedded engine has written.

- On the embedded engine, `make torture` kills runs at every point. Other test runs use a sample of the points.
- On any other engine, `make torture` also uses a sample of the points, because a run takes minutes.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from cdp_lib.contracts import TABLES
from cdp_local.engines import ENGINES
from effort import IS_TORTURE, SEEDS

PROJECT = Path(__file__).resolve().parents[2]
FIXTURES = PROJECT / "fixtures"
EMBEDDED = next(iter(ENGINES))
POINTS_PER_SEED = 4
# A price without a day of change in the source is valid from the day of its run. The day of a run is therefore fixed:
# with the clock of the machine, runs before and after midnight would differ.
YESTERDAY = "2026-11-29T23:58:00+00:00"
TODAY = "2026-11-30T23:58:00+00:00"
TODAY_AGAIN = "2026-11-30T23:59:59+00:00"
TABLES_OF_DATA = [
    # Tables of change sets depend on the runs: after a kill, a table may be rebuilt, and a rebuild records no changes.
    # The samples have no text identifiers.
    name
    for name, contract in TABLES.items()
    if contract.layer != "ops" and not name.endswith(("_changes", "id_keys_silver"))
]
RUN_COLUMNS = {
    *("_batch_id", "_source_file", "_ingested_at", "_version", "fitted_at", "inactive_since"),
    *("linked_at", "links_version", "happened_at"),
}

Tables = dict[str, list[str]]


def killed_run(home: Path, samples: Path, engine: str, started_at: str, point: str = "-") -> tuple[int, list[str]]:
    """Run the job and kill it at a point. Return the exit code and the points that the run passed."""
    log = home.with_suffix(".points")
    log.write_text("")
    run = subprocess.run(
        [
            *(sys.executable, Path(__file__).with_name("killed_run.py"), point, samples, log, started_at),
            *("run", "--engine", engine, "--home", home),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert run.returncode in (0, -9), run.stderr + run.stdout
    return run.returncode, log.read_text().splitlines()


def rows_of(home: Path) -> Tables:
    """Return the rows of every table as strings, without the columns that differ between runs."""
    tables = {}
    for name in TABLES_OF_DATA:
        columns = [column for column in TABLES[name].column_names if column not in RUN_COLUMNS]
        rows = DeltaTable(home / "warehouse" / "sales" / name).to_pyarrow_table(columns=columns).to_pylist()
        # Bronze may hold the same data in two batches if the killed run had landed one of them.
        tables[name] = sorted(set(map(repr, rows)) if name.endswith("_bronze") else map(repr, rows))
    return tables


def change(samples: Path) -> None:
    """Simulate a day of business in the sample data: add, correct and remove records, and add invalid records."""
    customers = json.loads((samples / "customers.json").read_text(encoding="utf-8"))
    del customers[40]  # a customer without purchases
    customers[3]["country"] = "Egypt" if customers[3]["country"] != "Egypt" else "UAE"
    customers.append({**customers[5], "customer_id": "n/a"})
    customers.append({**customers[0], "customer_id": 900, "email": "new.customer@example.com"})
    (samples / "customers.json").write_text(json.dumps(customers), encoding="utf-8")
    with (samples / "database.sql").open("a", encoding="utf-8") as script:
        script.write(
            "UPDATE products SET price = price + 100 WHERE product_id IN (1, 2);\n"
            "INSERT INTO transactions VALUES (9001, 900, 1, 1, 2, '2026-11-01'), (9002, 901, 1, 1, 1, '2026-11-02'),"
            " (9003, 900, 2, 1, 0, '2026-11-02'), (9004, 900, 1, 2, 1, '2026-11-01');\n"
            "DELETE FROM transactions WHERE transaction_id = (SELECT min(transaction_id) FROM transactions);\n"
            "UPDATE transactions SET quantity = quantity + 1 WHERE transaction_id"
            " = (SELECT max(transaction_id) FROM transactions WHERE transaction_id < 9000);\n"
        )
    contacts = json.loads((samples / "crm_contacts.json").read_text(encoding="utf-8"))
    del contacts[7]
    contacts[9] |= {"address1_city": "Alexandria", "modifiedon": "2026-11-01T00:00:00Z"}
    (samples / "crm_contacts.json").write_text(json.dumps(contacts), encoding="utf-8")
    events = sorted((samples / "events").iterdir())
    lines = events[0].read_text(encoding="utf-8").splitlines(keepends=True)
    events[0].write_text("".join(lines[1:]), encoding="utf-8")
    late = {"event_id": "late-1", "event_type": "page_view", "occurred_at": "2025-10-31T10:00:00Z", "customer_id": 900}
    bad = {"event_id": "bad-1", "event_type": "page_view", "occurred_at": "yesterday", "customer_id": 900}
    text = "".join(f"{json.dumps(event)}\n" for event in (late, bad, json.loads(lines[0])))
    (samples / "events" / "2025-11.jsonl").write_text(text, encoding="utf-8")
    spend = sorted((samples / "marketing_spend").iterdir())[0]
    spend.write_text(spend.read_text(encoding="utf-8").replace("530.00", "531.00"), encoding="utf-8")
    rates = samples / "exchange_rates.csv"
    rates.write_text(rates.read_text(encoding="utf-8") + "2026-11,USD,1\n2026-11,EUR,-1\n", encoding="utf-8")


@pytest.fixture(scope="module")
def changed_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the sample data after one day of changes."""
    samples = tmp_path_factory.mktemp("changed") / "fixtures"
    shutil.copytree(FIXTURES, samples)
    change(samples)
    return samples


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home folder after a run on the sample data."""
    home = tmp_path_factory.mktemp("yesterday") / "home"
    assert killed_run(home, FIXTURES, EMBEDDED, YESTERDAY)[0] == 0
    return home


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory, yesterday: Path, changed_samples: Path) -> tuple[Tables, list[str]]:
    """Tables after a second run, which loads the changed sample data, and the points that the second run passed."""
    home = tmp_path_factory.mktemp("today") / "home"
    shutil.copytree(yesterday, home)
    _, points = killed_run(home, changed_samples, EMBEDDED, TODAY)
    return rows_of(home), points


def sample_of(points: list[str], engine: str) -> list[str]:
    """Return the points at which runs are killed: all points or a random sample of them."""
    chosen = list(dict.fromkeys(points))
    if engine != EMBEDDED:
        return random.Random(engine).sample(chosen, min(SEEDS, len(chosen)))
    if IS_TORTURE:
        return chosen
    silver_and_ops = [point for point in chosen if "_silver" in point or "_ops" in point]
    return random.Random(20261124).sample(silver_and_ops, min(SEEDS * POINTS_PER_SEED, len(silver_and_ops)))


@pytest.mark.torture
def test_repeated_run_after_a_kill_gives_the_tables_of_an_uninterrupted_run(
    tmp_path: Path, yesterday: Path, changed_samples: Path, today: tuple[Tables, list[str]], engine: str
) -> None:
    expected, points = today
    for point in sample_of(points, engine):
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(yesterday, home)
        code, _ = killed_run(home, changed_samples, engine, TODAY, point)
        assert code == -9, f"the run was not killed at {point}"
        code, _ = killed_run(home, changed_samples, engine, TODAY_AGAIN)
        assert code == 0
        rows = rows_of(home)
        for name in TABLES_OF_DATA:
            assert rows[name] == expected[name], f"{name}, killed at: {point}"


def test_changed_samples_change_every_gold_table_and_fill_the_quarantines(
    yesterday: Path, today: tuple[Tables, list[str]], rows_of_home: Callable[[Path], Tables]
) -> None:
    before, (after, points) = rows_of_home(yesterday), today
    unchanged = {name for name in TABLES_OF_DATA if before[name] == after[name]}
    # The samples have no orders.
    assert {name for name in unchanged if name.endswith("_gold")} == {"country_monthly_orders_gold"}
    filled = {name for name in TABLES_OF_DATA if name.endswith("_quarantine") and after[name]}
    assert filled == {
        "customers_silver_quarantine",
        "transactions_silver_quarantine",
        "retails_silver_quarantine",
        "events_silver_quarantine",
        "exchange_rates_silver_quarantine",
    }
    assert {point.split()[0] for point in points} == {"task", "write"}


@pytest.fixture(scope="module")
def rows_of_home() -> Callable[[Path], Tables]:
    """The function `rows_of`, as a fixture."""
    return rows_of
