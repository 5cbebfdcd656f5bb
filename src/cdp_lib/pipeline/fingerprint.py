"""Fingerprint of what makes a table besides its inputs: its builder, contract and declared files and libraries.

Comments, docstrings and formatting are no part of it, so they make nothing due.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from threading import RLock

from cdp_lib.contracts.table import TableContract
from cdp_lib.pipeline.table import Table

_NOT_OF_A_BUILDER = ("cdp_lib.pipeline", "cdp_lib.storage", "cdp_lib.errors", "cdp_lib.contracts.table")


_PARSING = RLock()
"""Python 3.11 parses source from one thread at a time alone."""


def fingerprint(table: Table) -> str:
    """Return a hash of the code, the contract, the files and the libraries that a table is made by.

    Args:
        table: Declaration of the table.
    """
    with _PARSING:
        return _fingerprint(table)


@cache
def _fingerprint(table: Table) -> str:
    contract = table.contract
    parts = {
        "contract": [
            contract.name,
            [(column.name, column.type, column.required) for column in contract.columns],
            [(rule.name, rule.holds, rule.severity) for rule in contract.rules],
            [contract.key, contract.version, contract.partitioned_by],
        ],
        "materialization": repr(table.materialization),
        "reads": [each.name for each in table.reads],
        "code": sorted(_digest(name) for name in _modules_behind(table.build.__module__)),
        "files": [_sha256((files("cdp_lib.reference") / name).read_bytes()) for name in table.files],
        "libraries": [version(name) for name in table.libraries],
    }
    return _sha256(json.dumps(parts).encode())[:16]


@cache
def _modules_behind(name: str) -> frozenset[str]:
    """Return a module and the modules of this library that it imports, one way or another."""
    found, waiting = set[str](), [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imported_by(module)
    return frozenset(found)


@cache
def _imported_by(name: str) -> tuple[str, ...]:
    """Return the modules of this library that a module imports, as far as builders depend on them."""
    names = set[str]()
    for node in ast.walk(_tree_of(name)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return tuple(
        each
        for each in sorted(names)
        if each.startswith("cdp_lib.") and not each.startswith(_NOT_OF_A_BUILDER) and _is_code(each)
    )


def _is_code(name: str) -> bool:
    """Return whether a name is that of a module, and not one of contracts: those count by value."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return not (name.startswith("cdp_lib.contracts") and TableContract in map(type, vars(module).values()))


@cache
def _digest(name: str) -> str:
    """Return a hash of a module's syntax tree, without docstrings and without what a fingerprint has by value."""
    tree, module = _tree_of(name), importlib.import_module(name)
    by_value = {key for key, value in vars(module).items() if isinstance(value, TableContract | Table)}
    tree.body = [node for node in tree.body if not (isinstance(node, ast.Assign) and _names_of(node) <= by_value)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [each for each in node.body if not _is_text(each)]
    return _sha256(ast.dump(tree).encode())


def _names_of(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)} or {""}


def _is_text(node: ast.stmt) -> bool:
    """Return whether a statement is a text and nothing else: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _tree_of(name: str) -> ast.Module:
    file = importlib.import_module(name).__file__
    with open(str(file), encoding="utf-8") as source:
        return ast.parse(source.read())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
