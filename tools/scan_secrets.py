"""Rejects secrets in all files that git does not ignore, without printing the secrets.

The comment `pragma: allowlist secret` at the end of a line allows a value that only looks like a secret.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from azure_key_detector import (
    AzureKeyDetector,
    CredentialKeywordDetector,
    DatabricksTokenDetector,
    GitHubFineGrainedTokenDetector,
)
from detect_secrets.filters.allowlist import is_line_allowlisted
from detect_secrets.filters.heuristic import is_templated_secret
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.base import BasePlugin
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.private_key import PrivateKeyDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.util.code_snippet import get_code_snippet

# Entropy detectors are not in this list, because identifiers and checksums would cause too many false positives.
DETECTORS: tuple[BasePlugin, ...] = (
    AWSKeyDetector(),
    AzureKeyDetector(),
    BasicAuthDetector(),
    CredentialKeywordDetector(),
    DatabricksTokenDetector(),
    GitHubFineGrainedTokenDetector(),
    GitHubTokenDetector(),
    JwtTokenDetector(),
    NpmDetector(),
    PrivateKeyDetector(),
    SlackDetector(),
)


def repository_files() -> list[str]:
    """Return the files under the current directory that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if Path(name).is_file()]


def scan(name: str) -> Iterator[str]:
    """Yield one message for each line of the file that has a secret. Two kinds of secrets in a line are two messages.

    The file scan of detect-secrets skips YAML lists, comments, lock files, and lines with a call such as
    connect(url, "key"). This function passes every line to the detectors unchanged.
    """
    lines = Path(name).read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        kinds = {
            found.type
            for detector in DETECTORS
            for found in detector.analyze_line(name, line, number)
            if not is_templated_secret(found.secret_value or "")
        }
        if kinds and not is_line_allowlisted(name, line, get_code_snippet(lines, number)):
            yield from (f"{name}:{number}: {kind}" for kind in sorted(kinds))


def main() -> int:
    """Print where the files have secrets. Return 1 if a file has a secret, else 0."""
    names = repository_files()
    findings = [finding for name in names for finding in scan(name)]
    print("\n".join(findings) or f"no secrets in {len(names)} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
