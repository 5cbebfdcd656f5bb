"""Maintenance of the tables in a home folder: by `cdp maintain`, and by `cdp watch` between two refreshes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from cdp_lib.contracts.ops import OPS_TABLES
from cdp_lib.errors import CdpError
from cdp_lib.maintenance import MIN_RETENTION_DAYS
from cdp_local.checksums import check_files, forget_files, record_files
from cdp_local.workspace import locked, plain_path

_MIN_NEW_COMMITS = 4
"""Number of new commits after which `cdp watch` maintains a table between two refreshes.

Opening a table reads the log of its commits, so each commit makes the opening about 10 % slower. A refresh opens
hundreds of tables.
"""

_TABLES_PER_PASS = 8
"""Maximum number of tables to maintain between two refreshes.

The maintenance of a table takes about 50 ms. Batches that land meanwhile wait for the next refresh.
"""

_ONE_HOUR, _ONE_MINUTE = "interval 1 hours", "interval 1 minutes"
"""Retention periods of replaced data files and of log entries while `cdp watch` runs.

The files of a replaced version stay for this time, so that a query that already reads the version can finish.
"""


@dataclass(frozen=True)
class MaintenanceResult:
    """Number of files and bytes of one table, before and after its maintenance.

    Attributes:
        table: Name of the table, as `schema.table`.
        files_before: Number of data files of the latest version, before maintenance.
        files_after: Number of data files of the latest version, after maintenance.
        bytes_before: Bytes of all data files on disk, before maintenance. Files of earlier versions are included.
        bytes_after: Bytes of all data files on disk, after maintenance. Files of earlier versions are included.
    """

    table: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int

    @property
    def has_changed(self) -> bool:
        """Whether maintenance changed the number of files or bytes."""
        return (self.files_before, self.bytes_before) != (self.files_after, self.bytes_after)


def retention_warning(days: int) -> str | None:
    """Return a warning for readers of the tables if the retention is below `MIN_RETENTION_DAYS`, else None."""
    if days >= MIN_RETENTION_DAYS:
        return None
    versions = f"table versions that were replaced more than {days} days ago" if days else "all earlier table versions"
    return f"files of {versions} are removed: restart every notebook or report that reads such a version."


def maintain_home(home: Path, retention_days: int) -> list[MaintenanceResult]:
    """Compact the small files of every table, and remove expired files of earlier versions.

    The home folder is locked during the maintenance. Other programs may read the tables at the same time, because files
    of the latest version are never removed.

    Args:
        home: Folder of the local workspace.
        retention_days: Number of days for which a file stays after a newer version of the table has replaced it.

    Returns:
        One result per table, ordered by schema and table.

    Raises:
        CdpError: The home folder holds no tables yet or is in use, a file of a table is damaged, or a table can't be
            maintained.
    """
    with _tables_of(home) as folders:
        return [_maintain(folder, retention_days) for folder in folders]


def forget_history(home: Path) -> None:
    """Remove all earlier versions of every table: data files, change data and log entries.

    The log keeps a checkpoint and the newest commit. The home folder is locked meanwhile.

    Args:
        home: Folder of the local workspace.

    Raises:
        CdpError: As `maintain_home`.
    """
    with _tables_of(home) as folders:
        for folder in folders:
            _maintain(folder, 0, trims_log=True)


@contextmanager
def _tables_of(home: Path) -> Iterator[list[Path]]:
    """Lock a home folder and yield the folders of its tables, sorted.

    Raises:
        CdpError: The home folder holds no tables yet or is in use.
    """
    home = home.resolve()
    if not (home / "warehouse").is_dir():
        raise CdpError(f"{home} holds no tables yet: `cdp run` creates them.")
    with locked(home), plain_path(home) as plain_home:
        # A killed run may leave a folder with a Delta log that has no commit. This folder is not a table.
        folders = sorted({commit.parents[1] for commit in (plain_home / "warehouse").glob("*/*/_delta_log/*.json")})
        if not folders:
            raise CdpError(f"{home} holds no tables yet: `cdp run` creates them.")
        yield folders


class WatchMaintenance:
    """Maintenance between the refreshes of `cdp watch`, so that tables with many small commits stay fast to read."""

    def __init__(self, home: Path) -> None:
        """Store the home folder, without reading any file.

        Args:
            home: Folder of the local workspace.
        """
        self._warehouse = home.resolve() / "warehouse"
        self._maintained_versions: dict[Path, int] = {}  # table folder → version after its maintenance

    def maintain_grown_tables(self) -> list[Path]:
        """Compact the tables with the most new commits, and remove old entries from their logs.

        A new commit is a commit since the last maintenance of the table. No other program may write the tables at the
        same time. The files of a replaced version are kept for one hour. In ops tables, they are kept for one minute.

        Returns:
            Folders of the maintained tables. The table with the most new commits is the first.
        """
        commits = {
            log.parent: _newest_version(log) - self._maintained_versions.get(log.parent, 0)
            for log in self._warehouse.glob("*/*/_delta_log")
        }
        grown = sorted((folder for folder in commits if commits[folder] >= _MIN_NEW_COMMITS), key=lambda f: -commits[f])
        maintained = []
        for folder in grown[:_TABLES_PER_PASS]:
            # A table whose maintenance fails stays complete. It is only slower to read. The next refresh that uses a
            # damaged table reports the damage.
            with suppress(DeltaError, CdpError):
                self._maintained_versions[folder] = _compact_and_trim(folder)
                maintained.append(folder)
        return maintained


def _newest_version(log: Path) -> int:
    return max((int(commit.stem) for commit in log.glob("*.json")), default=0)


def _compact_and_trim(folder: Path) -> int:
    """Compact the small files of a table and remove its expired versions; return the new version of the table."""
    # Each stage replaces all files of the state table. The log of a table lists a replaced file until the retention of
    # the file ends. The retention of ops tables is short, so that their logs stay short.
    is_ops_table = folder.name in {contract.name for contract in OPS_TABLES}
    properties = {
        "delta.logRetentionDuration": _ONE_MINUTE,
        "delta.deletedFileRetentionDuration": _ONE_MINUTE if is_ops_table else _ONE_HOUR,
    }
    table = _open(folder)
    if not properties.items() <= table.metadata().configuration.items():
        table.alter.set_table_properties(properties)
    table.optimize.compact()
    table.vacuum(dry_run=False, enforce_retention_duration=False)
    table.create_checkpoint()
    table.cleanup_metadata()
    # The library leaves the checksum files of removed commits behind.
    log = folder / "_delta_log"
    for checksum in log.glob("*.crc"):
        if not checksum.with_suffix(".json").exists():
            checksum.unlink()
    record_files(folder)
    return int(table.version())


def _open(folder: Path) -> DeltaTable:
    """Check the files of a table, because a compaction would copy damaged rows to new files, and open the table.

    The checksums are forgotten until the maintenance ends, because a killed maintenance may leave a new file under a
    known name.

    Raises:
        CdpError: A file of the table was changed or is lost.
    """
    check_files(folder)
    forget_files(folder)
    return DeltaTable(folder)


def _maintain(folder: Path, retention_days: int, *, trims_log: bool = False) -> MaintenanceResult:
    try:
        before = _files_and_bytes(folder)
        _open(folder).optimize.compact()
        _vacuum(folder, retention_days)
        if trims_log:
            _trim_log(folder)
        record_files(folder)
        after = _files_and_bytes(folder)
    except DeltaError as error:
        raise CdpError(f"Table {folder} can't be maintained ({error}): its rows are unchanged.") from error
    return MaintenanceResult(f"{folder.parent.name}.{folder.name}", before[0], after[0], before[1], after[1])


def _trim_log(folder: Path) -> None:
    """Write a checkpoint of a table, and remove all older files of its log."""
    table = DeltaTable(folder)
    table.create_checkpoint()
    newest = f"{table.version():020}"
    for file in (folder / "_delta_log").iterdir():
        if file.is_file() and file.name[:20].isdecimal() and file.name[:20] < newest:
            file.unlink()


def _vacuum(folder: Path, retention_days: int) -> None:
    """Remove old files, including files that a killed run wrote without a commit.

    `retention_days` overrides the retention that the properties of the table define.
    """
    hours, table = 24 * retention_days, DeltaTable(folder)
    old = table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
    # The log may still list files that an earlier vacuum has removed. `old` contains these files, too. If none of the
    # files exists, skip the vacuum: it would make two commits for nothing.
    if any((folder / file).exists() for file in old):
        table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)


def _files_and_bytes(folder: Path) -> tuple[int, int]:
    on_disk = (file.stat().st_size for file in folder.rglob("*.parquet") if "_delta_log" not in file.parts)
    return len(DeltaTable(folder).file_uris()), sum(on_disk)
