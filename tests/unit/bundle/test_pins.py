"""Tests of the pinned packages that jobs install in addition to the wheel."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Pins = dict[str, str]


def lines(path: Path) -> list[str]:
    """Return the lines of a requirements file without comments. Join lines that continue on the next line."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def versions(path: Path) -> Pins:
    """Return the pinned version of each package in a requirements file."""
    pinned = [re.fullmatch(r"([\w.-]+)==([\w.]+)(?: +--hash=\S+)*", line) for line in lines(path)]
    assert all(pinned), path
    return {str(canonicalize_name(match[1])): match[2] for match in pinned if match}


@pytest.fixture(scope="module")
def pins(project: Path) -> Pins:
    return versions(project / "requirements.workspace.txt")


def needed(project: Path) -> set[str]:
    """Return the packages of requirements.txt and all their dependencies, from the metadata of installed packages."""
    names: set[str] = set()
    waiting = [(Requirement(line), "") for line in lines(project / "requirements.txt")]
    while waiting:
        requirement, extra = waiting.pop()
        name = str(canonicalize_name(requirement.name))
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        new = {("", name), *((each, name) for each in requirement.extras)}
        for each, _ in new:
            if f"{name}[{each}]" not in names:
                names.add(f"{name}[{each}]")
                waiting += [(Requirement(text), each) for text in metadata.requires(name) or ()]
    return {name.partition("[")[0] for name in names}


def test_pins_meet_the_requirements_of_the_library(project: Path, pins: Pins) -> None:
    for requirement in map(Requirement, lines(project / "requirements.txt")):
        assert requirement.specifier.contains(pins[str(canonicalize_name(requirement.name))]), requirement


def test_every_dependency_is_pinned(project: Path, pins: Pins) -> None:
    assert needed(project) <= pins.keys()


def test_jobs_install_the_versions_that_tests_use(project: Path, pins: Pins) -> None:
    constraints = versions(project / "constraints.txt")
    assert {name: constraints.get(name) for name in pins} == pins


def test_lock_file_has_the_same_versions_with_hashes(project: Path, pins: Pins) -> None:
    lock = project / "requirements.lock.txt"
    assert versions(lock) == pins
    assert [line for line in lines(lock) if not re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", line)] == []


@pytest.mark.parametrize(
    ("name", "vulnerable"),
    [("pyarrow", "23.0.0"), ("pyarrow", "14.0.0"), ("requests", "2.32.5"), ("urllib3", "2.6.2")],
)
def test_library_refuses_versions_with_known_vulnerabilities(project: Path, name: str, vulnerable: str) -> None:
    required = {line.name: line.specifier for line in map(Requirement, lines(project / "requirements.txt"))}
    assert not required[name].contains(vulnerable)


def test_job_pins_have_no_hashes_because_pip_refuses_them_with_a_wheel(project: Path) -> None:
    assert "--hash" not in "".join(lines(project / "requirements.workspace.txt"))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements.workspace.txt", "requirements.lock.txt"])
def test_requirements_files_name_no_package_index(project: Path, name: str) -> None:
    text = (project / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_ci_verifies_the_hashes(project: Path) -> None:
    assert "run: make verify-lock\n" in (project / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    [recipe] = re.findall(r"^verify-lock:.*\n((?:\t.*\n)+)", (project / "Makefile").read_text(encoding="utf-8"), re.M)
    for option in ("--require-hashes", "--no-deps", "-r requirements.lock.txt"):
        assert option in recipe
