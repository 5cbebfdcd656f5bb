"""The functions of `dbutils` that the notebooks use. They behave as in a Databricks workspace."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cdp_lib.errors import CdpError
from cdp_lib.redaction import register
from cdp_lib.secrets import PUBLIC_KEYS


class NotebookExit(BaseException):
    """Exception that ends a notebook and holds its exit value.

    The class is a BaseException, so that `except Exception` in a notebook does not catch it.
    """

    def __init__(self, value: str) -> None:
        """Store the exit value of the notebook."""
        super().__init__(value)
        self.value = value


class SecretMetadata(NamedTuple):
    """Key of a secret, without the secret itself."""

    key: str


class SecretStore:
    """Secrets by scope and key, from three places. Messages and logs of this process show none of them.

    The first place that has the secret is used:

    1. An environment variable, such as `CDP_SECRET_CDP_DATABASE_URL` for the key `database_url` in the scope `cdp`.
    2. The secrets file `.cdp-secrets.yml`, which git ignores. It has one mapping of keys to secrets per scope.
    3. The sample sources.
    """

    def __init__(self, file: Path, samples: Mapping[tuple[str, str], str]) -> None:
        """Read the secrets file if it exists.

        Args:
            file: The secrets file.
            samples: Secrets of the sample sources, by (scope, key) pair. The store uses them last.

        Raises:
            CdpError: The file can't be read, or is not a mapping of mappings.
        """
        self._samples = samples
        try:
            self._file: dict[str, dict[str, str]] = yaml.safe_load(file.read_text() if file.is_file() else "") or {}
            self._file = {scope: {key: str(value) for key, value in keys.items()} for scope, keys in self._file.items()}
        except (yaml.YAMLError, AttributeError, ValueError, OSError):
            # Leave out the message of the parser, because the message quotes the file with the secrets.
            raise CdpError(f"{file} can't be read: write a line `scope:`, then indented lines `key: secret`.") from None
        known = [*((key, text) for (_, key), text in samples.items()), *self._environment().items()]
        known += [(str(key), text) for keys in self._file.values() for key, text in keys.items()]
        register(*(text for key, text in known if not key.lower().endswith(PUBLIC_KEYS)))

    def list(self, scope: str) -> list[SecretMetadata]:
        """Return the keys of a scope."""
        return [SecretMetadata(key) for key in sorted(self._secrets(scope))]

    def get(self, scope: str, key: str) -> str:
        """Return a secret.

        Raises:
            ValueError: The secret does not exist.
        """
        try:
            return self._secrets(scope)[key]
        except KeyError:
            raise ValueError(f"Secret does not exist with scope: {scope} and key: {key}") from None

    def _secrets(self, scope: str) -> dict[str, str]:
        samples = {key: secret for (of_scope, key), secret in self._samples.items() if of_scope == scope}
        prefix = secret_variable(scope, "")
        environment = {
            name.removeprefix(prefix).lower(): secret
            for name, secret in self._environment().items()
            if name.startswith(prefix)
        }
        return samples | self._file.get(scope, {}) | environment

    @staticmethod
    def _environment() -> dict[str, str]:
        return {name: secret for name, secret in os.environ.items() if name.startswith("CDP_SECRET_")}


def secret_variable(scope: str, key: str) -> str:
    """Return the name of the environment variable that holds a secret.

    >>> secret_variable("cdp-prod", "database_url")
    'CDP_SECRET_CDP_PROD_DATABASE_URL'
    """
    return "CDP_SECRET_" + re.sub(r"\W", "_", f"{scope}_{key}").upper()


class Widgets:
    """Parameters of a notebook. Values that the job passes override the defaults in the notebook."""

    def __init__(self, passed: Mapping[str, str]) -> None:
        """Start with the parameters that the job passes."""
        self._values = dict(passed)

    def text(self, name: str, defaultValue: str, label: str | None = None) -> None:
        """Create a text widget with a default value."""
        self._values.setdefault(name, defaultValue)

    def dropdown(self, name: str, defaultValue: str, choices: list[str], label: str | None = None) -> None:
        """Create a dropdown widget with a default value."""
        self._values.setdefault(name, defaultValue)

    def get(self, name: str) -> str:
        """Return the value of a widget.

        Raises:
            ValueError: The widget does not exist.
        """
        if name not in self._values:
            raise ValueError(f"InputWidgetNotDefined: No input widget named {name} is defined")
        return self._values[name]

    def getAll(self) -> dict[str, str]:
        """Return the values of all widgets."""
        return dict(self._values)


class TaskValues:
    """Values that the tasks of a run pass to later tasks."""

    def __init__(self, task_key: str, values: dict[tuple[str, str], Any]) -> None:
        """Store the key of the current task, and the mapping that holds the values of all tasks of the run.

        The mapping has one entry per (task key, name of the value) pair.
        """
        self._task_key = task_key
        self._values = values

    def set(self, key: str, value: Any) -> None:
        """Set a value of the current task. The value must be serializable as JSON."""
        self._values[self._task_key, key] = json.loads(json.dumps(value))

    def get(self, taskKey: str, key: str, default: Any = None, debugValue: Any = None) -> Any:
        """Return the value that another task has set.

        Raises:
            ValueError: The value does not exist, and no default is given.
        """
        if (taskKey, key) in self._values:
            return self._values[taskKey, key]
        if default is None:
            raise ValueError(f"Task value with key {key} of task {taskKey} does not exist")
        return default


@dataclass
class Jobs:
    """The object `dbutils.jobs`."""

    taskValues: TaskValues


class FileInfo(NamedTuple):
    """A file or subfolder in the result of `FileSystem.ls`."""

    path: str
    name: str
    size: int
    modificationTime: int


class FileSystem:
    """The object `dbutils.fs`, for files and folders on this machine."""

    def ls(self, path: str) -> list[FileInfo]:
        """Return the files and subfolders of a folder, ordered by name."""
        return [_file_info(entry) for entry in sorted(_local(path).iterdir())]

    def head(self, path: str, maxBytes: int = 65536) -> str:
        """Return the beginning of a file as a string."""
        with _local(path).open("rb") as file:
            return file.read(maxBytes).decode(errors="replace")

    def put(self, path: str, contents: str, overwrite: bool = False) -> bool:
        """Write a string to a file. Replace an existing file only if `overwrite` is true."""
        target = _local(path)
        if target.exists() and not overwrite:
            raise FileExistsError(f"{path} already exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(contents)
        return True

    def mkdirs(self, path: str) -> bool:
        """Create a folder."""
        _local(path).mkdir(parents=True, exist_ok=True)
        return True

    def rm(self, path: str, recurse: bool = False) -> bool:
        """Remove a file or a folder; return whether the file or folder existed."""
        target = _local(path)
        if target.is_dir() and recurse:
            shutil.rmtree(target)
        elif target.exists():
            target.rmdir() if target.is_dir() else target.unlink()
        else:
            return False
        return True


def _local(path: str) -> Path:
    return Path(path.removeprefix("file:"))


def _file_info(entry: Path) -> FileInfo:
    status = entry.stat()
    suffix = "/" if entry.is_dir() else ""
    return FileInfo(f"file:{entry}{suffix}", entry.name + suffix, status.st_size, int(status.st_mtime * 1000))


class NotebookUtils:
    """The object `dbutils.notebook`."""

    def __init__(self, run: Callable[[str, dict[str, str]], str | None]) -> None:
        """Set the function that runs other notebooks."""
        self._run = run

    def run(self, path: str, timeout_seconds: int = 0, arguments: Mapping[str, str] | None = None) -> str | None:
        """Run another notebook and return its exit value. The path is relative to the current notebook."""
        return self._run(path, {name: str(value) for name, value in (arguments or {}).items()})

    def exit(self, value: str) -> None:
        """End the notebook with an exit value."""
        raise NotebookExit(str(value))


@dataclass
class LocalDbutils:
    """The object `dbutils` in one run of a notebook."""

    widgets: Widgets
    secrets: SecretStore
    notebook: NotebookUtils
    jobs: Jobs
    fs: FileSystem = field(default_factory=FileSystem)
