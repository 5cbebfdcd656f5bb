"""What must hold of the bundle in every target, and what `databricks bundle validate` does not see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from copy import deepcopy
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from databricks.bundles.alerts import Alert
from databricks.bundles.dashboards import Dashboard
from databricks.bundles.jobs import Job
from databricks.bundles.schemas import Schema
from databricks.bundles.secret_scopes import SecretScope
from databricks.bundles.volumes import Volume

from cdp_lib.contracts import TABLES
from cdp_lib.contracts.bronze import BRONZE_TABLES, CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.contracts.ops import RECONCILIATION_OPS
from cdp_lib.pipeline.graph import LAYERS, platform_graph
from cdp_lib.settings import Settings

Bundle = dict[str, Any]
Jobs = list[dict[str, Any]]
Files = list[tuple[Path, dict[str, Any]]]

TYPES = {
    "alerts": Alert,
    "dashboards": Dashboard,
    "jobs": Job,
    "schemas": Schema,
    "secret_scopes": SecretScope,
    "volumes": Volume,
}
REFERENCE = re.compile(r"\$\{([^}]*)\}")
OF_A_TASK = re.compile(r"\{\{tasks\.(\w+)\.([\w.]+)\}\}")
STAGES = ("bronze", "silver", "reconciliation", "gold")
# Fields of a resource that exist once it is deployed, and what the CLI knows of the workspace and the bundle.
COMPUTED = {"volumes": {"volume_path"}, "jobs": {"id"}}
STAGE = Path(__file__).resolve().parents[3] / "src" / "cdp_lib" / "stage.py"
KNOWN = {
    "bundle.name",
    "bundle.target",
    "workspace.current_user.short_name",
    "workspace.current_user.userName",
}


def scalars(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every scalar under a value, with the keys that lead to it."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if entries is None:
        yield path, value
    else:
        for key, entry in entries:
            yield from scalars(entry, (*path, str(key)))


def references(value: Any) -> set[str]:
    """What is referred to by `${…}` under a value."""
    return {reference for _, text in scalars(value) for reference in REFERENCE.findall(str(text))}


def notebook(task: dict[str, Any], project: Path) -> Path:
    """File of a task's notebook."""
    return project / str(task["notebook_task"]["notebook_path"])


def calls(path: Path) -> list[ast.Call]:
    """Calls in a Python notebook."""
    if path.suffix != ".py":
        return []
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def asked_for(path: Path) -> set[str]:
    """Names of the parameters a notebook asks for."""
    if path.suffix == ".sql":
        lines = path.read_text(encoding="utf-8").splitlines()
        return set(re.findall(r"(?<!:):([a-z_]\w*)", "\n".join(line for line in lines if not line.startswith("--"))))
    names = {
        ast.literal_eval(call.args[0]) for call in calls(path) if ast.unparse(call.func).endswith("dbutils.widgets.get")
    }
    if any(ast.unparse(call.func) == "Settings.from_widgets" for call in calls(path)):
        names.update(Settings.parameter_names())
    if layer_of(path):
        names.update(asked_for(STAGE))
    return names


def layer_of(path: Path) -> str:
    """Layer whose tables a notebook refreshes; empty where it is no stage."""
    stages = [call for call in calls(path) if ast.unparse(call.func) == "Stage"]
    return str(ast.literal_eval(stages[0].args[2])) if stages else ""


def before(job: dict[str, Any]) -> dict[str, set[str]]:
    """Every task a task waits for, directly or not, by task key."""
    direct = {task["task_key"]: {key["task_key"] for key in task.get("depends_on", ())} for task in job["tasks"]}
    all_before: dict[str, set[str]] = {}
    for key in TopologicalSorter(direct).static_order():
        all_before[key] = direct[key].union(*(all_before[earlier] for earlier in direct[key]))
    return all_before


def refreshing(jobs: Jobs) -> Jobs:
    """The jobs that make tables; others only land."""
    return [job for job in jobs if set(STAGES) & set(before(job))]


def given_to(job: dict[str, Any], key: str) -> dict[str, str]:
    """The parameters of a task alone."""
    [task] = [task for task in job["tasks"] if task["task_key"] == key]
    return dict(task["notebook_task"].get("base_parameters", {}))


