"""Tests of the checks in the smoke test. A local server simulates the REST API of a workspace."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from databricks.sdk import WorkspaceClient
from deployment import check_deployment, connect

ME = "jane@example.com"
SCHEMAS = "/api/2.1/unity-catalog/schemas/cat1."
EFFECTIVE = "/api/2.1/unity-catalog/effective-permissions/schema/cat1."
TABLES = "/api/2.1/unity-catalog/tables"
VOLUME = "/api/2.1/unity-catalog/volumes/cat1.dev_jane_sales.landing"
FILES = "/api/2.0/fs/files/Volumes/cat1/dev_jane_sales/landing/"
SECRETS = "/api/2.0/secrets/list"
JOBS = "/api/2.2/jobs/list"
JOB = "/api/2.2/jobs/get"
PERMISSIONS = "/api/2.0/permissions/jobs/7"

PARAMETERS = {"as_of": "", "full_refresh": "false"}
SETTINGS = {
    "catalog": "cat1",
    "schema": "dev_jane_sales",
    "serving_schema": "dev_jane_sales_serving",
    "customers_schema": "dev_jane_sales_customers",
    "landing": "/Volumes/cat1/dev_jane_sales/landing",
    "secret_scope": "cdp-jane",
}


class RestApi:
    """Simulated workspace with a valid deployment of target dev. Each test changes a few responses."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.queries = ""
        self.settings = {
            "name": "[dev jane] cdp_refresh",
            "max_concurrent_runs": 1,
            "schedule": {"quartz_cron_expression": "0 0 3 * * ?", "timezone_id": "UTC", "pause_status": "PAUSED"},
            "parameters": [{"name": name, "default": default} for name, default in PARAMETERS.items()],
            "tasks": [{"task_key": "bronze", "notebook_task": {"notebook_path": "x", "base_parameters": {**SETTINGS}}}],
        }
        self.job = {"job_id": 7, "creator_user_name": ME, "run_as_user_name": ME, "settings": self.settings}
        self.answers: dict[str, tuple[int, Any]] = {
            "/api/2.0/preview/scim/v2/Me": (200, {"userName": ME, "groups": [{"display": "operators"}]}),
            JOBS: (200, {"jobs": [self.job]}),
            JOB: (200, self.job),
            PERMISSIONS: (200, permission("user_name", ME, "IS_OWNER")),
            SCHEMAS + "dev_jane_sales": (200, {"name": "dev_jane_sales", "owner": ME}),
            SCHEMAS + "dev_jane_sales_serving": (200, {"name": "dev_jane_sales_serving", "owner": ME}),
            SCHEMAS + "dev_jane_sales_customers": (200, {"name": "dev_jane_sales_customers", "owner": ME}),
            TABLES: (200, {"tables": []}),
            VOLUME: (200, {"name": "landing", "volume_type": "MANAGED"}),
            SECRETS: (200, {"secrets": [{"key": "database_url"}]}),
        }

    def refuse(self, path: str, status: int, error_code: str, message: str) -> None:
        self.answers[path] = (status, {"error_code": error_code, "message": message})

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.requests.append((method, path))
        if path in self.answers:
            status, content = self.answers[path]
        elif path.startswith(FILES) and FILES in self.answers:
            status, content = self.answers[FILES]
        elif path.startswith(FILES) and method == "PUT":
            self.files[path] = body
            status, content = 204, None
        elif path in self.files and method == "GET":
            return 200, self.files[path]
        elif path in self.files and method == "DELETE":
            del self.files[path]
            status, content = 204, None
        else:
            status, content = 404, {"error_code": "NOT_FOUND", "message": f"no response for {path}"}
        return status, b"" if content is None else json.dumps(content).encode()


def permission(kind: str, principal: str, level: str) -> dict[str, Any]:
    return {"access_control_list": [{kind: principal, "all_permissions": [{"permission_level": level}]}]}


@pytest.fixture
def api() -> RestApi:
    return RestApi()


