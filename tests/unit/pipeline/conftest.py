"""The shop of these tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..warehouse import Warehouse
from .shop import sell


@pytest.fixture
def shop(filled: Callable[..., Warehouse]) -> Warehouse:
    """The warehouse of a shop that has sold."""
    return filled(sell)
