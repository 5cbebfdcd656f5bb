"""Attacks on the release path: code that was not merged, a wheel that was replaced, text that becomes a command."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts import run

pytestmark = pytest.mark.first_engine

PROJECT = Path(__file__).resolve().parents[2]
GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]
WHEEL = "retail_cdp-1.0.0-py3-none-any.whl"
CHECKSUM = hashlib.sha256(b"wheel").hexdigest()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the scripts, with the tag v1.0.0 on main, and v2.0.0 on a branch that is not merged."""
    folder = tmp_path / "clone"
    shutil.copytree(PROJECT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["commit", "--quiet", "--allow-empty", "-m", "merged"],
        ["tag", "v1.0.0"],
        ["tag", "v1.0.0-$(id)"],
        ["update-ref", "refs/remotes/origin/main", "main"],
        ["checkout", "--quiet", "-b", "feature"],
        ["commit", "--quiet", "--allow-empty", "-m", "not merged"],
        ["tag", "v2.0.0"],
    ):
        subprocess.run([*GIT, *command], cwd=folder, check=True, timeout=60, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("ref", "roll_back"),
    [
        ("refs/heads/main", "false"),
        ("refs/heads/feature", "false"),
        ("refs/heads/feature", "true"),
        ("refs/pull/7/merge", "false"),
        ("refs/pull/7/merge", "true"),
        ("refs/tags/v2.0.0", "false"),
        ("refs/tags/v1.0.0", "true"),
        ("refs/tags/v9.9.9", "false"),
        ("refs/tags/latest", "false"),
        ("refs/tags/v1.0.0-$(id)", "false"),
        ("refs/tags/v1.0.0; touch pwned", "false"),
    ],
)
def test_ref_that_is_not_a_tag_on_main_is_not_released(clone: Path, ref: str, roll_back: str) -> None:
    answer = run(clone, "release_tag.sh", GITHUB_REF=ref, ROLL_BACK=roll_back)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "error: " in answer.stderr
    assert not (clone / "pwned").exists()


@pytest.mark.parametrize(
    "files",
    [{}, {WHEEL: b"other"}, {WHEEL: b"wheel", "another-1.0.0-py3-none-any.whl": b"wheel"}],
    ids=["missing", "replaced", "added"],
)
def test_release_deploys_no_other_wheel(clone: Path, files: dict[str, bytes]) -> None:
    (clone / "dist").mkdir()
    for name, content in files.items():
        (clone / "dist" / name).write_bytes(content)
    answer = run(clone, "build_wheel.sh", CDP_WHEEL_SHA256=CHECKSUM)
    assert answer.returncode == 1
    assert "must have only the wheel of the release" in answer.stderr
    # Nothing was built instead.
    assert {path.name for path in (clone / "dist").iterdir()} == set(files)


def test_empty_variable_never_replaces_a_default_or_an_error(clone: Path) -> None:
    (clone / "databricks").write_text("#!/usr/bin/env bash\nenv | grep ^BUNDLE_VAR_\nexit 0\n")
    (clone / "databricks").chmod(0o755)
    answer = run(
        clone,
        "deploy.sh",
        "prod",
        PATH=f"{clone}:{os.environ['PATH']}",
        BUNDLE_VAR_landing_storage_location="",
        BUNDLE_VAR_notification_email="",
        BUNDLE_VAR_operators_group="operators",
    )
    assert answer.returncode == 0, answer.stderr
    # Once for the validation and once for the deployment.
    assert answer.stdout.splitlines() == ["BUNDLE_VAR_operators_group=operators"] * 2


@pytest.mark.parametrize("path", sorted((PROJECT / ".github").rglob("*.yml")), ids=lambda path: path.stem)
def test_no_text_of_an_event_is_part_of_a_command(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job.get("steps", ()) if "run" in step]
    # The name of a branch or a title may have shell commands. A command gets such values from the environment.
    assert [command for command in commands if "${{" in command] == []
    assert not re.search(r"pull_request_target|secrets\.", path.read_text(encoding="utf-8"))


def test_checkout_leaves_no_token_in_the_working_tree() -> None:
    for path in (PROJECT / ".github").rglob("*.yml"):
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            for step in job.get("steps", ()):
                if "actions/checkout@" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False
