"""Test of `cdp demo`: an invented shop goes through the whole platform, and every tile has figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from browser import datasets_in
from cdp_lib.contracts import TABLES
from cdp_local.report.dashboard import read_dashboard
from cdp_local.report.page import DASHBOARD

pytestmark = pytest.mark.first_engine

PROJECT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {
    "customers_and_segments": ("Champions", "predicted", "█"),
    "customer_story": ("Records, and why they belong to the person", "customer:1"),
    "kpis": ("2025-12", "Fragrance", "paid_search", "█"),
    "data_quality": ("product_is_known", "transactions_silver"),
}
"""Texts that each notebook shows on the demo's tables."""

_RUN_NOTEBOOKS = """
import io, json, sys
from pathlib import Path
from cdp_local.notebooks import run_notebook
from cdp_local.workspace import open_workspace

printed = {}
with open_workspace("sail", Path(sys.argv[1]), {}) as workspace:
    names = {name: workspace.bundle.variable(name) for name in ("catalog", "schema")}
    for notebook in sys.argv[2:]:
        output = io.StringIO()
        path = Path("notebooks/explore", f"{notebook}.py")
        run_notebook(path, names | {"customer_id": "1"}, workspace.notebooks, output)
        printed[notebook] = output.getvalue()
print(json.dumps(printed))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cdp: Callable[..., Any]) -> Path:
    """Run the demo, and return its home folder. The run takes about 15 seconds, because it is the whole product."""
    home = tmp_path_factory.mktemp("demo")
    run = cdp("demo", "--home", home)
    assert run.returncode == 0, run.stderr
    assert f"Report: {home / 'report.html'}" in run.stdout
    return home


def rows_of(home: Path, table: str) -> list[dict[str, Any]]:
    return DeltaTable(home / "warehouse" / "sales" / table).to_pyarrow_table().to_pylist()


def test_every_table_of_silver_and_gold_has_rows(home: Path) -> None:
    names = [name for name, contract in TABLES.items() if name.endswith("_gold") or name.endswith("_silver")]
    counts = {name: DeltaTable(home / "warehouse" / "sales" / name).count() for name in names}
    # No person has overruled a link.
    assert {name for name, count in counts.items() if count == 0} == {"identity_overrides_silver"}
    assert counts["person_links_silver"] > counts["persons_silver"]


def test_records_of_a_customer_are_joined(home: Path) -> None:
    links = rows_of(home, "person_links_silver")
    customers = [link["person_id"] for link in links if link["record_key"].startswith("customer:")]
    assert len(set(customers)) < len(customers)
    contacts = {link["person_id"] for link in links if link["record_key"].startswith("contact:")}
    assert len(contacts & set(customers)) > 0.5 * len(contacts)


def test_every_buyer_has_a_prediction(home: Path) -> None:
    buyers = [row for row in rows_of(home, "customer_value_gold") if row["transaction_count"]]
    assert len(buyers) > 1_500
    assert {row["prediction_state"] for row in buyers} == {"predicted"}
    assert all(0 <= row["churn_probability"] <= 1 and row["predictive_clv"] >= 0 for row in buyers)


def test_months_are_complete_and_every_tile_of_the_report_has_rows(home: Path) -> None:
    dashboard, datasets = read_dashboard(PROJECT / DASHBOARD), datasets_in(home / "report.html")
    assert {f"{row['as_of']}" for row in rows_of(home, "customer_value_gold")} == {"2025-12-31"}
    empty = set()
    for widget in (widget for page in dashboard.pages for widget in page.widgets if widget.dataset):
        filters = [each for each in dashboard.filters if widget.dataset in each.datasets]
        rows = [row for row in datasets[widget.dataset] if all(row[f.column] == f.default for f in filters)]
        columns = [field.column for field in widget.fields.values()]
        if not any(all(row[column] is not None for column in columns) for row in rows):
            empty.add(widget.name)
    assert empty == set()


def test_notebooks_of_people_show_the_demo(home: Path) -> None:
    command = [sys.executable, "-c", _RUN_NOTEBOOKS, str(home), *NOTEBOOKS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=180)
    assert ended.returncode == 0, ended.stderr[-2000:]
    printed = json.loads(ended.stdout.splitlines()[-1])
    for notebook, texts in NOTEBOOKS.items():
        assert [text for text in texts if text not in printed[notebook]] == [], notebook


def test_home_of_the_demo_takes_no_other_data(home: Path, cdp: Callable[..., Any], tmp_path: Path) -> None:
    own = cdp("run", "--home", home, "--var", f"sources_file={PROJECT / 'sources.yml'}")
    assert own.returncode == 1 and "holds sample data, but this run would read your own sources" in own.stderr
    again = cdp("run", "--home", home)
    assert again.returncode == 0 and "Nothing is due" in again.stdout
