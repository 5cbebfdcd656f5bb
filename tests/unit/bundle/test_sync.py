"""Tests of the files that a deployment uploads: only the listed files that a workspace needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

Bundle = dict[str, Any]


def is_uploaded(bundle: Bundle, name: str) -> bool:
    """Return whether the CLI uploads a file. The result does not depend on git."""
    sync = bundle["sync"]
    return name in sync["paths"] or any(re.fullmatch(expression(pattern), name) for pattern in sync["include"])


def expression(pattern: str) -> str:
    """Convert a file pattern of the CLI to a regular expression."""
    return re.escape(pattern).replace(r"/\*\*/", "/(?:.+/)?").replace(r"\*", "[^/]*")


def files_in(project: Path, *folders: str) -> list[str]:
    """Return the source files in folders of the project."""
    paths = (path for folder in folders for path in (project / folder).rglob("*"))
    return [path.relative_to(project).as_posix() for path in paths if path.suffix in (".py", ".sql", ".csv")]


def test_notebooks_library_and_pins_are_uploaded(bundle: Bundle, project: Path) -> None:
    needed = ["requirements.workspace.txt", *files_in(project, "notebooks", "src/cdp_lib")]
    assert len(needed) > 50
    assert [name for name in needed if not is_uploaded(bundle, name)] == []


def test_new_module_of_the_library_is_uploaded(bundle: Bundle) -> None:
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
def test_other_files_are_not_uploaded(bundle: Bundle, name: str) -> None:
    assert not is_uploaded(bundle, name)


def test_workspace_tests_are_uploaded_to_development_only(bundle: Bundle) -> None:
    name = "tests/notebooks/test_maintenance.py"
    assert is_uploaded(bundle, name) == (bundle["mode"] == "development")


def test_sync_lists_only_files_and_anchored_patterns(bundle: Bundle, project: Path) -> None:
    sync = bundle["sync"]
    # The CLI uploads every file of a folder in `paths`. Without `paths` it uploads the whole project.
    assert sync["paths"] and all((project / path).is_file() for path in sync["paths"])
    # The CLI anchors a pattern at the root if it starts with a folder and ends with `*.<suffix>`. Other patterns match
    # at any depth.
    assert [pattern for pattern in sync["include"] if not re.fullmatch(r"[\w/]+/.*\*\.\w+", pattern)] == []
    assert "exclude" not in sync


def test_every_pattern_matches_a_file(bundle: Bundle, project: Path) -> None:
    assert all(any(project.glob(pattern)) for pattern in bundle["sync"]["include"])
