"""What a refresh did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        rows: Rows that entered the table, or replaced an older version.
        removed: Rows that left it for good.
        quarantined: Rows that were refused.
        superseded: Rows that were older than, or equal to, what is there, or said that a record is gone.
        warned: Rows that entered the table in spite of a warning.
    """

    rows: int = 0
    removed: int = 0
    quarantined: int = 0
    superseded: int = 0
    warned: int = 0

    def __add__(self, other: Refreshed) -> Refreshed:
        """Both together."""
        return Refreshed(
            self.rows + other.rows,
            self.removed + other.removed,
            self.quarantined + other.quarantined,
            self.superseded + other.superseded,
            self.warned + other.warned,
        )
