"""What a deployment uploads: a list of what a workspace needs, whatever else is in the folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

Bundle = dict[str, Any]


def is_uploaded(bundle: Bundle, name: str) -> bool:
    """Whether the CLI uploads a file, which git may know or not."""
    sync = bundle["sync"]
    return name in sync["paths"] or any(re.fullmatch(expression(pattern), name) for pattern in sync["include"])


def expression(pattern: str) -> str:
    """A pattern as a regular expression, as the CLI reads it."""
    return re.escape(pattern).replace(r"/\*\*/", "/(?:.+/)?").replace(r"\*", "[^/]*")


def files_in(project: Path, *folders: str) -> list[str]:
    """Files under folders of the project that are written by people."""
    paths = (path for folder in folders for path in (project / folder).rglob("*"))
    return [path.relative_to(project).as_posix() for path in paths if path.suffix in (".py", ".sql", ".csv")]


def test_notebooks_library_and_pins_are_uploaded(bundle: Bundle, project: Path) -> None:
    needed = ["requirements.workspace.txt", *files_in(project, "notebooks", "src/cdp_lib")]
    assert len(needed) > 50
    assert [name for name in needed if not is_uploaded(bundle, name)] == []


def test_a_new_module_of_the_library_is_uploaded_whatever_its_name(bundle: Bundle) -> None:
    assert is_uploaded(bundle, "src/cdp_lib/tools/docs/new.py")


@pytest.mark.parametrize(
    "name",
    [
        "secrets.json",
        ".env.local",
        ".cdp-secrets.yml",
        "dump.sql",
        "scratch.py",
        "requirements.txt",
        "notebooks/secrets.json",
        "notebooks/.env.local",
        "notebooks/dump.sql",
        "notebooks/scratch.py",
        "notebooks/bronze/secrets.json",
        "notebooks/bronze/old/scratch.py",
        "src/cdp_lib/.env.local",
        "src/cdp_lib/customers.csv",
        "src/cdp_lib/__pycache__/stage.cpython-312.pyc",
        "src/cdp_local/cli.py",
        "copy/notebooks/bronze/bronze.py",
        "resources/dashboards/cdp.lvdash.json",
        "tests/unit/test_landing.py",
        "tools/scan_secrets.py",
    ],
)
def test_nothing_else_is_uploaded(bundle: Bundle, name: str) -> None:
    assert not is_uploaded(bundle, name)


def test_the_tests_that_run_in_a_workspace_go_to_development_only(bundle: Bundle) -> None:
    name = "tests/notebooks/test_maintenance.py"
    assert is_uploaded(bundle, name) == (bundle["mode"] == "development")


def test_the_list_has_no_folder_and_no_pattern_that_matches_at_any_depth(bundle: Bundle, project: Path) -> None:
    sync = bundle["sync"]
    # The CLI uploads all that is in a folder of `paths`, and would read `paths` that are missing as the whole project.
    assert sync["paths"] and all((project / path).is_file() for path in sync["paths"])
    # It reads a pattern from the root if a folder comes first and `*.` later, and any other one at any depth.
    assert [pattern for pattern in sync["include"] if not re.fullmatch(r"[\w/]+/.*\*\.\w+", pattern)] == []
    assert "exclude" not in sync


def test_every_pattern_is_of_use(bundle: Bundle, project: Path) -> None:
    assert all(any(project.glob(pattern)) for pattern in bundle["sync"]["include"])
