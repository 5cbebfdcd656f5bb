"""The commands `cdp identity …`: explain, split and join persons, train a model, and try other rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cdp_lib.contracts.identity import IDENTITY_OVERRIDES_SILVER
from cdp_lib.errors import CdpError
from cdp_lib.identity.explain import Explanation, IdentityTables, choose_records, explain, records_of
from cdp_lib.identity.model_file import load_model, model_json, read_model
from cdp_lib.identity.overrides import (
    append_decisions,
    decision_about,
    other_records,
    split_decisions,
    withdrawals,
)
from cdp_lib.identity.plan import Plan, plan_rules
from cdp_lib.identity.rules_file import read_identity_rules
from cdp_lib.identity.way import cut_in_words
from cdp_lib.pipeline.run import Runner
from cdp_lib.silver.person_links import latest_decisions
from cdp_local.options import Engine, Home, Variables, pairs
from cdp_local.printing import print_table
from cdp_local.runner import open_runner
from cdp_local.terminal import console
from cdp_local.workspace import open_workspace

identity = typer.Typer(
    help="Explain, split and join persons, train a model, and try other rules of identity resolution.",
    no_args_is_help=True,
)

_RECORD = "Key of a record, such as customer:101 or contact:…, or the number of a person."
Author = Annotated[str, typer.Option(help="Who decides.")]
Reason = Annotated[str, typer.Option(help="Why, in words.")]
_BAR = "█"


@identity.command("explain")
def explain_records(
    a: Annotated[str, typer.Argument(help=_RECORD)],
    b: Annotated[str, typer.Argument(help=_RECORD)],
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Show why two records belong to one person, or what is missing."""
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        runner = open_runner(workspace, "cdp_refresh", {})
        rules = runner.settings.identity_rules
        model = load_model(rules.model) if rules.model else None
        print_explanation(explain(IdentityTables.read(runner.store), a, b, rules, model))


