"""Whatever lands in whatever order, and however runs end: every table is what a computation from scratch gives.

A few sequences here, five hundred in `make torture`; there a few on a further engine, too, which takes minutes for one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdp_local.engines import ENGINES
from effort import IS_TORTURE

TESTS = Path(__file__).resolve().parents[1]
EMBEDDED = next(iter(ENGINES))
IS_EMBEDDED = os.environ.get("CDP_TEST_ENGINE", EMBEDDED) == EMBEDDED
SEEDS, SEQUENCES = ((50, 10) if IS_EMBEDDED else (4, 2)) if IS_TORTURE else (1, 3)

pytestmark = [pytest.mark.torture, pytest.mark.every_case]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_every_run_every_table_is_what_a_computation_from_scratch_gives(seed: int, engine: str) -> None:
    if engine not in ENGINES:
        pytest.skip("shares files with the engine")
    # In a process of its own, as the embedded engine frees little of what it held.
    played = subprocess.run(
        [sys.executable, "-m", "sequences.play", engine, str(seed), "--sequences", str(SEQUENCES)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, f"sequences.play {engine} {seed}:\n{played.stderr[-20_000:]}"
