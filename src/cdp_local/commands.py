"""The commands of `cdp`. `cdp_local.cli` imports this module only for a command that needs it."""

from __future__ import annotations

import os
import re
import sys
import time
import webbrowser
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import astuple
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, cast

import sqlglot
import typer
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from rich.text import Text

from cdp_lib.analytics.promises import promise_sentences
from cdp_lib.contracts import TABLES
from cdp_lib.contracts.analytics import SEGMENT_QUALITY_GOLD
from cdp_lib.contracts.table import TableContract
from cdp_lib.erasure.access import stored_rows
from cdp_lib.erasure.certificate import record_certificate, traces_to_search
from cdp_lib.erasure.erase import request_erasure
from cdp_lib.erasure.persons import NamedBy, Request
from cdp_lib.errors import CdpError
from cdp_lib.maintenance import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, to_retention_days
from cdp_lib.pipeline.compaction import late_batch_messages, remove_old_batches
from cdp_lib.pipeline.graph import platform_graph
from cdp_lib.pipeline.guards import has_too_many_refused
from cdp_lib.pipeline.run import one_line
from cdp_lib.redaction import redact
from cdp_lib.settings import Settings
from cdp_lib.sources_file import ENTITIES
from cdp_lib.storage import DeltaStore, open_store
from cdp_lib.verification import verify as verify_tables
from cdp_local.access_page import write_access
from cdp_local.bundle import PROJECT, Bundle, Job
from cdp_local.certificates import print_search, search_home, write_certificate
from cdp_local.checksums import forget_files
from cdp_local.demo import DEMO_HOME, DEMO_VARIABLES
from cdp_local.engines import catalog_of
from cdp_local.erasure_key import create_erasure_key
from cdp_local.export_command import export
from cdp_local.identity_commands import identity
from cdp_local.job_settings import new_run_start, parameter_values, setting_values
from cdp_local.maintenance import forget_history, maintain_home, retention_warning
from cdp_local.options import Engine, Home, Variables, pairs
from cdp_local.printing import print_shortened, print_table, rows_in_words
from cdp_local.progress import Progress
from cdp_local.quarantine import (
    CHECKED_TABLES,
    Finding,
    checked_table,
    examples_by_rule,
    findings,
    first_quarantined,
    quarantined_rows,
    shared_identities,
    warned_rows,
)
from cdp_local.report.page import REPORT, write_report
from cdp_local.runner import (
    State,
    TaskRun,
    open_runner,
    run_job,
    table_run,
)
from cdp_local.source_check import CheckedEntity, check_sources, relations_at
from cdp_local.source_proposal import propose
from cdp_local.sources import read_configuration
from cdp_local.terminal import console, errors
from cdp_local.watch import RESTART_AFTER, Refresh, refreshes
from cdp_local.workspace import LocalWorkspace, open_workspace, other_users

app = typer.Typer(rich_markup_mode=None)

app.add_typer(identity, name="identity")
app.add_typer(export, name="export")

Parameters = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Value of a job parameter. May be repeated.")
]
SourcesFile = Annotated[
    Path | None,
    typer.Option("--sources", help="File of sources. Default: sources.yml of the project.", show_default=False),
]
CustomerId = Annotated[str, typer.Option(help="Identifier of a customer, as in the source.")]
Email = Annotated[str, typer.Option(help="E-mail address of the person.")]
Person = Annotated[str, typer.Option(help="Number of the person.")]
CustomerIds = Annotated[
    list[str] | None, typer.Option(help="Identifier of a customer, as in the source. May be repeated.")
]
Emails = Annotated[list[str] | None, typer.Option(help="E-mail address of a person. May be repeated.")]
Persons = Annotated[list[str] | None, typer.Option(help="Number of a person. May be repeated.")]
_NO_KEY = "(no key)"
_NAME = re.compile(r"\w+(\.\w+)*")


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="Job of the bundle.")] = "cdp_refresh",
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
    param: Parameters = None,
    sources: SourcesFile = None,
    only: Annotated[list[str] | None, typer.Option(metavar="TASK", help="Run only this task. May be repeated.")] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE",
            help="Refresh only this table or layer, and read no source. +TABLE also refreshes its upstream tables,"
            " TABLE+ its downstream tables. May be repeated.",
        ),
    ] = None,
    accept_new_sources: Annotated[
        bool, typer.Option(help="Read sources that are at other addresses than the home folder remembers.")
    ] = False,
) -> None:
    """Run a job of the bundle, as `databricks bundle run` does in a workspace."""
    parameters, variables = pairs("--param", param), _with_sources(pairs("--var", var), sources)
    if accept_new_sources:
        variables["accept_new_sources"] = "true"
    if select:
        _refresh_selected(engine, home, variables, job, parameters, select)
        return
    _run_job(engine, home, variables, job, parameters, only or ())


