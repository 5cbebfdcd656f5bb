"""Tests of the library's wheel: how it is built, what it contains, and how notebooks import the library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

Bundle = dict[str, Any]
Jobs = list[dict[str, Any]]

PINS, WHEEL = "requirements.workspace.txt", "dist/*.whl"

# Virtual environments of Python 3.11 have an old setuptools, those of later versions have none.
SETUPTOOLS = max((Version(each.version) for each in metadata.distributions(name="setuptools")), default=Version("0"))


@pytest.fixture(scope="module")
def library(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the unpacked wheel, built from a copy of the project."""
    if SETUPTOOLS < Version("80"):
        pytest.skip(
            f"NOT BUILT: the wheel needs setuptools 80, this environment has {SETUPTOOLS}: make check installs it"
        )
    folder = tmp_path_factory.mktemp("wheel")
    source, unpacked = folder / "source", folder / "unpacked"
    shutil.copytree(project / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(project / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    answer = subprocess.run(
        [*command, "--wheel-dir", "dist", "."], cwd=source, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    [wheel] = (source / "dist").iterdir()
    assert wheel.match(WHEEL)
    with zipfile.ZipFile(wheel) as file:
        file.extractall(unpacked)
    return unpacked


def run(code: str, cwd: Path, *options: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a new Python interpreter."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def head(notebook: Path) -> str:
    """Return the notebook cell that adds the library to `sys.path`, without the lines that import from the library."""
    cell = notebook.read_text(encoding="utf-8").split("# COMMAND ----------\n")[1]
    return cell[: cell.index("from cdp_lib")]


# Deployment


def test_each_build_has_its_own_version(bundle: Bundle) -> None:
    [artifact] = bundle["artifacts"].values()
    # The CLI uploads the wheels in dist/.
    assert artifact == {"type": "whl", "dynamic_version": True, "build": "bash tools/build_wheel.sh"}


def test_deployment_keeps_the_wheels_of_earlier_deployments(bundle: Bundle) -> None:
    assert bundle["experimental"] == {"skip_artifact_cleanup": True}


def test_every_environment_has_the_pins_and_the_wheel(jobs: Jobs) -> None:
    for job in jobs:
        for environment in job["environments"]:
            assert environment["spec"] == {"environment_version": "4", "dependencies": [f"-r {PINS}", WHEEL]}


@pytest.mark.parametrize("target", ["adls"], indirect=True)
def test_a_cluster_installs_the_pins_before_the_wheel(jobs: Jobs) -> None:
    libraries = [task["libraries"] for job in jobs for task in job["tasks"] if "libraries" in task]
    assert libraries
    assert all(each == [{"requirements": PINS}, {"whl": WHEEL}] for each in libraries)


def test_no_parameter_is_a_path_of_the_library(jobs: Jobs) -> None:
    names = {parameter["name"] for job in jobs for parameter in job.get("parameters", ())}
    assert not {name for name in names if "path" in name} - {
        "events_path",
        "marketing_spend_path",
        "exchange_rates_path",
        "consents_path",
    }


# Build


def test_every_file_of_the_library_is_package_data(project: Path) -> None:
    with (project / "pyproject.toml").open("rb") as file:
        setuptools = tomllib.load(file)["tool"]["setuptools"]
    assert setuptools["packages"]["find"] == {"where": ["src"], "include": ["cdp_lib*"]}
    for path in (project / "src" / "cdp_lib").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            package = ".".join(path.parent.relative_to(project / "src").parts)
            assert any(fnmatch(path.name, pattern) for pattern in setuptools["package-data"].get(package, ())), path


def test_every_folder_of_the_library_is_a_package(project: Path) -> None:
    folders = {path.parent for path in (project / "src" / "cdp_lib").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_wheel_has_the_library_and_nothing_else(library: Path, project: Path) -> None:
    built = {path.relative_to(library) for path in library.rglob("*") if path.is_file()}
    sources = (path for path in (project / "src" / "cdp_lib").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert {path for path in built if ".dist-info" not in path.parts[0]} == {
        path.relative_to(project / "src") for path in sources
    }


def test_every_module_is_imported_from_the_wheel(library: Path, tmp_path: Path) -> None:
    answer = run(
        "import importlib, pkgutil, cdp_lib\n"
        "for module in pkgutil.walk_packages(cdp_lib.__path__, 'cdp_lib.'): importlib.import_module(module.name)\n"
        "from cdp_lib.pipeline.graph import platform_graph\n"
        "print(cdp_lib.__file__, len(platform_graph().tables))",
        cwd=tmp_path,
        path=library,
    )
    assert answer.returncode == 0, answer.stderr
    file, tables = answer.stdout.split()
    assert Path(file) == library / "cdp_lib" / "__init__.py"
    assert int(tables) > 0


# Import in a notebook


def test_a_notebook_uses_an_installed_library(project: Path, tmp_path: Path) -> None:
    (tmp_path / "cdp_lib").mkdir()
    (tmp_path / "cdp_lib" / "__init__.py").write_text("", encoding="utf-8")
    notebook = project / "notebooks" / "bronze" / "bronze.py"
    code = head(notebook) + "import cdp_lib; print(cdp_lib.__file__); print('../../src' in sys.path)"
    answer = run(code, notebook.parent, "-S", path=tmp_path)
    assert answer.stdout.split() == [str(tmp_path / "cdp_lib" / "__init__.py"), "False"], answer.stderr


def test_notebook_without_an_installed_library_uses_the_source_folder(project: Path) -> None:
    notebook = project / "notebooks" / "bronze" / "bronze.py"
    # -S hides the installed packages.
    answer = run(head(notebook) + "import cdp_lib; print(cdp_lib.__file__)", notebook.parent, "-S")
    assert answer.returncode == 0, answer.stderr
    assert Path(notebook.parent, answer.stdout.strip()).resolve() == project / "src" / "cdp_lib" / "__init__.py"
