"""Number of random test cases. `CDP_FAULT_SEEDS` sets it; `make torture` uses 20."""

from __future__ import annotations

import os

SEEDS = int(os.environ.get("CDP_FAULT_SEEDS", "2"))
"""Number of seeds of each randomized test."""

IS_TORTURE = SEEDS >= 20
"""Whether tests run all cases instead of a sample."""
