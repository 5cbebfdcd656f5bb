"""Number of random test cases. The environment variable `CDP_FAULT_SEEDS` sets it; `make torture` uses 20."""

from __future__ import annotations

import os

SEEDS = int(os.environ.get("CDP_FAULT_SEEDS", "2"))
"""Number of random seeds for each randomized test."""

IS_TORTURE = SEEDS >= 20
"""Whether tests run all their cases instead of a random sample."""
