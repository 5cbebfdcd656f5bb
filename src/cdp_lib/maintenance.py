"""Maintenance of tables: compacts files, removes old files and computes statistics for the query planner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pyspark.errors import PySparkException

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.table import TableContract
from cdp_lib.errors import CdpError
from cdp_lib.storage.delta import ConflictError, DeltaStore, Files

MIN_RETENTION_DAYS, MAX_RETENTION_DAYS = 7, 30
"""Minimum and maximum retention of data files, in days.

Delta refuses to remove files that are younger than the minimum, because writers may still need these files. The Delta
log is kept for 30 days. Without the log, older files can't be read as a table version.
"""

_STATES = ("", "ENABLE", "DISABLE", "INHERIT")


@dataclass(frozen=True)
class MaintenanceSettings:
    """Settings of a maintenance run.

    Attributes:
        catalog: Unity Catalog catalog.
        schema: Schema of the platform's tables.
        retention_days: Number of days for which the files of earlier table versions are kept.
        batch_retention_days: Number of days for which landed batches are kept.
        predictive_optimization: ENABLE, DISABLE or INHERIT for the schema. Empty to change nothing.
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
        """Return the settings from the parameters of a run.

        Raises:
            CdpError: A parameter is empty or has an invalid value.
        """
        for name, text in (("catalog", catalog), ("schema", schema)):
            if not text:
                raise CdpError(f"Parameter '{name}' is empty: fill in the widget or the job parameter '{name}'.")
        state = predictive_optimization.upper()
        if state not in _STATES:
            raise CdpError(
                f"Parameter 'predictive_optimization' is '{predictive_optimization}':"
                f" write one of {', '.join(_STATES[1:])}, or leave it empty."
            )
        return cls(
            catalog, schema, to_retention_days(retention_days), to_batch_retention_days(batch_retention_days), state
        )


def to_retention_days(text: str) -> int:
    """Return the value of the parameter `retention_days`.

    Raises:
        CdpError: The value is not a whole number from `MIN_RETENTION_DAYS` to `MAX_RETENTION_DAYS`.
    """
    if not (text.isascii() and text.isdecimal() and MIN_RETENTION_DAYS <= int(text) <= MAX_RETENTION_DAYS):
        raise CdpError(
            f"Parameter 'retention_days' is '{text}': write a whole number of days,"
            f" {MIN_RETENTION_DAYS} to {MAX_RETENTION_DAYS}."
        )
    return int(text)


def to_batch_retention_days(text: str) -> int:
    """Return the value of the parameter `batch_retention_days`.

    Raises:
        CdpError: The value is not a whole number, or it is less than `MIN_RETENTION_DAYS`.
    """
    if not (text.isascii() and text.isdecimal() and int(text) >= MIN_RETENTION_DAYS):
        raise CdpError(
            f"Parameter 'batch_retention_days' is '{text}': write a whole number of days, {MIN_RETENTION_DAYS} or more."
        )
    return int(text)


@dataclass(frozen=True)
class MaintainedTable:
    """Result of the maintenance of one table.

    Attributes:
        table_name: Name of the table.
        before: Data files of the table's latest version before the maintenance.
        after: Data files of the table's latest version after the maintenance.
        skip_reason: Why the table was not maintained. Empty if the table was maintained.
        is_failed: Whether the maintenance failed and a person has to find out why.
    """

    table_name: str
    before: Files
    after: Files
    skip_reason: str = ""
    is_failed: bool = False

    def __str__(self) -> str:
        """Return the result in one line."""
        if self.skip_reason:
            return f"{self.table_name}: not maintained: {self.skip_reason}"
        return (
            f"{self.table_name}: {self.before.count:,} → {self.after.count:,} files,"
            f" {self.before.bytes:,} → {self.after.bytes:,} bytes"
        )


def maintain_tables(store: DeltaStore, settings: MaintenanceSettings) -> list[MaintainedTable]:
    """Maintain every table that exists: tables of all layers, quarantines and ops tables.

    Args:
        store: Tables of the platform.
        settings: Settings of the run.

    Returns:
        The result of each table, in the order of the contracts. If the maintenance of a table fails, the other tables
        are still maintained.
    """
    if settings.predictive_optimization:
        store.set_predictive_optimization(settings.predictive_optimization)
    return [
        _maintain(store, contract, settings.retention_days) for contract in TABLES.values() if store.exists(contract)
    ]


def raise_on_failures(maintained: list[MaintainedTable]) -> None:
    """Raise an error if the maintenance of a table failed.

    Raises:
        CdpError: A table failed. The message names the table and the reason.
    """
    failed = [each for each in maintained if each.is_failed]
    if failed:
        more = f" (and {len(failed) - 1} more; the task's output lists them)" if len(failed) > 1 else ""
        raise CdpError(f"{failed[0]}{more}. The rows of all tables are unchanged.")


def _maintain(store: DeltaStore, contract: TableContract, retention_days: int) -> MaintainedTable:
    no_files = Files(0, 0)
    try:
        before = store.files_of(contract)
        store.maintain(contract, retention_days)
        return MaintainedTable(contract.name, before, store.files_of(contract))
    except ConflictError:
        return MaintainedTable(
            contract.name, no_files, no_files, "another run wrote the table meanwhile: the next maintenance tries again"
        )
    except PySparkException as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        return MaintainedTable(contract.name, no_files, no_files, reason, is_failed=True)
