"""Runs a script of `tools/` as the workflow does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run(folder: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a clone, without the variables that this process has from a workflow.

    Args:
        folder: Folder of the clone.
        script: Name of the script in `tools/`.
        arguments: Arguments of the script.
        environment: Environment variables to set.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BUNDLE_VAR_", "GITHUB_"))}
    return subprocess.run(
        [str(folder / "tools" / script), *arguments],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