@identity.command()
def split(
    author: Author,
    reason: Reason,
    records: Annotated[
        list[str] | None, typer.Argument(metavar="RECORD...", help="Keys of the records that leave their person.")
    ] = None,
    person: Annotated[
        int | None,
        typer.Option(help="Separate each customer and contact of this person from each other.", show_default=False),
    ] = None,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Decide that records belong to another person than the other records of their person, and refresh the tables."""
    if bool(records) == (person is not None):
        raise CdpError("Name the records that leave their person, or a person with --person.")
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        runner = open_runner(workspace, "cdp_refresh", {})
        links = IdentityTables.read(runner.store).links
        if person is not None:
            named = [key for key in records_of(links, str(person)) if key.startswith(("customer:", "contact:"))]
            decisions = split_decisions(named, ())
        else:
            decisions = split_decisions(records or (), other_records(links, records or ()))
        _decide(runner, decisions, author, reason)


@identity.command()
def join(
    a: Annotated[str, typer.Argument(help=_RECORD)],
    b: Annotated[str, typer.Argument(help=_RECORD)],
    author: Author,
    reason: Reason,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Decide that two records belong to one person, and refresh the tables."""
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        runner = open_runner(workspace, "cdp_refresh", {})
        one, other = choose_records(IdentityTables.read(runner.store), a, b)
        _decide(runner, [decision_about(one, other, "always")], author, reason)


@identity.command()
def withdraw(
    author: Author,
    reason: Reason,
    record: Annotated[str, typer.Argument(help="Key of a record.")],
    other: Annotated[
        str, typer.Argument(help="Key of another record. Default: withdraw all decisions that name the record.")
    ] = "",
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Withdraw decisions, so that the evidence counts again, and refresh the tables."""
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        runner = open_runner(workspace, "cdp_refresh", {})
        latest = latest_decisions(IdentityTables.read(runner.store).decisions.toArrow())
        _decide(runner, withdrawals(latest, record, other), author, reason)


@identity.command()
def train(
    output: Annotated[Path, typer.Argument(help="File to write. The name of the file becomes the name of the model.")],
    like: Annotated[str, typer.Option(help="Name or file of the model whose comparisons are trained.")] = "retail",
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Train a model that compares names, birth dates and addresses, on the records of the home folder."""
    try:
        from cdp_local.identity_training import train as train_model
    except ModuleNotFoundError as error:
        raise CdpError(
            f"The training needs the package {error.name}: pip install -c constraints.txt -e '.[train]'"
        ) from None
    model = read_model(like)
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        store = open_runner(workspace, "cdp_refresh", {}).store
        records = IdentityTables.read(store).records.toArrow()
    if not records.num_rows:
        raise CdpError("There are no records: identity resolution is off, or no run has loaded a customer.")
    trained = train_model(records, model, output.stem)
    output.write_text(model_json(trained), encoding="utf-8")
    console.print(f"Trained on {records.num_rows:,} records, prior {trained.prior} bits: {output}", soft_wrap=True)
    console.print(
        f"Next: set `model: {output}` in a copy of identity.yml, and run `cdp identity plan --rules` with it."
    )


@identity.command()
def plan(
    rules: Annotated[
        Path | None, typer.Option(help="File of rules to try. Default: the file that the platform uses.")
    ] = None,
    engine: Engine = "sail",
    home: Home = None,
    var: Variables = None,
) -> None:
    """Show how many persons other rules would merge and split. Nothing is written."""
    with open_workspace(engine, home, pairs("--var", var)) as workspace:
        runner = open_runner(workspace, "cdp_refresh", {})
        tried = read_identity_rules(str(rules)) if rules else runner.settings.identity_rules
        planned, revenue = plan_rules(runner.store, tried)
        print_plan(planned, f"{revenue:,.2f}")


def _decide(runner: Runner, decisions: Sequence[Mapping[str, str]], author: str, reason: str) -> None:
    """Append decisions, and refresh all tables that depend on them."""
    append_decisions(runner.store, decisions, author, reason, runner.settings.run_started_at)
    runs = runner.refresh([f"{IDENTITY_OVERRIDES_SILVER.name}+"])
    failed = [run for run in runs if run.state == "failed"]
    if failed:
        raise CdpError(f"The decisions are stored, but {failed[0].table} failed: `cdp run` repeats the refresh.")
    noun = "decision is" if len(decisions) == 1 else "decisions are"
    console.print(f"{len(decisions):,} {noun} stored, and {len(runs):,} tables are up to date.")


def print_explanation(explanation: Explanation) -> None:
    """Print the evidence of a pair as a waterfall, the values of both records, and the decision."""
    a, b = explanation.record_a, explanation.record_b
    values = [(name, *map(_text, each)) for name, each in explanation.values.items() if each != (None, None)]
    print_table(console, "Values", ("attribute", a, b), values)
    print_table(console, "Evidence", ("evidence", "bits", "sum", ""), waterfall(explanation))
    if explanation.steps and explanation.decision != "joined_directly":
        steps = [
            (step.record_a, step.record_b, step.evidence, step.weight, cut_in_words(step.cut) if step.cut else "")
            for step in explanation.steps
        ]
        print_table(console, "Way between the records", ("from", "to", "evidence", "bits", "cut, because"), steps)
    if explanation.overrides:
        names = ("decision", "author", "reason", "decided_at")
        rows = [[row[name] for name in names] for row in explanation.overrides]
        print_table(console, "Decisions of people", names, rows)
    persons = f"Person {explanation.person_a}"
    if explanation.person_a != explanation.person_b:
        persons = f"Persons {explanation.person_a} and {explanation.person_b}"
    console.print(f"{persons}: {explanation.why}", soft_wrap=True)


def waterfall(explanation: Explanation) -> list[tuple[str, float, float, str]]:
    """Return the evidence of a pair, the strongest first: name, bits, sum so far, and a bar of a character per bit."""
    rows, total = [], 0.0
    for name, bits in sorted(explanation.bits.items(), key=lambda item: (-abs(item[1]), item[0])):
        if bits:
            total += bits
            rows.append((name, bits, total, ("+" if bits > 0 else "-") + _BAR * round(abs(bits))))
    return [
        *rows,
        ("needed", explanation.link_weight, explanation.link_weight, " " + _BAR * round(explanation.link_weight)),
    ]


def _text(value: object) -> str | None:
    return ", ".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)


def print_plan(planned: Plan, revenue: str) -> None:
    """Print the effect of other rules."""
    figures = (
        ("records", planned.records),
        ("persons now", planned.persons_before),
        ("persons under these rules", planned.persons_after),
        ("merges", planned.merges),
        ("splits", planned.splits),
        ("persons affected", planned.persons_affected),
        ("customers who move to another person", len(planned.moved_customers)),
        ("revenue of these customers", revenue),
    )
    print_table(console, "Effect of the rules (nothing was written)", ("figure", "number"), figures)
    examples = [
        (each.event, ", ".join(map(str, each.persons)), each.records, ", ".join(each.keys)) for each in planned.examples
    ]
    if examples:
        print_table(console, "Largest changes", ("event", "persons now", "records", "first records"), examples)
