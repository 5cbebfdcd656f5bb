"""Tests of reading the bundle's files for the local workspace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_local.bundle import Bundle, Condition, resolve_dynamic_values

BUNDLE = """
bundle:
  name: shop
include:
  - resources/*.yml
variables:
  catalog:
    default: cat1
  schema:
    default: sales
  serving_schema:
    default: ${var.schema}_serving
  landing:
    default: ${resources.volumes.landing.volume_path}
  retries:
    default: 3
  paused:
    default: true
  owner:
    description: Has no default.
"""
RESOURCES = """
resources:
  schemas:
    sales:
      catalog_name: ${var.catalog}
      name: ${var.schema}
  volumes:
    landing:
      catalog_name: ${var.catalog}
      schema_name: ${resources.schemas.sales.name}
      name: landed
"""
JOB = """
resources:
  jobs:
    refresh:
      parameters:
        - name: landing
          default: ${var.landing}
        - name: full_refresh
          default: false
        - name: run_id
          default: "{{job.run_id}}"
      tasks:
        - task_key: first
          notebook_task:
            notebook_path: ../notebooks/first.py
            base_parameters:
              schema: ${var.schema}
        - task_key: second
          depends_on:
            - task_key: first
          run_if: ALL_DONE
          notebook_task:
            notebook_path: ../notebooks/second.py
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes the files of a bundle: by default, BUNDLE, RESOURCES and JOB."""

    def write_files(bundle: str = BUNDLE, resources: str = RESOURCES, job: str = JOB) -> Path:
        for name, text in {
            "databricks.yml": bundle,
            "resources/unity_catalog.yml": resources,
            "resources/refresh.job.yml": job,
            "notebooks/first.py": "",
            "notebooks/second.py": "",
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write_files


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("catalog", "cat1"),
        ("serving_schema", "sales_serving"),
        ("landing", "/Volumes/cat1/sales/landed"),
        ("retries", "3"),
        ("paused", "true"),
        ("owner", ""),
    ],
)
def test_variable_returns_its_default(write: Write, name: str, value: str) -> None:
    assert Bundle(write(), {}).variable(name) == value


def test_override_applies_to_every_reference_to_the_variable(write: Write) -> None:
    bundle = Bundle(write(), {"schema": "shop", "owner": "${var.catalog}_owner"})

    assert bundle.variable("schema") == "shop"
    assert bundle.variable("serving_schema") == "shop_serving"
    assert bundle.variable("landing") == "/Volumes/cat1/shop/landed"
    assert bundle.variable("owner") == "cat1_owner"
    assert bundle.schemas() == ["shop"]


def test_unknown_override_is_rejected_with_the_known_names(write: Write) -> None:
    with pytest.raises(CdpError, match=r"Unknown variable 'nope': the bundle has catalog, schema, "):
        Bundle(write(), {"nope": "1"})


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("plain", "plain"),
        ("${bundle.name}-${bundle.target}", "shop-local"),
        ("${resources.schemas.sales.name}", "sales"),
        ("${resources.schemas.sales.catalog_name}.${var.schema}", "cat1.sales"),
    ],
)
def test_references_are_resolved(write: Write, text: str, resolved: str) -> None:
    assert Bundle(write(), {}).resolve(text) == resolved


@pytest.mark.parametrize(
    "reference",
    [
        "${var.nope}",
        "${resources.schemas.nope.name}",
        "${resources.schemas.sales.nope}",
        "${resources.volumes.nope.volume_path}",
        "${workspace.current_user.userName}",
    ],
)
def test_error_names_a_reference_without_a_value(write: Write, reference: str) -> None:
    with pytest.raises(CdpError) as error:
        Bundle(write(), {}).resolve(f"a {reference}")

    assert str(error.value) == f"The bundle refers to {reference}, which has no value on this machine."


@pytest.mark.parametrize(
    ("overrides", "cycle"),
    [
        ({"catalog": "${var.catalog}"}, "${var.catalog} → ${var.catalog}"),
        ({"catalog": "${var.schema}", "schema": "x${var.catalog}"}, "${var.catalog} → ${var.schema} → ${var.catalog}"),
    ],
)
def test_error_shows_a_cycle_of_references(write: Write, overrides: dict[str, str], cycle: str) -> None:
    with pytest.raises(CdpError) as error:
        Bundle(write(), overrides).variable("catalog")

    assert str(error.value) == f"The bundle's references form a cycle: {cycle}."


def test_variable_can_be_referenced_twice(write: Write) -> None:
    assert Bundle(write(), {"owner": "${var.schema}/${var.schema}"}).variable("owner") == "sales/sales"


def test_job_resolves_its_tasks_and_parameters(write: Write) -> None:
    root = write()

    job = Bundle(root, {}).job("refresh")

    assert job.parameters == {
        "landing": "/Volumes/cat1/sales/landed",
        "full_refresh": "false",
        "run_id": "{{job.run_id}}",
    }
    assert list(job.tasks) == ["first", "second"]
    first, second = job.tasks.values()
    assert (first.notebook, first.depends_on, first.run_if) == (root / "notebooks" / "first.py", {}, "ALL_SUCCESS")
    assert first.base_parameters == {"schema": "sales"}
    assert (second.notebook, second.depends_on, second.run_if) == (
        root / "notebooks" / "second.py",
        {"first": None},
        "ALL_DONE",
    )


def test_condition_task_has_two_sides_and_downstream_tasks_have_its_outcome(write: Write) -> None:
    job = """
resources: {jobs: {small: {tasks: [
  {task_key: due, condition_task: {op: EQUAL_TO, left: "{{tasks.a.values.n}}", right: "${var.retries}"}},
  {task_key: a, depends_on: [{task_key: due, outcome: "true"}], notebook_task: {notebook_path: ../notebooks/first.py}}
]}}}"""

    due, a = Bundle(write(job=job), {}).job("small").tasks.values()

    assert (due.notebook, due.condition) == (None, Condition("{{tasks.a.values.n}}", "3"))
    assert (a.condition, a.depends_on) == (None, {"due": "true"})


def test_yaml_anchors_share_parameters_between_tasks(write: Write) -> None:
    job = """
resources: {jobs: {small: {tasks: [
  {task_key: a, notebook_task: {notebook_path: ../notebooks/first.py, base_parameters: &settings {x: "1", y: "2"}}},
  {task_key: b, notebook_task: {notebook_path: ../notebooks/first.py, base_parameters: {<<: *settings, y: "3"}}}
]}}}"""

    a, b = Bundle(write(job=job), {}).job("small").tasks.values()

    assert (a.base_parameters, b.base_parameters) == ({"x": "1", "y": "2"}, {"x": "1", "y": "3"})


def test_job_can_have_no_parameters(write: Write) -> None:
    job = "resources: {jobs: {small: {tasks: [{task_key: a, notebook_task: {notebook_path: ../notebooks/first.py}}]}}}"

    assert Bundle(write(job=job), {}).job("small").parameters == {}


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (JOB.replace("second.py", "third.sql"), "Task 'second' of refresh.job.yml refers to the notebook"),
        (JOB.replace("notebook_task:", "spark_python_task:"), "Task 'first' is not a notebook task"),
        (JOB.replace("- task_key: first\n          run_if", "- task_key: zero\n          run_if"), "depends on 'zero'"),
        (JOB.replace("${var.landing}", "${var.land}"), r"\$\{var\.land\}, which has no value"),
    ],
)
def test_job_that_can_not_run_locally_is_rejected(write: Write, job: str, message: str) -> None:
    with pytest.raises(CdpError, match=message):
        Bundle(write(job=job), {}).job("refresh")


def test_unknown_job_is_rejected_with_the_known_names(write: Write) -> None:
    with pytest.raises(CdpError, match="Unknown job 'nope': the bundle has refresh"):
        Bundle(write(), {}).job("nope")


def test_error_names_a_missing_bundle_file(tmp_path: Path) -> None:
    with pytest.raises(CdpError, match=r"databricks\.yml does not exist: run cdp in a clone"):
        Bundle(tmp_path, {})


@pytest.mark.parametrize("text", ["bundle: [", "a: b: c", "- only\n- a list", "just text", "", "\tbundle:", "\x00"])
def test_error_names_an_invalid_bundle_file(write: Write, text: str) -> None:
    with pytest.raises(CdpError, match=r"databricks\.yml can't be read"):
        Bundle(write(bundle=text), {})


def test_error_names_an_invalid_resource_file(write: Write) -> None:
    with pytest.raises(CdpError, match=r"refresh\.job\.yml can't be read"):
        Bundle(write(job="resources: ["), {})


def test_dynamic_values_are_resolved_with_and_without_spaces() -> None:
    assert resolve_dynamic_values("{{job.run_id}}/{{ task.name }}/{x}", str.upper) == "JOB.RUN_ID/TASK.NAME/{x}"
