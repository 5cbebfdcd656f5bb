"""Strategies for random changes and runs of a small shop. It has few keys, so that conflicts are frequent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from cdp_lib.pipeline.graph import platform_graph

from .platform import Refresh
from .sources import Again, Change, Row

DAYS = (
    *("2025-09-30", "2025-10-01", "2025-10-31", "2025-11-15", "2025-12-31", "2026-01-01", "2026-01-08", "2026-01-12"),
    *("2026-01-15", "2026-01-16", "2026-01-31", "2026-02-10", "2026-02-28"),
)
TIMES = (None, None, None, "2025-10-20 08:00:00", "2026-01-05 00:00:00", "2026-01-15 12:00:00")
"""Values of `updated_at`. None means that a row has no time of change."""


@dataclass(frozen=True)
class Step:
    """Changes that are landed as batches, and the run after these batches have landed."""

    changes: tuple[Change | Again, ...]
    run: Refresh


def often(*values: Any, seldom: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Draw a value from `values` in most cases, and from `seldom` in a few cases."""
    return st.sampled_from([*values * 8, *seldom])


def row(**columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Row]:
    return st.fixed_dictionaries(columns)


def some_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


CUSTOMER_IDS = range(1, 8)
ROWS: dict[str, st.SearchStrategy[Row]] = {
    "customers": row(
        customer_id=often(*CUSTOMER_IDS, seldom=(None,)),
        full_name=some_of("A", "B"),
        email=some_of("c1@example.com", "c2@example.com", "C3@Example.com", None),
        country=often("Egypt", "UAE", "Atlantis", None),
        registration_date=often("2024-01-31", "2025-10-15", None, "2026-01-10", seldom=("2027-01-01", "soon")),
        household_id=some_of("h1", None),
        updated_at=some_of(*TIMES),
    ),
    "products": row(
        product_id=some_of(1, 2, 3, 4),
        product_name=some_of("P", "Q", None),
        category=some_of("Food", "Toys", None),
        price=often("10.00", "499.99", "1500.00", "0.1005", seldom=("-1.00", None)),
        unit_cost=some_of("4.00", "0.3333", None, None),
        updated_at=some_of(*TIMES),
    ),
    "stores": row(
        store_id=some_of(1, 2, 3),
        store_name=some_of("S", "T", None),
        location=some_of("Egypt", "United Arab Emirates", "Mars", None),
        updated_at=some_of(*TIMES),
    ),
    "sales": row(
        transaction_id=often(*range(1, 21), seldom=(None,)),
        customer_id=often(1, 2, 3, 4, None, seldom=(5, 6, 7, 9)),
        product_id=often(1, 2, 3, 4, seldom=(9,)),
        store_id=often(1, 2, 3, seldom=(9,)),
        quantity=often(1, 2, 7, 0.125, -1, seldom=(0, "five", None)),
        transaction_date=often(*DAYS, seldom=("2027-01-01", None)),
        order_id=some_of("o1", "o2", "o3", None),
        unit_price=some_of("5.00", "0.0333", None, None),
        line_amount=often(None, None, "12.34", "-3.50", "0.00005", seldom=("free",)),
        discount_amount=some_of("1.00", "0", None),
        currency=often(None, None, "USD", seldom=("EUR", "EUR")),
        channel=some_of("web", None),
        updated_at=some_of(*TIMES),
    ),
    "contacts": row(
        contactid=often("a1", "b2", "C3", "d4", seldom=(None,)),
        emailaddress1=some_of("c1@example.com", "c2@example.com", "c3@example.com", "x@example.com", None),
        birthdate=some_of("1940-05-01", "1995-01-15", "2000-02-29", "2010-12-31", None),
        gendercode=some_of("1", "2", None),
        address1_city=some_of("Cairo", "cairo", "Dubai", None),
        address1_country=some_of("EGY", "U.A.E.", "Mu", None),
        cdp_householdid=some_of("h1", "h2", None),
        cdp_customerid=some_of("1", "2", "3", "4", "99", None),
        cdp_acquisitionchannel=some_of("paid_search", "paid_social", "referral", None),
        cdp_acquisitiondate=some_of("2025-01-01", "2025-10-10", None),
        cdp_emailconsent=some_of("true", "false", None),
        cdp_smsconsent=some_of("true", "false", None),
        cdp_phoneconsent=some_of("true", "false", None),
        modifiedon=some_of(None, "2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z"),
    ),
    "events": row(
        event_id=often(*(f"e{n}" for n in range(1, 13)), seldom=(None,)),
        event_type=often(
            *("page_view", "product_view", "add_to_cart", "checkout", "email_sent", "email_open", "email_click"),
            seldom=("unsubscribe", None),
        ),
        occurred_at=often(
            *("2025-10-01T00:00:00Z", "2025-10-30T23:59:59Z", "2025-11-30T12:00:00Z", "2026-01-02T10:00:00Z"),
            *("2026-01-11T10:00:00Z", "2026-01-31T10:00:00Z", "2026-02-08T10:00:00Z"),
            seldom=("2027-01-01T00:00:00Z", None),
        ),
        customer_id=some_of("1", "5", "99", None, None),
        anonymous_id=some_of("d1", "d2", None),
        email=some_of("c1@example.com", "C2@example.com", "x@example.com", None),
        session_id=some_of("s1", "s2", None),
        campaign=some_of("spring", None),
        consent=some_of("true", None, "false"),
    ),
    "spend": row(
        month=some_of("2025-09", "2025-10", "2025-11", "2026-01"),
        channel=some_of("paid_search", "paid_social", "referral", "tv"),
        campaign=some_of("spring", "autumn"),
        amount=often("100.00", "33.33", "0.00", seldom=(None,)),
        currency=some_of("USD", "EUR"),
    ),
    "rates": row(
        month=some_of("2025-09", "2025-10", "2025-12"),
        currency=some_of("USD", "EUR"),
        rate=often("1", "0.91", "1.3333", seldom=("-1",)),
    ),
}
KEY_OF = {"customers": "customer_id", "products": "product_id", "stores": "store_id", "sales": "transaction_id"}
GONE = {
    "customers": st.sampled_from(CUSTOMER_IDS),
    "products": some_of(1, 2, 3, 4),
    "stores": some_of(1, 2, 3),
    "sales": st.integers(1, 20),
    "contacts": some_of("a1", "b2"),
}
FILES = {"events": ("e1", "e2"), "spend": ("m1", "m2"), "rates": ("rates",)}


