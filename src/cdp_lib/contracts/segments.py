"""The segments: rules, meanings, what to do, and promises. Documentation, dashboards and Power BI use this list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

NEVER_BOUGHT = "Never bought"

ALL_BUYERS = "All buyers"
"""Value of `segment` in `segment_quality_gold` for the row of all customers who had bought by the cut-off."""


@dataclass(frozen=True)
class Promise:
    """A statement about the purchases of a segment in the churn horizon. Every refresh checks it on past data.

    Attributes:
        text: The statement, as a clause for people.
        segments: Rows of `segment_quality_gold` that the check compares.
        holds: Check of the statement. Its argument is the share of customers who bought in the horizon, 0 to 1, by row.
    """

    text: str
    segments: tuple[str, ...]
    holds: Callable[[Mapping[str, float]], bool]


@dataclass(frozen=True)
class Segment:
    """A group of customers who can be addressed in the same way.

    Attributes:
        name: Name that marketers use.
        holds: Boolean SQL expression over columns of `customer_value_gold` and the setting `churn_horizon_days`. A
            customer belongs to the first segment whose expression is true.
        meaning: Description of the customers in the segment.
        action: What a marketer does with the segment.
        promise: What the segment promises about future purchases; None if nothing.
    """

    name: str
    holds: str
    meaning: str
    action: str
    promise: Promise | None = None


SEGMENTS = (
    Segment(
        NEVER_BOUGHT,
        "recency_days IS NULL",
        "Registered, but has not bought anything yet.",
        "Offer a reason for the first purchase, such as a voucher for new customers.",
    ),
    Segment(
        "Lost",
        "overdue >= 4 AND recency_days >= churn_horizon_days",
        "Has been silent for the churn horizon and for four times the usual interval or longer.",
        "Leave out of campaigns that cost money per customer.",
        Promise("at most 15 % of Lost buy within the churn horizon", ("Lost",), lambda bought: bought["Lost"] <= 0.15),
    ),
    Segment(
        "New",
        "purchase_day_count = 1 AND overdue <= 2",
        "Bought on one day only, not long ago.",
        "Welcome, explain the assortment, and lead to the second purchase.",
    ),
    Segment(
        "Hibernating",
        "purchase_day_count = 1",
        "Bought on one day only, and has not come back at the time when other customers do.",
        "Send one inexpensive offer for a second purchase.",
    ),
    Segment(
        "Champions",
        "purchase_day_count >= 3 AND overdue <= 2 AND monetary_score >= 4"
        " AND purchase_interval_days * 2.5 <= churn_horizon_days",
        "Buys several times per churn horizon, is not overdue, and is among the 40 % of buyers who spent most.",
        "Thank with early access and service instead of discounts, and ask for recommendations.",
        Promise(
            "Champions churn less than half as often as the average buyer",
            ("Champions", ALL_BUYERS),
            lambda bought: bought["Champions"] > (1 + bought[ALL_BUYERS]) / 2,
        ),
    ),
    Segment(
        "Loyal",
        "purchase_day_count >= 3 AND overdue <= 2",
        "Bought on three days or more, and is not overdue.",
        "Show further categories, and reward the next purchases.",
    ),
    Segment(
        "Promising",
        "overdue <= 2",
        "Bought on two days, and is not overdue.",
        "Build the habit: invite to the loyalty programme.",
    ),
    Segment(
        "Cannot lose",
        "monetary_score >= 4",
        "Bought repeatedly, is overdue, and is among the 40 % of buyers who spent most.",
        "Contact personally, ask for the reason, and make a good offer.",
    ),
    Segment(
        "At risk",
        "overdue > 2",
        "Bought repeatedly, and is overdue: silent for more than twice the usual interval.",
        "Send a win-back offer before the customer is lost.",
        Promise(
            "customers at risk churn more often than loyal customers",
            ("At risk", "Loyal"),
            lambda bought: bought["At risk"] < bought["Loyal"],
        ),
    ),
)
"""Segments in order of priority. Later rules need not exclude customers whom earlier segments take."""

NOT_YET_A_CUSTOMER = "Not a customer yet"
"""Value of `from_segment` for customers acquired after `previous_as_of`."""