@app.command()
def demo(
    engine: Engine = "sail",
    home: Annotated[Path, typer.Option(help="Folder of the demo's workspace.")] = DEMO_HOME,
    var: Variables = None,
    param: Parameters = None,
) -> None:
    """Run the whole platform on an invented shop with 2,000 customers, and open the report.

    Your own sources and secrets are not used. The demo has a home folder of its own.
    """
    variables = {**DEMO_VARIABLES, **pairs("--var", var)}
    report = _run_job(engine, home, variables, "cdp_refresh", pairs("--param", param), (), is_demo=True)
    has_display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform == "darwin"
    if report and console.is_terminal and has_display:
        webbrowser.open(report.as_uri())


def _run_job(
    engine: str,
    home: Path | None,
    variables: dict[str, str],
    job: str,
    parameters: dict[str, str],
    only: Collection[str],
    *,
    is_demo: bool = False,
) -> Path | None:
    """Run a job, print its progress and results, and return the path of the report if there is one.

    Raises:
        SystemExit: A task failed. Its error has been printed.
    """
    begin = time.monotonic()
    reading = _entities_of(Bundle(PROJECT, variables).job(job), parameters, only)
    with open_workspace(engine, home, variables, reading, is_demo=is_demo) as workspace:
        report = workspace.home / REPORT
        definition = workspace.bundle.job(job)
        opened = time.monotonic()
        if workspace.has_sample_sources:
            console.print(
                f"{'Demo' if is_demo else 'Sample'} sources: {', '.join(reading)}"
                " (to use your own, see “On your own data” in the README)",
                soft_wrap=True,
            )
        _warn_of_other_users(engine)
        started_at = new_run_start()
        logs = workspace.home / "logs" / f"{started_at:%Y%m%dT%H%M%SZ}"
        with Progress(console, only or definition.tasks, platform_graph().tables) as progress:
            runs = run_job(definition, parameters, workspace.notebooks, logs, started_at, progress.show, only=only)
        done = time.monotonic()
        tasks = [run for run in runs if run.stage_report is None]
        failed = [run for run in runs if run.state == State.FAILED]
        excluded = sum(task.state == State.EXCLUDED for task in tasks)
        is_whole = not only and not excluded and job != "cdp_events"
        if excluded and not failed:
            console.print("Nothing is due: all tables are up to date with their sources.")
            if report.exists():
                console.print(f"Report: {report}", soft_wrap=True)
        if not failed and is_whole:
            _print_results(workspace)
            if page := _report_if_possible(workspace):
                console.print(f"Report: {page}", soft_wrap=True)
        # If a task failed, the queries of `_print_findings` may fail for the same reason. Ignore their errors: the
        # error of the task is printed at the end.
        with suppress(PySparkException, CdpError) if failed else nullcontext():
            tables = [run.key for run in runs if run.stage_report]
            if failed or not excluded:
                _print_findings(workspace, [*only, *tables] if only else ())
        for task in runs:
            for note in task.notes:
                console.print(note)
        console.print(f"Tables: {workspace.home / 'warehouse'}", soft_wrap=True)
        succeeded = sum(task.state == State.SUCCEEDED for task in tasks)
        console.print(
            f"{succeeded} of {len(tasks) - excluded} tasks succeeded on {engine}:"
            f" {done - opened:.1f} s of work, {opened - begin:.1f} s to start.",
            soft_wrap=True,
        )
    _end_with_errors(failed)
    return report if report.exists() else None


