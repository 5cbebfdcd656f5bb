"""Fingerprint of a table: a hash of everything in the code that determines the table's rows.

The hash covers the builder's code, the contract, the materialization, the declared files and the versions of the
declared libraries.

The hash does not cover comments, docstrings and formatting. If only these change, no table becomes due.
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

_EXCLUDED_MODULES = ("cdp_lib.pipeline", "cdp_lib.storage", "cdp_lib.errors", "cdp_lib.contracts.table")
"""Prefixes of modules whose code does not affect the rows that a builder returns."""

_PARSING = RLock()
"""Lock for parsing source code, because Python 3.11 can parse in only one thread at a time."""


def fingerprint(table: Table) -> str:
    """Return a hash of a table's code, contract, materialization, inputs, declared files and library versions.

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
        "code": sorted(_digest(name) for name in _module_closure(table.build.__module__)),
        "files": [_sha256((files("cdp_lib.reference") / name).read_bytes()) for name in table.files],
        "libraries": [version(name) for name in table.libraries],
    }
    return _sha256(json.dumps(parts).encode())[:16]


@cache
def _module_closure(name: str) -> frozenset[str]:
    """Return the names of a module and of the `cdp_lib` modules that it imports, directly or indirectly."""
    found, to_visit = set[str](), [name]
    while to_visit:
        module = to_visit.pop()
        if module not in found:
            found.add(module)
            to_visit += _direct_imports(module)
    return frozenset(found)


@cache
def _direct_imports(name: str) -> tuple[str, ...]:
    """Return the names of the `cdp_lib` modules that a module imports.

    Modules that do not affect the result of a builder are left out.
    """
    names = set[str]()
    for node in ast.walk(_syntax_tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return tuple(
        each
        for each in sorted(names)
        if each.startswith("cdp_lib.") and not each.startswith(_EXCLUDED_MODULES) and _is_code_module(each)
    )


def _is_code_module(name: str) -> bool:
    """Return whether the name belongs to a module, and the module declares no contracts.

    Modules with contracts are left out, because the fingerprint covers the values of the table's own contract.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return not (name.startswith("cdp_lib.contracts") and TableContract in map(type, vars(module).values()))


@cache
def _digest(name: str) -> str:
    """Return a hash of a module's syntax tree. Docstrings, contracts and table declarations are left out."""
    tree, module = _syntax_tree(name), importlib.import_module(name)
    by_value = {key for key, value in vars(module).items() if isinstance(value, TableContract | Table)}
    tree.body = [node for node in tree.body if not (isinstance(node, ast.Assign) and _assigned_names(node) <= by_value)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [each for each in node.body if not _is_docstring(each)]
    return _sha256(ast.dump(tree).encode())


def _assigned_names(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)} or {""}


def _is_docstring(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, or another string literal that is not assigned to a variable."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _syntax_tree(name: str) -> ast.Module:
    file = importlib.import_module(name).__file__
    with open(str(file), encoding="utf-8") as source:
        return ast.parse(source.read())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
