"""Limits of an extraction. They stop a source that sends far more data than expected."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from typing import Self

from cdp_lib.errors import CdpError

RATIO_FROM_BYTES = 16 << 20
"""Number of decompressed bytes above which the ratio is limited. Small repetitive data may have any ratio."""

MAX_RECORD_LENGTH = 64 << 20
"""Maximum length of one record. Only one record at a time is in memory."""

_EXCESS = {
    "megabytes": "has more than {:,g} MB of decompressed data",
    "ratio": "has more than {:,g} times as much data as before decompression",
    "rows": "has more than {:,.0f} rows",
    "pages": "has more than {:,.0f} pages",
    "hours": "takes more than {:,g} hours to read",
}
"""What an error says about a source, by name of the exceeded limit."""


@dataclass(frozen=True)
class Limits:
    """Maximum amounts of one extraction from an API, the CRM or a folder.

    Attributes:
        megabytes: Decompressed size of one response or file, in millions of bytes.
        ratio: Decompressed size of one response or file, divided by its compressed size.
        rows: Number of records of one entity.
        pages: Number of responses of one entity.
        hours: Duration of the extraction of one entity.
    """

    megabytes: float = 4096
    ratio: float = 200
    rows: float = 100_000_000
    pages: float = 100_000
    hours: float = 6

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the limits in a text. Limits that the text does not name have their defaults.

        Args:
            text: Limits separated by blanks, such as `megabytes=512 hours=0.5`.

        Raises:
            CdpError: A limit is unknown, is named twice, or is not a number above 0.

        >>> Limits.parse("rows=1000 hours=0.5")
        Limits(megabytes=4096, ratio=200, rows=1000.0, pages=100000, hours=0.5)
        """
        known, limits = [field.name for field in fields(cls)], dict[str, float]()
        for item in text.split():
            name, _, number = item.partition("=")
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if name not in known or name in limits or not 0 < value < math.inf:
                raise CdpError(
                    f"Parameter 'source_limits' contains '{item}': write each limit once, as a name and a number above"
                    f" 0, such as hours=6; the names are {', '.join(known)}."
                )
            limits[name] = value
        return cls(**limits)

    def error(self, name: str, limit: str) -> CdpError:
        """Return the error for a source that exceeds a limit.

        Args:
            name: Name of the source and its address.
            limit: Name of the limit.
        """
        return CdpError(
            f"{name} {_EXCESS[limit].format(getattr(self, limit))}: nothing was landed; check the source, or raise"
            f" '{limit}' in the variable 'source_limits'."
        )

    def check(self, name: str, **amounts: float) -> None:
        """Raise an error if an amount exceeds its limit.

        Args:
            name: Name of the source and its address.
            amounts: Amounts by name of the limit.

        Raises:
            CdpError: An amount exceeds its limit.
        """
        for limit, amount in amounts.items():
            if amount > getattr(self, limit):
                raise self.error(name, limit)


class Meter:
    """Limits and clock of one extraction. The clock starts when the object is created.

    Attributes:
        limits: Limits of the extraction.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Start the clock.

        Args:
            limits: Limits of the extraction. None for the default limits.
        """
        self.limits = limits or Limits()
        self._started = time.perf_counter()

    def check(self, name: str, **amounts: float) -> None:
        """Raise an error if an amount, or the duration of the extraction, exceeds its limit.

        Args:
            name: Name of the source and its address.
            amounts: Amounts so far, by name of the limit.

        Raises:
            CdpError: A limit is exceeded.
        """
        self.limits.check(name, hours=(time.perf_counter() - self._started) / 3600, **amounts)

    def check_size(self, name: str, size: int, compressed: int) -> None:
        """Raise an error if a response or file is too large, or if the extraction takes too long.

        Args:
            name: Name of the source and its address.
            size: Number of decompressed bytes so far.
            compressed: Number of compressed bytes so far, or in total.

        Raises:
            CdpError: A limit is exceeded.
        """
        self.check(name, megabytes=size / 1e6, ratio=size / max(compressed, 1) if size > RATIO_FROM_BYTES else 0)