def _warn_of_other_users(engine: str) -> None:
    """Print a warning if other people can log in to this machine.

    The embedded engine offers neither a password nor a socket that only one user can open.
    """
    users = other_users() if engine == "sail" else []
    if users:
        console.print(
            f"Warning: while this command runs, other users of this machine ({', '.join(users[:3])}"
            f"{', …' if users[3:] else ''}) can read all data through the embedded engine: use a machine that only you"
            " use.",
            soft_wrap=True,
        )


def _entities_of(job: Job, parameters: Mapping[str, str], only: Collection[str]) -> list[str]:
    """Return the entities whose sources a run of a job reads."""
    if parameter_values(job, parameters).get("ingest", "").lower() == "false":
        return []
    tasks = [task for key, task in job.tasks.items() if not only or key in only]
    return [entity for task in tasks for entity in task.base_parameters.get("entities", "").split()]


def _end_with_errors(failed: Sequence[TaskRun]) -> None:
    """Print one line per error, and exit with code 1 if something failed."""
    _print_errors(failed)
    if failed:
        raise SystemExit(1)


def _print_errors(failed: Sequence[TaskRun]) -> None:
    """Print one line per error.

    If the error of a stage only repeats the error of one of its tables, print only the error of the table.
    """
    table_errors = tuple(f"{run.key}: {run.error}" for run in failed if run.stage_report)
    shown = [run for run in failed if run.stage_report or not (run.error or "").startswith(table_errors)]
    for error in dict.fromkeys(run.error for run in shown):
        same = [run for run in shown if run.error == error]
        kind = "table" if same[0].stage_report else "task"
        keys = ", ".join(run.key for run in same)
        errors.print(f"error: {kind}{'' if len(same) == 1 else 's'} {keys}: {error}")


def _refresh_selected(
    engine: str,
    home: Path | None,
    variables: dict[str, str],
    job: str,
    parameters: dict[str, str],
    selection: list[str],
) -> None:
    """Refresh the selected tables in the same way as the stages of the job."""
    with open_workspace(engine, home, variables) as workspace:
        runner = open_runner(workspace, job, parameters)
        selected = runner.graph.select(selection)
        names = [name for name in runner.graph.tables if name in selected]
        with Progress(console, names) as progress:
            runs = runner.refresh(selection, on_change=lambda run: progress.show(table_run(run)))
        _print_findings(workspace, names)
    _end_with_errors([table_run(run) for run in runs if run.state == "failed"])


@app.command()
def plan(
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
    sources: SourcesFile = None,
    param: Parameters = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="TABLE", help="Plan only this table or layer. May be repeated.")
    ] = None,
) -> None:
    """List the tables that are due and the reasons, without running anything."""
    with open_workspace(engine, home, _with_sources(pairs("--var", var), sources)) as workspace:
        runner = open_runner(workspace, "cdp_refresh", pairs("--param", param))
        due = runner.plan(select or ())
        rows = [(name, "; ".join(reasons)) for name, reasons in due.items() if reasons]
        if rows:
            print_table(console, f"{len(rows)} of {len(due)} tables are due", ("table", "why"), rows)
        else:
            console.print(f"Nothing is due: all {len(due)} tables are up to date with their inputs.")


@app.command()
def verify(
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
    sources: SourcesFile = None,
    param: Parameters = None,
    repair: Annotated[bool, typer.Option(help="Rebuild the tables that are wrong, and no other table.")] = False,
) -> None:
    """Check every file, and compare every table with its rebuild. Exit with code 1 if one is wrong."""
    with open_workspace(engine, home, _with_sources(pairs("--var", var), sources)) as workspace:
        runner = open_runner(workspace, "cdp_refresh", pairs("--param", param))
        if not runner.states:
            raise CdpError(f"{workspace.home} holds no tables yet: `cdp run` creates them.")
        catalog = catalog_of(workspace.spark)
        damaged = catalog.damaged_tables() if catalog else {}
        if repair:
            # A rebuild replaces the rows of a damaged table. The comparison says whether it has to.
            for folder in [folder for folder in damaged if folder.name in runner.graph.tables]:
                forget_files(folder)
                del damaged[folder]
        verified = verify_tables(runner, repair=repair)
        late = [f"{name}: {text}" for name, text in late_batch_messages(runner.store, workspace.landing).items()]
    rows = [
        (
            each.table_name,
            *(f"{number:,}" for number in astuple(each.difference)),
            "repaired" if each.is_repaired else "wrong" if each.is_wrong else each.skip_reason or "right",
        )
        for each in verified
    ]
    print_table(
        console, "Rows that only a rebuild has (missing), that only the table has (too many), or that differ (changed)",
        ("table", "missing", "too many", "changed", "result"), rows,
    )  # fmt: skip
    for each in verified:
        if each.is_repaired:
            console.print(f"Repaired: {each.complaint}.", soft_wrap=True)
    if due := [each.table_name for each in verified if each.is_due]:
        errors.print(f"warning: {len(due)} tables are due and were not compared: run `cdp run` first.")
    wrong = [each for each in verified if each.is_wrong]
    # The damaged file explains why its table is wrong.
    names_of_damaged = {folder.name for folder in damaged}
    unexplained = [each.complaint for each in wrong if each.table_name not in names_of_damaged]
    for complaint in dict.fromkeys([*damaged.values(), *unexplained, *late]):
        errors.print(f"error: {complaint}")
    if (wrong or damaged) and not repair:
        console.print("`cdp verify --repair` rebuilds exactly the tables that are wrong.")
    if wrong or late or damaged:
        raise SystemExit(1)


