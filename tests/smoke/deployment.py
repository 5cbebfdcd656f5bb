"""Checks of a deployment in a workspace. Each check returns its findings: one line of text per problem.

The checks do not start the job and read no secrets. They write one marker file to the landing and remove it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from uuid import uuid4

from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import DatabricksError, NotFound, PermissionDenied
from databricks.sdk.service.jobs import BaseJob, Job, JobPermissionLevel, PauseStatus

JOB = "cdp_refresh"
MAY_RUN = {JobPermissionLevel.CAN_MANAGE_RUN, JobPermissionLevel.CAN_MANAGE, JobPermissionLevel.IS_OWNER}
TABLE_PRIVILEGES = {"USE_SCHEMA", "SELECT", "MODIFY", "CREATE_TABLE", "READ_VOLUME", "WRITE_VOLUME"}
VIEW_PRIVILEGES = {"USE_SCHEMA", "CREATE_TABLE"}


def connect(**config: str) -> WorkspaceClient:
    """Return a client of a workspace, from arguments, environment variables or a profile of the Databricks CLI.

    Raises:
        ValueError: No workspace is configured, or the login fails.
    """
    # Use the plain Files API. The experimental API sends requests to signed addresses of the storage account.
    return WorkspaceClient(
        config=Config(**config, retry_timeout_seconds=30, disable_experimental_files_api_client=True)
    )


def check_deployment(client: WorkspaceClient, target: str, parameters: Collection[str]) -> list[str]:
    """Check everything that the job needs. Names of schema, volume and secrets come from the deployed job's parameters.

    Args:
        client: Client of the workspace.
        target: Target of the bundle.
        parameters: Names of the job's parameters in the bundle.
    """
    job, findings = find_job(client, target)
    if job is None:
        return findings
    values = settings_of(job)
    findings += check_job(job, target, parameters)
    findings += check_may_run(client, job)
    if values:
        runs_as = job.run_as_user_name or ""
        findings += check_schema(client, f"{values['catalog']}.{values['schema']}", runs_as, TABLE_PRIVILEGES)
        for name in ("serving_schema", "customers_schema"):
            findings += check_schema(client, f"{values['catalog']}.{values[name]}", runs_as, VIEW_PRIVILEGES)
        findings += check_landing(client, values["landing"])
        findings += check_secret(client, values["secret_scope"], "database_url")
    return findings


def find_job(client: WorkspaceClient, target: str) -> tuple[Job | None, list[str]]:
    """Return the deployed job.

    In a development target, it is the job `[dev <user>] cdp_refresh` of the caller. In staging, it is the job
    `[staging] cdp_refresh`.
    """
    findings: list[str] = []
    with _refusals(findings, f"Job {JOB}"):
        if target == "dev":
            found = list(_own_development_jobs(client))
        else:
            found = list(client.jobs.list(name=f"[staging] {JOB}" if target == "staging" else JOB))
        if len(found) == 1:
            return client.jobs.get(found[0].job_id), []
        findings.append(
            f"Job {JOB}: found {len(found)} jobs in target {target} instead of 1: databricks bundle deploy -t {target}"
        )
    return None, findings


def _own_development_jobs(client: WorkspaceClient) -> Iterator[BaseJob]:
    user = client.current_user.me().user_name
    for job in client.jobs.list():
        if job.creator_user_name == user and re.fullmatch(rf"\[dev [^\]]+\] {JOB}", job.settings.name):
            yield job


def settings_of(job: Job) -> dict[str, str]:
    """Return the parameters that the deployed job passes to all tasks, with their values."""
    given = [task.notebook_task.base_parameters or {} for task in job.settings.tasks or () if task.notebook_task]
    return given[0] if given else {}


def check_job(job: Job, target: str, parameters: Collection[str]) -> list[str]:
    """Check the deployed job: its parameters, its schedule, and that its runs do not overlap."""
    findings = []
    values = {parameter.name: parameter.default for parameter in job.settings.parameters or ()}
    if set(values) != set(parameters):
        differing = ", ".join(sorted(set(values) ^ set(parameters)))
        findings.append(f"Job {JOB}: parameters differ from the bundle ({differing}): deploy again")
    findings += [
        f"Job {JOB}: parameter {name} has the unresolved value '{value}': deploy again"
        for name, value in (settings_of(job) | values).items()
        if "${" in value
    ]
    expected = PauseStatus.PAUSED if target in ("dev", "staging") else PauseStatus.UNPAUSED
    status = job.settings.schedule.pause_status if job.settings.schedule else None
    if status != expected:
        actual = status.value if status else "missing"
        findings.append(f"Job {JOB}: the schedule is {actual}, but must be {expected.value} in target {target}")
    if job.settings.max_concurrent_runs != 1:
        findings.append(f"Job {JOB}: max_concurrent_runs is {job.settings.max_concurrent_runs}, but must be 1")
    return findings


def check_may_run(client: WorkspaceClient, job: Job) -> list[str]:
    """Check that the caller may run the job, directly or through a group."""
    findings: list[str] = []
    with _refusals(findings, f"Permissions of job {JOB}"):
        me = client.current_user.me()
        names = {me.user_name} | {group.display for group in me.groups or ()}
        entries = client.jobs.get_permissions(str(job.job_id)).access_control_list or ()
        levels = {
            permission.permission_level
            for entry in entries
            if {entry.user_name, entry.service_principal_name, entry.group_name} & names
            for permission in entry.all_permissions or ()
        }
        if not levels & MAY_RUN:
            findings.append(f"Job {JOB}: {me.user_name} can't run the job: grant CAN_MANAGE_RUN")
    return findings


def check_schema(client: WorkspaceClient, name: str, runs_as: str, privileges: Collection[str]) -> list[str]:
    """Check that the schema exists, that the caller may use it, and that the job has the required privileges."""
    findings: list[str] = []
    with _refusals(findings, f"Schema {name}"):
        schema = client.schemas.get(name)
        # This request needs only USE CATALOG and USE SCHEMA. The response has only tables that the caller may see.
        next(iter(client.tables.list(*name.split("."), max_results=1)), None)
        if schema.owner != runs_as:
            granted = client.grants.get_effective("schema", name, principal=runs_as).privilege_assignments or ()
            held = {privilege.privilege.value for entry in granted for privilege in entry.privileges or ()}
            missing = set() if "ALL_PRIVILEGES" in held else set(privileges) - held
            if missing:
                findings.append(
                    f"Schema {name}: the job's user {runs_as} lacks {', '.join(sorted(missing))}: grant them"
                )
    return findings


def check_landing(client: WorkspaceClient, path: str) -> list[str]:
    """Check that the landing volume exists and can be written and read. An `abfss://` address is not checked."""
    findings: list[str] = []
    if not path.startswith("/Volumes/"):
        return findings
    marker = f"{path}/_smoke_{uuid4().hex}.txt"
    content = b"marker file of the smoke test; can be removed"
    with _refusals(findings, f"Landing volume {path}"):
        client.volumes.read(".".join(path.split("/")[2:5]))
        client.files.upload(marker, BytesIO(content), overwrite=True)
        try:
            if client.files.download(marker).contents.read() != content:
                findings.append(f"Landing volume {path}: the content of a file changed between write and read")
        finally:
            client.files.delete(marker)
    return findings


def check_secret(client: WorkspaceClient, scope: str, key: str) -> list[str]:
    """Check that the secret scope exists and contains the key, without reading the secret."""
    findings: list[str] = []
    with _refusals(findings, f"Secret scope {scope}"):
        if key not in {secret.key for secret in client.secrets.list_secrets(scope)}:
            findings.append(f"Secret scope {scope}: key {key} is missing: databricks secrets put-secret {scope} {key}")
    return findings


@contextmanager
def _refusals(findings: list[str], what: str) -> Iterator[None]:
    """Add a finding if the `with` block raises an error of the workspace. The error is not raised further."""
    try:
        yield
    except NotFound as error:
        findings.append(_line(f"{what}: not found: deploy the bundle ({error})"))
    except PermissionDenied as error:
        findings.append(_line(f"{what}: access denied: grant access ({error})"))
    except (DatabricksError, TimeoutError) as error:
        findings.append(_line(f"{what}: the check failed: {error}"))


def _line(text: str) -> str:
    return " ".join(text.split())
