"""The commands `cdp export …`: write customers to act on as a file of identifiers, without personal data."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from pyarrow import parquet
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from cdp_lib.consent import Rule, permitted_rows, rule_of
from cdp_lib.contracts.analytics import CUSTOMER_SEGMENTS_GOLD
from cdp_lib.contracts.consent import CONSENT_CURRENT_SILVER
from cdp_lib.contracts.identity import PERSON_LINKS_SILVER
from cdp_lib.contracts.segments import SEGMENTS
from cdp_lib.contracts.silver import ID_KEYS_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.storage import DeltaStore, open_store
from cdp_local.options import Engine, Home, Variables, pairs
from cdp_local.printing import rows_in_words
from cdp_local.terminal import console
from cdp_local.workspace import open_workspace

export = typer.Typer(help="Write customers to act on as a file of identifiers.", no_args_is_help=True)

PURPOSE = "marketing"
"""Purpose of the exported files."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet runs as a formula."""


@export.command("segment")
def export_segment(
    name: Annotated[str, typer.Argument(help="Segment, such as 'At risk'.")],
    to: Annotated[Path, typer.Option(help="File to write: FILE.csv or FILE.parquet.")],
    channel: Annotated[str, typer.Option(help="Channel that the customers agreed to: email, sms or phone.")],
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Write the customers of a segment who agreed to marketing through a channel.

    The file has the number of the person and the customer id in the source. It has no names and no addresses.
    """
    segment, rule = _known_segment(name), rule_of(PURPOSE, channel)
    write = _WRITERS.get(to.suffix.lower())
    if not write:
        raise CdpError(f"{to} is neither CSV nor Parquet: write to a file that ends in .csv or .parquet.")
    if to.exists() and not force:
        raise CdpError(f"{to} exists: write another file, or replace it with --force.")
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        store = open_store(workspace.session, workspace.bundle.variable("catalog"), workspace.bundle.variable("schema"))
        for contract, noun in ((CUSTOMER_SEGMENTS_GOLD, "segments"), (CONSENT_CURRENT_SILVER, "consents")):
            if not store.exists(contract):
                raise CdpError(f"{workspace.home} holds no {noun} yet: `cdp run` creates them.")
        rows = customers_of_segment(store, segment, rule).toArrow()
    replace_private_file(to, lambda path: write(rows, path))
    agreed = f"{rows_in_words(rows.num_rows)} of {segment} who agreed to marketing by {channel}"
    console.print(f"{agreed} written to {to}.", soft_wrap=True)


def customers_of_segment(store: DeltaStore, segment: str, rule: Rule) -> DataFrame:
    """Return one row per customer of a source whose person is in a segment: `person_id` and `customer_id` as text.

    Args:
        store: Store of the tables.
        segment: Name of the segment.
        rule: Rule of the purpose that the customers are used for.
    """
    of_segment = store.read(CUSTOMER_SEGMENTS_GOLD).where(sf.col("segment") == segment).select("person_id")
    persons = permitted_rows(store, of_segment, rule)
    links = store.read(PERSON_LINKS_SILVER).where("customer_id IS NOT NULL").select("person_id", "customer_id")
    customers = links.join(persons, "person_id", how="left_semi").distinct()
    customer_id = sf.col("customer_id").cast("string")
    if store.exists(ID_KEYS_SILVER):
        keys = (
            store.read(ID_KEYS_SILVER).where("entity = 'customers'").select("source_id", sf.col("id").alias("number"))
        )
        customers = customers.join(keys, sf.col("customer_id") == sf.col("number"), how="left")
        customer_id = sf.coalesce("source_id", customer_id)
    return customers.select("person_id", customer_id.alias("customer_id")).orderBy("person_id", "customer_id")


def replace_private_file(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file that only its owner may read. An existing file is replaced at the end, with all its permissions.

    Args:
        path: File to write.
        write: Writes the content to a path.
    """
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_csv(rows: pa.Table, path: Path) -> None:
    """Write rows as CSV. A cell that a spreadsheet would run as a formula begins with an apostrophe."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(rows.column_names)
        for batch in rows.to_batches():
            lines.writerows(map(_cell, row.values()) for row in batch.to_pylist())


def _cell(value: object) -> str:
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _known_segment(name: str) -> str:
    names = {each.name.casefold(): each.name for each in SEGMENTS}
    if name.casefold() not in names:
        raise CdpError(f"Unknown segment '{name}': the segments are {', '.join(names.values())}.")
    return names[name.casefold()]


_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {".csv": write_csv, ".parquet": parquet.write_table}
