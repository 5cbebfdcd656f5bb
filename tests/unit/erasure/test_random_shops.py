"""Random shops from which random persons are erased at random moments, with kills."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import CONSENTS_BRONZE, CRM_CONTACTS_BRONZE, EVENTS_BRONZE
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.silver import RETAILS_SILVER
from cdp_lib.erasure.certificate import traces_to_search
from cdp_lib.erasure.erase import Erasure, request_erasure
from cdp_lib.erasure.persons import Request
from cdp_lib.erasure.scan import Hit, search_folders
from cdp_lib.erasure.traces import Traces
from cdp_lib.pipeline.run import Runner
from cdp_local.maintenance import forget_history
from effort import SEEDS

from ..warehouse import Warehouse, customer, product, sale, store

KEY = "a key of the tests"  # pragma: allowlist secret
NOW = datetime(2026, 4, 2, tzinfo=UTC)
SELECTION = (
    "+persons_silver",
    "+sales_by_country_gold",
    "+customer_product_affinity_gold",
    "+customer_acquisitions_silver",
)
RULES = """\
kinds:
  customer_id: {weight: 40}
  email: {weight: 16, persons_per_value: 1}
  device: {weight: 9, joins: anonymous, persons_per_value: 1}
"""
KEYED_BY_CUSTOMER = ("customers_silver", "customer_product_affinity_gold")
"""Tables whose rows of other customers must not change."""


def guid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


@dataclass
class Shop:
    """A random shop. Every identifier of a person contains the person's number, so that traces are easy to search."""

    random: random.Random
    sales: dict[int, dict[str, Any]] = field(default_factory=dict)

    def email(self, number: int) -> str:
        return f"person{number}x@example.com"

    def customers(self) -> list[dict[str, Any]]:
        # The customers 1 and 11, 2 and 12 … are one person with two accounts.
        return [
            customer(1000 + number, email=self.email(number % 10), full_name=f"Given{number} Family{number}x")
            for number in range(1, 15)
        ]

    def contacts(self) -> list[dict[str, Any]]:
        rows = []
        for number in self.random.sample(range(1, 10), 6):
            email, customer_id = (
                self.random.choice([self.email(number), self.email(number).upper()]),
                str(1000 + number),
            )
            known = self.random.choice(
                [
                    {"emailaddress1": email},
                    {"cdp_customerid": customer_id},
                    {"emailaddress1": email, "cdp_customerid": customer_id},
                ]
            )
            rows.append({"contactid": guid(7000 + number), "fullname": f"Given{number} Family{number}x", **known})
        return rows

    def buy(self, day: int) -> list[dict[str, Any]]:
        for number in range(6):
            who = self.random.choice([None, *range(1001, 1015)])
            at = date(2026, 2, 1) + timedelta(days=self.random.randrange(25))
            self.sales[day * 10 + number] = sale(
                day * 10 + number, at, customer_id=who, quantity=self.random.choice([1, 2, 5, -1])
            )
        return [*self.sales.values()]

    def events(self, day: int) -> list[dict[str, Any]]:
        # Each device is known from an event of its customer.
        known = {"occurred_at": "2026-02-01T07:00:00Z", "event_type": "app_open", "channel": "app"}
        rows = [
            {
                "event_id": f"first-{person}",
                "customer_id": str(1000 + person),
                "anonymous_id": f"device-{person}x",
                **known,
            }
            for person in range(1, 10)
            if day == 1
        ]
        for number in range(6):
            person = self.random.randrange(1, 10)
            who = self.random.choice(
                [
                    {"customer_id": str(1000 + person), "anonymous_id": f"device-{person}x"},
                    {"anonymous_id": f"device-{person}x"},
                    {"email": self.email(person)},
                    {"customer_id": str(1000 + person), "consent": "false"},
                ]
            )
            at = f"2026-02-{day:02d}T08:00:00Z"
            rows.append(
                {"event_id": f"{day}-{number}", "event_type": "page_view", "channel": "web", "occurred_at": at, **who}
            )
        return rows

    def decisions(self, day: int) -> list[dict[str, Any]]:
        rows = []
        for number in range(3):
            person = self.random.randrange(1, 10)
            who = self.random.choice([{"customer_id": str(1000 + person)}, {"email": self.email(person).upper()}])
            about = {"purpose": "marketing", "channel": "sms", "state": self.random.choice(["given", "refused"])}
            rows.append({"record_id": f"r{day}-{number}", "decided_at": f"2026-02-{day:02d}", **about, **who})
        return rows


def land(warehouse: Warehouse, shop: Shop, day: int) -> None:
    warehouse.land_sales(
        day, customers=shop.customers(), products=[product(1)], store=[store(1)], transactions=shop.buy(day)
    )
    warehouse.land(CRM_CONTACTS_BRONZE, day, *shop.contacts(), load="increment" if day > 1 else "snapshot")
    events = [{**each, "_source_file": f"day{day}"} for each in shop.events(day)]
    warehouse.land(EVENTS_BRONZE, day, *events, load="files")
    decisions = [{**each, "_source_file": f"day{day}"} for each in shop.decisions(day)]
    warehouse.land(CONSENTS_BRONZE, day, *decisions, load="files")


