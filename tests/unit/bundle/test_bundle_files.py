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

from cdp_lib.contracts.bronze import BRONZE_TABLES, CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE
from cdp_lib.pipeline.graph import platform_graph
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
STAGES = ("bronze", "silver", "gold", "publish")
OPERATIONAL = {"as_of", "ingest", "fit_models", "from_scratch", "full_refresh", "replay_from"}
"""What an operator may set for one run: whoever may run a job runs it as its service principal."""
# Fields of a resource that exist once it is deployed, and what the CLI knows of the workspace and the bundle.
COMPUTED = {"volumes": {"volume_path"}, "jobs": {"id"}}
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
    names = {
        ast.literal_eval(call.args[0]) for call in calls(path) if ast.unparse(call.func).endswith("dbutils.widgets.get")
    }
    if any(ast.unparse(call.func) == "Settings.from_widgets" for call in calls(path)):
        names.update(Settings.parameter_names())
    if is_stage(path):
        names |= {*Settings.parameter_names(), "select", "sources", "held", "job"}
    return names


def is_stage(path: Path) -> bool:
    """Whether a notebook works on tables."""
    return any(ast.unparse(call.func) == "Stage" for call in calls(path))


def before(job: dict[str, Any]) -> dict[str, set[str]]:
    """Every task a task waits for, directly or not, by task key."""
    direct = {task["task_key"]: {key["task_key"] for key in task.get("depends_on", ())} for task in job["tasks"]}
    all_before: dict[str, set[str]] = {}
    for key in TopologicalSorter(direct).static_order():
        all_before[key] = direct[key].union(*(all_before[earlier] for earlier in direct[key]))
    return all_before


def given_to(job: dict[str, Any], key: str) -> dict[str, str]:
    """The parameters of a task alone."""
    [task] = [task for task in job["tasks"] if task["task_key"] == key]
    return dict(task["notebook_task"].get("base_parameters", {}))


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
    for path in (project / "src" / "cdp_lib" / "serving").glob("*.sql"):
        assert not re.search(r"\bcat1\b|\bsales(_serving)?\s*\.", path.read_text(encoding="utf-8")), path.name


def test_deployed_names_of_schemas_go_into_the_settings(jobs: Jobs) -> None:
    settings = [given_to(job, task["task_key"]) for job in jobs for task in job["tasks"]]
    # ${var.schema} lacks the prefix that a development target puts before the schema.
    for name, schema in (("schema", "sales"), ("serving_schema", "serving")):
        assert {each[name] for each in settings if name in each} == {f"${{resources.schemas.{schema}.name}}"}


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


def test_tasks_wait_for_tasks_that_are_there_and_never_in_a_circle(bundle: Bundle) -> None:
    for job in bundle["resources"]["jobs"].values():
        assert before(job).keys() == {task["task_key"] for task in job["tasks"]}


def test_every_notebook_is_a_task(jobs: Jobs, project: Path) -> None:
    notebooks = {path for path in (project / "notebooks").rglob("*") if path.suffix in (".py", ".sql", ".ipynb")}
    assert {notebook(task, project) for job in jobs for task in job["tasks"]} == notebooks


def test_an_operator_sets_what_a_run_does_and_not_where_it_reads(jobs: Jobs, refresh: dict[str, Any]) -> None:
    assert {parameter["name"] for parameter in refresh["parameters"]} == OPERATIONAL
    assert not [job["name"] for job in jobs if job["name"] != "cdp_refresh" and "parameters" in job]


def test_a_task_is_given_what_its_notebook_asks_for(jobs: Jobs, project: Path) -> None:
    for job in jobs:
        of_run = {parameter["name"] for parameter in job.get("parameters", ())}
        for task in job["tasks"]:
            asked, given = asked_for(notebook(task, project)), set(given_to(job, task["task_key"]))
            # A person selects tables; the rest is what tasks tell each other.
            told = {"select", "sources", "held"}
            assert asked - told - OPERATIONAL <= given | of_run, task["task_key"]
            assert not given & of_run


def test_the_settings_of_all_tasks_are_the_same(jobs: Jobs) -> None:
    by_name: dict[str, set[str]] = {}
    for job in jobs:
        for task in job["tasks"]:
            for name, value in given_to(job, task["task_key"]).items():
                by_name.setdefault(name, set()).add(str(value))
    differing = {name for name, values in by_name.items() if len(values) > 1}
    assert differing <= {"held", "sources"}


def test_no_setting_is_empty_where_the_bundle_is_deployed(bundle: Bundle) -> None:
    of_jobs = [text for path, text in scalars(bundle["resources"]["jobs"]) if "parameters" not in path]
    assert "" not in of_jobs


def test_the_job_has_few_tasks_in_few_levels(refresh: dict[str, Any]) -> None:
    levels: dict[str, int] = {}
    direct = {task["task_key"]: [key["task_key"] for key in task.get("depends_on", ())] for task in refresh["tasks"]}
    for key in TopologicalSorter(direct).static_order():
        levels[key] = 1 + max((levels[each] for each in direct[key]), default=0)
    assert len(levels) <= 15
    assert max(levels.values()) <= 6


def test_nothing_behind_bronze_starts_where_nothing_is_due(refresh: dict[str, Any]) -> None:
    tasks = {task["task_key"]: task for task in refresh["tasks"]}
    assert tasks["is_anything_due"]["condition_task"] == {
        "op": "EQUAL_TO",
        "left": "{{tasks.bronze.values.is_anything_due}}",
        "right": "true",
    }
    assert tasks["silver"]["depends_on"] == [{"task_key": "is_anything_due", "outcome": "true"}]
    assert "is_anything_due" in before(refresh)["publish"] and "silver" in before(refresh)["gold"]


def test_what_a_task_is_told_of_another_comes_from_one_that_it_waits_for(jobs: Jobs, refresh: dict[str, Any]) -> None:
    for task in refresh["tasks"]:
        told_of = {key for _, text in scalars(task) for key, _ in OF_A_TASK.findall(str(text))}
        assert told_of <= before(refresh)[task["task_key"]]
    others = [job for job in jobs if job["name"] != "cdp_refresh"]
    assert not [text for _, text in scalars(others) if OF_A_TASK.search(str(text))]


def test_a_stage_waits_for_every_table_that_its_own_are_built_from(refresh: dict[str, Any]) -> None:
    graph = platform_graph()
    for name, table in graph.tables.items():
        layer = table.contract.layer
        read = {graph.tables[each].contract.layer for each in graph.reads(name)}
        assert read <= {layer, *before(refresh)[layer]}, name


def test_nothing_is_loaded_before_all_of_it_is_landed(refresh: dict[str, Any]) -> None:
    assert before(refresh)["bronze"] == {key for key in before(refresh) if key.startswith("ingest_")}


def test_bronze_is_told_what_became_of_the_sources_that_sales_are_of(refresh: dict[str, Any], project: Path) -> None:
    told = dict(pair.split("=") for pair in given_to(refresh, "bronze")["sources"].split())
    assert told.keys() == {contract.source for contract in (CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE)}
    results = {source: OF_A_TASK.fullmatch(result) for source, result in told.items()}
    assert all(match and match[2] == "result_state" for match in results.values())
    tasks = {source: match[1] for source, match in results.items() if match}
    assert set(tasks.values()) < {key for key in before(refresh) if key.startswith("ingest_")}
    for source, key in tasks.items():
        text = (project / "notebooks" / "ingest" / f"{key}.py").read_text(encoding="utf-8")
        names = [contract.name.upper() for contract in BRONZE_TABLES if contract.source == source]
        assert f'"{source}"' in text or any(name in text for name in names), key


def test_each_stage_is_told_which_tables_the_one_before_it_has_held_back(refresh: dict[str, Any]) -> None:
    assert "held" not in given_to(refresh, STAGES[0])
    for key, after in pairwise(STAGES):
        assert given_to(refresh, after)["held"] == f"{{{{tasks.{key}.values.held}}}}"


def test_stages_run_whatever_has_failed_before(refresh: dict[str, Any]) -> None:
    conditions = {task["task_key"]: task["run_if"] for task in refresh["tasks"] if "run_if" in task}
    # silver waits for the condition alone, and that for nothing but the end of bronze.
    assert conditions == dict.fromkeys(("bronze", "is_anything_due", "gold", "publish"), "ALL_DONE")


def test_only_what_may_recover_is_tried_again(jobs: Jobs) -> None:
    for job in jobs:
        for task in job["tasks"]:
            is_source = "/ingest/" in task["notebook_task"]["notebook_path"]
            # A stream that meets the run of another job waits for it.
            assert bool(task.get("max_retries")) == (is_source or job["name"] == "cdp_stream"), task["task_key"]
            # Serverless compute repeats a failed task of its own accord, unless it is told not to.
            assert task.get("disable_auto_optimization", False) == (not is_source), task["task_key"]


def test_every_task_has_the_compute_it_names(jobs: Jobs) -> None:
    for job in jobs:
        environments = {environment["environment_key"] for environment in job.get("environments", ())}
        clusters = {cluster["job_cluster_key"] for cluster in job.get("job_clusters", ())}
        for task in job["tasks"]:
            assert len([key for key in ("environment_key", "job_cluster_key") if key in task]) == 1, task["task_key"]
            if "environment_key" in task:
                assert task["environment_key"] in environments
            if "job_cluster_key" in task:
                assert task["job_cluster_key"] in clusters


def test_a_job_never_runs_beside_itself_and_somebody_hears_of_a_failure(jobs: Jobs) -> None:
    for job in jobs:
        assert job["queue"] == {"enabled": True}
        assert job["max_concurrent_runs"] == 1
        assert job["email_notifications"]["on_failure"] == ["${var.notification_email}"]
        assert job["tags"] == "${var.job_tags}"


def test_a_job_with_a_schedule_is_watched(jobs: Jobs) -> None:
    scheduled = [job for job in jobs if "schedule" in job]
    assert {job["name"] for job in scheduled} == {"cdp_refresh", "cdp_events", "cdp_maintenance"}
    for job in scheduled:
        assert job["schedule"]["quartz_cron_expression"]
        assert [rule["metric"] for rule in job["health"]["rules"]] == ["RUN_DURATION_SECONDS"]
        assert job["health"]["rules"][0]["value"] < job["timeout_seconds"]
        assert job["email_notifications"]["on_duration_warning_threshold_exceeded"] == ["${var.notification_email}"]


def test_what_waits_for_data_starts_at_once_and_what_runs_at_night_costs_less(jobs: Jobs) -> None:
    targets = {job["name"]: job["performance_target"] for job in jobs}
    assert targets.pop("cdp_stream") == "PERFORMANCE_OPTIMIZED"
    assert set(targets.values()) == {"STANDARD"}


def test_a_rebuild_takes_as_long_as_it_takes(bundle: Bundle) -> None:
    rebuild = bundle["resources"]["jobs"]["cdp_rebuild"]
    assert "timeout_seconds" not in rebuild and "schedule" not in rebuild
    assert given_to(rebuild, "rebuild")["full_refresh"] == "true"


def test_a_schedule_runs_in_production_and_is_paused_in_development(bundle: Bundle, jobs: Jobs) -> None:
    states = {job["name"]: job["schedule"]["pause_status"] for job in jobs if "schedule" in job}
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
            or notebook(task, project).stem in ("bronze", "refresh")
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
