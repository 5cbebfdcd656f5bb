"""The local workspace: a home folder, the bundle, the sources and a Spark session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pyspark.sql import SparkSession

from cdp_lib.errors import CdpError
from cdp_lib.landing import Landing
from cdp_local.bundle import Bundle
from cdp_local.dbutils import SecretStore
from cdp_local.engines import catalog_of, open_session
from cdp_local.notebooks import Workspace
from cdp_local.samples import NEEDED_SOURCES, SOURCES, serve_samples

PROJECT = Path(__file__).resolve().parents[2]
SECRETS_FILE = ".cdp-secrets.yml"
DEFAULT_SCOPE = "cdp"
_KEY_OF_LAKE = "set the environment variable CDP_SECRET_<SCOPE>_STORAGE_ACCOUNT_KEY to the key of the storage account"


@dataclass(frozen=True)
class LocalWorkspace:
    """An open workspace on this machine.

    Attributes:
        home: Folder with all data of the workspace.
        bundle: The bundle. Its variables have the values for this workspace.
        landing: Landing of the workspace.
        notebooks: Session, secrets and task values that the notebooks of a run share.
        sample_sources: Names of the sources for which samples are used.
    """

    home: Path
    bundle: Bundle
    landing: Landing
    notebooks: Workspace
    sample_sources: tuple[str, ...]

    @property
    def session(self) -> SparkSession:
        """The Spark session. A table is registered in the session when a store first uses the table."""
        return self.notebooks.spark

    @property
    def spark(self) -> SparkSession:
        """The Spark session. Reading this property first registers all tables and views in the session."""
        if catalog := catalog_of(self.session):
            catalog.register_all()
        return self.session


@contextmanager
def open_workspace(engine: str, home: Path, variables: Mapping[str, str]) -> Iterator[LocalWorkspace]:
    """Open a local workspace and lock its home folder.

    A sample source can replace a source that is not configured:

    - If no source is configured, samples replace all sources.
    - If a source is configured, samples replace only required sources (`NEEDED_SOURCES`), because invented contacts
      must not mix with real customers.
    - If the secret scope is not the default scope, samples never replace the database and the CRM. The secrets that
      these two samples need exist only in the default scope.

    Args:
        engine: `sail` or `spark`.
        home: Folder with all data of the workspace.
        variables: Values of bundle variables, by name. They override the defaults.

    Raises:
        CdpError: The home folder can't be written or is in use, or a variable or the engine is unknown.
    """
    home = home.resolve()
    with ExitStack() as stack:
        stack.enter_context(locked(home))
        overrides = {"landing": str(home / "landing"), **variables}
        # Read the secret scope first, because secrets determine which sources are configured.
        real_secrets = SecretStore(PROJECT / SECRETS_FILE, {})
        scope = Bundle(PROJECT, overrides).variable("secret_scope")
        in_scope = {secret.key for secret in real_secrets.list(scope)}
        given = {*variables, *in_scope} & SOURCES
        if given:
            given |= SOURCES - NEEDED_SOURCES
        if scope != DEFAULT_SCOPE:
            given |= {"database_url", "crm_url"}
        samples = stack.enter_context(serve_samples(PROJECT / "fixtures", home, given))
        bundle = Bundle(PROJECT, overrides | samples.variables)
        secrets = SecretStore(PROJECT / SECRETS_FILE, {(scope, key): text for key, text in samples.secrets.items()})
        account_key = secrets.get(scope, "storage_account_key") if "storage_account_key" in in_scope else None
        catalog, landing = bundle.variable("catalog"), bundle.variable("landing")
        for name in ("landing", *sorted(SOURCES & set(variables))):
            if bundle.variable(name).startswith("abfss://") and not account_key:
                raise CdpError(
                    f"{name} {bundle.variable(name)} needs the secret 'storage_account_key': {_KEY_OF_LAKE}."
                )
        spark = stack.enter_context(open_session(engine, home, catalog, bundle.schemas(), landing, account_key))
        notebooks = Workspace(spark, secrets, {})
        yield LocalWorkspace(home, bundle, Landing(landing, account_key), notebooks, tuple(samples.names))


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Lock a home folder, so that no other `cdp` process can use it.

    Args:
        home: Folder of the local workspace.

    Raises:
        CdpError: Another process uses the home folder, or the folder can't be written.
    """
    lock = FileLock(home / ".lock", blocking=False)
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise CdpError(
            f"{home} is in use by another cdp process: wait until that process has ended, or use another --home."
        ) from None
    except OSError as error:
        raise CdpError(f"{home} can't be written ({error.strerror}): use another --home.") from None
    try:
        yield
    finally:
        lock.release()
