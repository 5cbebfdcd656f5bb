"""The graph of all tables. It is collected from the table declarations, so nobody has to maintain a list of tables."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, cached_property
from graphlib import TopologicalSorter

from cdp_lib.errors import CdpError
from cdp_lib.pipeline.table import BUSINESS_DATE, Table

_PACKAGES = ("cdp_lib.bronze", "cdp_lib.silver", "cdp_lib.gold", "cdp_lib.business_date")
"""Modules and packages that declare tables."""

LAYERS = ("bronze", "silver", "gold")


class Graph:
    """Graph that links each table to its inputs."""

    def __init__(self, tables: Iterable[Table]) -> None:
        """Order the tables so that each table comes after its inputs.

        Args:
            tables: Declarations of the tables, in any order.
        """
        declared = {table.name: table for table in tables}
        dated = next((name for name in declared if name.startswith(BUSINESS_DATE)), "")
        self._reads = {
            name: tuple(
                [
                    *(contract.name for contract in table.reads),
                    *([dated] if BUSINESS_DATE in table.settings and dated else []),
                ]
            )
            for name, table in declared.items()
        }
        self._waits_for = {
            name: (*self._reads[name], *(contract.name for contract in table.follows))
            for name, table in declared.items()
        }
        order = TopologicalSorter({name: sorted(self._waits_for[name]) for name in sorted(declared)}).static_order()
        self.tables: dict[str, Table] = {name: declared[name] for name in order}

    @cached_property
    def _readers(self) -> dict[str, list[str]]:
        readers: dict[str, list[str]] = {name: [] for name in self.tables}
        for name, reads in self._reads.items():
            for each in reads:
                readers[each].append(name)
        return readers

    def reads(self, name: str) -> tuple[str, ...]:
        """Return the names of the tables that a table is built from.

        If the table depends on the business date, the table of the business date is included.
        """
        return self._reads[name]

    def waits_for(self, name: str) -> tuple[str, ...]:
        """Return the names of the tables that must be refreshed before a table."""
        return self._waits_for[name]

    def readers(self, name: str) -> list[str]:
        """Return the names of the tables that are built directly from a table."""
        return self._readers[name]

    def upstream(self, names: Collection[str]) -> set[str]:
        """Return the given tables and all tables that they are built from, directly or indirectly."""
        return _reached(names, self.reads)

    def downstream(self, names: Collection[str]) -> set[str]:
        """Return the given tables and all tables that are built from them, directly or indirectly."""
        return _reached(names, self.readers)

    @cached_property
    def _longest_chains(self) -> dict[str, int]:
        return longest_chains(self._waits_for)

    def longest_chain(self, name: str) -> int:
        """Return the largest number of downstream tables that have to be refreshed one after the other.

        These tables form a chain: each table is built from the table before it.
        """
        return self._longest_chains[name]

    def select(self, selection: Iterable[str]) -> set[str]:
        """Return the selected tables, or all tables if nothing is selected.

        Args:
            selection: Names of tables or layers. `+name` adds all upstream tables, `name+` adds all downstream tables.

        Raises:
            CdpError: A name is neither a table nor a layer.
        """
        selected: set[str] = set()
        for each in selection:
            name = each.strip("+")
            names = {table for table in self.tables if name in (table, self.tables[table].contract.layer)}
            if not names:
                raise CdpError(
                    f"Unknown table '{name}': write the name of a table (`cdp plan` lists the tables) or of a"
                    f" layer ({', '.join(LAYERS)})."
                )
            selected |= names
            selected |= self.upstream(names) if each.startswith("+") else set()
            selected |= self.downstream(names) if each.endswith("+") else set()
        return selected or set(self.tables)


def longest_chains(predecessors: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Return, for each name, the length of the longest chain of names that wait for it.

    For example, if `b` waits for `a`, and `c` waits for `b`, the length is 2 for `a`, 1 for `b` and 0 for `c`.

    Args:
        predecessors: For each name, the names that it waits for.
    """
    lengths = dict.fromkeys(predecessors, 0)
    for name in reversed([*TopologicalSorter(predecessors).static_order()]):
        for predecessor in predecessors[name]:
            lengths[predecessor] = max(lengths[predecessor], lengths[name] + 1)
    return lengths


def _reached(names: Collection[str], neighbours: Callable[[str], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    to_visit = list(names)
    while to_visit:
        name = to_visit.pop()
        if name not in found:
            found.add(name)
            to_visit += neighbours(name)
    return found


@cache
def platform_graph() -> Graph:
    """Return the graph of the platform's tables."""
    return Graph(_declarations())


def _declarations() -> Iterator[Table]:
    for name in _PACKAGES:
        package = importlib.import_module(name)
        paths = getattr(package, "__path__", None)
        submodules = [each.name for each in pkgutil.walk_packages(paths, f"{name}.")] if paths else []
        for module in (package, *map(importlib.import_module, submodules)):
            for value in vars(module).values():
                yield from (
                    each for each in (value if isinstance(value, tuple) else [value]) if isinstance(each, Table)
                )
