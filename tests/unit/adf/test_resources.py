"""Tests of the data factory's files: they match their typed models, and everything that they refer to exists."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from azure.mgmt.datafactory import models

from .conftest import ADF, KINDS
from .expressions import FUNCTIONS, Scope, expressions_in, parse

Json = dict[str, Any]
Resources = dict[str, dict[str, Json]]

MODELS = {
    "linkedService": models.LinkedServiceResource,
    "dataset": models.DatasetResource,
    "pipeline": models.PipelineResource,
    "trigger": models.TriggerResource,
    "factory": models.Factory,
}
FILES = [pytest.param(kind, path, id=f"{kind}/{path.stem}") for kind in KINDS for path in (ADF / kind).glob("*.json")]
CONTAINERS = {"ForEach", "IfCondition", "Switch", "Until"}
CALLS_SERVICES = {"Copy", "Lookup", "GetMetadata", "WebActivity", "Delete", "DatabricksJob"}
CALL = re.compile(r"(\w+)\(")
TEXT = re.compile(r"'(?:[^']|'')*'")


def faults(kind: str, content: Json) -> list[str]:
    """Return the differences between a resource's file and its typed model."""
    resource = MODELS[kind].deserialize(deepcopy(content))
    found = [fault for model in _models_in(resource) for fault in _faults_of(model)]
    return found if resource.serialize(keep_readonly=True) == content else [*found, "a property is lost or changed"]


def _models_in(value: Any) -> Iterator[Any]:
    if hasattr(value, "_attribute_map"):
        yield value
        value = [getattr(value, name) for name in value._attribute_map]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for entry in entries:
        yield from _models_in(entry)


def _faults_of(model: Any) -> Iterator[str]:
    name = type(model).__name__
    if "_subtype_map" in vars(type(model)):
        yield f"it has an unknown kind of {name}"
    if unknown := getattr(model, "additional_properties", None):
        yield f"{name} knows no {', '.join(unknown)}"
    # Read-only fields, such as id, type and e-tag of the factory, are set by Azure.
    for field, rule in model._validation.items():
        if rule.get("required") and not rule.get("readonly") and getattr(model, field) is None:
            yield f"{name} has no {field}"


def nodes(value: Any) -> Iterator[Json]:
    """Yield every object inside a value."""
    if isinstance(value, dict):
        yield value
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for entry in entries:
        yield from nodes(entry)


def activities(value: Any) -> Iterator[Json]:
    """Yield every activity inside a value, including activities inside other activities."""
    return (node for node in nodes(value) if "dependsOn" in node)


def branches(activity: Json) -> list[list[Json]]:
    """Return the activities of each branch of an activity. A loop counts as one branch. Branches may be empty."""
    properties = activity["typeProperties"]
    lists = [properties.get(key, []) for key in ("activities", "ifTrueActivities", "ifFalseActivities")]
    lists += [case["activities"] for case in properties.get("cases", [])]
    return [*lists, properties.get("defaultActivities", [])]


def used(value: Any, pattern: str) -> set[str]:
    """Return the names in the expressions of a value. The group of the regular expression matches a name."""
    return {name for text in expressions_in(value) for name in re.findall(pattern, text)}


def declared(resource: Json, what: str = "parameters") -> Json:
    """Return the parameters, or the variables, that a resource declares."""
    return dict(resource["properties"].get(what, {}))


