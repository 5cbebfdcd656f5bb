"""Generator of a retailer's receipts: a database with a schema of its own, and the file of sources that maps it.

    .venv/bin/python benchmarks/receipts.py FOLDER --lines 100000

The receipts have what a real retailer's receipts have: baskets, weighed goods, returns, discounts, tax, a second
currency, sales without a card, text identifiers, times with a zone, delisted products, and households. The same seed
gives the same receipts.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

SCHEMA = """
    CREATE TABLE CLIENT (
        CODE TEXT PRIMARY KEY, NAME TEXT, MAIL TEXT, LAND TEXT, SINCE TEXT, HOUSEHOLD TEXT, AGE_BAND TEXT
    );
    CREATE TABLE ARTICLE (
        SKU TEXT PRIMARY KEY, TITLE TEXT, DEPARTMENT TEXT, GROUP_NAME TEXT, BRAND TEXT, LIST_PRICE TEXT, COST TEXT
    );
    CREATE TABLE BRANCH (BRANCH INTEGER PRIMARY KEY, TITLE TEXT, LAND TEXT);
    CREATE TABLE RECEIPT_LINE (
        RECEIPT INTEGER, LINE INTEGER, CLIENT TEXT, SKU TEXT, BRANCH INTEGER, PIECES TEXT, SOLD_AT TEXT, ASKED TEXT,
        PAID TEXT, DISCOUNT TEXT, TAX TEXT, CURRENCY TEXT, CHANNEL TEXT, COUPON TEXT, PRIMARY KEY (RECEIPT, LINE)
    );
"""

SOURCES = """
customers:
  database: database_url
  table: CLIENT
  text_ids: true
  columns:
    {customer_id: CODE, full_name: NAME, email: MAIL, country: LAND, registration_date: SINCE, household_id: HOUSEHOLD}
  attributes: [AGE_BAND]
products:
  database: database_url
  table: ARTICLE
  text_ids: true
  columns: {product_id: SKU, product_name: TITLE, category: GROUP_NAME, price: LIST_PRICE, unit_cost: COST}
stores:
  database: database_url
  table: BRANCH
  columns: {store_id: BRANCH, store_name: TITLE, location: LAND}
transactions:
  database: database_url
  table: RECEIPT_LINE
  primary_key: [RECEIPT, LINE]
  text_ids: true
  columns:
    transaction_id: concat_ws('|', receipt, line)
    customer_id: CLIENT
    product_id: SKU
    store_id: BRANCH
    quantity: PIECES
    order_id: RECEIPT
    sold_at: SOLD_AT
    unit_price: ASKED
    line_amount: PAID
    discount_amount: DISCOUNT
    tax_amount: TAX
    currency: CURRENCY
    channel: CHANNEL
    promotion_code: COUPON
exchange_rates:
  files: {rates}
