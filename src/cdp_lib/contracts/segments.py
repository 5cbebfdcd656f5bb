"""The RFM segments: which customer is in which, and what the name says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A group of customers who can be spoken to alike.

    Attributes:
        name: Name, as marketers know it.
        holds: Boolean SQL expression over `recency_score`, `frequency_score`, `monetary_score` and
            `purchase_day_count`. A customer belongs to the first segment it is true of.
        meaning: Who is in it, for people.
    """

    name: str
    holds: str
    meaning: str


_SPENT = "frequency_score + monetary_score"
_CAME_BACK = "purchase_day_count > 1"

SEGMENTS = (
    Segment("Never bought", "recency_score IS NULL", "Registered, and has not bought anything yet."),
    Segment(
        "Champions",
        f"recency_score >= 4 AND {_SPENT} >= 8 AND {_CAME_BACK}",
        "Bought lately, and is among those who buy most often and spend most.",
    ),
    Segment(
        "Cannot lose",
        f"recency_score <= 2 AND {_SPENT} >= 8 AND {_CAME_BACK}",
        "Was among those who buy most often and spend most, and has not been back for long.",
    ),
    Segment(
        "Loyal", f"recency_score >= 3 AND {_SPENT} >= 6 AND {_CAME_BACK}", "Comes back, and spends more than most."
    ),
    Segment(
        "At risk",
        f"recency_score <= 2 AND {_SPENT} >= 5 AND {_CAME_BACK}",
        "Came back and spent well, and stays away now.",
    ),
    Segment("New", "recency_score = 5 AND purchase_day_count = 1", "Has bought once, among the latest of all."),
    Segment("Promising", "recency_score = 4 AND purchase_day_count = 1", "Has bought once, lately."),
    Segment("Potential loyalists", "recency_score >= 4", "Has come back lately, for little so far."),
    Segment(
        "Need attention",
        f"recency_score = 3 AND {_SPENT} >= 4",
        "Neither lately nor long ago: a middling buyer, or a good one who has not come back yet.",
    ),
    Segment("About to sleep", "recency_score = 3", "Neither lately nor long ago, once or for little."),
    Segment("Hibernating", "recency_score = 2", "Long ago, once or for little."),
    Segment("Lost", "recency_score = 1", "The longest ago of all, once or for little."),
)
"""In the order they are asked in; the last seven need no upper bounds, for those before them have taken the rest."""

NOT_YET = "Not a customer yet"
"""Where customers move from who were acquired since."""
