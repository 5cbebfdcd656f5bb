"""What `cdp maintain` does to the tables of a home, whichever engine wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from cdp_lib.errors import CdpError
from cdp_lib.maintenance import FEWEST_DAYS
from cdp_local.workspace import locked


@dataclass(frozen=True)
class Maintained:
    """What has become of one table.

    Attributes:
        table: The table, as `schema.table`.
        files_before: Data files of its latest version, before.
        files_after: The same, afterwards.
        bytes_before: Bytes of data on disk before; files of earlier versions count.
        bytes_after: The same, afterwards.
    """

    table: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int

    @property
    def has_changed(self) -> bool:
        """Whether there was anything to do."""
        return (self.files_before, self.bytes_before) != (self.files_after, self.bytes_after)


def warning_of(days: int) -> str | None:
    """What whoever reads the tables is to know of a retention; None where it is long enough for everybody."""
    if days >= FEWEST_DAYS:
        return None
    when = f"more than {days} days ago" if days else "before now"
    return f"what reads a table as it was {when} – a notebook, a report – loses files of it: let it read again."


def maintain_home(home: Path, retention_days: int) -> list[Maintained]:
    """Put small files of every table together, and remove those of versions that are older than the retention.

    No run of `cdp` uses the home meanwhile. Others may read: a file that the latest version needs is never removed.

    Args:
        home: Folder of the local workspace.
        retention_days: Days for which files of earlier versions stay, from when they were replaced.

    Returns:
        What has become of each table, by name.

    Raises:
        CdpError: The home holds no tables yet or is in use, or a table can't be maintained.
    """
    home = home.resolve()
    if not (home / "warehouse").is_dir():
        raise CdpError(f"{home} holds no tables yet: `cdp run` makes them.")
    with locked(home):
        # A run that was killed may leave the log of a table without its first commit: that is no table yet.
        folders = sorted({commit.parents[1] for commit in (home / "warehouse").glob("*/*/_delta_log/*.json")})
        if not folders:
            raise CdpError(f"{home} holds no tables yet: `cdp run` makes them.")
        return [_maintain(folder, retention_days) for folder in folders]


def _maintain(folder: Path, retention_days: int) -> Maintained:
    try:
        before = _files_and_bytes(folder)
        DeltaTable(folder).optimize.compact()
        _vacuum(folder, retention_days)
        after = _files_and_bytes(folder)
    except DeltaError as error:
        raise CdpError(f"Table {folder} can't be maintained ({error}): its rows are as they were.") from error
    return Maintained(f"{folder.parent.name}.{folder.name}", before[0], after[0], before[1], after[1])


def _vacuum(folder: Path, retention_days: int) -> None:
    """Remove old files, also those that are in no version: a run that was killed leaves such.

    The days that are asked for count, whatever the table says.
    """
    hours, table = 24 * retention_days, DeltaTable(folder)
    old = table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
    # Each VACUUM is two commits, and the log goes on naming what earlier ones have removed.
    if any((folder / file).exists() for file in old):
        table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)


def _files_and_bytes(folder: Path) -> tuple[int, int]:
    on_disk = (file.stat().st_size for file in folder.rglob("*.parquet") if "_delta_log" not in file.parts)
    return len(DeltaTable(folder).file_uris()), sum(on_disk)
