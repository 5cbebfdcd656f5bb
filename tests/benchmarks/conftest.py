"""Fixtures: the landed data of a shop with a few sales, and the tables that the product builds from the data."""

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
    """Folder with the landed data of a shop. Some of the sales have an unknown product."""
    folder = tmp_path_factory.mktemp("shop") / "landing"
    Shop(sales=SALES, products=50, stores=5, orphans=100).land_history(Landing(str(folder)))
    return folder


@pytest.fixture(scope="session")
def product_contents(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """Contents of the tables that the product builds on Sail. Other tests check that Spark gives the same tables."""
    home = tmp_path_factory.mktemp("product")
    refresh(CONTESTANTS["product"], home, landing)
    return contents_of(home / "warehouse" / "sales")