@pytest.fixture
def client(api: RestApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceClient]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            api.queries += urlsplit(self.path).query + "\n"
            status, content = api.answer(self.command, urlsplit(self.path).path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_DELETE = do_POST = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    # Ignore the proxy and the workspace that are configured on the developer's machine.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/dev/null")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        host = f"http://127.0.0.1:{server.server_port}"
        yield connect(host=host, token="stub", auth_type="pat")
        server.shutdown()
        thread.join()


def findings(client: WorkspaceClient, target: str = "dev") -> list[str]:
    found = check_deployment(client, target, PARAMETERS)
    assert all("\n" not in finding for finding in found)
    return found


def one(client: WorkspaceClient, target: str = "dev") -> str:
    (finding,) = findings(client, target)
    return finding


def test_valid_deployment_has_no_findings(client: WorkspaceClient, api: RestApi) -> None:
    assert findings(client) == []


def test_marker_file_is_written_read_and_removed(client: WorkspaceClient, api: RestApi) -> None:
    findings(client)
    assert [method for method, path in api.requests if path.startswith(FILES)] == ["PUT", "GET", "DELETE"]
    assert api.files == {}


def test_checks_write_only_the_marker_file(client: WorkspaceClient, api: RestApi) -> None:
    findings(client)
    assert {path.rsplit("/", 1)[0] + "/" for method, path in api.requests if method != "GET"} == {FILES}


def test_job_in_production_has_no_name_prefix(client: WorkspaceClient, api: RestApi) -> None:
    api.settings["name"] = "cdp_refresh"
    api.settings["schedule"]["pause_status"] = "UNPAUSED"
    assert findings(client, "prod") == []


def test_job_in_staging_has_the_prefix_and_is_paused(client: WorkspaceClient, api: RestApi) -> None:
    assert findings(client, "staging") == []
    assert "name=%5Bstaging%5D+cdp_refresh" in api.queries
    api.settings["schedule"]["pause_status"] = "UNPAUSED"
    assert "must be PAUSED in target staging" in one(client, "staging")


def test_missing_job_is_the_only_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.answers[JOBS] = (200, {})
    assert one(client) == "Job cdp_refresh: found 0 jobs in target dev instead of 1: databricks bundle deploy -t dev"


@pytest.mark.parametrize("change", [{"creator_user_name": "joe@example.com"}, {"settings": {"name": "cdp_refresh"}}])
def test_development_job_has_a_prefix_and_belongs_to_the_caller(
    client: WorkspaceClient, api: RestApi, change: dict[str, Any]
) -> None:
    api.answers[JOBS] = (200, {"jobs": [api.job | change]})
    assert "found 0 jobs in target dev" in one(client)


def test_two_jobs_with_the_same_name_are_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.answers[JOBS] = (200, {"jobs": [api.job, api.job]})
    assert "found 2 jobs in target prod instead of 1" in one(client, "prod")


def test_finding_names_parameters_that_differ_from_the_bundle(client: WorkspaceClient, api: RestApi) -> None:
    api.settings["parameters"][0]["name"] = "as_off"
    assert one(client) == "Job cdp_refresh: parameters differ from the bundle (as_of, as_off): deploy again"


def test_finding_names_an_unresolved_parameter(client: WorkspaceClient, api: RestApi) -> None:
    api.settings["parameters"][0]["default"] = "${var.as_of}"
    assert "parameter as_of has the unresolved value '${var.as_of}'" in one(client)


def test_active_schedule_in_development_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.settings["schedule"]["pause_status"] = "UNPAUSED"
    assert one(client) == "Job cdp_refresh: the schedule is UNPAUSED, but must be PAUSED in target dev"


def test_missing_schedule_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    del api.settings["schedule"]
    assert "the schedule is missing" in one(client)


def test_overlapping_runs_are_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.settings["max_concurrent_runs"] = 4
    assert one(client) == "Job cdp_refresh: max_concurrent_runs is 4, but must be 1"


@pytest.mark.parametrize("level", ["CAN_MANAGE_RUN", "CAN_MANAGE"])
def test_caller_may_run_the_job_through_a_group(client: WorkspaceClient, api: RestApi, level: str) -> None:
    api.answers[PERMISSIONS] = (200, permission("group_name", "operators", level))
    assert findings(client) == []


@pytest.mark.parametrize(
    ("kind", "principal", "level"), [("user_name", ME, "CAN_VIEW"), ("user_name", "joe@example.com", "CAN_MANAGE")]
)
def test_missing_permission_to_run_the_job_is_a_finding(
    client: WorkspaceClient, api: RestApi, kind: str, principal: str, level: str
) -> None:
    api.answers[PERMISSIONS] = (200, permission(kind, principal, level))
    assert one(client) == f"Job cdp_refresh: {ME} can't run the job: grant CAN_MANAGE_RUN"


def test_missing_schema_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.refuse(SCHEMAS + "dev_jane_sales", 404, "SCHEMA_DOES_NOT_EXIST", "Schema 'cat1.dev_jane_sales' does not exist.")
    assert one(client).startswith("Schema cat1.dev_jane_sales: not found: deploy the bundle (")


def test_schema_without_access_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.refuse(TABLES, 403, "PERMISSION_DENIED", "User does not have USE SCHEMA\non Schema.")
    assert [finding.split(" (")[0] for finding in findings(client)] == [
        "Schema cat1.dev_jane_sales: access denied: grant access",
        "Schema cat1.dev_jane_sales_serving: access denied: grant access",
        "Schema cat1.dev_jane_sales_customers: access denied: grant access",
    ]


def test_job_needs_privileges_on_a_schema_of_another_owner(client: WorkspaceClient, api: RestApi) -> None:
    api.answers[SCHEMAS + "dev_jane_sales"] = (200, {"owner": "admin@example.com"})
    held = [{"privilege": "USE_SCHEMA"}, {"privilege": "SELECT"}]
    api.answers[EFFECTIVE + "dev_jane_sales"] = (
        200,
        {"privilege_assignments": [{"principal": ME, "privileges": held}]},
    )
    missing = "CREATE_TABLE, MODIFY, READ_VOLUME, WRITE_VOLUME"
    assert one(client) == f"Schema cat1.dev_jane_sales: the job's user {ME} lacks {missing}: grant them"
    held.append({"privilege": "ALL_PRIVILEGES"})
    assert findings(client) == []


def test_missing_volume_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.refuse(VOLUME, 404, "VOLUME_DOES_NOT_EXIST", "Volume does not exist.")
    assert one(client).startswith("Landing volume /Volumes/cat1/dev_jane_sales/landing: not found")


def test_volume_without_write_access_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.refuse(FILES, 403, "PERMISSION_DENIED", "User does not have WRITE VOLUME.")
    assert one(client).startswith("Landing volume /Volumes/cat1/dev_jane_sales/landing: access denied: grant access")


def test_landing_outside_of_volumes_is_not_checked(client: WorkspaceClient, api: RestApi) -> None:
    api.settings["tasks"][0]["notebook_task"]["base_parameters"]["landing"] = (
        "abfss://retail@account.dfs.core.windows.net"
    )
    assert findings(client) == []
    assert not any("/volumes/" in path or "/fs/" in path for _, path in api.requests)


def test_finding_of_a_missing_secret_has_the_command_to_create_it(client: WorkspaceClient, api: RestApi) -> None:
    api.answers[SECRETS] = (200, {"secrets": [{"key": "api_token"}]})
    assert one(client) == (
        "Secret scope cdp-jane: key database_url is missing: databricks secrets put-secret cdp-jane database_url"
    )


def test_missing_secret_scope_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.refuse(SECRETS, 404, "RESOURCE_DOES_NOT_EXIST", "Scope cdp-jane does not exist!")
    assert one(client).startswith("Secret scope cdp-jane: not found")


def test_error_of_the_workspace_is_a_finding(client: WorkspaceClient, api: RestApi) -> None:
    api.refuse(SECRETS, 500, "INTERNAL_ERROR", "Something went wrong.")
    assert one(client).startswith("Secret scope cdp-jane: the check failed: Something went wrong.")


def test_all_problems_are_found_in_one_run(client: WorkspaceClient, api: RestApi) -> None:
    api.settings["max_concurrent_runs"] = 2
    api.refuse(VOLUME, 404, "VOLUME_DOES_NOT_EXIST", "Volume does not exist.")
    api.answers[SECRETS] = (200, {})
    assert len(findings(client)) == 3
