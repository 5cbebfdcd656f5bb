"""The periods of KPI tables: calendar months and ISO weeks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as sf

from cdp_lib.contracts.kpis import PeriodName


@dataclass(frozen=True)
class Period:
    """A kind of period. A period is named by its first day, which the rows of measures have in the column `period`.

    Attributes:
        name: month or week. A week begins on Monday.
        windows_of_day: Greatest number of periods in whose trailing window of `TRAILING_DAYS` one day can be. The own
            period of the day is included, even if the window does not reach the day.
    """

    name: PeriodName
    windows_of_day: int

    def of(self, day: str) -> Column:
        """Return the first day of the period that contains a day."""
        return sf.trunc(sf.col(day), self.name)

    def start(self, day: date) -> date:
        """Return the first day of the period that contains a day."""
        return day.replace(day=1) if self.name == "month" else day - timedelta(days=day.weekday())

    def later(self, first_day: Column | str, number: Column | int) -> Column:
        """Return the first day of the period that comes a number of periods after another period."""
        if self.name == "month":
            return sf.add_months(first_day, number)
        return sf.date_add(first_day, number * 7)

    def last_day(self, first_day: str | Column) -> Column:
        """Return the last day of a period."""
        return sf.last_day(first_day) if self.name == "month" else sf.date_add(first_day, 6)

    def end(self, first_day: str | Column, as_of: date) -> Column:
        """Return the last day of a period, or `as_of` if `as_of` is earlier."""
        return sf.least(self.last_day(first_day), sf.lit(as_of))

    def between(self, first: Column, last: Column) -> Column:
        """Return an array of the first days of all periods from one period to another."""
        return sf.sequence(first, last, sf.expr(f"INTERVAL 1 {self.name.upper()}"))


MONTH = Period("month", windows_of_day=3)
WEEK = Period("week", windows_of_day=6)
