"""How much a run of the tests takes of what it could try: CDP_FAULT_SEEDS says it, `make torture` says 20."""

from __future__ import annotations

import os

SEEDS = int(os.environ.get("CDP_FAULT_SEEDS", "2"))
"""Seeds of what is random, of each source and the like."""

IS_TORTURE = SEEDS >= 20
"""Whether all is tried that there is to try, and not a sample of it."""
