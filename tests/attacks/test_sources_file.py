"""Tests that a file of sources is only data: it runs no code, reads no other file and can't exhaust the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.sources_file import read_sources

pytestmark = pytest.mark.first_engine

BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 10))
FILES = {
    "call of a function": "customers: !!python/object/apply:os.system ['touch {mark}']",
    "call with arguments": "customers: {api: !!python/object/apply:subprocess.check_output [[touch, '{mark}']]}",
    "new object": "customers: !!python/object/new:os.system ['touch {mark}']",
    "name of a function": "customers: {api: !!python/name:os.system ''}",
    "module": "customers: {api: !!python/module:subprocess ''}",
    "object with a state": "customers: !!python/object:pathlib.Path {state: '{mark}'}",
    "another file": "customers: !include /etc/passwd",
    "environment": "customers: {api: !env HOME}",
    "binary": "customers: {api: !!binary '####'}",
    "date": "customers: {api: 2026-02-30}",
    "time": "customers: {api: !!timestamp soon}",
    "truth": "customers: {api: !!bool maybe}",
    "number": "customers: {api: !!int ''}",
    "long number": f"customers: {{api: {'9' * 5000}}}",
    "many levels": f"customers: {'[' * 5000}{']' * 5000}",
    "aliases": f"x0: &x0 [1]\n{BOMB}customers: {{api: *x9}}",
    "aliases of columns": f"customers:\n  api: &x0 [1]\n  columns: &x1 {[['x'] * 9] * 9}",
    "itself": "customers: &x {api: [*x]}",
    "key that is a list": "customers: {[1, 2]: u}",
    "two documents": "customers: {api: u}\n---\ncustomers: {api: v}",
    "control characters": 'customers: {api: "\x01"}',
    "unknown variable": "customers: {api: '${var.__class__}'}",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_hostile_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path, mark = tmp_path / "sources.yml", tmp_path / "mark"
    path.write_text(text.replace("{mark}", str(mark)), encoding="utf-8")
    with pytest.raises(CdpError) as refused:
        read_sources(str(path), {"x": "y"})
    message = str(refused.value)
    assert len(message.splitlines()) == 1 and len(message) < 1000
    assert str(path) in message
    assert not mark.exists()


def test_file_that_is_not_text_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "sources.yml"
    path.write_bytes(b"customers: {api: \xff\xfe}")
    with pytest.raises(CdpError, match=f"The file of sources {path} is not YAML: "):
        read_sources(str(path), {})


def test_value_of_a_variable_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "sources.yml"
    path.write_text("customers: {api: '${var.customers_api_url}'}", encoding="utf-8")
    hostile = "x}\norders: {table: orders}\n# ${var.secret}"
    sources = read_sources(str(path), {"customers_api_url": hostile}).entities
    assert [*sources] == ["customers"]
    assert sources["customers"].address == hostile
