"""What `cdp maintain`, and `cdp watch` between refreshes, do to the tables of a home, whichever engine wrote them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from cdp_lib.contracts.ops import OPS_TABLES
from cdp_lib.errors import CdpError
from cdp_lib.maintenance import FEWEST_DAYS
from cdp_local.workspace import locked

_MANY_COMMITS = 4
"""Each makes a table slower to open, by a tenth: who opens it reads what they say. A refresh opens hundreds."""

_TABLES_AT_ONCE = 8
"""Of those with many commits, as each takes a twentieth of a second, in which a batch may land; others come next."""

_KEPT_AN_HOUR, _KEPT_A_MINUTE = "interval 1 hours", "interval 1 minutes"
"""For how long what is replaced stays while a home is watched, for who began to read it."""


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


class Upkeep:
    """Keeps the tables of a home quick to read while many small commits are made to them."""

    def __init__(self, home: Path) -> None:
        """Name the home; nothing is read yet.

        Args:
            home: Folder of the local workspace.
        """
        self._warehouse = home.resolve() / "warehouse"
        self._kept_up: dict[Path, int] = {}  # of each table the version it was last at

    def keep_up(self) -> list[Path]:
        """Do to tables that have had many commits since the last time what their readers would pay for otherwise.

        Nobody writes meanwhile. What is read as it was before the last hour is lost.

        Returns:
            Folders of these tables, those with most commits first.
        """
        commits = {
            log.parent: _newest_version(log) - self._kept_up.get(log.parent, 0)
            for log in self._warehouse.glob("*/*/_delta_log")
        }
        grown = sorted((folder for folder in commits if commits[folder] >= _MANY_COMMITS), key=lambda f: -commits[f])
        kept_up = []
        for folder in grown[:_TABLES_AT_ONCE]:
            with suppress(DeltaError):  # it is as it was, and slower to read
                self._kept_up[folder] = _keep_up(folder)
                kept_up.append(folder)
        return kept_up


def _newest_version(log: Path) -> int:
    return max((int(commit.stem) for commit in log.glob("*.json")), default=0)


def _keep_up(folder: Path) -> int:
    """Put small files of a table together, and forget earlier versions; its version now."""
    # Each stage replaces the table of states: names of files that are gone would soon be most of what its log says.
    is_of_ops = folder.name in {contract.name for contract in OPS_TABLES}
    wanted = {
        "delta.logRetentionDuration": _KEPT_A_MINUTE,
        "delta.deletedFileRetentionDuration": _KEPT_A_MINUTE if is_of_ops else _KEPT_AN_HOUR,
    }
    table = DeltaTable(folder)
    if not wanted.items() <= table.metadata().configuration.items():
        table.alter.set_table_properties(wanted)
    table.optimize.compact()
    table.vacuum(dry_run=False, enforce_retention_duration=False)
    table.create_checkpoint()
    table.cleanup_metadata()
    # Checksums of commits that are gone are left behind by the library.
    log = folder / "_delta_log"
    for checksum in log.glob("*.crc"):
        if not checksum.with_suffix(".json").exists():
            checksum.unlink()
    return int(table.version())


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