def tasks_in(job: dict[str, Any], folder: str) -> set[str]:
    """Keys of the tasks whose notebooks are in a folder of notebooks/."""
    prefix = f"notebooks/{folder}/"
    return {task["task_key"] for task in job["tasks"] if task["notebook_task"]["notebook_path"].startswith(prefix)}


# Typed


def test_every_resource_reads_as_a_typed_object(bundle: Bundle) -> None:
    for kind, resources in bundle["resources"].items():
        for resource in resources.values():
            TYPES[kind].from_dict(resource)


@pytest.mark.parametrize("target", ["dev"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "key", "path", "typo"),
    [
        ("jobs", "cdp_refresh", ["max_concurent_runs"], 1),
        ("jobs", "cdp_refresh", ["tasks", 0, "notebook_task", "notebook_pth"], "x"),
        ("jobs", "cdp_refresh", ["tasks", 0, "run_if"], "ALL_SUCCEEDED"),
        ("jobs", "cdp_refresh", ["health", "rules", 0, "value"], "long"),
        ("alerts", "freshness", ["query"], "SELECT 1"),
        ("alerts", "freshness", ["evaluation", "comparison_operator"], "GREATER"),
        ("alerts", "freshness", ["evaluation", "notification", "subscriptions", 0, "email"], "x"),
        ("alerts", "quarantine_rate", ["evaluation", "source", "aggregation"], "LARGEST"),
        ("alerts", "kpi_out_of_band", ["schedule", "quartz_cron_expression"], "0 0 5 * * ?"),
        ("schemas", "sales", ["coment"], "x"),
        ("schemas", "sales", ["lifecycle"], {"prevent_destory": True}),
        ("schemas", "serving", ["grants"], [{"principal": "x", "privileges": ["SELCT"]}]),
        ("volumes", "landing", ["volume_type"], "MANGED"),
        ("secret_scopes", "cdp", ["scope"], "x"),
    ],
)
def test_a_typo_is_refused(bundle: Bundle, kind: str, key: str, path: list[str | int], typo: object) -> None:
    resource = deepcopy(bundle["resources"][kind][key])
    inner: Any = resource
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = typo
    with pytest.raises((ValueError, TypeError)):
        TYPES[kind].from_dict(resource)


# References


def test_every_variable_is_declared_and_used(bundle: Bundle, files: Files) -> None:
    used = {reference.removeprefix("var.") for reference in references([content for _, content in files])}
    assert set(bundle["variables"]) <= used
    assert {reference for reference in references(bundle) if reference.startswith("var.")} <= {
        f"var.{name}" for name in bundle["variables"]
    }


def test_every_variable_has_a_description(bundle: Bundle) -> None:
    assert all(variable.get("description") for variable in bundle["variables"].values())


def test_every_reference_to_a_resource_resolves(bundle: Bundle) -> None:
    for reference in references(bundle):
        match reference.split("."):
            case ["var", _]:
                pass
            case ["resources", kind, key, field]:
                assert field in bundle["resources"][kind][key].keys() | COMPUTED.get(kind, set()), reference
            case _:
                assert reference in KNOWN


def test_no_key_holds_a_reference_because_the_cli_resolves_values_only(bundle: Bundle) -> None:
    assert [path for path, _ in scalars(bundle) if any("${" in key for key in path)] == []


