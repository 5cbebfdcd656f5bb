"""Tests of the whole job, from sources to KPIs, on a shop that is large enough to fit models."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable

from cdp_lib.contracts.analytics import ANALYTICS_TABLES
from cdp_lib.contracts.identity import PERSONS_SILVER
from cdp_lib.contracts.table import TableContract

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FIRST_DAY, DAYS, CUSTOMERS = date(2025, 1, 1), 540, 1500
AS_OF = FIRST_DAY + timedelta(days=DAYS - 1)

# These tests are too slow for normal test runs. Other tests compare the engines on a shop with a few customers.
pytestmark = pytest.mark.torture

Rows = list[dict[str, Any]]


def rows_of(home: Path, contract: TableContract) -> Rows:
    """Return the rows of a table, sorted by key."""
    rows = DeltaTable(home / "warehouse" / "sales" / contract.name).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: [str(row[name]) for name in contract.key])


def write_shop(folder: Path) -> None:
    """Write the data of a shop whose customers buy and churn as in the Pareto/NBD model.

    Every twentieth customer never buys.
    """
    generator = np.random.default_rng(20261125)
    people, sales = [], []
    for number in range(1, CUSTOMERS + 1):
        start = int(generator.integers(0, DAYS))
        country = ("Egypt", "Saudi Arabia", "UAE")[number % 3]
        day = str(FIRST_DAY + timedelta(days=start))
        people.append(
            {
                "customer_id": number,
                "full_name": f"Customer {number}",
                "email": f"c{number}@example.com",
                "country": country,
                "registration_date": day,
            }
        )
        if number % 20:
            rate, end = generator.gamma(0.6, 1 / 60), start + generator.exponential(1 / generator.gamma(0.6, 1 / 70))
            repeats = start + np.cumsum(generator.exponential(1 / rate, 200))
            days = [start, *(int(at) for at in repeats if at < min(end, DAYS))]
            spend_scale = 1 / generator.gamma(4.0, 1 / 20)
            sales += [(number, day, 1 + int(generator.gamma(3.0, spend_scale))) for day in days]
    (folder / "customers.json").write_text(json.dumps(people), encoding="utf-8")
    with closing(sqlite3.connect(folder / "shop.sqlite")) as database:
        database.executescript((FIXTURES / "database.sql").read_text(encoding="utf-8"))
        database.execute("DELETE FROM transactions")
        database.executemany(
            "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)",
            [
                (number, customer, number % 10 + 1, number % 5 + 1, quantity, str(FIRST_DAY + timedelta(days=day)))
                for number, (customer, day, quantity) in enumerate(sales, 1)
            ],
        )
        database.commit()


@pytest.fixture(scope="module")
def run_shop(tmp_path_factory: pytest.TempPathFactory, cdp: Callable[..., Any]) -> Callable[[str], Path]:
    """Return a function that runs the job on the shop's data with an engine, and returns the home folder."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)

    def run(engine: str) -> Path:
        home = folder / engine
        with subprocess.Popen(
            [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONUNBUFFERED": "1"},
        ) as server:
            port = server.stdout.readline().split("port ")[1].split(" ")[0]
            try:
                ended = cdp(
                    *("run", "--engine", engine, "--home", home, "--param", f"as_of={AS_OF}"),
                    *("--var", f"customers_api_url=http://127.0.0.1:{port}/customers.json"),
                    *("--var", "gross_margin=0.4"),
                    CDP_SECRET_CDP_DATABASE_URL=f"sqlite:///{folder}/shop.sqlite",
                )
            finally:
                server.kill()
        assert ended.returncode == 0, ended.stderr
        return home

    return run


@pytest.fixture(scope="module")
def home(run_shop: Callable[[str], Path], engine: str) -> Path:
    return run_shop(engine)


def test_every_buyer_is_predicted_by_a_stored_fit(home: Path) -> None:
    fits = {row["model"]: row for row in rows_of(home, _table("model_fits_gold"))}
    assert {name: (row["state"], row["last_good_version"]) for name, row in fits.items()} == {
        name: ("fitted", fits[name]["model_version"]) for name in ("pareto_nbd", "gamma_gamma")
    }
    value = rows_of(home, _table("customer_value_gold"))
    customers = {row["person_id"]: row["customer_ids"] for row in rows_of(home, PERSONS_SILVER) if row["customer_ids"]}
    assert sorted(int(number) for numbers in customers.values() for number in numbers) == [*range(1, CUSTOMERS + 1)]
    assert {row["person_id"] for row in value} == {*customers}
    for row in value:
        [customer] = customers[row["person_id"]]
        bought = int(customer) % 20 != 0
        assert row["prediction_state"] == ("predicted" if bought else "never_bought")
        assert (row["predictive_clv"] is not None) == bought
        if bought:
            assert row["purchase_model_version"] == fits["pareto_nbd"]["model_version"]
            assert 0 < row["churn_probability"] < 1


def test_model_forecast_of_the_holdout_beats_the_baselines(home: Path) -> None:
    measures = {
        (row["model"], row["measure"]): row["value"]
        for row in rows_of(home, _table("model_quality_gold"))
        if row["decile"] == 0
    }
    for baseline in ("active_if_recent", "own_rhythm", "logistic"):
        assert measures["pareto_nbd", "brier_score"] < measures[baseline, "brier_score"]
        assert measures["pareto_nbd", "auc"] > measures[baseline, "auc"]
    assert abs(measures["pareto_nbd", "total_error"]) < 0.15


def test_every_customer_is_in_one_segment_and_one_movement(home: Path) -> None:
    segments = rows_of(home, _table("customer_segments_gold"))
    assert len({row["person_id"] for row in segments}) == len(segments) == CUSTOMERS
    movements = rows_of(home, _table("segment_movements_gold"))
    assert sum(row["customer_count"] for row in movements) == CUSTOMERS
    assert len({row["segment"] for row in segments}) >= 7


def test_customer_values_add_up_to_the_kpis(home: Path) -> None:
    value = rows_of(home, _table("customer_value_gold"))
    latest = {
        row["kpi"]: row
        for row in rows_of(home, _table("kpi_monthly_gold"))
        if row["dimension"] == "all" and row["month"] == AS_OF.replace(day=1)
    }
    predicted = [row["predictive_clv"] for row in value if row["predictive_clv"] is not None]
    assert latest["clv_predictive"]["numerator"] == pytest.approx(sum(predicted), abs=0.01)
    assert latest["clv_predictive"]["denominator"] == len(predicted)
    assert latest["clv_historic"]["numerator"] == pytest.approx(float(sum(row["historic_clv"] for row in value)), abs=9)
    assert latest["customers"]["value"] == CUSTOMERS


def test_every_engine_computes_the_same_figures(home: Path, run_shop: Callable[[str], Path], engine: str) -> None:
    if engine == "sail":
        pytest.skip("the run of the other engine compares both engines")
    sail_home = run_shop("sail")
    for contract in ANALYTICS_TABLES:
        rows, sail_rows = rows_of(home, contract), rows_of(sail_home, contract)
        assert len(rows) == len(sail_rows), contract.name
        for row, sail_row in zip(rows, sail_rows, strict=True):
            different = {
                name: (row[name], sail_row[name])
                for name in row
                if not _is_same(row[name], sail_row[name]) and name != "fitted_at"
            }
            assert not different, contract.name


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other


def _table(name: str) -> TableContract:
    return next(contract for contract in ANALYTICS_TABLES if contract.name == name)


def test_report_shows_predictions(home: Path) -> None:
    page = (home / "report.html").read_text(encoding="utf-8")
    content = re.search(r'<script id="report" type="application/json">(.*?)</script>', page)
    datasets = json.loads(content[1])["datasets"]
    assert {row["kind"] for row in datasets["clv_bands"]} == {"so far", "expected"}
    assert {row["decile"] for row in datasets["model_deciles"]} == set(range(1, 11))
    [total] = [
        row
        for row in datasets["customer_tiles"]
        if (row["country"], row["segment"]) == ("All countries", "All segments")
    ]
    value = [row for row in rows_of(home, _table("customer_value_gold")) if row["predictive_clv"] is not None]
    assert total["predictive_clv"] == pytest.approx(sum(row["predictive_clv"] for row in value) / len(value))
