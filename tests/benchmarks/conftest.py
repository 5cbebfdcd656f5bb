"""A shop of a few sales, landed once."""

from __future__ import annotations

from pathlib import Path

import pytest
from contestants import CONTESTANTS, refresh
from retail_data import Shop
from same_tables import Contents, contents_of

from cdp_lib.landing import Landing

SALES = 2_000


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landed shop; some of its sales name a product that nobody knows."""
    folder = tmp_path_factory.mktemp("shop") / "landing"
    Shop(sales=SALES, products=50, stores=5, orphans=100).land_history(Landing(str(folder)))
    return folder


@pytest.fixture(scope="session")
def products_contents(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """What the product makes of the shop on Sail; that it makes the same on Spark is tested with the product."""
    home = tmp_path_factory.mktemp("product")
    refresh(CONTESTANTS["product"], home, landing)
    return contents_of(home / "warehouse" / "sales")
