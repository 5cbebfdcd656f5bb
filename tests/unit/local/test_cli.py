"""Tests of the group of commands, which imports a command only when the command runs."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from cdp_local import commands
from cdp_local.cli import COMMANDS, app, imported

pytestmark = pytest.mark.first_engine


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_command_begins_as_list_of_commands(name) -> None:
    assert imported(name).help.replace("\n", " ").startswith(COMMANDS[name])


def test_list_has_every_command() -> None:
    assert set(typer.main.get_command(commands.app).commands) == set(COMMANDS) - {"profile", "consent"}
    shown = CliRunner().invoke(app, ["--help"])
    assert [name for name in COMMANDS if f"  {name} " not in shown.output] == []


def test_unknown_command_is_an_error_of_usage() -> None:
    ended = CliRunner().invoke(app, ["profil"])
    assert ended.exit_code == 2
    assert "No such command 'profil'" in ended.output
