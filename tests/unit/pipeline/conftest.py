"""Fixtures of the pipeline tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..warehouse import Warehouse
from .shop import sell


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """Return a warehouse with two sales."""
    return filled(sell)
