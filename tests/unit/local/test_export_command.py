"""Tests of the command `cdp export segment`."""

from __future__ import annotations

import csv
import stat
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from cdp_lib.contracts.analytics import CUSTOMER_SEGMENTS_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import ID_KEYS_SILVER
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_local import export_command
from cdp_local.cli import app
from cdp_local.export_command import write_csv

DECIDED_AT = datetime(2026, 5, 3, tzinfo=UTC)


def row_of(contract: TableContract, **values: object) -> dict[str, object]:
    """Return a row with the given values. Required columns without a value get one of their type."""
    samples = {
        "BIGINT": 1,
        "INT": 1,
        "STRING": "x",
        "DATE": date(2026, 6, 30),
        "BOOLEAN": True,
        "TIMESTAMP": DECIDED_AT,
    }
    return {column.name: samples[column.type] for column in contract.columns if column.required} | values


def consents(store, *persons: int, purpose: str = "marketing", channel: str = "email", is_allowed: bool = True) -> None:
    """Replace all consents: the given persons made a decision."""
    decided = {"purpose": purpose, "channel": channel, "is_allowed": is_allowed, "decided_at": DECIDED_AT}
    rows = [row_of(CONSENT_CURRENT_SILVER, person_id=person, **decided) for person in persons]
    store.replace(CONSENT_CURRENT_SILVER, store.frame(CONSENT_CURRENT_SILVER, rows))


@pytest.fixture
def shop(store, monkeypatch):
    """Return a store with persons 1 and 2 at risk. Person 1 has two customers, and person 3 is loyal."""
    persons = {1: "At risk", 2: "At risk", 3: "Loyal"}
    store.replace(
        CUSTOMER_SEGMENTS_GOLD,
        store.frame(
            CUSTOMER_SEGMENTS_GOLD, [row_of(CUSTOMER_SEGMENTS_GOLD, person_id=n, segment=s) for n, s in persons.items()]
        ),
    )
    links = [(101, 1), (7, 1), (102, 2), (103, 3), (None, 2)]
    store.replace(
        PERSON_LINKS_SILVER,
        store.frame(
            PERSON_LINKS_SILVER,
            [
                row_of(PERSON_LINKS_SILVER, record_key=f"record:{n}", customer_id=customer, person_id=person)
                for n, (customer, person) in enumerate(links)
            ],
        ),
    )

    consents(store, *persons)

    @contextmanager
    def workspace(*_):
        yield SimpleNamespace(session=None, bundle=SimpleNamespace(variable=str), home=Path("home"))

    monkeypatch.setattr(export_command, "open_workspace", workspace)
    monkeypatch.setattr(export_command, "open_store", lambda *_: store)
    return store


def run(*arguments: object, channel: str = "email"):
    return CliRunner().invoke(app, ["export", "segment", *map(str, arguments), "--channel", channel])


def test_export_writes_the_customers_of_the_persons_in_a_private_file(shop, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    done = run("at risk", "--to", file)
    assert (done.exit_code, done.stdout.split(" written")[0]) == (
        0,
        "3 rows of At risk who agreed to marketing by email",
    )
    assert file.read_text(encoding="utf-8").splitlines() == ["person_id,customer_id", "1,101", "1,7", "2,102"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))


@pytest.mark.first_engine
@pytest.mark.parametrize(
    "decision",
    [
        {"is_allowed": False},
        {"channel": "sms"},
        {"purpose": "analytics", "channel": "all"},
        {"purpose": "service"},
    ],
)
def test_person_who_did_not_agree_to_this_channel_is_not_exported(shop, tmp_path: Path, decision) -> None:
    consents(shop, 2, **decision)
    assert run("At risk", "--to", tmp_path / "x.csv").exit_code == 0
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines() == ["person_id,customer_id"]


def test_export_needs_a_channel_of_marketing(shop, tmp_path: Path) -> None:
    refused = run("At risk", "--to", tmp_path / "x.csv", channel="post")
    assert str(refused.exception) == "Unknown channel 'post' of marketing: the channels are email, sms, phone."
    assert not (tmp_path / "x.csv").exists()


def test_parquet_has_the_ids_of_the_source(shop, tmp_path: Path) -> None:
    keys = [{"entity": "customers", "source_id": "=A-1", "id": 101}, {"entity": "stores", "source_id": "S", "id": 102}]
    shop.replace(ID_KEYS_SILVER, shop.frame(ID_KEYS_SILVER, keys))
    assert run("At risk", "--to", tmp_path / "list.parquet").exit_code == 0
    assert parquet.read_table(tmp_path / "list.parquet").to_pylist() == [
        {"person_id": 1, "customer_id": "7"},
        {"person_id": 1, "customer_id": "=A-1"},
        {"person_id": 2, "customer_id": "102"},
    ]


def test_existing_file_is_replaced_only_with_force(shop, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("mine", encoding="utf-8")
    file.chmod(0o644)
    refused = run("Loyal", "--to", file)
    assert isinstance(refused.exception, CdpError) and "replace it with --force" in str(refused.exception)
    assert file.read_text(encoding="utf-8") == "mine"
    assert run("Loyal", "--to", file, "--force").exit_code == 0
    assert file.read_text(encoding="utf-8").splitlines() == ["person_id,customer_id", "3,103"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("VIP", "x.csv", "Unknown segment 'VIP': the segments are Never bought, Lost, New, "),
        ("Loyal", "x.xlsx", "is neither CSV nor Parquet: write to a file that ends in .csv or .parquet"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(shop, tmp_path: Path, name: str, file: str, message: str) -> None:
    refused = run(name, "--to", tmp_path / file)
    assert isinstance(refused.exception, CdpError) and message in str(refused.exception)
    assert "\n" not in str(refused.exception)
    assert not (tmp_path / file).exists()


def test_segment_without_customers_gives_a_file_with_a_header(shop, tmp_path: Path) -> None:
    assert run("Lost", "--to", tmp_path / "x.csv").exit_code == 0
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines() == ["person_id,customer_id"]


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    ids = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a=b", 'say "hi"']
    write_csv(pa.table({"person_id": range(len(ids)), "customer_id": ids}), tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        cells = [row[1] for row in csv.reader(file)][1:]
    assert cells == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\rx", "a=b", 'say "hi"']
