"""The RFM segments: their rules and meanings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A group of customers who can be addressed in the same way.

    Attributes:
        name: Name that marketers use.
        holds: Boolean SQL expression over `recency_score`, `frequency_score`, `monetary_score` and
            `purchase_day_count`. A customer belongs to the first segment whose expression is true.
        meaning: Description of the customers in the segment.
    """

    name: str
    holds: str
    meaning: str


_VALUE_SCORE = "frequency_score + monetary_score"
_BOUGHT_REPEATEDLY = "purchase_day_count > 1"

SEGMENTS = (
    Segment("Never bought", "recency_score IS NULL", "Registered, but has not bought anything yet."),
    Segment(
        "Champions",
        f"recency_score >= 4 AND {_VALUE_SCORE} >= 8 AND {_BOUGHT_REPEATEDLY}",
        "Bought recently, and is among the customers who buy most often and spend most.",
    ),
    Segment(
        "Cannot lose",
        f"recency_score <= 2 AND {_VALUE_SCORE} >= 8 AND {_BOUGHT_REPEATEDLY}",
        "Was among the customers who buy most often and spend most, but has not bought for a long time.",
    ),
    Segment(
        "Loyal",
        f"recency_score >= 3 AND {_VALUE_SCORE} >= 6 AND {_BOUGHT_REPEATEDLY}",
        "Bought repeatedly, and spends more than most customers.",
    ),
    Segment(
        "At risk",
        f"recency_score <= 2 AND {_VALUE_SCORE} >= 5 AND {_BOUGHT_REPEATEDLY}",
        "Bought repeatedly and spent well, but has not bought for a long time.",
    ),
    Segment(
        "New", "recency_score = 5 AND purchase_day_count = 1", "Bought on one day only, among the most recent buyers."
    ),
    Segment("Promising", "recency_score = 4 AND purchase_day_count = 1", "Bought on one day only, recently."),
    Segment(
        "Potential loyalists",
        "recency_score >= 4",
        "Bought repeatedly, last time recently, but has spent little so far.",
    ),
    Segment(
        "Need attention",
        f"recency_score = 3 AND {_VALUE_SCORE} >= 4",
        "Last bought neither recently nor long ago: an average buyer, or a good one who bought on one day only.",
    ),
    Segment("About to sleep", "recency_score = 3", "Last bought neither recently nor long ago, once or for little."),
    Segment("Hibernating", "recency_score = 2", "Last bought long ago, once or for little."),
    Segment("Lost", "recency_score = 1", "Last bought the longest ago, once or for little."),
)
"""Segments in order of priority. The last seven need no upper bounds, because earlier segments match first."""

NOT_YET_A_CUSTOMER = "Not a customer yet"
"""Value of `from_segment` for customers acquired after `previous_as_of`."""