def changes_of(of: str) -> st.SearchStrategy[Change]:
    """Draw a change of an entity: a file if the source has files, otherwise records."""
    if of in FILES:
        lines = st.lists(ROWS[of], min_size=1, max_size=6).map(tuple)
        return st.builds(Change, st.just(of), lines, file=some_of(*FILES[of]))
    # A batch may have two versions of a sale that contradict each other. It has at most one row per product.
    unique_by = (lambda row: row["product_id"]) if of == "products" else None
    fewest, most = (2, 8) if of == "sales" else (0, 4)
    rows = st.lists(ROWS[of], min_size=fewest, max_size=most, unique_by=unique_by).map(tuple)
    gone = st.lists(GONE[of], max_size=2, unique=True).map(tuple)
    one = st.builds(Change, st.just(of), rows, gone, is_all_sent=some_of(False, False, True))
    shrunken = st.builds(Change, st.just(of), rows, gone, is_all_sent=st.just(True), is_shrunken=st.just(True))
    if of != "sales":
        return st.one_of(*[one] * 8, shrunken)
    purged = st.builds(Change, st.just(of), rows, gone, is_all_sent=st.just(True), purged_before=some_of(*DAYS[1:10]))
    return st.one_of(*[one] * 6, *[purged] * 2, shrunken)


TABLES = {name: table for name, table in platform_graph().tables.items() if table.contract.layer != "bronze"}
SELECTIONS = ("bronze", "silver", "gold", "+kpi_monthly_gold", "transactions_bronze+", "retails_silver+")
LOST = (
    *("table_state_ops", "retails_silver", "customers_silver", "transactions_silver_quarantine", "monthly_sales_gold"),
    *("retails_silver_changes", "transactions_silver_changes", "products_bronze", "pipeline_runs_ops"),
)
"""Tables that may be dropped before a run."""

again = st.builds(Again, some_of(*GONE), st.integers(0, 2))
"""Strategy that draws an earlier batch of records to send again."""

changes = st.one_of(
    # Sales are the most frequent changes.
    *[changes_of("sales")] * 5,
    *[changes_of("products")] * 2,
    *(changes_of(of) for of in ROWS if of not in ("sales", "products")),
    again,
)
runs = st.builds(
    Refresh,
    as_of=often("", seldom=("2025-11-15", "2025-12-31", "2026-01-31", "2026-03-01")),
    again=often("", seldom=("full_refresh", "replay_from")),
    lost=st.one_of(*[st.just("")] * 8, some_of(*LOST)),
    edited=st.one_of(*[st.just("")] * 8, some_of(*(name for name, table in TABLES.items() if not table.only_if))),
    selected=st.one_of(*[st.just(())] * 4, st.lists(some_of(*TABLES, *SELECTIONS), min_size=1, max_size=4).map(tuple)),
    dies_at=st.one_of(*[st.none()] * 3, st.integers(0, 70)),
    is_compacted=often(False, seldom=(True, True)),
)
landed = st.one_of(*[st.lists(changes, min_size=1, max_size=3)] * 8, st.just([]))
steps = st.builds(Step, landed.map(tuple), runs)
sequences = st.lists(steps, min_size=3, max_size=5)
