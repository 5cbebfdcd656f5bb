"""Generate the data of a shop of any size and land it like data of real sources.

    from retail_data import Shop
    shop = Shop(sales=1_000_000)
    shop.land_history(Landing(folder))         # customers, contacts, products, stores, sales, events, spend, rates
    shop.land_small_batch(Landing(folder), 1)  # 20 events and 50 sales, some of them corrected or late
    shop.land_newest_sales(Landing(folder), 10_000)  # 10,000 more sales of the newest month

    .venv/bin/python benchmarks/retail_data.py FOLDER --sales 10000000    # land the data of a generated shop

The same seed gives the same shop. Sales are skewed as in real shops: some customers buy a hundred times and most only a
few times, and a tenth of the products has most of the sales. The script writes about a million sales per second with
numpy and pyarrow. It writes them in chunks of a million, so that memory does not grow with the number of sales.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cdp_lib.contracts.bronze import (
    CRM_CONTACTS_BRONZE,
    CUSTOMERS_BRONZE,
    EVENTS_BRONZE,
    EXCHANGE_RATES_BRONZE,
    MARKETING_SPEND_BRONZE,
    PRODUCTS_BRONZE,
    STORE_BRONZE,
    TRANSACTIONS_BRONZE,
)
from cdp_lib.contracts.table import BronzeContract
from cdp_lib.landing import FILE_FOLDER, Landing, Load, Manifest

CHUNK = 1_000_000
LINES_OF_RECEIPT = 5
LAST_DAY = date(2026, 6, 30)
DAYS = 3 * 365
HISTORY_AT = datetime(2026, 6, 30, 22, tzinfo=UTC)
COUNTRIES = ["Egypt", "Saudi Arabia", "UAE", "Kuwait", "Jordan", "Germany", "France", "India"]
CATEGORIES = ["Electronics", "Clothing", "Groceries", "Toys", "Books", "Sports", "Beauty", "Garden"]
CHANNELS = ["paid_search", "paid_social", "email", "organic", "referral"]
EVENT_TYPES = ["page_view", "product_view", "add_to_cart", "checkout", "email_open", "app_open"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shop:
    """A generated shop with a history of three years.

    Attributes:
        sales: Number of sales in the history.
        customers: Number of customers; 0 means one customer per 40 sales.
        products: Number of products.
        stores: Number of stores.
        events: Number of behavioural events in the history; a negative number means one event per 5 sales.
        orphans: 1,000 means that every thousandth sale has an unknown product; 0 means that every product is known.
        receipts: Whether sales are lines of receipts, with all optional columns, returns and anonymous sales.
        seed: Seed of all random numbers.
    """

    sales: int = 1_000_000
    customers: int = 0
    products: int = 2_000
    stores: int = 200
    events: int = -1
    orphans: int = 0
    receipts: bool = False
    seed: int = 20261125

    @property
    def customer_count(self) -> int:
        """Number of customers."""
        return self.customers or max(1, self.sales // 40)

    @property
    def event_count(self) -> int:
        """Number of events in the history."""
        return self.events if self.events >= 0 else self.sales // 5

    def land_history(self, landing: Landing) -> None:
        """Land the history of the shop: the first batch of every source.

        Args:
            landing: Landing to write to.
        """
        customers, products, stores = self.customer_count, self.products, self.stores
        self._land_rows(landing, CUSTOMERS_BRONZE, "snapshot", self._customers(customers))
        self._land_rows(landing, CRM_CONTACTS_BRONZE, "snapshot", self._contacts(customers))
        self._land_parquet(
            landing,
            PRODUCTS_BRONZE,
            "snapshot",
            [
                pa.table(
                    {
                        "product_id": pa.array(np.arange(1, products + 1), pa.int32()),
                        "product_name": [f"Product {number}" for number in range(1, products + 1)],
                        "category": [CATEGORIES[number % len(CATEGORIES)] for number in range(products)],
                        "price": _decimals(self._prices),
                        **({"unit_cost": _decimals(self._prices * 0.6)} if self.receipts else {}),
                    }
                )
            ],
        )
        self._land_parquet(
            landing,
            STORE_BRONZE,
            "snapshot",
            [
                pa.table(
                    {
                        "store_id": pa.array(np.arange(1, stores + 1), pa.int32()),
                        "store_name": [f"Store {number}" for number in range(1, stores + 1)],
                        "location": [COUNTRIES[number % len(COUNTRIES)] for number in range(stores)],
                    }
                )
            ],
        )
        self._land_parquet(landing, TRANSACTIONS_BRONZE, "snapshot", self._sales())
        if self.event_count:
            self._land_files(landing, EVENTS_BRONZE, "history.jsonl", self._events())
        months = sorted({f"{LAST_DAY - timedelta(days=day):%Y-%m}" for day in range(DAYS)})
        spend = [(month, channel, f"{channel}_brand", "5000.00", "USD") for month in months for channel in CHANNELS[:3]]
        self._land_files(
            landing, MARKETING_SPEND_BRONZE, "spend.csv", _table("month channel campaign amount currency", spend)
        )
        rates = [(month, currency, rate) for month in months for currency, rate in (("USD", "1"), ("EUR", "1.08"))]
        self._land_rows(landing, EXCHANGE_RATES_BRONZE, "snapshot", _table("month currency rate", rates))

    def land_small_batch(
        self, landing: Landing, number: int, sales: int = 50, events: int = 20
    ) -> tuple[Manifest, ...]:
        """Land a batch of events and a batch of sales, some of them corrected, late or invalid.

        A tenth of the sales are corrections of earlier sales, and another tenth are late. The last two sales are
        invalid: one of them has an unknown product, the other has the quantity 0.

        Args:
            landing: Landing to write to.
            number: Number of the batch, 1 or more.
            sales: Number of sales.
            events: Number of events; 0 lands no batch of events. Events are landed before the sales.
        """
        random = np.random.default_rng([self.seed, number])
        landed = []
        if events:
            rows = self._events_of(random, np.full(events, DAYS - 1), f"new-{number}-")
            landed.append(self._land_files(landing, EVENTS_BRONZE, f"moment-{number:06}.jsonl", rows, number))
        ids = self.sales + (number - 1) * sales + np.arange(1, sales + 1)
        ids[: sales // 10] = random.choice(self.sales, sales // 10, replace=False) + 1
        customers, products = self._draw_customers(random, sales), self._draw(random, self._product_shares, sales)
        days = np.full(sales, DAYS - 1)
        days[: sales // 5] -= random.integers(1, 60, sales // 5)
        quantities = random.geometric(0.5, sales)
        products[-2], quantities[-1] = self.products + 7, 0
        rows = self._table_of_sales(
            ids, customers, products, self._draw(random, self._store_shares, sales), quantities, days
        )
        landed.append(self._land_parquet(landing, TRANSACTIONS_BRONZE, "increment", [rows], number))
        return tuple(landed)

    def land_newest_sales(self, landing: Landing, sales: int) -> Manifest:
        """Land new sales of the newest month as one increment.

        Args:
            landing: Landing to write to.
            sales: Number of sales.
        """
        random = self._random("newest sales")
        rows = self._table_of_sales(
            self.sales + np.arange(1, sales + 1),
            self._draw_customers(random, sales),
            self._draw(random, self._product_shares, sales),
            self._draw(random, self._store_shares, sales),
            random.geometric(0.5, sales),
            DAYS - 1 - random.integers(0, LAST_DAY.day, sales),
        )
        return self._land_parquet(landing, TRANSACTIONS_BRONZE, "increment", [rows], 1)

    def _random(self, purpose: str) -> np.random.Generator:
        """Return a generator of random numbers that depends only on the seed and the purpose."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    @cached_property
    def _registered(self) -> Ints:
        """Day of registration of each customer, as a number; 0 is the first day of the history."""
        return self._random("registered").integers(0, DAYS - 30, self.customer_count)

    @cached_property
    def _days_active(self) -> NDArray[np.float64]:
        """Number of days that each customer stays active: from weeks to years."""
        return self._random("active").exponential(500, self.customer_count) + 5

    @cached_property
    def _customer_shares(self) -> NDArray[np.float64]:
        """Cumulative share of all sales, for each customer.

        The value is the sum of the customer's own share and the shares of all customers with smaller ids.
        """
        observed = np.minimum(DAYS - self._registered, self._days_active)
        return _cumulative_shares(self._random("customers").gamma(0.7, 1.0, self.customer_count) * observed)

    @cached_property
    def _product_shares(self) -> NDArray[np.float64]:
        return _cumulative_shares(1.0 / np.arange(1, self.products + 1) ** 0.9)

    @cached_property
    def _prices(self) -> NDArray[np.float64]:
        return np.round(np.exp(self._random("products").normal(3.2, 1.1, self.products)), 2) + 0.5

    @cached_property
    def _store_shares(self) -> NDArray[np.float64]:
        return _cumulative_shares(self._random("stores").lognormal(0.0, 0.8, self.stores))

    def _draw(self, random: np.random.Generator, shares: NDArray[np.float64], number: int) -> Ints:
        """Draw random ids from 1 on. The cumulative shares determine the probability of each id."""
        return np.searchsorted(shares, random.random(number)) + 1

    def _draw_customers(self, random: np.random.Generator, number: int) -> Ints:
        return self._draw(random, self._customer_shares, number)

    def _sales(self) -> Iterator[pa.Table]:
        for start in range(0, self.sales, CHUNK):
            number = min(CHUNK, self.sales - start)
            random = self._random(f"sales {start}")
            customers = self._draw_customers(random, number)
            registered = self._registered[customers - 1]
            active = np.minimum(DAYS - registered, self._days_active[customers - 1])
            yield self._table_of_sales(
                np.arange(start + 1, start + number + 1),
                customers,
                self._draw(random, self._product_shares, number),
                self._draw(random, self._store_shares, number),
                random.geometric(0.5, number),
                np.minimum(registered + np.floor(random.random(number) * active).astype(np.int64), DAYS - 1),
            )

    def _table_of_sales(
        self, ids: Ints, customers: Ints, products: Ints, stores: Ints, quantities: Ints, days: Ints
    ) -> pa.Table:
        if self.orphans:
            products = np.where(ids % self.orphans == 0, self.products + 7, products)
        if self.receipts:
            return self._table_of_lines(ids, customers, products, stores, quantities, days)
        return pa.table(
            {
                "transaction_id": pa.array(ids, pa.int32()),
                "customer_id": pa.array(customers, pa.int32()),
                "product_id": pa.array(products, pa.int32()),
                "store_id": pa.array(stores, pa.int32()),
                "quantity": pa.array(quantities, pa.int32()),
                "transaction_date": _dates(days),
            }
        )

    def _table_of_lines(
        self, ids: Ints, customers: Ints, products: Ints, stores: Ints, quantities: Ints, days: Ints
    ) -> pa.Table:
        """Return sales as lines of receipts. All lines of a receipt have its customer, store and time."""
        first = np.arange(len(ids)) // LINES_OF_RECEIPT * LINES_OF_RECEIPT
        receipts, customers, stores, days = ids[first], customers[first], stores[first], days[first]
        prices = self._prices[np.minimum(products, self.products) - 1]
        weights = np.where(products % 5 == 0, 0.357, 1.0)
        pieces = quantities * weights * np.where(ids % 40 == 0, -1, 1)
        discounts = np.where(ids % 3 == 0, np.round(pieces * prices * 0.1, 2), 0.0)
        paid = np.round(pieces * prices - discounts, 2)
        at = pa.array(np.asarray(_dates(days)).astype("datetime64[s]").astype(np.int64) + receipts % 86_400)
        return pa.table(
            {
                "transaction_id": pa.array(ids + (1 << 53)),
                "customer_id": pa.array(customers, mask=receipts % 4 == 0),
                "product_id": pa.array(products),
                "store_id": pa.array(stores),
                "quantity": _decimals(pieces, 3),
                "sold_at": at.cast(pa.timestamp("s", "UTC")),
                "order_id": pa.array(receipts).cast(pa.string()),
                "unit_price": _decimals(prices),
                "line_amount": _decimals(paid),
                "discount_amount": _decimals(discounts),
                "tax_amount": _decimals(paid / 6),
                "currency": pa.array(np.where(receipts % 10 == 0, "EUR", "USD")),
                "channel": pa.array(np.where(receipts % 5 == 0, "web", "store")),
                "promotion_code": pa.array(np.where(discounts != 0, "SPRING", ""), mask=discounts == 0),
            }
        )

    def _customers(self, number: int) -> pa.Table:
        random = self._random("countries")
        return pa.table(
            {
                "customer_id": np.arange(1, number + 1),
                "full_name": [f"Customer {n}" for n in range(1, number + 1)],
                "email": [f"customer{n}@example.com" for n in range(1, number + 1)],
                "country": pa.array(COUNTRIES).take(pa.array(_draw_skewed(random, len(COUNTRIES), number))),
                "registration_date": _dates(self._registered).cast(pa.string()),
            }
        )

    def _contacts(self, number: int) -> pa.Table:
        """Return one CRM contact for every second customer. The contact has the id of its customer."""
        random = self._random("contacts")
        ids = np.arange(1, number + 1, 2)
        days = _dates(self._registered[ids - 1]).cast(pa.string())
        at = pa.compute.binary_join_element_wise(days, "T08:00:00Z", "")
        nulls = pa.nulls(len(ids), pa.string())
        columns: dict[str, pa.Array] = {column.name: nulls for column in CRM_CONTACTS_BRONZE.received_columns}
        columns |= {
            "contactid": pa.array([f"00000000-0000-4000-8000-{n:012d}" for n in ids]),
            "fullname": pa.array([f"Customer {n}" for n in ids]),
            "emailaddress1": pa.array([f"customer{n}@example.com" for n in ids]),
            "cdp_customerid": pa.array([str(n) for n in ids]),
            "cdp_acquisitionchannel": pa.array(CHANNELS).take(pa.array(_draw_skewed(random, len(CHANNELS), len(ids)))),
            "cdp_acquisitiondate": days,
            "cdp_emailconsent": pa.array(random.random(len(ids)) < 0.6),
            "cdp_emailconsenton": at,
            "createdon": at,
            "modifiedon": at,
        }
        return pa.table(columns)

    def _events(self) -> pa.Table:
        random = self._random("events")
        return self._events_of(random, random.integers(0, DAYS, self.event_count), "event-")

    def _events_of(self, random: np.random.Generator, days: Ints, prefix: str) -> pa.Table:
        number = len(days)
        customers = self._draw_customers(random, number)
        is_known = pa.array(random.random(number) < 0.7)
        seconds = np.asarray(days, np.int64) * 86_400 + random.integers(0, 86_400, number)
        first = datetime.combine(LAST_DAY, datetime.min.time(), UTC) - timedelta(days=DAYS - 1)
        at = pa.array(int(first.timestamp()) + seconds).cast(pa.timestamp("s"))
        kinds = _draw_skewed(random, len(EVENT_TYPES), number)
        return pa.table(
            {
                "event_id": [f"{prefix}{n}" for n in range(number)],
                "event_type": pa.array(EVENT_TYPES).take(pa.array(kinds)),
                "occurred_at": pa.compute.strftime(at, "%Y-%m-%dT%H:%M:%SZ"),
                "channel": pa.array(["web", "app", "email"]).take(pa.array(_draw_skewed(random, 3, number))),
                "customer_id": pa.compute.if_else(is_known, pa.array(customers), pa.nulls(number, pa.int64())),
                "anonymous_id": pa.compute.binary_join_element_wise(
                    "device-", pa.array(customers).cast(pa.string()), ""
                ),
                "consent": pa.array(random.random(number) < 0.8),
            }
        )

    def _land_parquet(
        self,
        landing: Landing,
        contract: BronzeContract,
        load: Load,
        chunks: Iterator[pa.Table] | list[pa.Table],
        number: int = 0,
    ) -> Manifest:
        extraction = landing.extraction(contract.source, *_batch_name_and_time(number))
        latest = extraction.find_latest_batch(contract.entity) if load != "snapshot" else None
        with extraction.new_batch(contract.entity, load, latest) as batch:
            with batch.open_data("part-00000.parquet", "parquet") as file:
                writer = None
                for chunk in chunks:
                    writer = writer or pq.ParquetWriter(file, chunk.schema)
                    writer.write_table(chunk)
                    batch.add(chunk.num_rows, chunk.schema.names)
                if writer:
                    writer.close()
        return batch.manifest

    def _land_rows(self, landing: Landing, contract: BronzeContract, load: Load, rows: pa.Table) -> Manifest:
        extraction = landing.extraction(contract.source, *_batch_name_and_time(0))
        with extraction.new_batch(contract.entity, load) as batch:
            with batch.open_data("part-00000.jsonl", "jsonl") as file:
                _write_json_lines(rows, file)
            batch.add(rows.num_rows, rows.schema.names)
        return batch.manifest

    def _land_files(
        self, landing: Landing, contract: BronzeContract, name: str, rows: pa.Table, number: int = 0
    ) -> Manifest:
        extraction = landing.extraction(contract.source, *_batch_name_and_time(number))
        latest = extraction.find_latest_batch(contract.entity)
        with extraction.new_batch(contract.entity, "files", latest) as batch:
            with batch.open_data(f"{FILE_FOLDER}{name}/part-00000.jsonl", "jsonl") as file:
                _write_json_lines(rows, file)
            batch.add(rows.num_rows, rows.schema.names)
        return batch.manifest