@app.command()
def watch(
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
    sources: SourcesFile = None,
    restart_after: Annotated[
        int,
        typer.Option(
            min=1, help="Restart the engine after this many refreshes, because the engine frees little memory."
        ),
    ] = RESTART_AFTER,
) -> None:
    """Run the job cdp_stream whenever a batch has landed, until Ctrl-C."""
    with open_workspace(engine, home, _with_sources(pairs("--var", var), sources)) as workspace:
        _warn_of_other_users(engine)
        console.print(f"Watching {workspace.landing.root}. Press Ctrl-C to stop.", soft_wrap=True)
        for number, refresh in enumerate(refreshes(workspace, workspace.bundle.job("cdp_stream"))):
            if not refresh.failed:
                _report_if_possible(workspace)
            _print_refresh(refresh)
            if number == restart_after:
                break
        else:
            console.print("Stopped watching.")
            return
    # Restart this command in a new process, which frees the memory of the engine. The new process begins with a
    # refresh, which also loads the batches that land during the restart.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv])


def _print_refresh(refresh: Refresh) -> None:
    landed = f"{refresh.batches:,} {'batch' if refresh.batches == 1 else 'batches'}, " if refresh.batches else ""
    outcome = "tasks failed" if refresh.failed else "tables are up to date"
    console.print(
        f"{refresh.started_at:%H:%M:%S} {landed}{rows_in_words(refresh.rows)} loaded:"
        f" {outcome} after {refresh.seconds:.1f} s."
    )
    _print_errors(refresh.failed)


@app.command()
def tables(engine: Engine = "sail", home: Home = None, var: Variables = None) -> None:
    """List the existing tables with their number of rows and their grain."""
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        prefix = f"{workspace.bundle.variable('catalog')}.{workspace.bundle.variable('schema')}"
        rows = [
            (name, workspace.spark.table(f"{prefix}.{name}").count(), contract.comment)
            for name, contract in TABLES.items()
            if workspace.spark.catalog.tableExists(f"{prefix}.{name}")
        ]
        if not rows:
            raise CdpError(f"{workspace.home} holds no tables yet: `cdp run` creates them.")
        print_table(console, f"Tables of {prefix}", ("table", "rows", "grain"), rows)