@pytest.mark.parametrize(("kind", "path"), FILES)
def test_a_file_survives_a_round_trip_through_its_typed_model(kind: str, path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["name"] == path.stem
    assert faults(kind, content) == []


def test_all_kinds_of_resources_exist() -> None:
    assert {kind for kind, _ in (one.values for one in FILES)} == set(KINDS)


def test_a_faulty_file_is_noticed(resources: Resources) -> None:
    def broken(kind: str, name: str, **changes: Any) -> list[str]:
        content = deepcopy(resources[kind][name])
        part = content["properties"]["activities"][-1] if kind == "pipeline" else content["properties"]
        part.update(changes)
        return faults(kind, content)

    assert "it has an unknown kind of Activity" in broken("pipeline", "refresh_cdp", type="DatabricksJobs")
    assert "DatabricksJobActivity knows no depends" in broken("pipeline", "refresh_cdp", depends=[])
    assert "DatabricksJobActivity has no job_id" in broken("pipeline", "refresh_cdp", typeProperties={})
    lost = broken("pipeline", "refresh_cdp", typeProperties={"jobId": "1", "jobParameter": {}})
    assert lost == ["a property is lost or changed"]
    assert "it has an unknown kind of Dataset" in broken("dataset", "lake_parquet", type="Parket")
    assert "it has an unknown kind of LinkedService" in broken("linkedService", "lake", type="Lake")
    assert "it has an unknown kind of Trigger" in broken("trigger", "every_night", type="Cron")


def test_every_reference_has_a_target_and_passes_its_parameters(resources: Resources) -> None:
    kinds = {"DatasetReference": "dataset", "LinkedServiceReference": "linkedService"}
    for node in (node for kind in KINDS for node in nodes(resources[kind])):
        if node.get("type") in kinds:
            target = resources[kinds[node["type"]]][node["referenceName"]]
            assert set(node.get("parameters", {})) == set(declared(target)), node
        for key in ("pipeline", "pipelineReference"):
            if isinstance(node.get(key), dict) and node[key].get("type") == "PipelineReference":
                target = resources["pipeline"][node[key]["referenceName"]]
                passed, wanted = set(node.get("parameters", {})), declared(target)
                assert {name for name, one in wanted.items() if "defaultValue" not in one} <= passed <= set(wanted)


def test_declared_and_used_parameters_and_variables_are_the_same(resources: Resources) -> None:
    for dataset in resources["dataset"].values():
        assert used(dataset, r"\bdataset\(\)\.(\w+)") == set(declared(dataset)), dataset["name"]
    for service in resources["linkedService"].values():
        assert used(service, r"\blinkedService\(\)\.(\w+)") == set(declared(service)), service["name"]
    for pipeline in resources["pipeline"].values():
        assert used(pipeline, r"\bpipeline\(\)\.parameters\.(\w+)") == set(declared(pipeline)), pipeline["name"]
        variables = set(declared(pipeline, "variables"))
        assert used(pipeline, r"\bvariables\('(\w+)'\)") == variables, pipeline["name"]
        assert {a["typeProperties"]["variableName"] for a in activities(pipeline) if a["type"] == "SetVariable"} == (
            variables
        )
    (factory,) = resources["factory"].values()
    global_parameters = set(factory["properties"]["globalParameters"])
    assert used(resources["pipeline"], r"\bpipeline\(\)\.globalParameters\.(\w+)") == global_parameters


def test_every_resource_is_reached_from_a_trigger(resources: Resources) -> None:
    reached: set[tuple[str, str]] = set()
    kinds = {"DatasetReference": "dataset", "LinkedServiceReference": "linkedService", "PipelineReference": "pipeline"}
    pending = [("trigger", name) for name in resources["trigger"]]
    while pending:
        reached.add(current := pending.pop())
        found = {
            (kinds[n["type"]], n["referenceName"])
            for n in nodes(resources[current[0]][current[1]])
            if n.get("type") in kinds
        }
        pending += found - reached
    assert reached == {(kind, name) for kind in KINDS if kind != "factory" for name in resources[kind]}


def test_an_activity_refers_only_to_what_has_run_before_it(resources: Resources) -> None:
    def check(scope: list[Json], before: set[str]) -> None:
        earlier: dict[str, set[str]] = {}
        for activity in scope:
            direct = {dependency["activity"] for dependency in activity["dependsOn"]}
            assert direct <= set(earlier), f"{activity['name']} depends on an activity outside its scope or after it"
            has_run = before | direct | {name for one in direct for name in earlier[one]}
            earlier[activity["name"]] = has_run - before
            inside = [branch for branch in branches(activity) if branch]
            own = {
                **activity,
                "typeProperties": {k: v for k, v in activity["typeProperties"].items() if not list(activities(v))},
            }
            assert used(own, r"\bactivity\('([^']*)'\)") <= has_run, activity["name"]
            for branch in inside:
                check(branch, has_run)

    for pipeline in resources["pipeline"].values():
        check(pipeline["properties"]["activities"], set())
        assert max(Counter(activity["name"] for activity in activities(pipeline)).values()) == 1


def test_containers_nest_as_data_factory_allows(resources: Resources) -> None:
    def check(activity: Json, containers: tuple[str, ...]) -> None:
        if activity["type"] in CONTAINERS:
            # Data Factory allows a branch in a loop, but no loop in a loop or a branch, and no branch in a branch.
            assert not containers or (containers == ("ForEach",) and activity["type"] in ("IfCondition", "Switch"))
        for inner in (inner for branch in branches(activity) for inner in branch):
            assert (containers, activity["type"], inner["type"]) != ((), "ForEach", "SetVariable"), (
                "loops run in parallel"
            )
            check(inner, (*containers, activity["type"]) if activity["type"] in CONTAINERS else containers)

    for pipeline in resources["pipeline"].values():
        for activity in pipeline["properties"]["activities"]:
            check(activity, ())
        assert len(list(activities(pipeline))) <= 40


def test_expressions_parse_and_call_only_functions_the_tests_know(resources: Resources) -> None:
    contexts = {"pipeline", "activity", "variables", "item", "dataset", "linkedService", "utcNow"}
    texts = [text for kind in KINDS for text in expressions_in(resources[kind])]
    assert texts
    for text in texts:
        parse(text)
    assert {name for text in texts for name in CALL.findall(TEXT.sub("''", text))} == contexts | set(FUNCTIONS)


@pytest.mark.parametrize(
    "text", ["toUpper('a')", "concat('a' 'b')", "concat('a'", "'a' 'b'", "item.name", "variables('known').no"]
)
def test_an_invalid_expression_is_an_error(text: str) -> None:
    scope = Scope(lambda: pytest.fail("no clock"), variables={"known": {}})
    with pytest.raises((SyntaxError, KeyError, AttributeError)):
        scope.evaluate(f"@{text}")


def test_secrets_are_in_the_key_vault_only(resources: Resources) -> None:
    secrets = [node for kind in KINDS for node in nodes(resources[kind]) if node.get("type") == "AzureKeyVaultSecret"]
    assert {secret["secretName"] for secret in secrets} == {"api-authorization", "crm-client-secret"}
    assert {secret["store"]["referenceName"] for secret in secrets} == {"key_vault"}
    keys = {key for kind in KINDS for node in nodes(resources[kind]) for key in node}
    assert not keys & {"accountKey", "accessToken", "connectionString", "encryptedCredential", "password", "sasUri"}
    assert "SecureString" not in {node.get("type") for kind in KINDS for node in nodes(resources[kind])}
    services = {name: service["properties"]["typeProperties"] for name, service in resources["linkedService"].items()}
    assert services["sales_database"]["authenticationType"] == "SystemAssignedManagedIdentity"
    assert services["databricks"]["authentication"] == "MSI"
    assert set(services["lake"]) == {"url"}


def test_a_copy_with_a_secret_hides_input_and_output(resources: Resources) -> None:
    with_secret = {
        name
        for name, dataset in resources["dataset"].items()
        if "AzureKeyVaultSecret"
        in json.dumps(resources["linkedService"][dataset["properties"]["linkedServiceName"]["referenceName"]])
    }
    copies = [
        activity
        for activity in activities(resources["pipeline"])
        if {one["referenceName"] for one in activity.get("inputs", [])} & with_secret
    ]
    assert {copy["name"] for copy in copies} == {"Copy answer", "Copy contacts"}
    assert all(copy["policy"]["secureInput"] and copy["policy"]["secureOutput"] for copy in copies)


def test_activities_that_call_services_have_retries_and_a_timeout(resources: Resources) -> None:
    calling = [activity for activity in activities(resources["pipeline"]) if activity["type"] in CALLS_SERVICES]
    assert {activity["type"] for activity in calling} == CALLS_SERVICES
    for activity in calling:
        policy = activity["policy"]
        assert policy["retry"] >= 1 and policy["retryIntervalInSeconds"] >= 30, activity["name"]
        assert re.fullmatch(r"0\.0[0-6]:\d\d:00", policy["timeout"]), activity["name"]


def test_the_lake_is_written_to_as_the_managed_identity(resources: Resources) -> None:
    calls = [a["typeProperties"] for a in activities(resources["pipeline"]) if a["type"] == "WebActivity"]
    assert len(calls) == 3
    for call in calls:
        assert call["authentication"] == {"type": "MSI", "resource": "https://storage.azure.com/"}
        assert call["headers"]["x-ms-blob-type"] == "BlockBlob"
        assert {"x-ms-version", "x-ms-date", "Content-Type"} <= set(call["headers"])


def test_triggers_start_the_refresh_one_run_at_a_time(resources: Resources, entities: dict[str, Json]) -> None:
    for trigger in resources["trigger"].values():
        (started,) = trigger["properties"]["pipelines"]
        pipeline = resources["pipeline"][started["pipelineReference"]["referenceName"]]
        assert (pipeline["name"], pipeline["properties"]["concurrency"]) == ("refresh_cdp", 1)
        assert trigger["properties"]["runtimeState"] == "Stopped"
    assert resources["pipeline"]["land_entities"]["properties"]["concurrency"] == 1
    types = {trigger["properties"]["type"] for trigger in resources["trigger"].values()}
    assert types == {"ScheduleTrigger", "BlobEventsTrigger"}


def test_the_storage_event_trigger_watches_the_files_of_events(resources: Resources, entities: dict[str, Json]) -> None:
    trigger = resources["trigger"]["new_event_file"]["properties"]
    (factory,) = resources["factory"].values()
    container = factory["properties"]["globalParameters"]["incoming_container"]["value"]
    events = entities["events/events"]
    assert trigger["typeProperties"]["blobPathBeginsWith"] == f"/{container}/blobs/{events['path']}/"
    assert trigger["typeProperties"]["blobPathEndsWith"] == events["suffix"]
    assert trigger["typeProperties"]["events"] == ["Microsoft.Storage.BlobCreated"]
    assert trigger["pipelines"][0]["parameters"] == {"source": events["source"]}


def test_global_parameters_are_deployed_with_the_factory(adf: Path) -> None:
    assert json.loads((adf / "publish_config.json").read_text(encoding="utf-8"))["includeGlobalParamsTemplate"] is True


def test_the_documentation_names_everything_that_a_deployment_configures(
    adf: Path, resources: Resources, entities: dict[str, Json]
) -> None:
    page = (adf.parent / "docs" / "data-factory.md").read_text(encoding="utf-8")
    (factory,) = resources["factory"].values()
    fields = {field for entity in entities.values() for field in entity}
    secrets = {node["secretName"] for node in nodes(resources["linkedService"]) if "secretName" in node}
    names = {
        *factory["properties"]["globalParameters"],
        *fields,
        *secrets,
        *resources["pipeline"],
        *resources["trigger"],
    }
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()


def test_failed_and_slow_runs_alert_the_operators(adf: Path, resources: Resources) -> None:
    template = json.loads((adf / "alerts" / "alerts.json").read_text(encoding="utf-8"))
    group, *alerts = template["resources"]
    assert group["properties"]["emailReceivers"][0]["emailAddress"] == "[parameters('email')]"
    criteria = {}
    for alert in alerts:
        (criterion,) = alert["properties"]["criteria"]["allOf"]
        criteria[criterion["metricName"]] = criterion
        assert alert["properties"]["enabled"] and alert["properties"]["actions"]
        assert (criterion["operator"], criterion["threshold"]) == ("GreaterThan", 0)
        for dimension in criterion.get("dimensions", []):
            assert set(dimension["values"]) <= set(resources["pipeline"])
    assert set(criteria) == {"PipelineFailedRuns", "TriggerFailedRuns", "PipelineElapsedTimeRuns"}
    assert set(re.findall(r"parameters\('(\w+)'\)", json.dumps(template))) == set(template["parameters"])
    assert resources["pipeline"]["refresh_cdp"]["properties"]["policy"]["elapsedTimeMetric"]["duration"]