def test_the_schema_and_the_catalog_are_named_once(bundle: Bundle, project: Path) -> None:
    named = re.compile(r"(^|[^\w])(cat1|sales(_serving)?)($|[^\w])")
    values = [(path, REFERENCE.sub("", str(text))) for path, text in scalars(bundle)]
    found = [path for path, text in values if named.search(text) and path[-1] not in ("description", "comment")]
    assert found == [("variables", "catalog", "default"), ("variables", "schema", "default")]

    for path in (project / "notebooks").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert [text for text in texts if named.search(text)] == [], path.name
    for path in (project / "notebooks").rglob("*.sql"):
        code = re.sub(r"^--.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not re.search(r"\bcat1\b|\bsales(_serving)?\s*\.|'\.?sales", code), path.name


def test_deployed_names_of_schemas_go_into_the_parameters(jobs: Jobs) -> None:
    for job in jobs:
        defaults = {parameter["name"]: parameter["default"] for parameter in job["parameters"]}
        # ${var.schema} lacks the prefix that a development target puts before the schema.
        for name, schema in (("schema", "sales"), ("serving_schema", "serving")):
            assert defaults.get(name, "") in ("", f"${{resources.schemas.{schema}.name}}")
    assert {"schema", "serving_schema"} <= {parameter["name"] for job in jobs for parameter in job["parameters"]}


def test_no_secret_stands_in_the_files(bundle: Bundle) -> None:
    telling = re.compile(r"(key|password|secret|token)$", re.IGNORECASE)
    names = {"task_key", "environment_key", "job_cluster_key"}
    for path, text in scalars(bundle):
        if telling.search(path[-1]) and path[-1] not in names:
            assert str(text).startswith("{{secrets/${var.secret_scope}/"), path


# Tasks


def test_no_name_stands_twice_in_a_list(files: Files) -> None:
    keys = ("task_key", "job_cluster_key", "environment_key")
    for _, content in files:
        for resources in [content, *content.get("targets", {}).values()]:
            for job in resources.get("resources", {}).get("jobs", {}).values():
                for name, entries in job.items():
                    if name in ("tasks", "job_clusters", "environments", "parameters"):
                        named = [next(entry[key] for key in (*keys, "name") if key in entry) for entry in entries]
                        assert sorted(set(named)) == sorted(named)


def test_tasks_wait_for_tasks_that_are_there_and_never_in_a_circle(jobs: Jobs) -> None:
    for job in jobs:
        assert before(job).keys() == {task["task_key"] for task in job["tasks"]}


def test_every_task_is_named_after_its_notebook(jobs: Jobs, project: Path) -> None:
    for job in jobs:
        for task in job["tasks"]:
            assert notebook(task, project).is_file()
            assert notebook(task, project).stem == task["task_key"]


def test_every_notebook_is_a_task(jobs: Jobs, project: Path) -> None:
    notebooks = {path for path in (project / "notebooks").rglob("*") if path.suffix in (".py", ".sql", ".ipynb")}
    assert {notebook(task, project) for job in jobs for task in job["tasks"]} == notebooks


def test_parameters_are_exactly_what_the_notebooks_ask_for(jobs: Jobs, project: Path) -> None:
    for job in jobs:
        asked = {task["task_key"]: asked_for(notebook(task, project)) for task in job["tasks"]}
        given = {key: set(given_to(job, key)) for key in asked}
        assert all(given[key] <= asked[key] for key in asked)
        # A person selects tables; the rest is what tasks tell each other.
        of_a_task = {"select", "sources", "held"}
        assert {parameter["name"] for parameter in job["parameters"]} == set().union(*asked.values()) - of_a_task
        assert set().union(*given.values()) <= of_a_task


def test_what_a_task_is_told_of_another_comes_from_one_that_it_waits_for(jobs: Jobs) -> None:
    for job in jobs:
        for task in job["tasks"]:
            told_of = {key for _, text in scalars(task) for key, _ in OF_A_TASK.findall(str(text))}
            assert told_of <= before(job)[task["task_key"]]


def test_each_stage_refreshes_the_layer_it_is_named_after(jobs: Jobs, project: Path) -> None:
    assert refreshing(jobs)
    for job in refreshing(jobs):
        layers = {task["task_key"]: layer_of(notebook(task, project)) for task in job["tasks"]}
        assert {key: layer for key, layer in layers.items() if layer} == {layer: layer for layer in LAYERS}


def test_a_stage_waits_for_every_table_that_its_own_are_built_from(jobs: Jobs) -> None:
    graph = platform_graph()
    for job in refreshing(jobs):
        for name, table in graph.tables.items():
            layer = table.contract.layer
            read = {graph.tables[each].contract.layer for each in graph.reads(name)}
            assert read <= {layer, *before(job)[layer]}, name


def test_nothing_is_loaded_before_all_of_it_is_landed(jobs: Jobs) -> None:
    for job in refreshing(jobs):
        assert before(job)["bronze"] == tasks_in(job, "ingest")


def test_bronze_is_told_what_became_of_the_sources_that_sales_are_of(jobs: Jobs, project: Path) -> None:
    for job in refreshing(jobs):
        told = dict(pair.split("=") for pair in given_to(job, "bronze")["sources"].split())
        assert told.keys() == {contract.source for contract in (CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE)}
        results = {source: OF_A_TASK.fullmatch(result) for source, result in told.items()}
        assert all(match and match[2] == "result_state" for match in results.values())
        tasks = {source: match[1] for source, match in results.items() if match}
        assert set(tasks.values()) < tasks_in(job, "ingest")
        for source, key in tasks.items():
            text = (project / "notebooks" / "ingest" / f"{key}.py").read_text(encoding="utf-8")
            names = [contract.name.upper() for contract in BRONZE_TABLES if contract.source == source]
            assert f'"{source}"' in text or any(name in text for name in names), key


def test_each_stage_is_told_which_tables_the_one_before_it_has_held_back(jobs: Jobs) -> None:
    for job in refreshing(jobs):
        assert "held" not in given_to(job, STAGES[0])
        for key, after in pairwise(STAGES):
            assert given_to(job, after)["held"] == f"{{{{tasks.{key}.values.held}}}}"


def test_a_task_waits_for_the_tables_it_reads(jobs: Jobs, project: Path) -> None:
    for job in refreshing(jobs):
        for key in tasks_in(job, "serving"):
            [path] = (project / "notebooks" / "serving").glob(f"{key}.*")
            text = path.read_text(encoding="utf-8")
            told = re.search(r"^# MAGIC - Reads: (.*)", text, re.M)
            named = (
                re.findall(r"\w+", text) if path.suffix == ".sql" else re.findall(r"`(\w+)`", told[1] if told else "")
            )
            tables = set(named) & set(TABLES)
            made_by = {"reconciliation" if name == RECONCILIATION_OPS.name else TABLES[name].layer for name in tables}
            assert tables and before(job)[key] >= made_by - {"ops"}, key


def test_nothing_is_told_to_people_before_the_tables_are_reconciled_whatever_has_failed(jobs: Jobs) -> None:
    for job in refreshing(jobs):
        earlier = before(job)
        assert earlier["reconciliation"] >= {"bronze", "silver"}
        for key in {"gold"} | tasks_in(job, "serving"):
            assert "reconciliation" in earlier[key], key
        conditions = {task["task_key"]: task["run_if"] for task in job["tasks"] if "run_if" in task}
        assert conditions == dict.fromkeys(STAGES, "ALL_DONE")


def test_gold_is_published_once_all_of_it_is_there(jobs: Jobs) -> None:
    for job in refreshing(jobs):
        assert "gold" in before(job)["synapse_gold"]


def test_only_sources_are_tried_again(jobs: Jobs) -> None:
    for job in jobs:
        assert {task["task_key"] for task in job["tasks"] if task.get("max_retries")} == tasks_in(job, "ingest")


def test_every_task_has_the_compute_it_names(jobs: Jobs, project: Path) -> None:
    for job in jobs:
        environments = {environment["environment_key"] for environment in job.get("environments", ())}
        clusters = {cluster["job_cluster_key"] for cluster in job.get("job_clusters", ())}
        for task in job["tasks"]:
            # A SQL notebook needs no environment; serverless compute runs it.
            computes = [key for key in ("environment_key", "job_cluster_key") if key in task]
            assert len(computes) == (notebook(task, project).suffix == ".py"), task["task_key"]
            if "environment_key" in task:
                assert task["environment_key"] in environments
            if "job_cluster_key" in task:
                assert task["job_cluster_key"] in clusters


def test_a_job_is_watched_and_never_runs_beside_itself(jobs: Jobs) -> None:
    for job in jobs:
        assert job["schedule"]["quartz_cron_expression"]
        assert job["queue"] == {"enabled": True}
        assert job["max_concurrent_runs"] == 1
        assert [rule["metric"] for rule in job["health"]["rules"]] == ["RUN_DURATION_SECONDS"]
        assert job["health"]["rules"][0]["value"] < job["timeout_seconds"]
        for event in ("on_failure", "on_duration_warning_threshold_exceeded"):
            assert job["email_notifications"][event] == ["${var.notification_email}"]


def test_a_schedule_runs_in_production_and_is_paused_in_development(bundle: Bundle, jobs: Jobs) -> None:
    states = {job["name"]: job["schedule"]["pause_status"] for job in jobs}
    assert states.pop("cdp_events") == "${var.event_stream_state}"
    assert bundle["variables"]["event_stream_state"]["default"] == "PAUSED"
    assert set(states.values()) == {"${var.schedule_state}"}
    expected = "PAUSED" if bundle["mode"] == "development" else "UNPAUSED"
    assert bundle["variables"]["schedule_state"]["default"] == expected


# Targets


@pytest.mark.parametrize("target", ["dev"], indirect=True)
def test_development_is_the_default_and_has_a_scope_of_each_developer(bundle: Bundle, files: Files) -> None:
    targets = files[0][1]["targets"]
    assert [name for name, target in targets.items() if target.get("default")] == ["dev"]
    assert bundle["mode"] == "development"
    assert bundle["resources"]["secret_scopes"]["cdp"]["name"] == "${var.secret_scope}"
    assert "${workspace.current_user.short_name}" in bundle["variables"]["secret_scope"]["default"]
    assert bundle["resources"]["volumes"]["landing"]["volume_type"] == "MANAGED"


@pytest.mark.parametrize("target", ["dev"], indirect=True)
def test_development_needs_no_variable_and_opens_nothing(bundle: Bundle) -> None:
    assert [name for name, variable in bundle["variables"].items() if not variable.keys() & {"default", "lookup"}] == []
    assert not any("grants" in schema for schema in bundle["resources"]["schemas"].values())


@pytest.mark.parametrize("target", ["prod", "adls"], indirect=True)
def test_production_belongs_to_a_service_principal(bundle: Bundle) -> None:
    principal = "${var.service_principal}"
    assert bundle["mode"] == "production"
    assert bundle["run_as"] == {"service_principal_name": principal}
    assert {"service_principal_name": principal, "level": "CAN_MANAGE"} in bundle["permissions"]
    assert bundle["workspace"]["root_path"].startswith(f"/Workspace/Users/{principal}/")
    assert "${bundle.target}" in bundle["workspace"]["root_path"]


@pytest.mark.parametrize("target", ["prod", "adls"], indirect=True)
def test_production_is_told_who_it_belongs_to(bundle: Bundle) -> None:
    untold = {name for name, variable in bundle["variables"].items() if not variable.keys() & {"default", "lookup"}}
    assert untold == {"landing_storage_location", "notification_email", "operators_group", "service_principal"}


@pytest.mark.parametrize("target", ["prod", "adls"], indirect=True)
def test_production_makes_no_scope_and_destroys_no_schema(bundle: Bundle) -> None:
    assert "secret_scopes" not in bundle["resources"]
    for schema in bundle["resources"]["schemas"].values():
        assert schema["lifecycle"] == {"prevent_destroy": True}


@pytest.mark.parametrize("target", ["prod", "adls"], indirect=True)
def test_production_opens_the_views_and_nothing_else(bundle: Bundle) -> None:
    granted = {key: schema.get("grants") for key, schema in bundle["resources"]["schemas"].items()}
    privileges = [{"principal": "${var.analysts_group}", "privileges": ["USE_SCHEMA", "SELECT"]}]
    assert granted == {"sales": None, "serving": privileges}
    assert "grants" not in bundle["resources"]["volumes"]["landing"]


@pytest.mark.parametrize("target", ["prod"], indirect=True)
def test_production_lands_in_the_lake_and_never_destroys_it(bundle: Bundle) -> None:
    landing = bundle["resources"]["volumes"]["landing"]
    assert landing["volume_type"] == "EXTERNAL"
    assert landing["storage_location"] == "${var.landing_storage_location}"
    assert landing["lifecycle"] == {"prevent_destroy": True}


@pytest.mark.parametrize("target", ["adls"], indirect=True)
def test_exactly_the_tasks_that_touch_the_landing_are_on_the_lake(jobs: Jobs, project: Path) -> None:
    for job in jobs:
        on_the_lake = {task["task_key"] for task in job["tasks"] if task.get("job_cluster_key") == "lake"}
        touching = {
            task["task_key"]
            for task in job["tasks"]
            if any(ast.unparse(call.func) == "Landing" for call in calls(notebook(task, project)))
            or layer_of(notebook(task, project)) == "bronze"
        }
        assert on_the_lake == touching
        for task in job["tasks"]:
            assert ("libraries" in task) == (task["task_key"] in on_the_lake)


@pytest.mark.parametrize("target", ["adls"], indirect=True)
def test_the_lake_s_key_comes_from_the_scope(bundle: Bundle, jobs: Jobs) -> None:
    clusters = [cluster for job in jobs for cluster in job.get("job_clusters", ())]
    assert clusters
    for lake in clusters:
        assert lake["new_cluster"]["spark_conf"] == {
            "spark.hadoop.fs.azure.account.key": "{{secrets/${var.secret_scope}/storage_account_key}}"
        }
    assert bundle["variables"]["landing"]["default"] == "${var.landing_storage_location}"
