"""Tests that the local `dbutils` behaves as in a workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_lib.errors import CdpError
from cdp_lib.redaction import redact
from cdp_local.dbutils import FileSystem, NotebookExit, NotebookUtils, SecretStore, TaskValues, Widgets

NO_FILE = Path("not there")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})


def secrets_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "secrets.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_passed_parameter_overrides_the_default() -> None:
    widgets = Widgets({"as_of": "2026-01-31"})
    widgets.text("as_of", "")
    widgets.text("schema", "sales", "Schema")
    widgets.dropdown("engine", "sail", ["sail", "spark"])

    assert widgets.get("as_of") == "2026-01-31"
    assert widgets.getAll() == {"as_of": "2026-01-31", "schema": "sales", "engine": "sail"}


def test_undefined_widget_is_an_error() -> None:
    with pytest.raises(ValueError, match="No input widget named nope is defined"):
        Widgets({}).get("nope")


def test_environment_overrides_the_file_and_the_file_overrides_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = secrets_file(tmp_path, "cdp:\n  database_url: from file\n  api_token: from file\n")
    samples = {("cdp", name): "from samples" for name in ("database_url", "api_token", "storage_account_key")}
    monkeypatch.setenv("CDP_SECRET_CDP_DATABASE_URL", "from environment")

    store = SecretStore(file, samples)

    assert store.get("cdp", "database_url") == "from environment"
    assert store.get("cdp", "api_token") == "from file"
    assert store.get("cdp", "storage_account_key") == "from samples"


def test_environment_variable_name_contains_the_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_SECRET_CDP_PROD_API_TOKEN", "of prod")
    store = SecretStore(NO_FILE, {})

    assert store.get("cdp-prod", "api_token") == "of prod"
    with pytest.raises(ValueError, match="Secret does not exist with scope: other and key: api_token"):
        store.get("other", "api_token")


def test_list_returns_keys_without_values(tmp_path: Path) -> None:
    store = SecretStore(secrets_file(tmp_path, "cdp:\n  b: hidden-1\n  a: hidden-2\n"), {})

    assert [secret.key for secret in store.list("cdp")] == ["a", "b"]
    assert "hidden" not in repr(store.list("cdp"))
    assert store.list("other") == []


def test_number_in_the_file_becomes_text(tmp_path: Path) -> None:
    assert SecretStore(secrets_file(tmp_path, "cdp:\n  pin: 1234\n"), {}).get("cdp", "pin") == "1234"


def test_empty_file_has_no_secrets(tmp_path: Path) -> None:
    assert SecretStore(secrets_file(tmp_path, "# none yet\n"), {}).list("cdp") == []


@pytest.mark.parametrize("text", ["cdp: [", "cdp: hidden", "- hidden", "cdp:\n  a: b: hidden", "hidden"])
def test_error_names_an_invalid_secrets_file_without_quoting_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(CdpError, match=r"secrets\.yml can't be read: write a line `scope:`") as error:
        SecretStore(secrets_file(tmp_path, text), {})

    assert "hidden" not in str(error.value)


def test_messages_show_no_secret_of_any_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_SECRET_OTHER_KEY", "blue-moon-rising")
    SecretStore(secrets_file(tmp_path, "cdp:\n  a: blue-moon\n  b: ''\n"), {("cdp", "c"): "greenish"})

    assert redact("blue-moon-rising, blue-moon, greenish, red") == "[REDACTED], [REDACTED], [REDACTED], red"


def test_messages_show_names_that_are_in_a_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_SECRET_CDP_KAFKA_USERNAME", "shop-events")
    SecretStore(secrets_file(tmp_path, "cdp:\n  crm_client_id: retail-cdp\n"), {("cdp", "crm_client_id"): "samples"})

    assert redact("retail-cdp, shop-events, samples") == "retail-cdp, shop-events, samples"


def test_task_values_pass_json_between_tasks() -> None:
    values: dict[tuple[str, str], object] = {}
    TaskValues("first", values).set("counts", {"rows": (1, 2)})

    assert TaskValues("second", values).get("first", "counts") == {"rows": [1, 2]}
    assert TaskValues("second", values).get("first", "other", default=7) == 7
    with pytest.raises(ValueError, match="Task value with key other of task first does not exist"):
        TaskValues("second", values).get("first", "other")
    with pytest.raises(TypeError):
        TaskValues("first", values).set("day", object())


def test_file_system_writes_lists_reads_and_removes(tmp_path: Path) -> None:
    fs = FileSystem()
    assert fs.mkdirs(f"{tmp_path}/a/b")
    assert fs.put(f"file:{tmp_path}/a/note.txt", "hello")

    assert [(entry.name, entry.size) for entry in fs.ls(f"{tmp_path}/a") if not entry.name.endswith("/")] == [
        ("note.txt", 5)
    ]
    assert fs.ls(f"{tmp_path}/a")[0].path == f"file:{tmp_path}/a/b/"
    assert fs.head(f"{tmp_path}/a/note.txt", 4) == "hell"
    with pytest.raises(FileExistsError):
        fs.put(f"{tmp_path}/a/note.txt", "again")
    assert fs.put(f"{tmp_path}/a/note.txt", "again", overwrite=True)
    assert fs.rm(f"{tmp_path}/a/b")
    with pytest.raises(OSError, match="not empty"):
        fs.rm(f"{tmp_path}/a")
    assert fs.rm(f"{tmp_path}/a", recurse=True)
    assert not fs.rm(f"{tmp_path}/a")


def test_notebook_exit_is_not_an_exception_subclass() -> None:
    with pytest.raises(NotebookExit) as end:
        NotebookUtils(lambda path, arguments: None).exit(3)

    assert end.value.value == "3"
    assert not isinstance(end.value, Exception)


def test_arguments_of_child_notebooks_become_text() -> None:
    seen = []
    NotebookUtils(lambda path, arguments: seen.append((path, arguments))).run("./other", 60, {"limit": 5})

    assert seen == [("./other", {"limit": "5"})]
