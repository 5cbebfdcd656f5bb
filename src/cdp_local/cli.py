"""The `cdp` command.

This module imports no engine. The module of a command is imported when the command runs, so that a command without an
engine starts fast.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cdp_lib.errors import CdpError
from cdp_lib.redaction import redact, redact_logs
from cdp_local.terminal import console, errors

COMMANDS = {
    "run": "Run a job of the bundle, as `databricks bundle run` does in a workspace.",
    "demo": "Run the whole platform on an invented shop with 2,000 customers, and open the report.",
    "plan": "List the tables that are due and the reasons, without running anything.",
    "verify": "Check every file, and compare every table with its rebuild. Exit with code 1 if one is wrong.",
    "watch": "Run the job cdp_stream whenever a batch has landed, until Ctrl-C.",
    "tables": "List the existing tables with their number of rows and their grain.",
    "show": "Show the first rows of a table or view.",
    "sql": "Query any tables and views, and print the result.",
    "init": "Look at a database, an API or a folder, and propose a file of sources with the mapping of its columns.",
    "check": "Read a sample of each source.",
    "report": "Write the dashboard of the existing tables as one HTML page.",
    "export": "Write customers to act on as a file of identifiers.",
    "quarantine": "Show which rows are in quarantine or have a warning, and why.",
    "maintain": "Remove old landed batches, compact small files of every table and remove files of old versions.",
    "forget": "Erase persons from landed batches and from all tables.",
    "subject-access": "Write everything that is stored about a person, as an HTML page and as JSON.",
    "profile": "Show one person's profile, records, history, purchases and events, and where every value comes from.",
    "consent": "Show what a person allows, or allowed on an earlier day, and why.",
    "identity": "Explain, split and join persons, train a model, and try other rules of identity resolution.",
}
"""First sentence of the help of each command. `cdp --help` shows the commands in this order."""


_WITHOUT_ENGINE = ("profile", "consent")
"""Commands that start no engine. Each is a function of its name in a module of its own."""


class _Commands(TyperGroup):
    """Group that imports a command when the command runs. Until then, it knows only its help."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command that has only a help, or None if there is no such command."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the imported command and the arguments of the command to run."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, imported(name) if name in COMMANDS else command, rest


app = typer.Typer(
    cls=_Commands,
    help="The Customer Data Platform on your machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.callback()(lambda: None)


def imported(name: str) -> Any:
    """Import a command, and return it."""
    if name not in _WITHOUT_ENGINE:
        return typer.main.get_command(importlib.import_module("cdp_local.commands").app).commands[name]  # type: ignore[attr-defined]
    command = typer.Typer(rich_markup_mode=None, add_completion=False)
    command.command(name)(getattr(importlib.import_module(f"cdp_local.{name}_command"), name))
    return typer.main.get_command(command)


def main() -> None:
    """Run the `cdp` command. After an expected error, print the error as one line and exit with code 1.

    Only the owner may read the files that the command writes, because they hold personal data.
    """
    os.umask(0o077)
    redact_logs()
    stderr = os.dup(2)
    signal.signal(signal.SIGINT, lambda *_: _interrupt(stderr))
    try:
        app()
    except (CdpError, OSError) as error:
        errors.print(f"error: {redact(str(error))}")
        raise SystemExit(1) from None
    except Exception as error:
        errors.print(redact(_engine_failure(error) or traceback.format_exc()))
        raise SystemExit(1) from None


def _engine_failure(error: Exception) -> str:
    """Return the message for an error of the engine; empty for a bug, whose traceback helps to find it."""
    if "pyspark" not in sys.modules:
        return ""
    from pyspark.errors import PySparkException

    from cdp_lib.pipeline.run import one_line

    if not isinstance(error, PySparkException):
        return ""
    return f"error: The engine failed ({one_line(error)}): `cdp verify` checks every file of the tables."


def _interrupt(stderr: int) -> None:
    """End the process at once on Ctrl-C.

    Do not wait for the threads. Ctrl-C also reaches the engine, and a thread that waits for an answer of the engine
    may block for minutes. Ending at once is safe: the operating system releases the lock of the home folder, and the
    user can repeat the run.
    """
    if console.is_terminal:
        os.write(1, b"\x1b[?25h\n")  # the live display hides the cursor: show it again
    os.write(stderr, b"error: interrupted: finished tasks are complete, all others are not: run the command again.\n")
    os._exit(130)