def runner(warehouse: Warehouse, rules: str, **parameters: str) -> Runner:
    opened = warehouse.runner(identity_rules=rules, shrink_limit="1", **parameters)
    return Runner(opened.store, opened.landing, opened.settings, opened.graph, KEY)


def run(warehouse: Warehouse, rules: str, **parameters: str) -> None:
    failed = [
        f"{each.table}: {each.error}"
        for each in runner(warehouse, rules, **parameters).refresh(SELECTION)
        if each.error
    ]
    assert not failed


def erase(warehouse: Warehouse, rules: str) -> None:
    erasure = Erasure.open(runner(warehouse, rules), KEY)
    erasure.scrub(lambda line: None)
    assert not [each.error for each in erasure.runner.refresh(SELECTION) if each.error]
    erasure.finish(NOW)


def traces(warehouse: Warehouse, persons: set[int]) -> list[str]:
    """Return where the landing and the tables still have one of the persons."""
    files = {str(path): path.read_text() for path in warehouse.folder.rglob("*") if path.is_file()}
    for contract in TABLES.values():
        if warehouse.store.exists(contract):
            files[contract.name] = str(warehouse.store.read(contract).toArrow().to_pylist())
    words = [
        word
        for number in persons
        for word in (
            *(f"person{number}x@", f"PERSON{number}X@", f"Family{number}x", f"device-{number}x", guid(7000 + number)),
            *(f"Family{number + 10}x", f"'customer_id': {1000 + number},", f'"customer_id": "{1000 + number}"'),
            *(f"'customer_id': {1010 + number},", f'"customer_id": "{1010 + number}"'),
        )
    ]
    return sorted(f"{place}: {word}" for place, text in files.items() for word in words if word in text)


def search_for(warehouse: Warehouse, home: Path, searched: list[Traces]) -> Counter[Hit]:
    """Return the traces of persons in all files, after the removal of old versions."""
    forget_history(home)
    found = [search_folders([warehouse.folder, warehouse.tables_folder], each) for each in searched]
    assert all(each.files > 100 and each.unreadable == [] for each in found)
    return sum((each.hits for each in found), Counter())


def rows_of_others(warehouse: Warehouse, persons: set[int]) -> dict[str, list[str]]:
    """Return the rows of all other customers, and the persons of their records."""
    gone = {1000 + number for number in persons} | {1010 + number for number in persons}
    tables: dict[str, list[str]] = {}
    for name in KEYED_BY_CUSTOMER:
        # The batch may change: a rewrite names the latest batch with an equal row, as any full refresh does.
        rows = warehouse.store.read(TABLES[name]).drop("_batch_id").toArrow().to_pylist()
        tables[name] = sorted(str(row) for row in rows if row["customer_id"] not in gone)
    links = warehouse.store.read(PERSON_LINKS_SILVER).toArrow().to_pylist()
    tables["persons"] = sorted(
        f"{row['record_key']} {row['person_id']}"
        for row in links
        if row["customer_id"] and row["customer_id"] not in gone
    )
    return tables


def revenue(warehouse: Warehouse) -> Decimal:
    return sum((row[0] for row in warehouse.rows(RETAILS_SILVER, "revenue")), Decimal(0))


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_erased_persons_are_gone_and_nothing_else_changes(warehouse: Warehouse, tmp_path: Path, seed: int) -> None:
    shop, rules = Shop(random.Random(seed)), tmp_path / "identity.yml"
    rules.write_text(RULES, encoding="utf-8")
    erased, searched = set[int](), list[Traces]()
    home = tmp_path / "home"
    (home / "warehouse").mkdir(parents=True)
    (home / "warehouse" / "sales").symlink_to(warehouse.tables_folder)
    moments = sorted(shop.random.sample(range(1, 4), 2))
    for day in range(1, 5):
        land(warehouse, shop, day)
        run(warehouse, str(rules), full_refresh=str(day == 4).lower())
        assert traces(warehouse, erased) == []
        if day not in moments:
            continue
        chosen = {*shop.random.sample([number for number in range(1, 5) if number not in erased], 2)}
        before, total = rows_of_others(warehouse, erased | chosen), revenue(warehouse)
        for number in chosen:
            named_by, name = shop.random.choice([("customer_id", str(1000 + number)), ("email", shop.email(number))])
            searched.append(traces_to_search(runner(warehouse, str(rules)), [Request(named_by, name)], KEY))
            request_erasure(runner(warehouse, str(rules)), [Request(named_by, name)], NOW)
        assert search_folders([warehouse.folder, warehouse.tables_folder], searched[-1]).hits
        erased |= chosen
        warehouse.dies_at(shop.random.randrange(40), lambda: erase(warehouse, str(rules)))
        erase(warehouse, str(rules))
        assert traces(warehouse, erased) == []
        assert rows_of_others(warehouse, erased) == before
        assert revenue(warehouse) == total
        assert search_for(warehouse, home, searched) == {}
        assert warehouse.complaints() == []
