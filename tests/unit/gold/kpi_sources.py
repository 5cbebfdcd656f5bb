"""Inputs of the KPI tables: twelve customers of two countries, their events, and the spend that acquired them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from cdp_lib.contracts.analytics import CUSTOMER_VALUE_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER, PERSONS_SILVER
from cdp_lib.contracts.silver import (
    EVENTS_SILVER,
    EXCHANGE_RATES_SILVER,
    MARKETING_SPEND_SILVER,
    RETAILS_SILVER,
)
from cdp_lib.contracts.table import TableContract
from cdp_lib.gold.category_monthly_sales import build_category_monthly_sales_gold
from cdp_lib.gold.country_category_monthly_sales import build_country_category_monthly_sales_gold
from cdp_lib.gold.country_monthly_orders import build_country_monthly_orders_gold
from cdp_lib.silver.activities import build_activities_silver

from ..purchases import purchases_of, with_month

Row = dict[str, Any]

AS_OF = date(2026, 6, 30)
MARGIN = 0.4
TERMS = {"gross_margin": MARGIN, "business_time_zone": "UTC"}

EGYPT, UAE = "Egypt", "UAE"
# For each customer id: country, day of acquisition, sales as (day, money, category). Customers 8, 10 and 12
# never bought. Customer 9 bought twice on one day.
CUSTOMERS: dict[int, tuple[str, date, list[tuple[date, int, str]]]] = {
    1: (EGYPT, date(2026, 1, 5), [(date(2026, month, 10), 100, "Fitness") for month in range(1, 7)]),
    2: (EGYPT, date(2026, 1, 5), [(date(2026, 1, 10), 200, "Fitness"), (date(2026, 2, 20), 50, "Fitness")]),
    3: (EGYPT, date(2026, 1, 5), [(date(2026, 1, 10), 100, "Tech")]),
    4: (EGYPT, date(2026, 1, 5), [(date(2026, 1, 10), 100, "Tech"), (date(2026, 3, 5), 100, "Tech")]),
    5: (EGYPT, date(2026, 2, 1), [(date(2026, 2, 10), 300, "Tech"), (date(2026, 2, 20), 300, "Tech")]),
    6: (EGYPT, date(2026, 2, 1), [(date(2026, 2, 15), 40, "Fitness"), (date(2026, 3, 15), 80, "Tech")]),
    7: (UAE, date(2026, 2, 25), [(date(2026, 2, 25), 10, "Fitness")]),
    8: (UAE, date(2026, 3, 1), []),
    9: (UAE, date(2026, 4, 1), [(date(2026, 4, 2), 60, "Fitness"), (date(2026, 4, 2), 60, "Tech")]),
    10: (UAE, date(2026, 4, 1), []),
    11: (UAE, date(2026, 5, 1), [(date(2026, 6, 1), 500, "Tech")]),
    12: (UAE, date(2026, 6, 15), []),
}
# Person 99 is known from a decision only.
CONSENTS = [
    *((person, "marketing", "email", person != 3) for person in (1, 2, 3, 5, 99)),
    (3, "marketing", "phone", False),
    (4, "analytics", "all", False),
]
CHANNELS = {1: "paid_search", 2: "paid_search", 3: "email", 5: "paid_social"}
PREDICTED = {1: 80.0, 2: 30.0, 3: 10.0}
SEGMENTS = {1: "Champions", 11: "New", 8: "Never bought", 10: "Never bought", 12: "Never bought"}


def at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 9, tzinfo=UTC)


def event(number: int, kind: str, when: datetime, identity: str, **values: Any) -> Row:
    return {"event_id": f"e{number}", "event_type": kind, "occurred_at": when, "identity": identity, **values}


# February: a customer and a device. April: mailings. May: a customer on one day. June: a customer daily, a device once.
EVENTS = [
    event(1, "page_view", at(2, 3), "customer:3"),
    event(2, "page_view", at(2, 4), "device:d9"),
    event(3, "email_sent", at(4, 1), "email:a@example.com", email="a@example.com", campaign="spring"),
    event(4, "email_sent", at(4, 1), "email:b@example.com", email="b@example.com", campaign="spring"),
    event(5, "email_sent", at(4, 1), "email:c@example.com", email="c@example.com", campaign="spring"),
    event(6, "email_open", at(4, 2), "email:a@example.com", email="a@example.com", campaign="spring"),
    event(7, "email_open", at(4, 3), "email:a@example.com", email="a@example.com", campaign="spring"),
    event(8, "email_click", at(4, 3), "email:b@example.com", email="b@example.com", campaign="spring"),
    event(9, "unsubscribe", at(4, 4), "email:c@example.com", email="c@example.com", campaign="spring"),
    event(10, "page_view", at(5, 31), "customer:2", session_id="s0"),
    event(11, "checkout", at(6, 3), "customer:1", session_id="s3"),
    event(12, "product_view", at(6, 24), "device:d1"),
    *(event(100 + day, "page_view", at(6, day), "customer:1", session_id=f"s{day}") for day in range(1, 31)),
]

SPEND = [
    ("2026-01-01", "paid_search", "100.00", "USD"),
    ("2026-01-01", "email", "20.00", "EUR"),
    ("2026-02-01", "paid_social", "1000.00", "AED"),
    ("2026-02-01", "email", "20.00", "EUR"),  # February has no rate, so the rate of January applies
    ("2026-04-01", "paid_search", "50.00", "GBP"),  # the currency has no rate
]
RATES = [
    ("2026-01-01", "USD", "1"),
    ("2026-01-01", "EUR", "1.10"),
    ("2026-02-01", "USD", "1"),
    ("2026-02-01", "AED", "0.2723"),
    ("2026-03-01", "EUR", "1.20"),
]


Sources = dict[str, Any]


@pytest.fixture
def sources_of(frame_of: Callable[..., Any]) -> Callable[..., Sources]:
    """Return a function that builds the input tables of the KPIs from customers and events."""

    def build(customers: dict[int, Any], events: list[Row], as_of: date) -> Sources:
        def frame(contract: TableContract, rows: list[Row]) -> Any:
            names = contract.column_names
            return frame_of(contract.columns, *({k: v for k, v in row.items() if k in names} for row in rows))

        acquired = {number: each for number, each in customers.items() if each[1] <= as_of}
        sales = [
            {
                "customer_id": number,
                "transaction_date": day,
                "price": Decimal(money),
                "revenue": Decimal(money),
                "category": category,
                "country": c,
            }
            for number, (c, _, sold) in customers.items()
            for day, money, category in sold
        ]
        common = {"product_id": 1, "store_id": 1, "quantity": 1, "_batch_id": "b"}
        events_silver = frame(EVENTS_SILVER, [row | {"_batch_id": "b"} for row in events])
        consents = [
            {"person_id": person, "purpose": purpose, "channel": channel, "is_allowed": is_allowed}
            for person, purpose, channel, is_allowed in CONSENTS
        ]
        links = [
            {"record_key": f"customer:{number}", "source": "customers", "customer_id": number, "person_id": number}
            for number in customers
        ]
        links += [
            {"record_key": "contact:c1", "source": "crm_contacts", "person_id": 1},
            {"record_key": "device:d50", "source": "events", "person_id": 50},
        ]
        retails = with_month(
            frame(RETAILS_SILVER, [sale | common | {"transaction_id": n} for n, sale in enumerate(sales)])
        )
        return dict(
            persons_silver=frame(
                PERSONS_SILVER,
                [
                    {"person_id": n, "country": c, "acquisition_channel": CHANNELS.get(n)}
                    for n, (c, *_) in customers.items()
                ],
            ),
            person_links_silver=frame(PERSON_LINKS_SILVER, links),
            consent_current_silver=frame(CONSENT_CURRENT_SILVER, consents),
            events_silver=events_silver,
            activities_silver=build_activities_silver(events_silver, "UTC"),
            retails_silver=retails,
            purchases_silver=purchases_of(retails),
            category_monthly_sales_gold=build_category_monthly_sales_gold(retails, None),
            country_category_monthly_sales_gold=build_country_category_monthly_sales_gold(retails, None),
            country_monthly_orders_gold=build_country_monthly_orders_gold(retails, None),
            marketing_spend_silver=frame(
                MARKETING_SPEND_SILVER,
                [
                    {
                        "month": date.fromisoformat(month),
                        "channel": channel,
                        "campaign": "all",
                        "amount": Decimal(amount),
                        "currency": currency,
                        "_batch_id": "b",
                    }
                    for month, channel, amount, currency in SPEND
                ],
            ),
            exchange_rates_silver=frame(
                EXCHANGE_RATES_SILVER,
                [
                    {"month": date.fromisoformat(month), "currency": currency, "rate": Decimal(rate), "_batch_id": "b"}
                    for month, currency, rate in RATES
                ],
            ),
            customer_value_gold=frame(
                CUSTOMER_VALUE_GOLD,
                [
                    {
                        "person_id": number,
                        "as_of": as_of,
                        "acquisition_date": day,
                        "first_purchase_date": min((day for day, *_ in sold if day <= as_of), default=None),
                        "transaction_count": len(sold),
                        "purchase_day_count": len({day for day, *_ in sold}),
                        "tenure_days": 0,
                        "total_revenue": Decimal(0),
                        "historic_clv": Decimal(0),
                        "segment": SEGMENTS.get(number, "Lost"),
                        "prediction_state": "predicted",
                        "predictive_clv": PREDICTED.get(number),
                    }
                    for number, (_, day, sold) in acquired.items()
                ],
            ),
        )

    return build