@app.command()
def show(
    table: Annotated[str, typer.Argument(help="Table or view: name, schema.name or catalog.schema.name.")],
    rows: Annotated[int, typer.Option(min=1, help="Number of rows.")] = 20,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Show the first rows of a table or view."""
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        name = _full_name(workspace, table)
        frame = workspace.spark.table(name)
        print_table(console, name, frame.columns, frame.limit(rows).collect())


@app.command("sql")
def query_tables(
    query: Annotated[str, typer.Argument(help="A SELECT. Tables and views may be written without catalog and schema.")],
    rows: Annotated[int, typer.Option(min=1, help="Maximum number of rows to print.")] = 100,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Query any tables and views, and print the result."""
    try:
        statement = sqlglot.parse_one(query, read="databricks")
    except sqlglot.errors.ParseError as error:
        raise CdpError(
            f"This is not SQL: {error.errors[0]['description']} near '{error.errors[0]['highlight']}'."
        ) from None
    if not isinstance(statement, sqlglot.exp.Query):
        raise CdpError(f"`cdp sql` only reads, and this is a {statement.key.upper()}: write a SELECT.")
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        local = {cte.alias for cte in statement.find_all(sqlglot.exp.CTE)}
        for table in statement.find_all(sqlglot.exp.Table):
            name = ".".join(part.name for part in table.parts)
            if name not in local:
                full = sqlglot.exp.to_table(_full_name(workspace, name))
                table.replace(sqlglot.exp.alias_(full, table.alias_or_name, table=True))
        frame = workspace.spark.sql(statement.sql("databricks"))
        try:
            found = frame.limit(rows + 1).collect()
        except PySparkException as error:
            raise CdpError(f"The query failed: {one_line(error)}") from None
        print_table(console, "", frame.columns, found[:rows])
        if found[rows:]:
            console.print(f"Only the first {rows:,} rows are shown: --rows shows more.")


@app.command()
def init(
    addresses: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Sources to look at: the name of a secret with a database URL, an https:// address, or a folder.",
        ),
    ],
    schema: Annotated[str, typer.Option(help="Schema of the database. Default: the schema of the login.")] = "",
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("sources.yml"),
    force: Annotated[
        bool, typer.Option(help="Replace an existing file. The earlier file is kept with the suffix .bak.")
    ] = False,
    var: Variables = None,
) -> None:
    """Look at a database, an API or a folder, and propose a file of sources with the mapping of its columns."""
    if output.exists() and not force:
        raise CdpError(f"{output} exists: write another file with --output, or replace it with --force.")
    variables = pairs("--var", var)
    proposal = propose([each for address in addresses for each in relations_at(address, schema, variables)])
    if output.exists():
        output.replace(output.with_name(f"{output.name}.bak"))
    output.write_text(proposal, encoding="utf-8")
    console.print(proposal, soft_wrap=True)
    other = "" if output.resolve() == (PROJECT / "sources.yml").resolve() else f" --sources {output}"
    console.print(f"Written to {output}. Next: check each line with a question mark, then run `cdp check{other}`.")
    console.print(
        "Price segments divide at 500 and 1500: `--var price_bands=auto` divides your own prices into thirds."
    )


@app.command("check")
def check_all_sources(
    rows: Annotated[int, typer.Option(min=1, help="Maximum number of rows to read from a table.")] = 1000,
    engine: Engine = "sail",
    var: Variables = None,
    sources: SourcesFile = None,
) -> None:
    """Read a sample of each source. Show its mapping, its first rows and the rules that rows break. Land nothing."""
    failed = []
    variables = _with_sources(pairs("--var", var), sources)
    # If no source is configured, check the samples of all entities.
    reading = () if read_configuration(variables).is_own else ENTITIES
    with TemporaryDirectory() as folder:
        with open_workspace(engine, Path(folder), variables, reading) as workspace:
            job = workspace.bundle.job("cdp_refresh")
            settings = Settings.from_parameters(setting_values(job, {"from_scratch": "true"}, new_run_start()))
            for checked in check_sources(workspace, settings, rows):
                _print_checked(checked)
                is_refused = has_too_many_refused(checked.refused_rows, checked.rows, settings.refused_share_limit)
                if is_refused:
                    errors.print(
                        f"error: {checked.source.entity}: A run would refuse a batch with so many bad rows. Correct"
                        " `columns`, `date_format` or `decimal_separator` in the file of sources, or the source.",
                    )
                failed += [checked.source.entity] if checked.error or is_refused else []
    if failed:
        raise SystemExit(1)