"""

FIRST_RECEIPT = 9_007_199_254_740_993
"""Number of the first receipt. It is above 2^53, so that software that stores numbers as floats would change it."""

FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 400
TIME_ZONE = "Europe/Vienna"
_LANDS = ("Austria", "Germany", "Egypt", None)
_GROUPS = ("Bread", "Fruit", "Cheese", "Wine", None)


@dataclass(frozen=True)
class Receipts:
    """Receipts of a retailer.

    Attributes:
        lines: Number of lines.
        seed: Seed of the random numbers.
    """

    lines: int = 1000
    seed: int = 1

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write the database, the exchange rates and the file of sources. Return the paths of the first and the last.

        Args:
            folder: Folder to write to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        database, sources, rates = folder / "retailer.sqlite", folder / "sources.yml", folder / "rates.csv"
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(SCHEMA)
            draw = random.Random(self.seed)
            clients = [self._client(draw, number) for number in range(max(5, self.lines // 20))]
            articles = [self._article(draw, number) for number in range(max(5, min(2000, self.lines // 10)))]
            branches = [(number, f"Branch {number}", _LANDS[number % 3]) for number in range(1, 6)]
            for table, rows in (("CLIENT", clients), ("ARTICLE", articles), ("BRANCH", branches)):
                connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
            lines = self._lines(draw, clients, articles)
            connection.executemany(f"INSERT INTO RECEIPT_LINE VALUES ({', '.join('?' * 14)})", lines)
            connection.commit()
        months = [(FIRST_DAY + timedelta(days=31 * number)).strftime("%Y-%m") for number in range(14)]
        text = "month,currency,rate\n" + "".join(f"{month},EUR,1\n{month},CHF,1.0625\n" for month in months)
        rates.write_text(text, encoding="utf-8")
        sources.write_text(SOURCES.replace("{rates}", str(rates)), encoding="utf-8")
        return database, sources

    def _client(self, draw: random.Random, number: int) -> tuple[str | None, ...]:
        mail = None if number % 7 == 0 else f"client{number}@example.com"
        since = None if number % 3 == 0 else f"{FIRST_DAY + timedelta(days=draw.randrange(DAYS)):%Y-%m-%d}"
        household = f"H{number // 2}" if number % 5 else None
        return (
            f"C-{number:05}",
            f"Client {number}",
            mail,
            draw.choice(_LANDS),
            since,
            household,
            draw.choice(["18-24", "65+"]),
        )

    def _article(self, draw: random.Random, number: int) -> tuple[str | None, ...]:
        price = Decimal(draw.randrange(1, 20_000)) / 100
        cost = None if number % 4 == 0 else str(price * Decimal("0.625"))
        group = draw.choice(_GROUPS)
        return (
            f"A{number:04}/{group or 'x'}",
            f"Article {number}",
            "Food",
            group,
            draw.choice(["Own", None]),
            str(price),
            cost,
        )

    def _lines(
        self, draw: random.Random, clients: list[tuple[str | None, ...]], articles: list[tuple[str | None, ...]]
    ) -> Iterator[tuple[object, ...]]:
        written, receipt = 0, FIRST_RECEIPT
        while written < self.lines:
            receipt += draw.randrange(1, 5)
            client = None if draw.random() < 0.3 else draw.choice(clients)[0]
            if draw.random() < 0.01:
                client = "C-unknown"
            sold_at = FIRST_DAY + timedelta(minutes=draw.randrange(DAYS * 24 * 60))
            offset = draw.choice(["Z", "+02:00"])
            local = sold_at + timedelta(hours=2) if offset != "Z" else sold_at
            currency = draw.choice([None, None, "EUR", "CHF"])
            branch = draw.randrange(1, 6)
            for line in range(1, min(draw.randrange(1, 10), self.lines - written) + 1):
                written += 1
                article = draw.choice(articles)
                sku, price = article[0], Decimal(article[5] or 0)
                if draw.random() < 0.01:
                    sku = "A-delisted"
                pieces = (
                    Decimal(draw.randrange(1, 3000)) / 1000 if draw.random() < 0.2 else Decimal(draw.randrange(1, 6))
                )
                pieces = -pieces if draw.random() < 0.05 else pieces
                discount = (pieces * price * Decimal("0.1")).quantize(Decimal("0.01"), ROUND_HALF_UP)
                discount = discount if draw.random() < 0.4 else Decimal(0)
                paid = (pieces * price - discount).quantize(Decimal("0.01"), ROUND_HALF_UP)
                has_amounts = draw.random()
                yield (
                    receipt,
                    line,
                    client,
                    sku,
                    branch,
                    str(pieces),
                    f"{local:%Y-%m-%dT%H:%M:%S}{offset}",
                    str(price) if has_amounts < 0.8 else None,
                    str(paid) if has_amounts < 0.6 else None,
                    str(discount),
                    str((paid / 6).quantize(Decimal("0.0001"), ROUND_HALF_UP)),
                    currency,
                    draw.choice(["store", "web", None]),
                    "SPRING" if discount else None,
                )


def main() -> None:
    """Write the database and the file of sources to a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    database, sources = Receipts(arguments.lines, arguments.seed).write(arguments.folder)
    print(f"CDP_SECRET_CDP_DATABASE_URL=sqlite:///{database} cdp run --sources {sources} --var reporting_currency=EUR")


if __name__ == "__main__":
    main()
