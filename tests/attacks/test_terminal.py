"""Attacks on the terminal, and on the machine: data never controls a terminal, and a home belongs to its owner."""

from __future__ import annotations

import io
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.text import Text

from cdp_lib.errors import CdpError
from cdp_local import cli, commands
from cdp_local.commands import _print_errors
from cdp_local.dbutils import SecretStore
from cdp_local.notebooks import Workspace, run_notebook
from cdp_local.printing import print_shortened, print_table
from cdp_local.progress import Progress
from cdp_local.runner import State, TaskRun
from cdp_local.terminal import Terminal, printable
from cdp_local.workspace import locked, other_users

pytestmark = pytest.mark.first_engine

DATA = {
    "colour": "\x1b[31mred\x1b[0m",
    "clear screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;title\x07",
    "hyperlink": "\x1b]8;;https://evil.example.com\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "device report": "\x1b[c\x1b[6n\x1bP+q544e\x1b\\",
    "C1 sequence": "\x9b31mred\x9d0;title\x9c",
    "alternate characters": "\x0e\x1b(0",
    "carriage return": "good\rbad ",
    "backspace": "good\b\b\b\bbad ",
    "delete": "a\x7fb",
    "null": "a\x00b",
    "bell": "\a\a",
    "form feed": "a\fb\vc",
    "bidirectional override": "\u202egnp.exe\u202c",
    "bidirectional isolate": "\u2066a\u2069",
    "line separator": "a\u2028b\u2029c",
    "markup": "[bold red]x[/] [/b]",
    "link markup": "[link=https://evil.example.com]x[/link]",
    "markup of an action": "[@click=app.bell]x[/]",
    "closing tag": "[/b]",
    "emoji code": ":pile_of_poo: :smiley:",
    "surrogate": "a\ud800b",
}
"""Texts that may be in data, by what they try to do."""

each_text = pytest.mark.parametrize("text", DATA.values(), ids=DATA.keys())


def terminal(width: int = 200) -> Terminal:
    return Terminal(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def written(output: Terminal) -> str:
    assert isinstance(output.file, io.StringIO)
    text = output.file.getvalue()
    text.encode()
    return text


def assert_harmless(printed: str, text: str) -> None:
    """Check that an output has no control characters, and shows the remaining characters of a text as they are."""
    assert printed == printable(printed)
    assert not set(printed) & {"\x1b", "\x9b", "\r", "\b", "\a", "\u202e", "\u2028"}
    remaining = "".join(char for char in printable(text) if not char.isspace())
    assert remaining in "".join(char for char in printed if not char.isspace() and char not in "│┃")


@each_text
def test_a_line_shows_data_as_text(text: str) -> None:
    output = terminal()
    output.print(f"New columns in the source, added to a_bronze: {text}", soft_wrap=True)
    assert_harmless(written(output), text)


@each_text
def test_a_title_shows_data_as_text(text: str) -> None:
    output = terminal()
    output.print(Text(text, style="bold"), soft_wrap=True)
    assert_harmless(written(output).replace("\x1b[1m", "").replace("\x1b[0m", ""), text)


@each_text
def test_a_cell_shows_data_as_text(text: str) -> None:
    output = terminal()
    print_table(output, "Rows", ("value",), [(text,), ([text],)])
    assert_harmless(written(output), text)
    assert len({len(line) for line in written(output).splitlines()[1:]}) == 1


@each_text
def test_a_header_shows_data_as_text(text: str) -> None:
    output = terminal()
    print_table(output, text, (text,), [(1,)])
    assert_harmless(written(output), text)


@each_text
def test_a_value_per_line_shows_data_as_text(text: str) -> None:
    output = terminal(width=12)
    print_table(output, "Rows", (text, "a_very_long_name_of_a_column"), [(text, text)])
    assert written(output) == printable(written(output))


@each_text
def test_a_record_shows_data_as_text(text: str) -> None:
    output = terminal()
    print_shortened(output, f"  1  {text}")
    assert_harmless(written(output), text)


@each_text
def test_the_progress_shows_data_as_text(text: str) -> None:
    output = Terminal(file=io.StringIO(), width=200)
    with Progress(output, [text]) as progress:
        progress.show(TaskRun(text, State.FAILED, started=0.0, seconds=1.0, error=text))
    assert_harmless(written(output), text)


@each_text
def test_the_live_progress_shows_data_as_text(text: str) -> None:
    output = terminal()
    with Progress(output, [text]) as progress:
        progress.show(TaskRun(text, State.FAILED, started=0.0, seconds=1.0, error=text))
    last = written(output).rsplit("\x1b[2K", 1)[-1]
    assert_harmless(last, text)


@each_text
def test_an_error_shows_data_as_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output = terminal()
    monkeypatch.setattr(commands, "errors", output)
    _print_errors([TaskRun("bronze", State.FAILED, error=text)])
    assert_harmless(written(output), text)


@each_text
def test_the_message_of_an_error_has_no_control_characters(text: str) -> None:
    message = str(CdpError(f"Column {text} is wrong."))
    assert message.isprintable()
    message.encode()


@each_text
def test_the_log_of_a_task_has_no_control_characters(text: str, tmp_path: Path) -> None:
    notebook, output = tmp_path / "task.py", io.StringIO()
    notebook.write_text(
        f"# Databricks notebook source\nprint({text!r})\nraise ValueError({text!r})\n", encoding="utf-8"
    )
    with pytest.raises(ValueError):
        run_notebook(notebook, {}, Workspace(None, SecretStore(tmp_path / "none", {}), {}), output, "task")
    assert output.getvalue() == printable(output.getvalue())
    assert "Traceback" in output.getvalue()
    output.getvalue().encode()


def test_letters_of_any_language_are_shown() -> None:
    text = "Zoë نور \u200f 田中 \U0001f600\u200d\U0001f680 ✓ –\tend\n"
    assert printable(text) == text


# Unexpected errors


def test_a_bug_ends_in_a_traceback_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    output = terminal()

    def bug() -> None:
        raise KeyError("https://api.example.com/?api_key=blue-moon [/b] \x1b[2J")

    monkeypatch.setattr(cli, "errors", output)
    monkeypatch.setattr(cli, "app", bug)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    before = os.umask(0o022)
    try:
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert os.umask(0o022) == 0o077
    finally:
        os.umask(before)
    assert end.value.code == 1
    assert "Traceback" in written(output) and "KeyError" in written(output)
    assert "blue-moon" not in written(output) and "\x1b[2J" not in written(output)


# Homes


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("existing", [(), ("warehouse",), ("landing", "notes.txt")], ids=["new", "tables", "landing"])
def test_only_its_owner_may_enter_a_home(tmp_path: Path, existing: tuple[str, ...]) -> None:
    home = tmp_path / "home"
    for name in existing:
        (home / name).mkdir(parents=True)
        home.chmod(0o755)
    with locked(home):
        assert mode_of(home) == 0o700


@pytest.mark.parametrize(
    ("mode", "names"), [(0o1777, ["warehouse"]), (0o755, ["notes.txt"])], ids=["like /tmp", "folder of something else"]
)
def test_a_folder_that_others_use_keeps_its_mode(tmp_path: Path, mode: int, names: list[str]) -> None:
    home = tmp_path / "shared"
    for name in names:
        (home / name).mkdir(parents=True)
    home.chmod(mode)
    with locked(home):
        assert mode_of(home) == mode


def account(name: str, uid: int, shell: str) -> Any:
    return SimpleNamespace(pw_name=name, pw_uid=uid, pw_shell=shell)


@pytest.mark.parametrize(
    ("accounts", "names"),
    [
        ([("me", 1000, "/bin/bash")], []),
        ([("me", 1000, "/bin/bash"), ("you", 1001, "/bin/zsh"), ("anna", 1002, "/bin/sh")], ["anna", "you"]),
        ([("daemon", 1, "/bin/sh"), ("nobody", 65534, "/bin/sh"), ("ci", 1005, "/usr/sbin/nologin")], []),
        ([("ftp", 1006, "/bin/false")], []),
    ],
    ids=["alone", "two others", "system accounts", "no login"],
)
def test_other_people_of_this_machine_are_found(
    monkeypatch: pytest.MonkeyPatch, accounts: list[tuple[str, int, str]], names: list[str]
) -> None:
    monkeypatch.setattr(pwd, "getpwall", lambda: [account(*each) for each in accounts])
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert other_users() == names


@pytest.mark.parametrize(("engine", "warns"), [("sail", True), ("spark", False)])
def test_a_run_warns_of_other_people(monkeypatch: pytest.MonkeyPatch, engine: str, warns: bool) -> None:
    output = terminal()
    monkeypatch.setattr(commands, "console", output)
    monkeypatch.setattr(commands, "other_users", lambda: ["anna", "bob", "carla", "dora"])
    commands._warn_of_other_users(engine)
    assert ("other users of this machine (anna, bob, carla, …)" in written(output)) == warns


@pytest.mark.parametrize("name", ["it's [b] 50% ü"])
def test_a_home_with_any_name_works(tmp_path: Path, cdp: Callable[..., Any], name: str) -> None:
    home = tmp_path / name
    run = cdp("run", "--home", home)
    assert run.returncode == 0, run.stderr
    assert "Saudi Arabia" in run.stdout
    assert {mode_of(path) & 0o077 for path in home.rglob("*")} == {0}
    shown = cdp("sql", "SELECT count(*) AS customers FROM customers_silver", "--home", home)
    assert (shown.returncode, "50" in shown.stdout) == (0, True), shown.stderr
    assert cdp("maintain", "--home", home).returncode == 0
    assert [each.name for each in tmp_path.iterdir()] == [name]
