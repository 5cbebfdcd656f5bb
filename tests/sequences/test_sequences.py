"""Tests of random sequences of batches and runs: after every run, every table equals the model's table.

By default, a few sequences run. `make torture` runs 500 sequences on the embedded engine. On any other engine, a
sequence takes minutes, so `make torture` runs only 8 sequences.
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
def test_tables_equal_a_computation_from_scratch_after_every_run(seed: int, engine: str) -> None:
    if engine not in ENGINES:
        pytest.skip("shares files with the engine")
    # Play each part in a separate process, because the embedded engine frees little of its memory.
    played = subprocess.run(
        [sys.executable, "-m", "sequences.play", engine, str(seed), "--sequences", str(SEQUENCES)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, f"sequences.play {engine} {seed}:\n{played.stderr[-20_000:]}"
