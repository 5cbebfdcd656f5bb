"""The receipts of a retailer: every table is compared with an account that DuckDB computes from the source."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from deltalake import DeltaTable

from cdp_lib.contracts.analytics import CUSTOMER_DEMOGRAPHICS_GOLD, CUSTOMER_VALUE_GOLD
from cdp_lib.contracts.silver import ID_KEYS_SILVER, RETAILS_SILVER
from cdp_lib.contracts.table import TableContract

from .model import Model, difference
from .play import COMPARED

LINES = 400


@pytest.fixture(scope="module")
def receipts(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    """The module `benchmarks/receipts.py`."""
    return benchmark_module("receipts")


def table_rows(home: Path, contract: TableContract, columns: list[str] | None = None) -> list[dict[str, Any]]:
    return DeltaTable(home / "warehouse" / "sales" / contract.name).to_pyarrow_table(columns=columns).to_pylist()


def rows_of_source(database: Path, home: Path, zone: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the source in the columns of the model. Text identifiers are replaced by their numbers."""
    ids = {(row["entity"], row["source_id"]): row["id"] for row in table_rows(home, ID_KEYS_SILVER)}
    assert len({(entity, number) for (entity, _), number in ids.items()}) == len(ids)

    def read(table: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(database)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608

    active = {"is_active": True}
    sales = []
    for line in read("RECEIPT_LINE"):
        sold_at = datetime.fromisoformat(line["SOLD_AT"])
        sales.append(
            {
                "transaction_id": ids["transactions", f"{line['RECEIPT']}|{line['LINE']}"],
                "customer_id": line["CLIENT"] and ids["customers", line["CLIENT"]],
                "product_id": ids["products", line["SKU"]],
                "store_id": line["BRANCH"],
                "quantity": line["PIECES"],
                "transaction_date": f"{sold_at.astimezone(ZoneInfo(zone)):%Y-%m-%d}",
                "sold_at": f"{sold_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z",
                "order_id": line["RECEIPT"],
                "unit_price": line["ASKED"],
                "line_amount": line["PAID"],
                "discount_amount": line["DISCOUNT"],
                "tax_amount": line["TAX"],
                "currency": line["CURRENCY"],
                "channel": line["CHANNEL"],
                "promotion_code": line["COUPON"],
            }
        )
    products = [{"product_id": ids["products", row["SKU"]], **row} for row in read("ARTICLE")]
    return {
        "customers": [
            {
                "customer_id": ids["customers", row["CODE"]],
                "full_name": row["NAME"],
                "email": row["MAIL"],
                "country": row["LAND"],
                "registration_date": row["SINCE"],
                "household_id": row["HOUSEHOLD"],
                **active,
            }
            for row in read("CLIENT")
        ],
        "products": [
            {
                "product_id": row["product_id"],
                "product_name": row["TITLE"],
                "category": row["GROUP_NAME"],
                "department": row["DEPARTMENT"],
                "brand": row["BRAND"],
                **active,
            }
            for row in products
        ],
        "prices": [
            {"product_id": row["product_id"], "price": row["LIST_PRICE"], "unit_cost": row["COST"]} for row in products
        ],
        "stores": [
            {"store_id": row["BRANCH"], "store_name": row["TITLE"], "location": row["LAND"], **active}
            for row in read("BRANCH")
        ],
        "sales": sales,
        "contacts": [],
        "answers": [],
        "events": [],
        "spend": [],
        "predictions": table_rows(home, CUSTOMER_VALUE_GOLD, ["person_id", "predictive_clv"]),
    }


@pytest.mark.torture
def test_every_table_equals_the_account_of_the_receipts(
    cdp: Callable[..., Any], receipts: ModuleType, engine: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    database, sources = receipts.Receipts(LINES, seed=7).write(tmp_path)
    own = {"reporting_currency": "EUR", "business_time_zone": receipts.TIME_ZONE, "amounts_include_tax": "true"}
    own["identity_rules"] = ""  # The account does not resolve identities: each customer is a person.
    variables = [part for name, value in own.items() for part in ("--var", f"{name}={value}")]
    secrets = {"CDP_SECRET_CDP_DATABASE_URL": f"sqlite:///{database}"}
    ended = cdp("run", "--home", home, "--sources", sources, "--engine", engine, *variables, **secrets)
    assert ended.returncode == 0, ended.stderr

    rows = rows_of_source(database, home, receipts.TIME_ZONE)
    rates = [line.split(",") for line in (tmp_path / "rates.csv").read_text(encoding="utf-8").split()[1:]]
    rows["rates"] = [dict(zip(("month", "currency", "rate"), rate, strict=True)) for rate in rates]
    run = {"gross_margin": "1", "reporting_currency": "EUR", "amounts_include_tax": "true", "last_day": "2030-01-01"}
    model = Model(rows | {"run": [run]})
    for contract, columns in COMPARED.items():
        lines = difference(contract, columns, table_rows(home, contract, columns), model.rows(contract, columns))
        assert not lines, "\n".join([contract.name, str(columns), *lines[:20]])

    lines = table_rows(home, RETAILS_SILVER)
    assert {line["order_id"] for line in lines} <= {str(sale["order_id"]) for sale in rows["sales"]}
    assert min(int(line["order_id"]) for line in lines) > 2**53
    attributes = {str(row["attributes"]) for row in table_rows(home, CUSTOMER_DEMOGRAPHICS_GOLD)}
    assert attributes == {"[('AGE_BAND', '18-24')]", "[('AGE_BAND', '65+')]"}
