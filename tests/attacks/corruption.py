"""Random damage to one file of a home folder, as a faulty disk, a crash or a person can cause it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Paths = list[Path]


def _data_files(home: Path) -> Paths:
    return [path for path in home.glob("warehouse/*/*/**/*.parquet") if "_delta_log" not in path.parts]


TARGETS: dict[str, Callable[[Path], Paths]] = {
    "landed data": lambda home: [path for path in home.glob("landing/*/*/*/*/data/**/*") if path.is_file()],
    "manifest": lambda home: [*home.glob("landing/*/*/*/*/manifest.json")],
    "list of landed files": lambda home: [*home.glob("landing/*/*/landed_files.json")],
    "source address": lambda home: [*home.glob("landing/*/*/source.json")],
    "commit": lambda home: [*home.glob("warehouse/*/*/_delta_log/*.json")],
    "checkpoint": lambda home: [*home.glob("warehouse/*/*/_delta_log/*.checkpoint.parquet")],
    "hint of the checkpoint": lambda home: [*home.glob("warehouse/*/*/_delta_log/_last_checkpoint")],
    "version checksum": lambda home: [*home.glob("warehouse/*/*/_delta_log/*.crc")],
    "data file": _data_files,
    "state": lambda home: [path for path in home.glob("warehouse/*/table_state_ops/**/*") if path.is_file()],
    "checksums": lambda home: [*home.glob("checksums/*.json")],
    "lock": lambda home: [home / ".lock"],
}
"""For each kind of target: a function that returns the files of a home folder."""

KINDS = ("flip", "truncate", "empty", "delete", "duplicate", "replace")


@dataclass(frozen=True)
class Damage:
    """Damage to one file.

    Attributes:
        target: Kind of the file, a key of `TARGETS`.
        kind: What happened to the file, one of `KINDS`.
        path: The file.
        is_silent: Whether the file kept its time of the last change, as after a fault of the disk.
        original: Content of the file before the damage.
        copy: File or folder that the damage added.
    """

    target: str
    kind: str
    path: Path
    is_silent: bool
    original: bytes
    copy: Path | None = None

    @property
    def table(self) -> str:
        """Return the name of the table that the file belongs to, or "" if it belongs to no table."""
        parts = self.path.parts
        if "warehouse" in parts:
            return parts[parts.index("warehouse") + 2]
        return self.path.stem.partition(".")[2] if "checksums" in parts else ""

    def is_named_in(self, text: str) -> bool:
        """Return whether a message names the file, the folder of its table, or its batch."""
        parts = self.path.parts
        if "warehouse" in parts:
            return str(Path(*parts[: parts.index("warehouse") + 3])) in text
        if "landing" in parts:
            place = parts[parts.index("landing") + 1 :]
            batch = place[3] if len(place) > 3 else "/".join(place[:2])
            return batch in text
        return str(self.path) in text

    def repair(self) -> None:
        """Restore the original content, unless a run has already built a new file in the place of a deleted one.

        The restored file has a new time of the last change.
        """
        if self.copy:
            shutil.rmtree(self.copy) if self.copy.is_dir() else self.copy.unlink()
        elif not (self.kind == "delete" and self.path.exists()):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(self.original)


def with_fault(content: bytes, chance: random.Random) -> bytes:
    """Return the content with one to eight changed bytes in one place."""
    start, changed = chance.randrange(len(content)), bytearray(content)
    for position in range(start, min(start + chance.randint(1, 8), len(content))):
        changed[position] ^= chance.randint(1, 255)
    return bytes(changed)


def damage(home: Path, chance: random.Random) -> Damage:
    """Damage one file of a home folder."""
    files = {target: sorted(find(home)) for target, find in TARGETS.items()}
    target = chance.choice([target for target, found in files.items() if found])
    path, kind = chance.choice(files[target]), chance.choice(KINDS)
    original = path.read_bytes()
    if kind == "duplicate":
        copied = path.parent if target == "manifest" else path
        copy = copied.with_name(f"{copied.stem}-copy{copied.suffix}")
        shutil.copytree(copied, copy) if copied.is_dir() else shutil.copy2(copied, copy)
        return Damage(target, kind, path, False, original, copy)
    if kind == "delete":
        path.unlink()
        return Damage(target, kind, path, False, original)
    others = [content for other in files[target] if (content := other.read_bytes()) != original]
    content = b""
    if kind == "flip" and original:
        content = with_fault(original, chance)
    elif kind == "truncate" and original:
        content = original[: chance.randrange(len(original))]
    elif kind == "replace":
        content = chance.choice(others) if others else b"{}"
    is_silent = kind == "flip" and target in ("data file", "state") and chance.random() < 0.3
    stat = path.stat()
    path.write_bytes(content)
    if is_silent:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return Damage(target, kind, path, is_silent, original)
