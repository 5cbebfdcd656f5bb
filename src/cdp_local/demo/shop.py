"""The demo shop: an invented retailer with 2,000 customers and two years of data, as files and tables of its sources.

    Shop().write(Path("folder"))

The folder has the layout of `fixtures/`, except that the database is a SQLite file. The same seed gives the same shop.
No person exists: names are made of syllables, e-mail addresses end in example.com, .org and .net, and nobody gets
the phone numbers.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cdp_local.demo.assortment import CURRENCIES, DAYS, MONTHS, days_as_text, products, stores, times_as_text
from cdp_local.demo.names import COUNTRY_NAMES
from cdp_local.demo.people import PeopleRates, make_people
from cdp_local.demo.records import RecordRates, draw_facts
from cdp_local.demo.sales import draw_lines, draw_shoppers, draw_visits
from cdp_local.demo.typed import NOTHING, typed_records
from cdp_local.demo.visitors import draw_mail, draw_sessions

_RECORDS = RecordRates(records=(0.30, 0.52, 0.13, 0.05), first_is_customer=0.93, later_is_customer=0.06)
_CHANNELS = {"paid_search": 0.28, "paid_social": 0.22, "email": 0.08, "organic": 0.26, "referral": 0.16}
_COSTS = {"paid_search": 460.0, "paid_social": 430.0, "email": 90.0, "referral": 150.0}
"""Money spent on a channel in a typical month, in EUR."""
_DECIDES = 0.08
"""Share of the customers who use the preference centre."""

_DECISIONS = (
    ("marketing", "email", "withdrawn", 0.5),
    ("marketing", "email", "given", 0.3),
    ("personalisation", "online", "given", 0.15),
    ("analytics", "all", "refused", 0.05),
)
"""Purpose, channel, state and share of the decisions in the preference centre."""


@dataclass(frozen=True)
class Shop:
    """The demo shop.

    Attributes:
        persons: Number of persons; some of them are contacts only, and some have several accounts.
        seed: Seed of all random numbers.
    """

    persons: int = 2_000
    seed: int = 20240101

    def write(self, folder: Path) -> None:
        """Write the sources of the shop.

        Args:
            folder: Folder to write to. Files of an earlier run are replaced.
        """
        for name in ("events", "marketing_spend", "consents"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        customers = self._customers.drop(columns="person").to_dict("records")
        (folder / "customers.json").write_text(json.dumps(customers, ensure_ascii=False), encoding="utf-8")
        contacts = self._contacts.drop(columns=["person", "first_day"]).to_dict("records")
        (folder / "crm_contacts.json").write_text(json.dumps(contacts, ensure_ascii=False), encoding="utf-8")
        self._write_database(folder / "database.sqlite")
        self._write_events(folder / "events")
        self._write_spend(folder)
        self._write_consents(folder / "consents")

    def _rng(self, part: int) -> np.random.Generator:
        """Return the random numbers of a part of the shop: a change of one part leaves the other parts as they are."""
        return np.random.default_rng([self.seed, 100 + part])

    @cached_property
    def _people(self) -> pd.DataFrame:
        return make_people(self.persons, self.seed, PeopleRates())

    @cached_property
    def _rows(self) -> pd.DataFrame:
        rows = typed_records(self._people, draw_facts(self._people, self.seed, _RECORDS), self.seed)
        rows["code"] = ["C-" + str(number) if pd.notna(number) else None for number in rows["customer_id"]]
        return rows

    @cached_property
    def _shoppers(self) -> pd.DataFrame:
        return draw_shoppers(self.persons, self._rng(1))

    @cached_property
    def _visits(self) -> pd.DataFrame:
        visits = draw_visits(self._shoppers, stores(), self._people["country0"].to_numpy(), self._rng(2))
        return visits[(visits["person"] < 0) | visits["person"].isin(self._accounts["person"])].reset_index(drop=True)

    @cached_property
    def _accounts(self) -> pd.DataFrame:
        return self._rows[self._rows["is_customer"]].reset_index(drop=True)

    @cached_property
    def _customers(self) -> pd.DataFrame:
        accounts, first_day = self._accounts, self._shoppers["first_day"].to_numpy()
        return pd.DataFrame(
            {
                "person": accounts["person"],
                "code": accounts["code"],
                "full_name": accounts["full_name"],
                "email": accounts["email"],
                "country": [COUNTRY_NAMES[code][0] for code in accounts["country0"]],
                "registration_date": days_as_text(first_day[accounts["person"]]),
                "household_id": accounts["household_id"],
            }
        ).astype(object)

    @cached_property
    def _contacts(self) -> pd.DataFrame:
        """One row per contact, with the columns of the CRM."""
        rows, rng = self._rows[~self._rows["is_customer"]].reset_index(drop=True), self._rng(3)
        count, first_day = len(rows), self._shoppers["first_day"].to_numpy()[rows["person"]]
        channel = rng.choice(list(_CHANNELS), self.persons, p=list(_CHANNELS.values()))[rows["person"]]
        tiers = np.array(["none", "silver", "gold"])[np.digitize(self._shoppers["rate"], [0.02, 0.05])][rows["person"]]
        created = days_as_text(first_day)
        changed = days_as_text(np.clip(first_day + rng.integers(0, 400, count), None, DAYS - 1))
        contacts = pd.DataFrame(
            {
                "person": rows["person"],
                "first_day": first_day,
                "contactid": rows["contact_id"],
                "fullname": rows["full_name"],
                "emailaddress1": rows["email"],
                "mobilephone": rows["phone"],
                "birthdate": [None if pd.isna(day) else f"{day:%Y-%m-%d}" for day in rows["birth_date"]],
                "gendercode": rows["gender"].map({"male": 1, "female": 2}).astype(object),
                "address1_city": rows["city"],
                "address1_postalcode": rows["postal_code"],
                "address1_country": rows["country"],
                "cdp_customerid": [None if pd.isna(number) else f"C-{number}" for number in rows["names_customer"]],
                "cdp_acquisitionchannel": channel,
                "cdp_acquisitiondate": created,
                "cdp_loyaltytier": tiers,
            }
        ).astype(object)
        for kind, share in (("email", 0.72), ("sms", 0.35), ("phone", 0.2)):
            decided, agrees = rng.random(count) < 0.9, rng.random(count) < share
            contacts[f"cdp_{kind}consent"] = np.where(decided, agrees.astype(object), NOTHING)
            contacts[f"cdp_{kind}consenton"] = np.where(decided, [f"{day}T09:30:00Z" for day in created], NOTHING)
        contacts["createdon"] = [f"{day}T09:00:00Z" for day in created]
        contacts["modifiedon"] = [f"{day}T10:00:00Z" for day in changed]
        return contacts.where(contacts.notna(), None)

    def _write_database(self, path: Path) -> None:
        """Write the tables of products, stores and receipts, each with the names of the shop."""
        rng = self._rng(4)
        goods, branches = products(self._rng(5)), stores()
        lines = draw_lines(self._visits, self._shoppers, goods, rng).sort_values(["visit", "line"])
        accounts = self._accounts.groupby("person")["code"].agg(list)
        of_visit = {person: codes for person, codes in accounts.items() if len(codes) > 1}
        code = lines["person"].map(accounts.str[0])
        several = lines["person"].isin(of_visit)
        code[several] = [
            of_visit[p][v % 2] for p, v in zip(lines["person"][several], lines["visit"][several], strict=True)
        ]
        receipts = pd.DataFrame(
            {
                "order_id": [f"R{visit:07}" for visit in lines["visit"]],
                "line": lines["line"],
                "customer_id": code,
                "product_id": lines["sku"],
                "store_id": branches["code"].to_numpy()[lines["store"]],
                "quantity": lines["quantity"].round(3).astype(str),
                "sold_at": times_as_text(lines["day"], lines["second"]),
                "unit_price": lines["unit_price"].map("{:.2f}".format),
                "line_amount": lines["paid"].map("{:.2f}".format),
                "discount_amount": lines["discount"].map("{:.2f}".format),
                "tax_amount": lines["tax"].map("{:.2f}".format),
                "currency": lines["currency"],
                "channel": lines["channel"],
                "promotion_code": lines["promotion"],
            }
        )
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            _create(connection, "products", goods.rename(columns=_PRODUCT)[list(_PRODUCT.values())], "product_id")
            branches["location"] = [COUNTRY_NAMES[code][0] for code in branches["country"]]
            columns = {"code": "store_id", "title": "store_name", "location": "location"}
            _create(connection, "stores", branches.rename(columns=columns)[list(columns.values())], "store_id")
            _create(connection, "receipt_lines", receipts, "order_id, line")
            connection.commit()

    def _write_events(self, folder: Path) -> None:
        """Write a file of events per month."""
        accounts = self._accounts.drop_duplicates("person").set_index("person")[["code", "household", "size"]]
        sessions = draw_sessions(self._visits, accounts, products(self._rng(5))["sku"], self._rng(6))
        readers = self._contacts[(self._contacts["cdp_emailconsent"] == True) & self._contacts["emailaddress1"].notna()]  # noqa: E712
        rng = self._rng(7)
        openness = rng.gamma(2, 0.5, len(readers))
        readers = pd.DataFrame(
            {"email": readers["emailaddress1"], "first_day": readers["first_day"].astype(int), "openness": openness}
        )
        events = pd.concat([sessions, draw_mail(readers, rng)], ignore_index=True).sort_values(["day", "second"])
        time = times_as_text(events["day"], events["second"])
        rows = events.rename(columns={"code": "customer_id"}).assign(
            event_id=[f"e-{number:06}" for number in range(len(events))],
            occurred_at=time,
        )[_EVENT.split()]
        for month, of_month in rows.groupby(time.astype("U7")):
            of_month.to_json(folder / f"{month}.jsonl", orient="records", lines=True)

    def _write_consents(self, folder: Path) -> None:
        """Write the decisions that customers made in the preference centre."""
        rng, accounts = self._rng(9), self._accounts.drop_duplicates("person")
        chosen = accounts[rng.random(len(accounts)) < _DECIDES].reset_index(drop=True)
        kinds = rng.choice(len(_DECISIONS), len(chosen), p=[share for *_, share in _DECISIONS])
        days = rng.integers(self._shoppers["first_day"].to_numpy()[chosen["person"]], DAYS)
        lines = ["record_id,customer_id,purpose,channel,state,decided_at,method,notice,notice_version"]
        for number, (code, kind, day) in enumerate(zip(chosen["code"], kinds, days_as_text(days), strict=True)):
            purpose, channel, state, _ = _DECISIONS[kind]
            lines.append(
                f"p-{number:04},{code},{purpose},{channel},{state},{day}T18:00:00Z,preference centre,privacy,4"
            )
        (folder / "preference_centre.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _write_spend(self, folder: Path) -> None:
        """Write a file of marketing spend per month, and the exchange rates to EUR."""
        rng, rates = self._rng(8), ["month,currency,rate"]
        for number, month in enumerate(MONTHS):
            rates += [
                f"{month},EUR,1",
                f"{month},GBP,{1.16 + 0.002 * (number % 9):.4f}",
                f"{month},USD,{0.92 + 0.003 * (number % 7):.4f}",
            ]
            season = 1.6 if month[-2:] in ("11", "12") else 1.0
            lines = ["month,channel,campaign,amount,currency"]
            for channel, cost in _COSTS.items():
                for code, share in (("GB", 0.5), ("IE", 0.25), ("US", 0.25)):
                    currency, per_euro = CURRENCIES[code]
                    amount = cost * share * per_euro * season * rng.uniform(0.85, 1.15)
                    lines.append(f"{month},{channel},{channel}_{code.lower()},{amount:.2f},{currency}")
            (folder / "marketing_spend" / f"{month}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "exchange_rates.csv").write_text("\n".join(rates) + "\n", encoding="utf-8")


_PRODUCT = {"sku": "product_id", "title": "product_name"} | {
    name: name for name in ("department", "category", "subcategory", "brand", "price", "unit_cost")
}
_EVENT = "event_id event_type occurred_at channel customer_id anonymous_id email session_id campaign product_id consent"


def _create(connection: sqlite3.Connection, table: str, rows: pd.DataFrame, key: str) -> None:
    """Create a table with the columns of the rows, and insert the rows."""
    columns = ", ".join(f"{name} {'INTEGER' if rows[name].dtype.kind == 'i' else 'TEXT'}" for name in rows.columns)
    connection.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({key}))")
    values = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows.columns))})", values)
