"""Keeps the tables small and quick: files put together, old ones removed, statistics for who plans queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.tables import ConflictError, Tables

FEWEST_DAYS, MOST_DAYS = 7, 30
"""Delta refuses to remove what is younger, since writers may still need it; and keeps the log that names files for no
longer, so that older ones would be of no use."""

_STATES = ("", "ENABLE", "DISABLE", "INHERIT")


@dataclass(frozen=True)
class MaintenanceSettings:
    """What a run of the maintenance is told.

    Attributes:
        catalog: Unity Catalog catalog.
        schema: Schema of the platform's tables.
        retention_days: Days for which files of earlier versions of a table stay.
        predictive_optimization: ENABLE, DISABLE or INHERIT, for the schema; empty to leave it as it is.
    """

    catalog: str
    schema: str
    retention_days: int
    predictive_optimization: str

    @classmethod
    def from_parameters(cls, catalog: str, schema: str, retention_days: str, predictive_optimization: str) -> Self:
        """Type the parameters of a run.

        Raises:
            CdpError: A parameter is empty or not one of what it may be.
        """
        for name, text in (("catalog", catalog), ("schema", schema)):
            if not text:
                raise CdpError(f"Parameter '{name}' is empty: fill in the widget or the job parameter '{name}'.")
        state = predictive_optimization.upper()
        if state not in _STATES:
            raise CdpError(
                f"Parameter 'predictive_optimization' is '{predictive_optimization}':"
                f" write {', '.join(_STATES[1:])}, or leave it empty."
            )
        return cls(catalog, schema, to_retention_days(retention_days), state)


def to_retention_days(text: str) -> int:
    """The value of the parameter `retention_days`.

    Raises:
        CdpError: It is no number of days, or fewer or more than tables can do with.
    """
    if not (text.isascii() and text.isdecimal() and FEWEST_DAYS <= int(text) <= MOST_DAYS):
        raise CdpError(
            f"Parameter 'retention_days' is '{text}': write a whole number of days, {FEWEST_DAYS} to {MOST_DAYS}."
        )
    return int(text)


@dataclass(frozen=True)
class Maintained:
    """What has become of one table.

    Attributes:
        table_name: The table.
        files_before: Data files of its latest version, before.
        files_after: The same, afterwards.
        bytes_before: Size of those files, before.
        bytes_after: The same, afterwards.
        is_done: Whether all of it was done; False where another run wrote the table meanwhile.
    """

    table_name: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    is_done: bool = True

    def __str__(self) -> str:
        """The result in a line."""
        left = "" if self.is_done else "; another run has written it meanwhile: the next maintenance goes on"
        return (
            f"{self.table_name}: {self.files_before:,} → {self.files_after:,} files,"
            f" {self.bytes_before:,} → {self.bytes_after:,} bytes{left}"
        )


def maintain_tables(tables: Tables, settings: MaintenanceSettings) -> list[Maintained]:
    """Maintain every table that is there: of all layers, their quarantines, and those of ops.

    Args:
        tables: Tables of the platform.
        settings: Settings of the run.

    Returns:
        What has become of each, in the order of the contracts.
    """
    if settings.predictive_optimization:
        tables.set_predictive_optimization(settings.predictive_optimization)
    return [
        _maintain(tables, contract, settings.retention_days) for contract in TABLES.values() if tables.exists(contract)
    ]


def _maintain(tables: Tables, contract: TableContract, retention_days: int) -> Maintained:
    before = tables.files_of(contract)
    try:
        tables.maintain(contract, retention_days)
        is_done = True
    except ConflictError:
        is_done = False
    after = tables.files_of(contract)
    return Maintained(contract.name, before.count, after.count, before.bytes, after.bytes, is_done)