def _print_checked(checked: CheckedEntity) -> None:
    source = checked.source
    place = f", {'.'.join(filter(None, [source.schema, source.relation]))}" if source.kind == "database" else ""
    address = f"secret {source.address}" if source.kind == "database" else redact(source.address)
    console.print(Text(f"{source.entity}: {source.kind} {address}{place}", style="bold"), soft_wrap=True)
    if checked.error:
        errors.print(f"error: {source.entity}: {checked.error}")
        return
    rows = [(ours, theirs or "– not in the source") for ours, theirs in checked.mapping]
    print_table(console, f"Mapping of a sample of {rows_in_words(checked.rows)}", ("column", "comes from"), rows)
    print_table(console, "First rows as they arrive", checked.columns, checked.accepted)
    if checked.refused:
        share = checked.refused_rows / checked.rows
        title = f"{checked.refused_rows:,} of {rows_in_words(checked.rows)} ({share:.0%}) would be refused"
        print_table(console, title, ("broken rule", "meaning", "rows", "example"), checked.refused)
    if checked.warned:
        print_table(console, "Kept with a warning", ("broken rule", "meaning", "rows", "example"), checked.warned)
    console.print("")


@app.command()
def report(engine: Engine = "sail", home: Home = None, var: Variables = None, sources: SourcesFile = None) -> None:
    """Write the dashboard of the existing tables as one HTML page."""
    with open_workspace(engine, home, _with_sources(pairs("--var", var), sources)) as workspace:
        console.print(f"Report: {write_report(workspace)}", soft_wrap=True)


@app.command()
def quarantine(
    table: Annotated[
        str | None, typer.Argument(help="Table with rules, or the quarantine of that table. Default: all tables.")
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(
            min=0, help="Number of example rows. Default: 3 per rule, or 20 for a named table.", show_default=False
        ),
    ] = None,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Show which rows are in quarantine or have a warning, and why."""
    contracts = [checked_table(table)] if table else CHECKED_TABLES
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        tables = _tables(workspace)
        refused = quarantined_rows(tables, contracts)
        if refused is None:
            what = f"quarantine of {contracts[0].name}" if table else "quarantine"
            raise CdpError(f"{workspace.home} holds no {what} yet: `cdp run` creates it.")
        found = findings(refused)
        if found:
            rows = [(each.table, each.rule, each.meaning, each.rows, each.since) for each in found]
            title = f"{rows_in_words(_count(found))} in quarantine, by rule"
            print_table(console, title, ("table", "broken rule", "meaning", "rows", "since batch"), rows)
        else:
            console.print(
                f"No rows of {contracts[0].name} are in quarantine." if table else "No rows are in quarantine."
            )
        if table and found:
            _print_quarantined(tables, contracts[0], _count(found), 20 if examples is None else examples)
        elif found:
            _print_examples(found, refused, 3 if examples is None else examples)
        _print_warned(warned_rows(tables, contracts), 3 if examples is None else examples)
        if not table:
            _print_shared(shared_identities(tables))


@app.command()
def maintain(
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
    batch_retention_days: Annotated[
        int | None,
        typer.Option(
            min=MIN_RETENTION_DAYS,
            help="Days to keep landed batches. Default: the bundle variable batch_retention_days.",
            show_default=False,
        ),
    ] = None,
    retention_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_RETENTION_DAYS,
            help="Days to keep files of earlier table versions. Default: the bundle variable retention_days.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Remove old landed batches, compact small files of every table and remove files of old versions."""
    days = retention_days
    if days is None:
        days = to_retention_days(Bundle(PROJECT, {}).variable("retention_days"))
    home = home or read_configuration(pairs("--var", var)).default_home
    if (home / "warehouse").is_dir():
        with open_workspace(engine, home, pairs("--var", var)) as workspace:
            keep = batch_retention_days or int(workspace.bundle.variable("batch_retention_days"))
            for compacted in remove_old_batches(_tables(workspace), workspace.landing, keep, new_run_start()):
                console.print(str(compacted), soft_wrap=True)
    warning = retention_warning(days)
    if warning:
        errors.print(f"warning: {warning}")
    maintained = maintain_home(home, days)
    columns = ("table", "files before", "files after", "bytes on disk before", "bytes on disk after")
    if changed := [astuple(each) for each in maintained if each.has_changed]:
        print_table(console, "Tables that have changed", columns, changed)
    totals = [sum(numbers) for numbers in zip(*(astuple(each)[1:] for each in maintained), strict=True)]
    files_before, files_after, bytes_before, bytes_after = totals
    console.print(
        f"{len(maintained):,} tables: {files_before:,} → {files_after:,} files,"
        f" {bytes_before:,} → {bytes_after:,} bytes on disk."
        f" Files of earlier versions are kept for {days} {'day' if days == 1 else 'days'}.",
        soft_wrap=True,
    )


@app.command()
def forget(
    customer_id: CustomerIds = None,
    email: Emails = None,
    person: Persons = None,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="Erase nothing: only search all files for the person.")
    ] = False,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Erase persons from landed batches and from all tables.

    Sales keep their amounts and lose the person. What the sources still send of a person is not loaded any more. At the
    end, all files are searched for what is left of the persons: if there is a trace, the exit code is 1. Many persons
    cost about as much as one: repeat the options.
    """
    wanted, variables = _requests(customer_id or (), email or (), person or ()), pairs("--var", var)
    if not wanted:
        raise CdpError("Name a person: write --customer-id, --email or --person.")
    home = home or read_configuration(variables).default_home
    key, requests = create_erasure_key(home), list[str]()
    with open_workspace(engine, home, variables) as workspace:
        runner = open_runner(workspace, "cdp_refresh", {})
        traces, copies = traces_to_search(runner, wanted, key), workspace.bundle.variable("synapse_location")
        if not verify_only:
            requests = request_erasure(runner, wanted, new_run_start())
    if not verify_only:
        console.print(f"Requests: {', '.join(requests)}", soft_wrap=True)
        _run_job(engine, home, variables, "cdp_erasure", {}, ())
        forget_history(home)
    searched = search_home(home, copies, traces, requests)
    print_search(searched)
    if not verify_only:
        with open_workspace(engine, home, variables) as workspace:
            record_certificate(open_runner(workspace, "cdp_refresh", {}).store, searched.certificate, key)
        console.print(f"Certificate: {write_certificate(home, searched.certificate, key)}", soft_wrap=True)
    if not searched.certificate.is_clean:
        raise typer.Exit(1)


@app.command("subject-access")
def subject_access(
    to: Annotated[Path, typer.Option(help="Folder for the two files. It must not exist yet.", show_default=False)],
    customer_id: CustomerId = "",
    email: Email = "",
    person: Person = "",
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Write everything that is stored about a person, as an HTML page and as JSON.

    The files have the records as received, with their files, and what the platform has made of them.
    """
    request = _request(customer_id, email, person)
    if to.exists():
        raise CdpError(f"{to} exists: name a new folder.")
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        tables = stored_rows(open_runner(workspace, "cdp_refresh", {}), request)
    if not tables:
        raise CdpError("Nothing is stored about this person.")
    write_access(tables, to, new_run_start())
    number = sum(len(each.rows) for each in tables)
    console.print(f"{rows_in_words(number)} of {len(tables)} tables written to {to}.", soft_wrap=True)