def _batch_name_and_time(number: int) -> tuple[str, datetime]:
    """Return the name and the extraction time of a batch, from the number of the batch."""
    at = HISTORY_AT + timedelta(minutes=5 * number)
    return f"{at:%Y%m%dT%H%M%SZ}-{number}", at


def _cumulative_shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.cumsum(weights)
    shares: NDArray[np.float64] = total / total[-1]
    return shares


def _draw_skewed(random: np.random.Generator, kinds: int, number: int) -> Ints:
    """Draw random numbers from 0 to `kinds` - 1. Small numbers are more frequent than large numbers."""
    return np.searchsorted(_cumulative_shares(1.0 / np.arange(1, kinds + 1)), random.random(number))


def _decimals(values: NDArray[np.float64], places: int = 2) -> pa.Array:
    return pa.array(values).cast(pa.decimal128(18, places), safe=False)


def _dates(days: Ints) -> pa.Array:
    first = (LAST_DAY - date(1970, 1, 1)).days - (DAYS - 1)
    return pa.array(np.asarray(days, np.int32) + first, pa.int32()).cast(pa.date32())


def _table(names: str, rows: list[tuple[str, ...]]) -> pa.Table:
    return pa.table(dict(zip(names.split(), map(list, zip(*rows, strict=True)), strict=True)))


def _write_json_lines(rows: pa.Table, file: object) -> None:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path = Path(folder) / "rows.jsonl"
        connection.register("rows", rows)
        connection.execute(f"COPY rows TO '{path}' (FORMAT json)")
        with path.open("rb") as lines:
            shutil.copyfileobj(lines, file, 1 << 20)  # type: ignore[arg-type]


def main() -> None:
    """Land the data of a generated shop and print the duration in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="landing folder")
    parser.add_argument("--sales", type=int, default=1_000_000)
    parser.add_argument("--receipts", action="store_true", help="land sales as lines of receipts")
    arguments = parser.parse_args()
    shop = Shop(sales=arguments.sales, receipts=arguments.receipts)
    begin = time.perf_counter()
    shop.land_history(Landing(str(arguments.folder)))
    print(f"{shop.sales:,} sales of {shop.customer_count:,} customers: {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
