"""Tests of the secret scan in a temporary git repository.

The tests generate keys at run time, because the secret scan also reads this file.
"""

import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
AZURE_KEY = b64encode(bytes(range(100, 164))).decode()
AZURITE_KEY = "Eby8vdM02xNOcqF" + AZURE_KEY[15:]
CHECKSUM = f"sha512-{AZURE_KEY}"
HEX = bytes(range(100, 116)).hex()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def scan(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/scan_secrets.py")]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def notebook(source: str) -> str:
    return json.dumps({"cells": [{"source": ["# title\n", source]}]}, indent=1)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("app.py", f'import os\n\nclient = connect(URL, "{AZURE_KEY}")\n', 3),
        ("job.yml", f"keys:\n  - {AZURE_KEY}\n", 2),
        ("job.yaml", f"a: 1\n# {AZURE_KEY}\n", 2),
        ("README.md", f"Set `AccountKey={AZURE_KEY};`.\n", 1),
        ("load.ipynb", notebook(f'key = "{AZURE_KEY}"\n'), 6),
        ("settings.json", json.dumps({"text": f"key:\n{AZURE_KEY}\n"}), 1),
        ("package-lock.json", f'{{\n"key": "{AZURE_KEY}"\n}}', 2),
        ("with space/naïve.toml", f'[a]\nb = "{AZURE_KEY}"\n', 2),
    ],
)
def test_azure_key_is_found_and_not_printed(repository: Path, name: str, text: str, line: int) -> None:
    path = repository / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")

    result = scan(repository)

    assert result.returncode == 1
    assert result.stdout == f"{name}:{line}: Azure credential\n"
    assert AZURE_KEY not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        (f"SharedAccessKey={AZURE_KEY[:43]}=", "Azure credential"),
        (f"https://a.example/b?sv=1&sig={'a1%2B' * 9}%3D", "Azure credential"),
        ("abc8Q~" + "d" * 34, "Azure credential"),
        (f"dapi{HEX}", "Databricks token"),
        (f"dose{HEX}", "Databricks token"),
        ("AKIA" + "J" * 16, "AWS Access Key"),
        (f"https://user:{HEX}@host.example", "Basic Auth Credentials"),
        ("ghp_" + "a1" * 18, "GitHub Token"),
        ("github_pat_" + "a" * 82, "GitHub fine-grained token"),
        ("//host.example/:_auth" + f"Token=npm_{HEX}", "NPM tokens"),
        (f"xoxb-1-{HEX}", "Slack Token"),
        (".".join(["eyJhIjoxfQ"] * 2 + ["a1"]), "JSON Web Token"),
        ("-----BEGIN " + "PRIVATE KEY-----", "Private Key"),
        (f'password = "{HEX}"', "Secret Keyword"),
    ],
)
def test_secret_of_each_kind_is_found(repository: Path, secret: str, kind: str) -> None:
    (repository / "notes.md").write_text(f"{secret}\n")

    assert scan(repository).stdout == f"notes.md:1: {kind}\n"


@pytest.mark.parametrize(
    "text",
    [
        f"AccountKey={AZURITE_KEY};",
        f'"integrity": "{CHECKSUM}",',
        f"requests==2.0 --hash=sha256:{HEX * 2}",
        f'key = "{AZURE_KEY}"  # pragma: allowlist secret',
        f"# pragma: allowlist nextline secret\n{AZURE_KEY}",
        'url = f"https://{user}:{password}@host.example"',
        'secret_scope = "retail-customer-data"',
        'token = dbutils.secrets.get(scope="cdp", key="cosmos-key")',
    ],
)
def test_allowed_text_passes(repository: Path, text: str) -> None:
    (repository / "file.py").write_text(f"{text}\n")

    result = scan(repository)

    assert (result.returncode, result.stdout) == (0, "no secrets in 1 files\n")


def test_only_ignored_files_are_skipped(repository: Path) -> None:
    (repository / ".gitignore").write_text(".env\n")
    (repository / ".env").write_text(AZURE_KEY)
    (repository / "staged").write_text(AZURE_KEY)
    (repository / "untracked").write_text(AZURE_KEY)
    (repository / "deleted").write_text(AZURE_KEY)
    subprocess.run(["git", "add", "staged", "deleted"], cwd=repository, check=True)
    (repository / "deleted").unlink()

    found = [line.split(":")[0] for line in scan(repository).stdout.splitlines()]

    assert sorted(found) == ["staged", "untracked"]


def test_this_project_passes() -> None:
    result = scan(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr
