"""Tests of the bundle in every target. `databricks bundle validate` does not check these properties."""

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
TASK_REFERENCE = re.compile(r"\{\{tasks\.(\w+)\.([\w.]+)\}\}")
STAGES = ("bronze", "silver", "gold", "publish")
OPERATIONAL = {"as_of", "ingest", "fit_models", "from_scratch", "full_refresh", "replay_from"}
"""Parameters that an operator may set for one run. Jobs run as the service principal, so other settings are fixed."""
COMPUTED = {"volumes": {"volume_path"}, "jobs": {"id"}}
"""Fields that a resource has only after it is deployed."""
KNOWN = {
    "bundle.name",
    "bundle.target",
    "workspace.current_user.short_name",
    "workspace.current_user.userName",
    "workspace.file_path",
}
"""References to the bundle and the workspace that the CLI resolves."""


def scalars(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every scalar in a nested value, with the keys that lead to the scalar."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if entries is None:
        yield path, value
    else:
        for key, entry in entries:
            yield from scalars(entry, (*path, str(key)))


def references(value: Any) -> set[str]:
    """Return all references `${…}` in a nested value."""
    return {reference for _, text in scalars(value) for reference in REFERENCE.findall(str(text))}


def notebook(task: dict[str, Any], project: Path) -> Path:
    """Return the file of a task's notebook."""
    return project / str(task["notebook_task"]["notebook_path"])


def calls(path: Path) -> list[ast.Call]:
    """Return the calls in a Python notebook."""
    if path.suffix != ".py":
        return []
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def requested_parameters(path: Path) -> set[str]:
    """Return the names of the parameters that a notebook reads."""
    names = {
        ast.literal_eval(call.args[0]) for call in calls(path) if ast.unparse(call.func).endswith("dbutils.widgets.get")
    }
    if any(ast.unparse(call.func) == "Settings.from_widgets" for call in calls(path)):
        names.update(Settings.parameter_names())
    if is_stage(path):
        names |= {*Settings.parameter_names(), "select", "sources", "held", "job"}
    return names


def is_stage(path: Path) -> bool:
    """Return whether a notebook uses the class `Stage`, which refreshes tables."""
    return any(ast.unparse(call.func) == "Stage" for call in calls(path))


def upstream_tasks(job: dict[str, Any]) -> dict[str, set[str]]:
    """Return, for each task key, the keys of all tasks that the task waits for, directly or indirectly."""
    direct = {task["task_key"]: {key["task_key"] for key in task.get("depends_on", ())} for task in job["tasks"]}
    upstream: dict[str, set[str]] = {}
    for key in TopologicalSorter(direct).static_order():
        upstream[key] = direct[key].union(*(upstream[earlier] for earlier in direct[key]))
    return upstream


def task_parameters(job: dict[str, Any], key: str) -> dict[str, str]:
    """Return the parameters of a task that are not parameters of its job."""
    [task] = [task for task in job["tasks"] if task["task_key"] == key]
    return dict(task["notebook_task"].get("base_parameters", {}))


# Types


def test_every_resource_is_valid_for_the_sdk(bundle: Bundle) -> None:
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
        ("alerts", "freshness", ["evaluation", "notification", "subscriptions"], [{"email": "x"}]),
        ("alerts", "quarantine_rate", ["evaluation", "source", "aggregation"], "LARGEST"),
        ("alerts", "kpi_out_of_band", ["schedule", "quartz_cron_expression"], "0 0 5 * * ?"),
        ("schemas", "sales", ["coment"], "x"),
        ("schemas", "sales", ["lifecycle"], {"prevent_destory": True}),
        ("schemas", "serving", ["grants"], [{"principal": "x", "privileges": ["SELCT"]}]),
        ("volumes", "landing", ["volume_type"], "MANGED"),
        ("secret_scopes", "cdp", ["scope"], "x"),
    ],
)
def test_typo_is_rejected(bundle: Bundle, kind: str, key: str, path: list[str | int], typo: object) -> None:
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


def test_references_are_in_values_only_because_the_cli_does_not_resolve_keys(bundle: Bundle) -> None:
    assert [path for path, _ in scalars(bundle) if any("${" in key for key in path)] == []


def test_schema_and_catalog_are_named_once(bundle: Bundle, project: Path) -> None:
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


def test_settings_use_the_deployed_names_of_schemas(jobs: Jobs) -> None:
    settings = [task_parameters(job, task["task_key"]) for job in jobs for task in job["tasks"]]
    # ${var.schema} lacks the prefix that the CLI adds in a development target.
    for name, schema in (("schema", "sales"), ("serving_schema", "serving"), ("customers_schema", "customers")):
        assert {each[name] for each in settings if name in each} == {f"${{resources.schemas.{schema}.name}}"}


def test_files_hold_no_secret(bundle: Bundle) -> None:
    secret_name = re.compile(r"(key|password|secret|token)$", re.IGNORECASE)
    names = {"task_key", "environment_key", "job_cluster_key"}
    for path, text in scalars(bundle):
        if secret_name.search(path[-1]) and path[-1] not in names:
            assert str(text).startswith("{{secrets/${var.secret_scope}/"), path


# Tasks


def test_names_in_lists_are_unique(files: Files) -> None:
    keys = ("task_key", "job_cluster_key", "environment_key")
    for _, content in files:
        for resources in [content, *content.get("targets", {}).values()]:
            for job in resources.get("resources", {}).get("jobs", {}).values():
                for name, entries in job.items():
                    if name in ("tasks", "job_clusters", "environments", "parameters"):
                        named = [next(entry[key] for key in (*keys, "name") if key in entry) for entry in entries]
                        assert sorted(set(named)) == sorted(named)


def test_task_dependencies_exist_and_have_no_cycle(bundle: Bundle) -> None:
    for job in bundle["resources"]["jobs"].values():
        assert upstream_tasks(job).keys() == {task["task_key"] for task in job["tasks"]}


def test_dependencies_are_sorted_because_a_plan_would_otherwise_change_the_job(bundle: Bundle) -> None:
    for job in bundle["resources"]["jobs"].values():
        for task in job["tasks"]:
            keys = [key["task_key"] for key in task.get("depends_on", ())]
            assert keys == sorted(keys), task["task_key"]


def test_every_notebook_but_those_of_people_is_a_task(jobs: Jobs, project: Path) -> None:
    notebooks = {path for path in (project / "notebooks").rglob("*") if path.suffix in (".py", ".sql", ".ipynb")}
    of_people = set((project / "notebooks" / "explore").iterdir())
    assert {notebook(task, project) for job in jobs for task in job["tasks"]} == notebooks - of_people


def test_jobs_have_operational_parameters_only(jobs: Jobs) -> None:
    parameters = {job["name"]: {each["name"] for each in job["parameters"]} for job in jobs if "parameters" in job}
    assert parameters == {"cdp_refresh": OPERATIONAL, "cdp_verify": {"repair"}}


def test_every_task_has_the_parameters_of_its_notebook(jobs: Jobs, project: Path) -> None:
    for job in jobs:
        job_parameters = {parameter["name"] for parameter in job.get("parameters", ())}
        for task in job["tasks"]:
            requested = requested_parameters(notebook(task, project))
            given = set(task_parameters(job, task["task_key"]))
            # A person sets the parameter `select`. Other tasks set the parameters `sources` and `held`.
            optional = {"select", "sources", "held"}
            assert requested - optional - OPERATIONAL <= given | job_parameters, task["task_key"]
            assert not given & job_parameters


def test_all_tasks_have_the_same_settings(jobs: Jobs) -> None:
    by_name: dict[str, set[str]] = {}
    for job in jobs:
        for task in job["tasks"]:
            for name, value in task_parameters(job, task["task_key"]).items():
                by_name.setdefault(name, set()).add(str(value))
    differing = {name for name, values in by_name.items() if len(values) > 1}
    assert differing <= {"entities", "held", "sources"}


def test_no_job_setting_is_empty(bundle: Bundle) -> None:
    values = [text for path, text in scalars(bundle["resources"]["jobs"]) if "parameters" not in path]
    assert "" not in values


def test_cdp_refresh_has_few_tasks_and_levels(refresh: dict[str, Any]) -> None:
    levels: dict[str, int] = {}
    direct = {task["task_key"]: [key["task_key"] for key in task.get("depends_on", ())] for task in refresh["tasks"]}
    for key in TopologicalSorter(direct).static_order():
        levels[key] = 1 + max((levels[each] for each in direct[key]), default=0)
    assert len(levels) <= 15
    assert max(levels.values()) <= 6


def test_no_stage_after_bronze_runs_when_no_table_is_due(refresh: dict[str, Any]) -> None:
    tasks = {task["task_key"]: task for task in refresh["tasks"]}
    assert tasks["is_anything_due"]["condition_task"] == {
        "op": "EQUAL_TO",
        "left": "{{tasks.bronze.values.is_anything_due}}",
        "right": "true",
    }
    assert tasks["silver"]["depends_on"] == [{"task_key": "is_anything_due", "outcome": "true"}]
    assert "is_anything_due" in upstream_tasks(refresh)["publish"] and "silver" in upstream_tasks(refresh)["gold"]


def test_tasks_refer_only_to_tasks_that_they_wait_for(jobs: Jobs, refresh: dict[str, Any]) -> None:
    for task in refresh["tasks"]:
        referenced = {key for _, text in scalars(task) for key, _ in TASK_REFERENCE.findall(str(text))}
        assert referenced <= upstream_tasks(refresh)[task["task_key"]]
    other_jobs = [job for job in jobs if job["name"] != "cdp_refresh"]
    assert not [text for _, text in scalars(other_jobs) if TASK_REFERENCE.search(str(text))]


def test_stage_waits_for_the_stages_of_its_input_tables(refresh: dict[str, Any]) -> None:
    graph = platform_graph()
    for name, table in graph.tables.items():
        layer = table.contract.layer
        read = {graph.tables[each].contract.layer for each in graph.reads(name)}
        assert read <= {layer, *upstream_tasks(refresh)[layer]}, name


def test_bronze_waits_for_all_ingest_tasks(refresh: dict[str, Any]) -> None:
    assert upstream_tasks(refresh)["bronze"] == {key for key in upstream_tasks(refresh) if key.startswith("ingest_")}


def test_each_entity_is_landed_by_one_task(refresh: dict[str, Any]) -> None:
    landed = [
        entity
        for task in refresh["tasks"]
        if "notebook_task" in task
        for entity in task_parameters(refresh, task["task_key"]).get("entities", "").split()
    ]
    assert sorted(landed) == sorted(contract.entity for contract in BRONZE_TABLES)


def test_bronze_gets_the_results_of_the_ingest_tasks_of_sales(refresh: dict[str, Any]) -> None:
    sources = dict(pair.split("=") for pair in task_parameters(refresh, "bronze")["sources"].split())
    assert sources.keys() == {contract.source for contract in (CUSTOMERS_BRONZE, TRANSACTIONS_BRONZE)}
    results = {source: TASK_REFERENCE.fullmatch(result) for source, result in sources.items()}
    assert all(match and match[2] == "result_state" for match in results.values())
    tasks = {source: match[1] for source, match in results.items() if match}
    assert set(tasks.values()) < {key for key in upstream_tasks(refresh) if key.startswith("ingest_")}
    for source, key in tasks.items():
        entities = task_parameters(refresh, key)["entities"].split()
        assert entities == [contract.entity for contract in BRONZE_TABLES if contract.source == source]


def test_each_stage_gets_the_held_tables_of_the_stage_before(refresh: dict[str, Any]) -> None:
    assert "held" not in task_parameters(refresh, STAGES[0])
    for key, next_key in pairwise(STAGES):
        assert task_parameters(refresh, next_key)["held"] == f"{{{{tasks.{key}.values.held}}}}"


def test_stages_run_after_failed_tasks(refresh: dict[str, Any]) -> None:
    conditions = {task["task_key"]: task["run_if"] for task in refresh["tasks"] if "run_if" in task}
    # silver waits only for the condition, which runs after bronze has ended, failed or not.
    assert conditions == dict.fromkeys(("bronze", "is_anything_due", "gold", "publish"), "ALL_DONE")


def test_only_ingest_tasks_and_cdp_stream_retry(jobs: Jobs) -> None:
    for job in jobs:
        for task in job["tasks"]:
            is_source = "/ingest/" in task["notebook_task"]["notebook_path"]
            # cdp_stream retries until the run of another job has ended.
            assert bool(task.get("max_retries")) == (is_source or job["name"] == "cdp_stream"), task["task_key"]
            # Serverless compute retries a failed task unless auto optimization is disabled.
            assert task.get("disable_auto_optimization", False) == (not is_source), task["task_key"]


def test_every_task_names_existing_compute(jobs: Jobs) -> None:
    for job in jobs:
        environments = {environment["environment_key"] for environment in job.get("environments", ())}
        clusters = {cluster["job_cluster_key"] for cluster in job.get("job_clusters", ())}
        for task in job["tasks"]:
            assert len([key for key in ("environment_key", "job_cluster_key") if key in task]) == 1, task["task_key"]
            if "environment_key" in task:
                assert task["environment_key"] in environments
            if "job_cluster_key" in task:
                assert task["job_cluster_key"] in clusters


def test_jobs_have_one_run_at_a_time_and_report_failures(jobs: Jobs) -> None:
    for job in jobs:
        assert job["queue"] == {"enabled": True}
        assert job["max_concurrent_runs"] == 1
        assert job["email_notifications"]["on_failure"] == ["${var.notification_email}"]
        # Each e-mail has a webhook. Without a notification destination, the list is empty.
        assert job["webhook_notifications"] == dict.fromkeys(job["email_notifications"], "${var.job_webhooks}")
        assert job["tags"] == "${var.job_tags}"


def test_scheduled_jobs_are_monitored(jobs: Jobs) -> None:
    scheduled = [job for job in jobs if "schedule" in job]
    assert {job["name"] for job in scheduled} == {"cdp_refresh", "cdp_events", "cdp_maintenance", "cdp_verify"}
    for job in scheduled:
        assert job["schedule"]["quartz_cron_expression"]
        assert [rule["metric"] for rule in job["health"]["rules"]] == ["RUN_DURATION_SECONDS"]
        assert job["health"]["rules"][0]["value"] < job["timeout_seconds"]
        assert job["email_notifications"]["on_duration_warning_threshold_exceeded"] == ["${var.notification_email}"]


def test_only_cdp_stream_is_optimized_for_a_fast_start(jobs: Jobs) -> None:
    targets = {job["name"]: job["performance_target"] for job in jobs}
    assert targets.pop("cdp_stream") == "PERFORMANCE_OPTIMIZED"
    assert set(targets.values()) == {"STANDARD"}


def test_rebuild_has_no_timeout_and_no_schedule(bundle: Bundle) -> None:
    rebuild = bundle["resources"]["jobs"]["cdp_rebuild"]
    assert "timeout_seconds" not in rebuild and "schedule" not in rebuild
    assert task_parameters(rebuild, "rebuild")["full_refresh"] == "true"


def test_schedules_run_in_production_only(bundle: Bundle, jobs: Jobs, target: str) -> None:
    states = {job["name"]: job["schedule"]["pause_status"] for job in jobs if "schedule" in job}
    assert states.pop("cdp_events") == "${var.event_stream_state}"
    assert bundle["variables"]["event_stream_state"]["default"] == "PAUSED"
    assert set(states.values()) == {"${var.schedule_state}"}
    expected = "PAUSED" if target in ("dev", "staging") else "UNPAUSED"
    assert bundle["variables"]["schedule_state"]["default"] == expected


# Targets


@pytest.mark.parametrize("target", ["dev"], indirect=True)
def test_development_is_the_default_and_has_one_secret_scope_per_developer(bundle: Bundle, files: Files) -> None:
    targets = files[0][1]["targets"]
    assert [name for name, target in targets.items() if target.get("default")] == ["dev"]
    assert bundle["mode"] == "development"
    assert bundle["resources"]["secret_scopes"]["cdp"]["name"] == "${var.secret_scope}"
    assert "${workspace.current_user.short_name}" in bundle["variables"]["secret_scope"]["default"]
    assert bundle["resources"]["volumes"]["landing"]["volume_type"] == "MANAGED"


@pytest.mark.parametrize("target", ["dev"], indirect=True)
def test_development_needs_no_variable_and_grants_nothing(bundle: Bundle) -> None:
    assert [name for name, variable in bundle["variables"].items() if not variable.keys() & {"default", "lookup"}] == []
    assert not any("grants" in schema for schema in bundle["resources"]["schemas"].values())


@pytest.mark.parametrize("target", ["staging", "prod", "adls"], indirect=True)
def test_production_is_deployed_and_run_by_two_identities(bundle: Bundle) -> None:
    runner, deployer = "${var.service_principal}", "${var.deployer}"
    assert bundle["mode"] == "production"
    assert bundle["run_as"] == {"service_principal_name": runner}
    # The runner reads the notebooks and the wheel, and can change neither them nor the jobs.
    assert bundle["permissions"] == [
        {"service_principal_name": deployer, "level": "CAN_MANAGE"},
        {"service_principal_name": runner, "level": "CAN_VIEW"},
        {"group_name": "${var.operators_group}", "level": "CAN_RUN"},
    ]
    assert bundle["workspace"]["root_path"].startswith(f"/Workspace/Users/{deployer}/")
    assert "${bundle.target}" in bundle["workspace"]["root_path"]


@pytest.mark.parametrize("target", ["staging", "prod", "adls"], indirect=True)
def test_production_requires_its_location_and_owners(bundle: Bundle) -> None:
    required = {name for name, variable in bundle["variables"].items() if not variable.keys() & {"default", "lookup"}}
    owners = {"analysts_group", "deployer", "notification_email", "operators_group", "service_principal"}
    assert required == {"landing_storage_location", *owners}