def _request(customer_id: str, email: str, person: str) -> Request:
    """Return who the options of a command name."""
    requests = _requests(*([text] if text else [] for text in (customer_id, email, person)))
    if len(requests) != 1:
        raise CdpError("Name one person: write one of --customer-id, --email and --person.")
    return requests[0]


def _requests(customer_ids: Sequence[str], emails: Sequence[str], persons: Sequence[str]) -> list[Request]:
    """Return whom the options of a command name."""
    given = {"customer_id": customer_ids, "email": emails, "person_id": persons}
    return [Request(cast("NamedBy", named_by), name) for named_by, names in given.items() for name in names]


def _print_quarantined(tables: DeltaStore, contract: TableContract, count: int, number: int) -> None:
    rows = first_quarantined(tables, contract, number)
    if rows:
        some = f"{len(rows):,} of " if number < count else ""
        title = f"{contract.quarantine.name}: {some}{rows_in_words(count)}"
        print_table(console, title, ("key", "broken rules", "batch", "record as received"), rows)


def _print_examples(found: Sequence[Finding], refused: DataFrame, number: int) -> None:
    by_rule = examples_by_rule(refused, number)
    for each in found:
        rows = by_rule.get((each.table, each.rule), [])
        if rows:
            console.print(Text(f"{each.table}: {each.rule}", style="bold"))
        width = max((len(row.key or _NO_KEY) for row in rows), default=0)
        for row in rows:
            print_shortened(console, f"  {row.key or _NO_KEY:<{width}}  {row.record}")


