"""Keeps the tables small and quick: files put together, old ones removed, statistics for who plans queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pyspark.errors import PySparkException

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.storage.delta import ConflictError, DeltaStore, Files

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
        batch_retention_days: Days for which landed batches stay.
        predictive_optimization: ENABLE, DISABLE or INHERIT, for the schema; empty to leave it as it is.
    """

    catalog: str
    schema: str
    retention_days: int
    batch_retention_days: int
    predictive_optimization: str

    @classmethod
    def from_parameters(
        cls, catalog: str, schema: str, retention_days: str, batch_retention_days: str, predictive_optimization: str
    ) -> Self:
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
        return cls(
            catalog, schema, to_retention_days(retention_days), to_batch_retention_days(batch_retention_days), state
        )


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


def to_batch_retention_days(text: str) -> int:
    """The value of the parameter `batch_retention_days`.

    Raises:
        CdpError: It is no number of days, or fewer than names of batches are remembered for.
    """
    if not (text.isascii() and text.isdecimal() and int(text) >= FEWEST_DAYS):
        raise CdpError(
            f"Parameter 'batch_retention_days' is '{text}': write a whole number of days, {FEWEST_DAYS} or more."
        )
    return int(text)


@dataclass(frozen=True)
class Maintained:
    """What has become of one table.

    Attributes:
        table_name: The table.
        before: Files of its latest version, before.
        after: The same, afterwards.
        left_because: Why the maintenance has left it, empty where it is done.
        is_failed: Whether that is for a person to look at.
    """

    table_name: str
    before: Files
    after: Files
    left_because: str = ""
    is_failed: bool = False

    def __str__(self) -> str:
        """The result in a line."""
        if self.left_because:
            return f"{self.table_name}: left as it is: {self.left_because}"
        return (
            f"{self.table_name}: {self.before.count:,} → {self.after.count:,} files,"
            f" {self.before.bytes:,} → {self.after.bytes:,} bytes"
        )


def maintain_tables(store: DeltaStore, settings: MaintenanceSettings) -> list[Maintained]:
    """Maintain every table that is there: of all layers, their quarantines, and those of ops.

    Args:
        store: Tables of the platform.
        settings: Settings of the run.

    Returns:
        What has become of each, in the order of the contracts. One that fails holds up no other.
    """
    if settings.predictive_optimization:
        store.set_predictive_optimization(settings.predictive_optimization)
    return [
        _maintain(store, contract, settings.retention_days) for contract in TABLES.values() if store.exists(contract)
    ]


def refuse_failures(maintained: list[Maintained]) -> None:
    """End a run in which a table failed.

    Raises:
        CdpError: One did: which, and why.
    """
    failed = [each for each in maintained if each.is_failed]
    if failed:
        others = f" (and {len(failed) - 1} more, in the task's output)" if len(failed) > 1 else ""
        raise CdpError(f"{failed[0]}{others}. The rows of every table are as they were.")


def _maintain(store: DeltaStore, contract: TableContract, retention_days: int) -> Maintained:
    nothing = Files(0, 0)
    try:
        before = store.files_of(contract)
        store.maintain(contract, retention_days)
        return Maintained(contract.name, before, store.files_of(contract))
    except ConflictError:
        return Maintained(
            contract.name, nothing, nothing, "another run wrote it meanwhile: the next maintenance goes on"
        )
    except PySparkException as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        return Maintained(contract.name, nothing, nothing, why, is_failed=True)
