"""Reads the files of the bundle, as the Databricks CLI does, for runs on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cdp_lib.errors import CdpError

PROJECT = Path(__file__).resolve().parents[2]
"""Folder of the project, with `databricks.yml`."""

_REFERENCE = re.compile(r"\$\{([a-zA-Z0-9_.\-]+)\}")
_DYNAMIC_VALUE = re.compile(r"\{\{\s*([a-zA-Z0-9_.\-]+)\s*\}\}")


@dataclass(frozen=True)
class Condition:
    """The two strings that a condition task compares.

    Attributes:
        left: Left side. Its `{{…}}` references are resolved when the task starts.
        right: Right side. Its `{{…}}` references are resolved when the task starts.
    """

    left: str
    right: str


@dataclass(frozen=True)
class Task:
    """A task of a job.

    Attributes:
        key: Task key.
        notebook: File of the notebook; None for a condition task.
        condition: Condition of a condition task; None for a notebook task.
        base_parameters: Parameters of this task only.
        depends_on: Upstream tasks by task key, each with its required outcome: `true` or `false` for a condition task,
            None if no outcome is required.
        run_if: Condition on the results of the upstream tasks, as in the Jobs API.
    """

    key: str
    notebook: Path | None
    condition: Condition | None
    base_parameters: dict[str, str]
    depends_on: dict[str, str | None]
    run_if: str


@dataclass(frozen=True)
class Job:
    """A job of the bundle.

    Attributes:
        key: Key of the job in the bundle.
        parameters: Default of each job parameter, by name.
        tasks: Tasks by key, in the order of the job file.
    """

    key: str
    parameters: dict[str, str]
    tasks: dict[str, Task]


class Bundle:
    """The Databricks bundle. Its variables have the values for a run on this machine."""

    def __init__(self, root: Path, overrides: Mapping[str, str]) -> None:
        """Read the bundle's files.

        Args:
            root: Folder of `databricks.yml`.
            overrides: Values of bundle variables, by name. They override the defaults.

        Raises:
            CdpError: A file is missing or is not YAML, or `overrides` names a variable that the bundle does not have.
        """
        self.root = root
        self._config = _read_yaml(root / "databricks.yml")
        self._resources: dict[str, dict[str, Any]] = {}
        for pattern in self._config.get("include", ()):
            for path in sorted(root.glob(pattern)):
                for kind, resources in _read_yaml(path).get("resources", {}).items():
                    for key, resource in resources.items():
                        self._resources.setdefault(kind, {})[key] = resource | {"_file": path}
        self._overrides = dict(overrides)
        self._variables: dict[str, dict[str, Any]] = self._config.get("variables", {})
        for name in overrides:
            if name not in self._variables:
                raise CdpError(f"Unknown variable '{name}': the bundle has {', '.join(self._variables)}.")

    def variable(self, name: str) -> str:
        """Return the value of a variable: the override if one is given, else the default."""
        return self.resolve(f"${{var.{name}}}")

    def schemas(self) -> list[str]:
        """Return the names of the schemas that the bundle creates."""
        return [self.resolve(schema["name"]) for schema in self._resources.get("schemas", {}).values()]

    def job_keys(self) -> list[str]:
        """Return the keys of the jobs that the bundle deploys."""
        return list(self._resources.get("jobs", {}))

    def job(self, key: str) -> Job:
        """Return a job with its variables resolved.

        Raises:
            CdpError: The job does not exist, or a task of the job has no notebook, can't run on this machine, or
                depends on a task that is not in the job.
        """
        if key not in self._resources.get("jobs", {}):
            raise CdpError(f"Unknown job '{key}': the bundle has {', '.join(self.job_keys())}.")
        resource = self._resources["jobs"][key]
        tasks = {task["task_key"]: self._task(task, resource["_file"]) for task in resource["tasks"]}
        for task in tasks.values():
            for upstream in task.depends_on:
                if upstream not in tasks:
                    raise CdpError(
                        f"Task '{task.key}' of job {key} depends on '{upstream}', which the job does not have."
                    )
        parameters = {
            parameter["name"]: self.resolve(_to_text(parameter["default"]))
            for parameter in resource.get("parameters", ())
        }
        return Job(key, parameters, tasks)

    def resolve(self, text: str) -> str:
        """Replace the `${…}` references in a string with their values.

        Raises:
            CdpError: A reference has no value on this machine, or the references form a cycle.
        """
        return self._resolve(text, ())

    def _resolve(self, text: str, outer: tuple[str, ...]) -> str:
        """Replace the references in a string. The value of a reference may contain more references.

        Example: the value of `${a}` contains `${b}`. While the value of `${b}` is resolved, `outer` is `${a}`, `${b}`.
        If this value contains `${a}` again, the references form a cycle.
        """

        def value_of(match: re.Match[str]) -> str:
            path = (*outer, match[0])
            if match[0] in outer:
                raise CdpError(f"The bundle's references form a cycle: {' → '.join(path)}.")
            return self._resolve(self._text_of(match[1]), path)

        return _REFERENCE.sub(value_of, text)

    def _text_of(self, reference: str) -> str:
        """Return the value of a reference. References inside the value are not resolved yet."""
        match reference.split("."):
            case ["var", name] if name in self._variables:
                return _to_text(self._overrides.get(name, self._variables[name].get("default", "")))
            case ["bundle", "name"]:
                return str(self._config["bundle"]["name"])
            case ["workspace", "file_path"]:
                return str(self.root)
            case ["bundle", "target"]:
                return "local"
            case ["resources", "volumes", key, "volume_path"] if key in self._resources.get("volumes", {}):
                volume = self._resources["volumes"][key]
                return f"/Volumes/{volume['catalog_name']}/{volume['schema_name']}/{volume['name']}"
            case ["resources", kind, key, field] if field in self._resources.get(kind, {}).get(key, {}):
                return _to_text(self._resources[kind][key][field])
        raise CdpError(f"The bundle refers to ${{{reference}}}, which has no value on this machine.")

    def _task(self, task: dict[str, Any], job_file: Path) -> Task:
        key = task["task_key"]
        notebook, condition, parameters = None, None, dict[str, Any]()
        if "condition_task" in task and task["condition_task"]["op"] == "EQUAL_TO":
            condition = Condition(*(self.resolve(_to_text(task["condition_task"][side])) for side in ("left", "right")))
        elif "notebook_task" in task:
            notebook = (job_file.parent / task["notebook_task"]["notebook_path"]).resolve()
            parameters = task["notebook_task"].get("base_parameters", {})
            if not notebook.is_file():
                raise CdpError(
                    f"Task '{key}' of {job_file.name} refers to the notebook {notebook}, which does not exist."
                )
        else:
            raise CdpError(f"Task '{key}' is not a notebook task: it runs in a workspace only.")
        return Task(
            key=key,
            notebook=notebook,
            condition=condition,
            base_parameters={name: self.resolve(_to_text(value)) for name, value in parameters.items()},
            depends_on={upstream["task_key"]: upstream.get("outcome") for upstream in task.get("depends_on", ())},
            run_if=task.get("run_if", "ALL_SUCCESS"),
        )


def resolve_dynamic_values(text: str, value_of: Callable[[str], str]) -> str:
    """Replace the `{{…}}` references in a string. Their values are known only when a job or task starts."""
    return _DYNAMIC_VALUE.sub(lambda match: value_of(match[1]), text)


def _to_text(value: object) -> str:
    """Return a YAML scalar as a string, as the Databricks CLI writes it: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CdpError(f"{path} does not exist: run cdp in a clone of the project.") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise CdpError(f"{path} can't be read: {error}") from error