def _print_warned(warned: DataFrame | None, number: int) -> None:
    found = findings(warned)
    if found:
        by_rule = examples_by_rule(warned, number)
        keys = {rule: [row.key for row in rows] for rule, rows in by_rule.items()}
        rows = [(e.table, e.rule, e.meaning, e.rows, keys.get((e.table, e.rule))) for e in found]
        title = f"{rows_in_words(_count(found))} kept with a warning, by rule"
        print_table(console, title, ("table", "broken rule", "meaning", "rows", "example"), rows)


def _full_name(workspace: LocalWorkspace, table: str) -> str:
    catalog = workspace.bundle.variable("catalog")
    parts = table.split(".")
    schemas = workspace.bundle.schemas() if len(parts) == 1 else [parts[-2]]
    candidates = [f"{catalog}.{schema}.{parts[-1]}" for schema in schemas]
    for name in candidates:
        if _NAME.fullmatch(table) and parts[:-2] in ([], [catalog]) and workspace.spark.catalog.tableExists(name):
            return name
    raise CdpError(f"Unknown table '{table}': `cdp tables` lists the existing tables, `cdp run` creates them.")


def _print_results(workspace: LocalWorkspace) -> None:
    """Print the serving views that a marketer reads first."""
    serving = f"{workspace.bundle.variable('catalog')}.{workspace.bundle.variable('serving_schema')}"
    for title, view in (
        ("Sales by country", "country_sales"),
        ("Sales by month", "monthly_sales"),
        ("KPIs by month", "monthly_kpis"),
        ("Customers by segment", "customer_segments"),
    ):
        frame = workspace.spark.table(f"{serving}.{view}")
        print_table(console, title, frame.columns, frame.collect())
    tables = _tables(workspace)
    if tables.exists(SEGMENT_QUALITY_GOLD):
        for sentence in promise_sentences([row.asDict() for row in tables.read(SEGMENT_QUALITY_GOLD).collect()]):
            console.print(sentence, soft_wrap=True)
    for row in (
        workspace.spark.table(f"{serving}.prediction_notes").where("note IS NOT NULL").orderBy("prediction").collect()
    ):
        console.print(row.note, soft_wrap=True)


def _report_if_possible(workspace: LocalWorkspace) -> Path | None:
    """Write the report and return its path; if the report can't be written, print a warning and return None.

    The error does not end the command, because the tables are complete without the report.
    """
    try:
        return write_report(workspace)
    except CdpError as error:
        errors.print(f"warning: the report was not written: {error}")
        return None


def _print_findings(workspace: LocalWorkspace, only: Collection[str]) -> None:
    """Print each broken rule and the number of rows that break it; for quarantined rows, also print an example key.

    The function prints no records, because the output may be stored in logs.
    """
    tables = _tables(workspace)
    contracts = [contract for contract in CHECKED_TABLES if not only or contract.name in only]
    refused = findings(quarantined_rows(tables, contracts))
    if refused:
        rows = [(found.table, found.rule, found.rows, found.key or _NO_KEY) for found in refused]
        print_table(
            console,
            f"{rows_in_words(_count(refused))} in quarantine",
            ("table", "broken rule", "rows", "example"),
            rows,
        )
    warned = findings(warned_rows(tables, contracts))
    for found in warned:
        console.print(
            f"Warning: {rows_in_words(found.rows)} of {found.table} {'breaks' if found.rows == 1 else 'break'}"
            f" {found.rule} – {found.meaning}",
        )
    _print_shared(shared_identities(tables, only))
    if refused or warned:
        console.print("`cdp quarantine` shows the records and the meaning of the rules.")


def _print_shared(identities: int) -> None:
    if identities:
        console.print(
            f"Not linked: {identities:,} {'record' if identities == 1 else 'records'} in person_links_silver,"
            " because several people share the identifier (shared_value)."
        )


def _count(found: Sequence[Finding]) -> int:
    """Return the number of distinct rows. A row that breaks several rules is counted once."""
    return sum(each.first_broken for each in found)


def _tables(workspace: LocalWorkspace) -> DeltaStore:
    return open_store(workspace.session, workspace.bundle.variable("catalog"), workspace.bundle.variable("schema"))


def _with_sources(variables: dict[str, str], sources: Path | None) -> dict[str, str]:
    return variables | ({"sources_file": str(sources.resolve())} if sources else {})