@pytest.mark.parametrize("target", ["staging", "prod", "adls"], indirect=True)
def test_production_creates_no_scope_and_protects_what_it_cannot_restore(bundle: Bundle) -> None:
    resources = bundle["resources"]
    assert "secret_scopes" not in resources
    for protected in (*resources["schemas"].values(), resources["volumes"]["checkpoints"]):
        assert protected["lifecycle"] == {"prevent_destroy": True}


@pytest.mark.parametrize("target", ["staging", "prod", "adls"], indirect=True)
def test_production_grants_analysts_the_views_and_the_jobs_what_they_write(bundle: Bundle) -> None:
    granted = {
        key: {grant["principal"]: set(grant["privileges"]) for grant in schema["grants"]}
        for key, schema in bundle["resources"]["schemas"].items()
    }
    tables = {"USE_SCHEMA", "CREATE_TABLE", "SELECT", "MODIFY", "READ_VOLUME", "WRITE_VOLUME"}
    tables |= {"CREATE_FUNCTION", "EXECUTE"}  # masks are functions
    views = {"USE_SCHEMA", "CREATE_TABLE", "SELECT"}
    readers = {"USE_SCHEMA", "SELECT"}
    assert granted == {
        "sales": {"${var.service_principal}": tables},
        "serving": {"${var.service_principal}": views, "${var.analysts_group}": readers},
        "customers": {"${var.service_principal}": views, "${var.customers_group}": readers},
    }
    # The grants of a schema must name each principal once.
    assert bundle["variables"]["customers_group"]["default"] == "${var.deployer}"
    assert not any("grants" in volume for volume in bundle["resources"]["volumes"].values())


@pytest.mark.parametrize("target", ["staging", "prod", "adls"], indirect=True)
def test_analysts_may_open_the_dashboard_of_production(bundle: Bundle) -> None:
    readers = [{"group_name": "${var.analysts_group}", "level": "CAN_READ"}]
    assert [dashboard["permissions"] for dashboard in bundle["resources"]["dashboards"].values()] == [readers]


@pytest.mark.parametrize("target", ["staging"], indirect=True)
def test_staging_differs_from_production_in_names_scope_and_schedule(bundle: Bundle, files: Files) -> None:
    staging, production = (deepcopy(files[0][1]["targets"][target]) for target in ("staging", "prod"))
    assert staging.pop("presets") == {"name_prefix": "[staging] "}
    assert (staging.pop("variables"), production.pop("variables")) == (
        {"secret_scope": "cdp-staging", "schedule_state": "PAUSED"},
        {"secret_scope": "cdp-prod"},
    )
    assert staging == production
    # The prefix keeps the schemas of staging and production apart, even in one catalog.
    assert "skip_name_prefix_for_schema" not in bundle["experimental"]


def test_no_default_names_a_server(bundle: Bundle) -> None:
    defaults = {name: str(variable.get("default", "")) for name, variable in bundle["variables"].items()}
    assert [name for name, default in defaults.items() if "://" in default] == []


@pytest.mark.parametrize("target", ["staging", "prod"], indirect=True)
def test_production_lands_in_an_external_volume_that_is_protected(bundle: Bundle) -> None:
    landing = bundle["resources"]["volumes"]["landing"]
    assert landing["volume_type"] == "EXTERNAL"
    assert landing["storage_location"] == "${var.landing_storage_location}"
    assert landing["lifecycle"] == {"prevent_destroy": True}


@pytest.mark.parametrize("target", ["adls"], indirect=True)
def test_only_tasks_that_use_the_landing_run_on_the_lake_cluster(jobs: Jobs, project: Path) -> None:
    for job in jobs:
        on_the_lake = {task["task_key"] for task in job["tasks"] if task.get("job_cluster_key") == "lake"}
        landing_tasks = {
            task["task_key"]
            for task in job["tasks"]
            if any(ast.unparse(call.func) == "Landing" for call in calls(notebook(task, project)))
            or notebook(task, project).stem in ("bronze", "erasure", "ingest", "refresh", "verify")
        }
        assert on_the_lake == landing_tasks
        for task in job["tasks"]:
            assert ("libraries" in task) == (task["task_key"] in on_the_lake)


@pytest.mark.parametrize("target", ["adls"], indirect=True)
def test_account_key_of_the_lake_comes_from_the_secret_scope(bundle: Bundle, jobs: Jobs) -> None:
    clusters = [cluster for job in jobs for cluster in job.get("job_clusters", ())]
    assert clusters
    for lake in clusters:
        assert lake["new_cluster"]["spark_conf"] == {
            "spark.hadoop.fs.azure.account.key": "{{secrets/${var.secret_scope}/storage_account_key}}"
        }
    assert bundle["variables"]["landing"]["default"] == "${var.landing_storage_location}"
