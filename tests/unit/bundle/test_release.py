"""Tests of the GitHub workflows and of the scripts that they run, without GitHub and without the Databricks CLI."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import run

pytestmark = pytest.mark.first_engine

Workflow = dict[str, Any]

GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]
RELEASED_ONLY = "github.ref_type == 'tag' || (github.ref == 'refs/heads/main' && inputs.roll_back)"


@pytest.fixture(scope="module")
def workflows(project: Path) -> dict[str, Workflow]:
    """Content of each workflow, by name."""
    paths = sorted((project / ".github" / "workflows").glob("*.yml"))
    # YAML reads the key `on` as true.
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8").replace("\non:", '\n"on":')) for path in paths}


@pytest.fixture
def jobs(workflows: dict[str, Workflow]) -> dict[str, Any]:
    """Jobs of the workflow `ci`."""
    return dict(workflows["ci"]["jobs"])


@pytest.fixture
def clone(project: Path, tmp_path: Path) -> Path:
    """A clone with the scripts, with the tags v1.0.0, v1.1.0 and v1.10.0 on main, and v2.0.0 on another branch."""
    folder = tmp_path / "clone"
    shutil.copytree(project / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "constraints.txt").touch()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for tag in ("v1.0.0", "v1.1.0", "v1.10.0", "nightly", "v1", "vnext"):
        git(folder, "commit", "--quiet", "--allow-empty", "-m", tag)
        git(folder, "tag", tag)
    git(folder, "update-ref", "refs/remotes/origin/main", "main")
    git(folder, "checkout", "--quiet", "-b", "feature")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "not merged")
    git(folder, "tag", "v2.0.0")
    return folder


def git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run([*GIT, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return answer.stdout.strip()


def one_error(answer: subprocess.CompletedProcess[str]) -> str:
    """Return the only line that a script printed before it failed."""
    assert (answer.returncode, answer.stdout) == (1, "")
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    return line


# Workflows


def test_every_action_is_pinned_by_its_commit(project: Path) -> None:
    lines = [
        line.strip()
        for path in (project / ".github").rglob("*.yml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(- )?uses:", line)
    ]
    actions = [line for line in lines if "uses: ./" not in line]
    assert len(actions) >= 10
    pinned = re.compile(r"(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+(,.*)?")
    assert [line for line in actions if not pinned.fullmatch(line)] == []
    # One version of each action.
    by_name = {line.split("@")[0].split("uses: ")[1]: set() for line in actions}
    for line in actions:
        by_name[line.split("@")[0].split("uses: ")[1]].add(line.split("@")[1].split(",")[0])
    assert {name: versions for name, versions in by_name.items() if len(versions) > 1} == {}


def test_release_is_deployed_to_staging_then_approved_then_to_production(jobs: dict[str, Any]) -> None:
    deployments = {name: job for name, job in jobs.items() if job.get("uses") == "./.github/workflows/deploy.yml"}
    targets = {name: job["with"]["target"] for name, job in deployments.items()}
    assert targets == {name: name for name in ("dev", "staging", "prod")}
    assert jobs["release"]["needs"] == "check" and jobs["dev"]["needs"] == "check"
    assert jobs["staging"]["needs"] == "release"
    assert jobs["prod"]["needs"] == ["release", "staging"]
    # Without a condition of their own, both are skipped if a job that they need failed or was skipped.
    assert "if" not in jobs["staging"] and "if" not in jobs["prod"]
    assert jobs["staging"]["with"]["run"] == "cdp_refresh" and "run" not in jobs["prod"]["with"]


def test_only_tags_and_main_are_deployed(workflows: dict[str, Workflow], jobs: dict[str, Any]) -> None:
    assert workflows["ci"]["on"]["push"] == {"branches": ["main"], "tags": ["v*"]}
    assert jobs["release"]["if"] == RELEASED_ONLY
    assert jobs["dev"]["if"] == "github.event_name == 'push' && github.ref == 'refs/heads/main'"
    # Nobody can choose a target.
    assert workflows["ci"]["on"]["workflow_dispatch"]["inputs"].keys() == {"roll_back"}
    assert workflows["deploy"]["on"].keys() == {"workflow_call"}
    steps = [step.get("run", "") for step in jobs["release"]["steps"]]
    assert "tag=$(tools/release_tag.sh)" in steps[1] and not any(steps[:1])


def test_staging_and_production_get_the_commit_and_the_wheel_of_the_release(
    workflows: dict[str, Workflow], jobs: dict[str, Any]
) -> None:
    for target in ("staging", "prod"):
        given = jobs[target]["with"]
        assert given["commit"] == "${{ needs.release.outputs.commit }}"
        assert given["wheel_sha256"] == "${{ needs.release.outputs.wheel_sha256 }}"
    (deploy,) = workflows["deploy"]["jobs"].values()
    assert deploy["environment"] == "${{ inputs.target }}"
    assert deploy["env"]["CDP_WHEEL_SHA256"] == "${{ inputs.wheel_sha256 }}"
    downloads = [step for step in deploy["steps"] if "download-artifact" in step.get("uses", "")]
    assert [(step["with"], step["if"]) for step in downloads] == [
        ({"name": "wheel", "path": "dist"}, "inputs.wheel_sha256 != ''")
    ]
    # Without a checksum, the deployment would build a wheel.
    refusal, checkout = deploy["steps"][:2]
    assert refusal["if"] == "inputs.target != 'dev' && inputs.wheel_sha256 == ''" and "exit 1" in refusal["run"]
    assert checkout["with"]["ref"] == "${{ inputs.commit }}"


def test_only_deployments_may_get_a_token_of_the_workspace(workflows: dict[str, Workflow]) -> None:
    for name, workflow in workflows.items():
        assert workflow["permissions"] == {"contents": "read"}
        for key, job in workflow["jobs"].items():
            is_deployment = "environment" in job or "uses" in job
            expected = {"contents": "read", "id-token": "write"} if is_deployment else None
            assert job.get("permissions") == expected, (name, key)


def test_failed_command_of_a_pipe_fails_its_step(workflows: dict[str, Workflow]) -> None:
    assert all(workflow["defaults"] == {"run": {"shell": "bash"}} for workflow in workflows.values())


def test_no_deployment_runs_beside_another_one_of_its_target(workflows: dict[str, Workflow]) -> None:
    (deploy,) = workflows["deploy"]["jobs"].values()
    assert deploy["concurrency"] == "deploy-${{ inputs.target }}"
    assert workflows["ci"]["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_every_required_variable_of_production_comes_from_the_environment(workflows: dict[str, Workflow]) -> None:
    (deploy,) = workflows["deploy"]["jobs"].values()
    given = {name.removeprefix("BUNDLE_VAR_") for name in deploy["env"] if name.startswith("BUNDLE_VAR_")}
    assert given == {
        "analysts_group",
        "catalog",
        "deployer",
        "landing_storage_location",
        "notification_email",
        "operators_group",
        "service_principal",
    }
    # No value and no secret is written down.
    values = {name: value for name, value in deploy["env"].items() if name != "DATABRICKS_AUTH_TYPE"}
    assert [name for name, value in values.items() if not re.fullmatch(r"\$\{\{ (vars|inputs)\.\w+ \}\}", value)] == []


# Scripts


@pytest.mark.parametrize(
    ("ref", "roll_back", "tag"),
    [
        ("refs/tags/v1.10.0", "false", "v1.10.0"),
        ("refs/tags/v1.0.0", "false", "v1.0.0"),
        ("refs/heads/main", "true", "v1.0.0"),
    ],
    ids=["newest", "older", "roll back"],
)
def test_tag_of_a_release(clone: Path, ref: str, roll_back: str, tag: str) -> None:
    if roll_back == "true":
        git(clone, "tag", "--delete", "v1.1.0")
    answer = run(clone, "release_tag.sh", GITHUB_REF=ref, ROLL_BACK=roll_back)
    assert (answer.stdout, answer.stderr) == (f"{tag}\n", "")


def test_rolling_back_sorts_versions_as_numbers(clone: Path) -> None:
    answer = run(clone, "release_tag.sh", GITHUB_REF="refs/heads/main", ROLL_BACK="true")
    assert answer.stdout == "v1.1.0\n"


def test_rolling_back_needs_an_earlier_release(clone: Path) -> None:
    git(clone, "tag", "--delete", "v1.0.0", "v1.1.0")
    answer = run(clone, "release_tag.sh", GITHUB_REF="refs/heads/main", ROLL_BACK="true")
    assert "fewer than two tags" in one_error(answer)


@pytest.fixture
def cli(clone: Path) -> Path:
    """Log of a simulated `databricks` command, with the variables that the command got."""
    log = clone / "cli.log"
    (clone / "databricks").write_text(
        f'#!/usr/bin/env bash\n{{ echo "$*"; env | grep ^BUNDLE_VAR_ | sort; }} >>"{log}"\n[ "$2" != "${{FAIL-}}" ]\n'
    )
    (clone / "databricks").chmod(0o755)
    return log


def test_deployment_validates_strictly_deploys_and_runs_the_job(clone: Path, cli: Path) -> None:
    path = f"{clone}:{os.environ['PATH']}"
    answer = run(clone, "deploy.sh", "staging", "cdp_refresh", PATH=path, BUNDLE_VAR_catalog="cat2")
    assert answer.returncode == 0, answer.stderr
    assert cli.read_text().splitlines() == [
        "bundle validate --strict -t staging",
        "BUNDLE_VAR_catalog=cat2",
        "bundle deploy -t staging",
        "BUNDLE_VAR_catalog=cat2",
        "bundle run -t staging cdp_refresh",
        "BUNDLE_VAR_catalog=cat2",
    ]


@pytest.mark.parametrize("step", ["validate", "deploy"])
def test_deployment_stops_at_the_first_failure(clone: Path, cli: Path, step: str) -> None:
    answer = run(clone, "deploy.sh", "prod", "cdp_refresh", PATH=f"{clone}:{os.environ['PATH']}", FAIL=step)
    assert answer.returncode != 0
    assert cli.read_text().splitlines()[-1].startswith(f"bundle {step} ")


def test_release_keeps_its_wheel_and_gives_it_the_time_of_the_commit(clone: Path) -> None:
    wheel = clone / "dist" / "retail_cdp-1.0.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"wheel")
    checksum = hashlib.sha256(b"wheel").hexdigest()
    assert run(clone, "build_wheel.sh", CDP_WHEEL_SHA256=checksum).returncode == 0
    assert wheel.read_bytes() == b"wheel"
    assert int(wheel.stat().st_mtime) == int(git(clone, "log", "-1", "--format=%ct"))


# Audit


@pytest.fixture
def audit(clone: Path, project: Path) -> Path:
    """Folder of simulated tools that report no vulnerability and accept every licence."""
    for name in ("requirements.lock.txt", "requirements.workspace.txt"):
        shutil.copy(project / name, clone)
    tools = clone / "audit"
    tools.mkdir()
    for name in ("pip-audit", "pip-licenses"):
        set_tool(tools, name, "exit 0")
    return tools


def set_tool(tools: Path, name: str, script: str) -> None:
    (tools / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
    (tools / name).chmod(0o755)


def test_audit_without_findings_succeeds(clone: Path, audit: Path) -> None:
    answer = run(clone, "audit.sh", AUDIT=str(audit), PYTHON="python")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"none in \d\d packages", answer.stdout)


def test_audit_fails_with_the_table_of_vulnerabilities(clone: Path, audit: Path) -> None:
    set_tool(audit, "pip-audit", "echo 'requests 2.32.3 CVE-2024-47081'; exit 1")
    answer = run(clone, "audit.sh", AUDIT=str(audit), PYTHON="python")
    assert answer.returncode == 1 and "CVE-2024-47081" in answer.stdout


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)], ids=["laptop", "CI"])
def test_audit_says_that_the_database_is_out_of_reach(clone: Path, audit: Path, ci: str, status: int) -> None:
    set_tool(audit, "pip-audit", "echo 'ERROR: connection refused' >&2; exit 1")
    answer = run(clone, "audit.sh", AUDIT=str(audit), PYTHON="python", CI=ci)
    assert answer.returncode == status
    assert "NOT CHECKED for vulnerabilities, because pip-audit failed: ERROR: connection refused" in answer.stdout


def test_package_that_the_database_does_not_know_is_not_a_pass(clone: Path, audit: Path) -> None:
    # Without --strict, pip-audit lists the packages that it skipped, and succeeds.
    set_tool(audit, "pip-audit", '[[ "$*" != *--strict* ]] || { echo "ERROR: adlfs: not found" >&2; exit 1; }')
    answer = run(clone, "audit.sh", AUDIT=str(audit), PYTHON="python", CI="true")
    assert answer.returncode == 1 and "ERROR: adlfs: not found" in answer.stdout


def test_audit_fails_for_a_licence_that_is_not_in_the_list(clone: Path, audit: Path) -> None:
    set_tool(audit, "pip-licenses", '[[ "$*" != *--allow-only* ]]')
    assert run(clone, "audit.sh", AUDIT=str(audit), PYTHON="python").returncode == 1


def test_ci_audits_every_week_without_holding_back_a_release(
    workflows: dict[str, Workflow], jobs: dict[str, Any]
) -> None:
    assert [step["run"] for step in jobs["audit"]["steps"] if "run" in step] == ["make audit"]
    assert workflows["ci"]["on"]["schedule"]
    assert not [name for name, job in jobs.items() if "audit" in job.get("needs", ())]
