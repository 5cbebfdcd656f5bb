"""Options that several commands of `cdp` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdp_lib.errors import CdpError
from cdp_local.sources import OWN_HOME, SAMPLES_HOME

Home = Annotated[
    Path | None,
    typer.Option(
        help=f"Folder of the local workspace. Default: {OWN_HOME} if a source is set, else {SAMPLES_HOME}.",
        show_default=False,
    ),
]
Engine = Annotated[str, typer.Option(help="Engine: sail (embedded, no Java) or spark (local Spark + Delta).")]
Variables = Annotated[
    list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="Value of a bundle variable. May be repeated.")
]


def pairs(option: str, values: list[str] | None) -> dict[str, str]:
    """Return the values of an option NAME=VALUE by name.

    Raises:
        CdpError: A value has no name.
    """
    found = {}
    for value in values or ():
        name, separator, text = value.partition("=")
        if not separator or not name:
            raise CdpError(f"{option} {value}: write NAME=VALUE.")
        found[name] = text
    return found
